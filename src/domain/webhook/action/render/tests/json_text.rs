//! Bodies that are JSON texts, as authors paste them from the documentation of a receiver.

use super::*;

/// The body and its content type, without headers of the author.
fn sent(text: &str, arguments: &Json) -> (String, String) {
    let definition = json!({"type": "WEBHOOK", "url": "https://h.example/", "body": text});
    let request = rendered_with(&definition, arguments, false).unwrap();
    let body = String::from_utf8(request.body.clone().unwrap()).unwrap();
    (body, header(&request, "content-type").unwrap().to_owned())
}

#[test]
fn text_that_is_json_with_values_is_a_json_template() {
    for (text, expected) in [
        // nyaruka/courier #786, mageplaza/magento-2-webhook #6: variables with and without quotes
        (r#"{"lead": $name}"#, r#"{"lead":"Ada Lovelace"}"#),
        (r#"{"lead": "$name"}"#, r#"{"lead":"Ada Lovelace"}"#),
        (
            r#"{"lead":$name,"age":$age,"rate":$rate,"vip":$vip}"#,
            r#"{"lead":"Ada Lovelace","age":36,"rate":1.5,"vip":true}"#,
        ),
        (r#"{"age": "$age"}"#, r#"{"age":36}"#),
        (r#"{"age": "$age years"}"#, r#"{"age":"36 years"}"#),
        (
            "{\r\n\t\"lead\": $name,\r\n\t\"tags\": $tags\r\n}\r\n",
            r#"{"lead":"Ada Lovelace","tags":["a","b c"]}"#,
        ),
        ("\u{feff}{\"lead\": $name}", r#"{"lead":"Ada Lovelace"}"#),
        ("[$name, $age]", r#"["Ada Lovelace",36]"#),
        ("[$images]", r#"[["https://cdn.example/1.png"]]"#),
        (
            r#"{"images": $images, "first": $images[0], "second": $images[1]}"#,
            r#"{"images":["https://cdn.example/1.png"],"first":"https://cdn.example/1.png","second":null}"#,
        ),
        (
            r#"{"deep": $deep, "list": [{"of": $user_id}]}"#,
            r#"{"deep":{"b":[1],"a":"é"},"list":[{"of":"usr_999"}]}"#,
        ),
        (
            r#"{"session": $session.id, "operation": $contact.operation}"#,
            r#"{"session":"s-1","operation":"created"}"#,
        ),
        // tallclub/matimo #32: not given, and unknown
        (r#"{"interest": $interest, "phone": $contact.phone}"#, r#"{"interest":null,"phone":null}"#),
        (r#"{"a": $unknown, "b": "<$unknown>"}"#, r#"{"a":"$unknown","b":"<$unknown>"}"#),
        // A key stays as written, quoted or not
        (r#"{"$name": 1, $age: 2}"#, r#"{"$name":1,"$age":2}"#),
        // Dollars that begin no variable
        (r#"{"price": "R$ 5", "lead": $name}"#, r#"{"price":"R$ 5","lead":"Ada Lovelace"}"#),
        (
            r#"{"quote": "\"$name\"", "path": "C:\\$name"}"#,
            r#"{"quote":"\"Ada Lovelace\"","path":"C:\\Ada Lovelace"}"#,
        ),
        // baptisteArno/typebot.io #64, louislam/uptime-kuma #3778, jellyfin/jellyfin-plugin-webhook #44 and #98: quotes and
        // line breaks in values
        (
            r#"{"evil": $evil, "in": "<$evil>"}"#,
            r#"{"evil":"x\",\"admin\":true,\"y\":\"\r\nX-Evil: 1","in":"<x\",\"admin\":true,\"y\":\"\r\nX-Evil: 1>"}"#,
        ),
        ("{}", "{}"),
        ("[]", "[]"),
    ] {
        assert_eq!(sent(text, &arguments()), (expected.to_owned(), "application/json".to_owned()), "{text}");
    }
}

/// The header is sent as it is written. It says nothing about what a value may do.
#[test]
fn json_text_is_a_template_whatever_content_type_is_declared() {
    for content_type in [
        // No preflight request: wikimedia/eventgate #6, plausible/analytics #3390, vanilla/vanilla #5489
        "text/plain;charset=utf-8",
        "text/plain",
        // Older Microsoft and PHP
        "text/json",
        "text/x-json",
        "application/x-json",
        "application/json; charset=utf-8",
        "application/vnd.api+json",
        "application/csp-report",
        "application/octet-stream",
        // What `curl -d` declares if its user says nothing
        "application/x-www-form-urlencoded",
        "$type",
        "",
    ] {
        let headers = json!([{"key": "Content-Type", "value": content_type}]);
        for (text, expected) in [
            (r#"{"lead": "$evil"}"#, r#"{"lead":"x\",\"admin\":true,\"y\":\"\r\nX-Evil: 1"}"#),
            (
                r#"{"lead": $evil, "age": $age}"#,
                r#"{"lead":"x\",\"admin\":true,\"y\":\"\r\nX-Evil: 1","age":36}"#,
            ),
            (r#"["<$evil>"]"#, r#"["<x\",\"admin\":true,\"y\":\"\r\nX-Evil: 1>"]"#),
        ] {
            let definition =
                json!({"type": "WEBHOOK", "url": "https://h.example/", "body": text, "headers": headers});
            let mut arguments = arguments();
            arguments["type"] = json!("text/plain");
            let request = rendered_with(&definition, &arguments, false).unwrap();
            assert_eq!(String::from_utf8(request.body.clone().unwrap()).unwrap(), expected, "{content_type}");
            let sent = if content_type == "$type" { "text/plain" } else { content_type };
            assert_eq!(header(&request, "content-type"), Some(sent));
        }
    }
}

#[test]
fn text_that_is_declared_as_json_must_be_json() {
    for (content_type, is_refused) in [
        ("text/json", true),
        ("application/x-json", true),
        ("APPLICATION/JSON", true),
        ("application/problem+json; charset=utf-8", true),
        // A line for each document
        ("application/x-ndjson", false),
        ("application/jsonl", false),
        ("text/plain", false),
    ] {
        let headers = json!([{"key": "Content-Type", "value": content_type}]);
        let definition = json!({"type": "WEBHOOK", "url": "https://h.example/", "headers": headers,
            "body": "{\"a\": \"$name\"}\n{\"a\": 1}"});
        let rendered = rendered_with(&definition, &arguments(), false);
        assert_eq!(rendered.is_err(), is_refused, "{content_type}");
    }
}

/// n8n-io/n8n #26925, usebruno/bruno #9230, hoppscotch/hoppscotch #5156
#[test]
fn numbers_of_the_author_are_sent_as_they_are_written() {
    for (text, expected) in [
        (
            r#"{"id":12345678901234567890123,"v":1.10,"n":$age}"#,
            r#"{"id":12345678901234567890123,"v":1.10,"n":36}"#,
        ),
        (
            "[ 1e400, -0, -0.0, 1E+2, 5, 5.0, 18446744073709551616 ]",
            "[1e400,-0,-0.0,1E+2,5,5.0,18446744073709551616]",
        ),
        // Of two members with one name the last one counts.
        (r#"{"a": 1.0, "a": 2.0, "b": 3.0}"#, r#"{"a":2.0,"b":3.0}"#),
        (r#"{"1.0": "2.0", "$age": ["3.0", 4.0]}"#, r#"{"1.0":"2.0","$age":["3.0",4.0]}"#),
        (r#"{"a": "\"1.0", "b": 2.0}"#, r#"{"a":"\"1.0","b":2.0}"#),
        // A variable with a tail is a text.
        (r#"{"price": $age.00}"#, r#"{"price":"36.00"}"#),
        (r#"{"price": $age, "of": 0.50}"#, r#"{"price":36,"of":0.50}"#),
    ] {
        assert_eq!(sent(text, &arguments()), (expected.to_owned(), "application/json".to_owned()), "{text}");
    }
    // A number that JSON does not allow makes the whole text invalid.
    for text in
        ["[01]", "[1.]", "[.5]", "[+1]", "[1e]", "[--1]", "[1 2]", "[0x1]", "[1$age]", "[-$age]", "{1: 2}"]
    {
        assert_eq!(sent(text, &arguments()).1, "text/plain; charset=utf-8", "{text}");
    }
}

#[test]
fn any_other_text_stays_text() {
    for (text, expected) in [
        ("$name", "Ada Lovelace"),
        ("\"$name\"", "\"Ada Lovelace\""),
        ("[Lead] $name", "[Lead] Ada Lovelace"),
        ("[$name] is new", "[Ada Lovelace] is new"),
        // Two values in one place, a missing quote, comma or brace, JavaScript's and Python's literals.
        (r#"{"a": $age$name}"#, r#"{"a": 36Ada Lovelace}"#),
        (r#"{"a": -$age}"#, r#"{"a": -36}"#),
        (r#"{"a": "$age}"#, r#"{"a": "36}"#),
        (r#"{"a": $age,}"#, r#"{"a": 36,}"#),
        (r#"{"a": $age"#, r#"{"a": 36"#),
        ("{a: $age}", "{a: 36}"),
        ("{'a': $age}", "{'a': 36}"),
        (r#"{"a": $age, "b": None}"#, r#"{"a": 36, "b": None}"#),
        ("{{name}} $age", "{{name}} 36"),
        ("{$name}", "{Ada Lovelace}"),
        ("<a>$age</a>", "<a>36</a>"),
        ("a=$age&b=$name", "a=36&b=Ada Lovelace"),
        ("", ""),
    ] {
        let plain = "text/plain; charset=utf-8".to_owned();
        assert_eq!(sent(text, &arguments()), (expected.to_owned(), plain), "{text}");
    }
}

#[test]
fn text_that_is_not_json_is_sent_as_text_whatever_it_declares() {
    let is_text = |body: Json, content_type: Option<&str>| {
        let headers: Vec<Json> =
            content_type.iter().map(|value| json!({"key": "Content-Type", "value": value})).collect();
        let definition =
            json!({"type": "WEBHOOK", "url": "https://h.example/", "body": body, "headers": headers});
        WebhookAction::parse(&definition).unwrap().is_sent_as_text()
    };
    let lines = json!("{\"a\": \"$name\"}\n{\"a\": \"$email\"}");
    assert!(is_text(json!("{$name}"), None));
    assert!(is_text(json!("{$name}"), Some("text/plain")));
    assert!(is_text(lines, Some("application/x-ndjson")));
    assert!(!is_text(json!("[$name]"), None));
    assert!(!is_text(json!("{$name}"), Some("application/x-www-form-urlencoded")));
    assert!(!is_text(json!({"a": "{$name}"}), None));
    assert!(!is_text(Json::Null, None));
}

/// A value as it may come from a person, a language model or another program.
fn values() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        matching("\\PC*").prop_map(Json::from),
        matching("[\"\\\\{}\\[\\],:$a-z\n]{0,12}").prop_map(Json::from),
    ];
    leaf.prop_recursive(2, 8, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Json::from),
            prop::collection::btree_map(matching("[a-z\"$]{0,3}"), inner, 0..4)
                .prop_map(|members| Json::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_value_changes_a_json_text(value in values()) {
        let text = r#"{"a": $v, "b": ["$v", {"$v": "x $v y"}], "c": 1}"#;
        let (body, _) = sent(text, &json!({"v": value}));
        let sent: Json = serde_json::from_str(&body).unwrap();
        prop_assert_eq!(sent.as_object().unwrap().len(), 3);
        // Null is not given, and `v` is not declared.
        let expected = if value.is_null() { json!("$v") } else { value };
        prop_assert_eq!(&sent["a"], &expected);
        prop_assert_eq!(&sent["b"][0], &expected);
        prop_assert!(sent["b"][1]["$v"].is_string());
        prop_assert_eq!(&sent["c"], &json!(1));
    }
}
