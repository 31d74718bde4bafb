//! The findings that an author gets, with their places.

mod bodies;
mod values;
mod variables;

use serde_json::json;

use super::*;

const PARAMETERS: &str = r#"{"properties": {"name": {"type": "string"}, "email": {"type": "string"}}}"#;

fn findings(text: &str) -> Vec<(Severity, String, String)> {
    let mut settings = crate::settings::load(None, []).unwrap().settings;
    settings.contacts.default_region = Region::new("BR").unwrap();
    let findings = check(text, &settings).into_iter();
    findings.map(|finding| (finding.severity, finding.place, finding.message)).collect()
}

fn with_actions(actions: &str) -> String {
    format!(r#"{{"name": "t", "parameters": {PARAMETERS}, "actions": {actions}}}"#)
}

const CRM: &str = r#"{"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email"}"#;

#[test]
fn text_that_holds_no_definition_is_an_error() {
    for (text, says) in [
        ("{\n  \"name\": Zaphod\n}", "the definition is not JSON: expected value at line 2 column 11"),
        (r#"{"trigger": {}, "next": "Zaphod"}"#, "/next must be a list of definitions"),
    ] {
        assert_eq!(findings(text), [(Severity::Error, String::new(), says.to_owned())]);
    }
}

/// Python writes it for an empty cell.
#[test]
fn text_may_have_numbers_that_json_does_not_have() {
    let definition =
        with_actions(&format!("[{CRM}]")).replacen('{', r#"{"x": NaN, "description": "NaN", "#, 1);
    assert_eq!(findings(&definition), []);
}

#[test]
fn number_of_warnings_has_a_limit() {
    let parameters: Vec<String> = (0..201).map(|number| format!(r#""p{number}": {{}}"#)).collect();
    let definition = |count: usize| {
        let parameters = parameters[..count].join(",");
        format!(
            r#"{{"name": "t", "parameters": {{"properties": {{"name": {{}}, "email": {{}}, {parameters}}}}}, "action": {CRM}}}"#
        )
    };
    assert_eq!(findings(&definition(200)).len(), 200);
    let found = findings(&definition(201));
    let (severity, place, message) = found.last().unwrap();
    assert_eq!((found.len(), *severity, place.as_str()), (201, Severity::Warning, ""));
    assert!(message.contains("more warnings"), "{message}");
}

#[test]
fn good_definition_has_no_findings_in_any_wrapping() {
    let definition = with_actions(&format!("[{CRM}]"));
    for text in [
        definition.clone(),
        format!(r#"{{"trigger": {definition}, "next": [{definition}]}}"#),
        format!(r#"{{"specversion": "1.0", "data": {{"trigger": {definition}, "next": null}}}}"#),
        json!({"trigger": definition, "next": [definition]}).to_string(),
        json!({"data": json!({"trigger": definition}).to_string()}).to_string(),
    ] {
        assert_eq!(findings(&text), []);
    }
}

#[test]
fn error_names_its_place_in_the_file() {
    let bad =
        with_actions(r#"[{"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "$name", "mail": "email"}]"#);
    let found = findings(&format!(r#"{{"data": {{"trigger": {bad}, "next": [{bad}]}}}}"#));
    let places: Vec<&str> = found.iter().map(|(_, place, _)| place.as_str()).collect();
    assert_eq!(
        places,
        [
            "/data/trigger/actions/0/mail",
            "/data/trigger/actions/0/name",
            "/data/next/0/actions/0/mail",
            "/data/next/0/actions/0/name",
        ]
    );
    assert!(found.iter().all(|(severity, ..)| *severity == Severity::Error));
    assert!(findings("not json").iter().any(|(severity, ..)| *severity == Severity::Error));
}

#[test]
fn accepted_but_unlikely_definition_gets_warnings() {
    let webhook = json!({
        "type": "WEBHOOK", "url": "http://h.example/lead-$name/of-$plan",
        "headers": [{ "key": "Authorization", "value": "Bearer x" }, { "key": "x-a", "value": "$session.id" }],
        "body": { "a": ["$contact.phone and $unknown"] },
    });
    let crm = r#"{"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name"}"#;
    let found = findings(&with_actions(&format!("[{crm}, {webhook}]")));
    let at: Vec<(&str, bool)> =
        found.iter().map(|(severity, place, _)| (place.as_str(), *severity == Severity::Warning)).collect();
    assert_eq!(
        at,
        [
            ("/actions/0", true),
            ("/actions/1/url", true),
            ("/actions/1/headers/0/value", true),
            ("/actions/1/url", true),
            ("/actions/1/body/a/0", true),
            ("/parameters/properties/email", true),
        ]
    );
    assert!(found[3].2.contains("$plan"), "{found:?}");
}

#[test]
fn placeholders_in_a_schema_get_a_warning() {
    let parameters = json!({"properties": {
        "name": {"type": "string", "default": "N/A"},
        "job/role": {"type": "string", "enum": ["CTO", "Não informado", "", null, "Unknown"]},
        "city": {"type": "array", "items": {"enum": ["Sobral", "null"]}},
        "mail": {"type": "string", "examples": ["user@example.com", "ada@x.example"], "const": "undefined"},
        "plan": {"enum": ["none", "N/A"]},
    }});
    let actions = json!([
        {"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "position": "job/role", "city": "city", "email": "mail"},
        {"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "mail"},
        {"type": "WEBHOOK", "url": "https://h.example/of-$plan"},
    ]);
    let found = findings(&json!({"name": "t", "parameters": parameters, "actions": actions}).to_string());
    let places: Vec<&str> = found.iter().map(|(_, place, _)| place.as_str()).collect();
    assert_eq!(
        places,
        [
            "/parameters/properties/city/items/enum/1",
            "/parameters/properties/job~1role/enum/1",
            "/parameters/properties/job~1role/enum/4",
            "/parameters/properties/mail/const",
            "/parameters/properties/mail/examples/0",
            "/parameters/properties/name/default",
        ]
    );
    assert!(found.iter().all(
        |(severity, _, message)| *severity == Severity::Warning && message.contains("counts as no value")
    ));
    assert!(found[1].2.starts_with("`Não informado` counts"), "{found:?}");
}

#[test]
fn parameter_used_by_a_webhook_is_not_reported() {
    let webhook = r#"{"type": "WEBHOOK", "url": "https://h.example/lead-$name", "body": "mail $email."}"#;
    assert_eq!(findings(&with_actions(&format!("[{webhook}]"))), []);
}

#[test]
fn webhook_that_cannot_be_sent_is_an_error() {
    let webhook = r#"{"type": "WEBHOOK", "url": "https://$name/x", "body": "$email"}"#;
    let found = findings(&with_actions(&format!("[{webhook}]")));
    assert!(found.iter().any(|(severity, ..)| *severity == Severity::Error), "{found:?}");
    let found = findings(&with_actions(&format!(r#"[{{"type": "CRM"}}, {webhook}]"#)));
    let places: Vec<&str> = found.iter().map(|(_, place, _)| place.as_str()).collect();
    assert_eq!(places, ["/actions/0/subtype", "/actions/1"], "all at once");
}

/// Place within the webhook and message of each warning.
fn webhook_warnings(webhook: &Value) -> Vec<(String, String)> {
    let mut action = json!({"type": "WEBHOOK", "url": "https://h.example/lead-$name?mail=$email"});
    action.as_object_mut().unwrap().extend(webhook.as_object().unwrap().clone());
    let found = findings(&with_actions(&format!("[{action}]")));
    let warning = |(severity, place, message): (Severity, String, String)| {
        assert_eq!(severity, Severity::Warning, "{place}: {message}");
        (place.strip_prefix("/actions/0").unwrap_or(&place).to_owned(), message)
    };
    found.into_iter().map(warning).collect()
}

#[test]
fn object_in_place_of_a_form_gets_a_warning() {
    let headers = json!({"Content-Type": "application/x-www-form-urlencoded"});
    let check = |body: Value, expected: bool| {
        let found = webhook_warnings(&json!({"headers": headers, "body": body}));
        let is_there = found.iter().any(|(at, message)| at == "/body" && message.contains("declares a form"));
        assert_eq!(is_there, expected, "{found:?}");
    };
    check(json!({"name": "$name"}), true);
    check(json!("name=$name"), false);
    check(Value::Null, false);
}

#[test]
fn slack_workflow_gets_a_warning_without_its_variables() {
    for path in ["workflows/T0/A0/1/x", "triggers/T0/1/x"] {
        let url = format!("https://hooks.slack.com/{path}?$name$email");
        let check = |body: Value, says: Option<&str>| {
            let found = webhook_warnings(&json!({"url": url, "body": body}));
            let is_fine = match (found.as_slice(), says) {
                ([], None) => true,
                ([(at, message)], Some(says)) => at == "/body" && message.contains(says),
                _ => false,
            };
            assert!(is_fine, "{body}: {found:?}");
        };
        check(Value::Null, Some("not the event"));
        check(json!({"lead": {"name": "$name"}}), Some("object of texts"));
        check(json!({"count": 1}), Some("object of texts"));
        check(json!(["$name"]), Some("object of texts"));
        check(json!("lead: $name"), Some("object of texts"));
        check(json!(r#"{"lead": 5}"#), Some("object of texts"));
        // Null if it is not given, and if the event has no session
        check(json!({"a": "x", "lead": "$name"}), Some("$name may be null"));
        check(json!(r#"{"lead": $email}"#), Some("$email may be null"));
        check(json!({"lead": "$session.id"}), Some("$session.id may be null"));
        check(json!({"lead": "$contact.phone"}), Some("$contact.phone may be null"));
        check(json!({"lead": "Lead: $name"}), None);
        check(json!(r#"{"lead": "<$name>", "mail": "$email."}"#), None);
        check(json!({"lead": "$event.id", "contact": "$contact.id"}), None);
    }
    let required = |schema: Value| {
        let webhook = json!({"type": "WEBHOOK", "url": "https://hooks.slack.com/triggers/T0/1/x", "body": {"lead": "$name"}});
        let parameters = json!({"properties": {"name": schema}, "required": ["name"]});
        findings(&json!({"name": "t", "parameters": parameters, "action": webhook}).to_string()).len()
    };
    assert_eq!(required(json!({"type": "string"})), 0);
    assert_eq!(required(json!({"type": "integer"})), 1);
    assert_eq!(required(json!({"type": ["string", "null"]})), 1);
    assert_eq!(webhook_warnings(&json!({"url": "https://hooks.slack.com/services/T/B/x?$name$email"})), []);
}

#[test]
fn shapes_and_ports_get_a_warning() {
    let found = webhook_warnings(&json!({"url": "https://h.example:25/$name$email"}));
    assert!(found[0].0 == "/url" && found[0].1.contains("port 25"), "{found:?}");
    assert_eq!(webhook_warnings(&json!({"url": "https://h.example:5678/$name$email"})), []);
    for headers in [
        json!({}),
        json!(""),
        json!({"X-A": "$name"}),
        json!([{"name": "X-A", "value": "b"}]),
        json!([{"key": "X-A", "value": 5}]),
        json!(["X-A: b"]),
    ] {
        let found = webhook_warnings(&json!({"headers": headers}));
        let [(place, message)] = found.as_slice() else { panic!("{found:?}") };
        assert!(place == "/headers" && message.contains("a list of objects with key and value"), "{message}");
    }
    for (headers, place) in [
        (json!({"authorization": "Bearer x"}), "/headers"),
        (json!([{"name": "Authorization", "value": "Bearer x"}]), "/headers/0/value"),
        (json!(["Authorization: Bearer x"]), "/headers/0"),
    ] {
        let found = webhook_warnings(&json!({"headers": headers}));
        let is_there = |(at, message): &(String, String)| at == place && message.contains("sees this secret");
        assert!(found.iter().any(is_there), "{found:?}");
    }
    let definition = |value: &str| {
        with_actions(&format!("[{CRM}]")).replacen('{', &format!(r#"{{"interpretResponse": {value}, "#), 1)
    };
    for value in ["\"True\"", "1", "\"0\""] {
        let found = findings(&definition(value));
        let [(Severity::Warning, place, message)] = found.as_slice() else { panic!("{found:?}") };
        assert!(place == "/interpretResponse" && message.ends_with("write true or false"), "{message}");
    }
    for value in ["true", "false", "null"] {
        assert_eq!(findings(&definition(value)), []);
    }
    let at = |definition: &str| -> Vec<String> {
        let found = findings(definition);
        assert!(found.iter().all(|(severity, ..)| *severity == Severity::Warning), "{found:?}");
        found.into_iter().map(|(_, place, _)| place).collect()
    };
    let with = |member: &str| with_actions(&format!("[{CRM}]")).replacen('{', &format!("{{{member}, "), 1);
    assert_eq!(at(&with(r#""description": 5"#)), ["/description"]);
    assert_eq!(at(&with(r#""description": null"#)), [""; 0]);
    let text = json!({"name": "t", "parameters": PARAMETERS, "actions": format!("[{CRM}]")}).to_string();
    assert_eq!(at(&text), ["/parameters", "/actions"]);
    let empty = CRM.replacen('}', r#", "phone": "", "url": null}"#, 1);
    assert_eq!(at(&with_actions(&format!("[{empty}]"))), ["/actions/0/phone", "/actions/0/url"]);
}

#[test]
fn what_may_be_a_secret_is_not_printed() {
    let secret = "sk_live_51Hsecret";
    for (members, shown) in [
        (json!({"headers": [{"key": "X-Sig", "value": format!("{{{{{secret}}}}}")}]}), "{{…}}"),
        (json!({"headers": [{"key": "X-Sig", "value": format!("{{{{ \"{secret}\".name }}}}")}]}), "{{…}}"),
        (json!({"url": format!("https://h.example/lead-$name?mail=$email&key=${{{secret}}}")}), "${…}"),
        (json!({"body": {"token": format!("{{{{{secret}}}}}")}}), "{{…}}"),
        (json!({"body": {"token": format!("{{{{{}name}}}}", "x.".repeat(100_000))}}), "…}} is sent"),
    ] {
        let found = webhook_warnings(&members);
        assert!(found.iter().any(|(_, message)| message.contains(shown)), "{shown}");
        assert!(found.iter().all(|(_, message)| !message.contains(secret) && message.len() < 400), "{shown}");
    }
}

/// As the service reads them: a schema may have the limits of any type of number.
#[test]
fn numbers_of_schemas_may_be_of_any_size() {
    let definition = with_actions(&format!("[{CRM}]")).replacen(
        r#""email": {"#,
        r#""email": {"minimum": -1.7976931348623157E+308, "maximum": 9.99E6144, "#,
        1,
    );
    assert_eq!(findings(&definition), []);
}

#[test]
fn regular_expressions_of_other_languages_get_a_warning() {
    for (pattern, says) in [
        (r"\\A[a-z]+\\z", "write `^` for `\\A`"),
        ("(?i)^[a-z]+$", "`[Aa]` for `(?i)a`"),
        ("/^[a-z]+$/i", "without delimiters"),
        ("^[[:alpha:]]+$", "not a regular expression of ECMA-262"),
        ("^[a-z]++$", "not a regular expression of ECMA-262"),
    ] {
        let schema = format!(r#""email": {{"pattern": "{pattern}", "#);
        let found = findings(&with_actions(&format!("[{CRM}]")).replacen(r#""email": {"#, &schema, 1));
        let [(Severity::Warning, place, message)] = found.as_slice() else { panic!("{pattern}: {found:?}") };
        assert!(place == "/parameters/properties/email/pattern" && message.contains(says), "{message}");
    }
}
