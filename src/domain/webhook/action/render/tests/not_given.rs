//! Parameters that the trigger declares and the event does not give. The sample declares `interest`, `name`, `user_id`.

use super::*;

/// The request of a webhook with these members, for an argument that is absent, and for one that is null.
fn requests(members: &Json) -> [Result<WebhookRequest, WebhookInvalid>; 2] {
    let mut definition = json!({"type": "WEBHOOK", "url": "https://h.example/x"});
    definition.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    [json!({"age": 36}), json!({"age": 36, "interest": null, "user_id": null, "none": null})]
        .map(|arguments| rendered_with(&definition, &arguments, false))
}

#[test]
fn parameter_that_was_not_given_is_null_in_json() {
    for (body, expected, source) in [
        (json!({"v": "$interest"}), json!({"v": null}), "https://github.com/tallclub/matimo/issues/32"),
        (json!({"v": "Interest: $interest."}), json!({"v": "Interest: ."}), "as above: within a text"),
        (
            json!({"v": ["$interest", "$interest$interest", " $interest"]}),
            json!({"v": [null, "", " "]}),
            "as above: alone, twice, and after a blank",
        ),
        (json!({"v": "$interest.name"}), json!({"v": ".name"}), "JavaScript: a member of undefined"),
        (json!({"v": "$interest-$age"}), json!({"v": "-36"}), "as above: before another one"),
        (json!({"v": "$interest[0]"}), json!({"v": "[0]"}), "JavaScript: an item of undefined"),
        // Longer names are others.
        (json!({"v": "$interests"}), json!({"v": "$interests"}), "shells: a name is as long as it can be"),
        (json!({"v": "$interest_rate"}), json!({"v": "$interest_rate"}), "shells: so with an underscore"),
        // Client data stands in for an argument.
        (json!({"v": "$user_id"}), json!({"v": "usr_999"}), "LLM habit: the customer's id is left out"),
        (json!({"v": "$none"}), json!({"v": null}), "JSON: null"),
        (
            json!("{\"v\": $interest, \"w\": \"$interest\", \"x\": \"<$interest>\"}"),
            json!({"v": null, "w": null, "x": "<>"}),
            "https://github.com/nyaruka/courier/issues/786: in a body that is a text",
        ),
    ] {
        for request in requests(&json!({"body": body})) {
            let sent: Json = serde_json::from_slice(&request.unwrap().body.unwrap()).unwrap();
            assert_eq!(sent, expected, "{body} ({source})");
        }
    }
}

#[test]
fn parameter_that_was_not_given_is_no_text_elsewhere() {
    let form = json!([{"key": "content-type", "value": "application/x-www-form-urlencoded"}]);
    for (members, expected) in [
        (json!({"body": "Interest: <$interest>"}), "Interest: <>"),
        (json!({"body": "a=$interest&b=$age", "headers": form}), "a=&b=36"),
    ] {
        for request in requests(&members) {
            assert_eq!(request.unwrap().body.unwrap(), expected.as_bytes(), "{members}");
        }
    }
    for (url, expected, source) in [
        ("https://h.example/x?plan=$interest", "https://h.example/x?plan=", "RFC 3986, 3.4"),
        ("https://h.example/x?plan=$interest&age=$age", "https://h.example/x?plan=&age=36", "RFC 3986, 3.4"),
        ("https://h.example/x-$interest/y", "https://h.example/x-/y", "RFC 3986, 3.3: within a segment"),
        ("https://h.example/x/$interest/y", "https://h.example/x//y", "RFC 3986, 3.3: an empty segment"),
        ("https://h.example/$interest", "https://h.example/", "as above: the last one"),
        ("https://h.example/x#$interest", "https://h.example/x#", "RFC 3986, 3.5"),
    ] {
        for request in requests(&json!({"url": url})) {
            assert_eq!(request.unwrap().url, expected, "{url} ({source})");
        }
    }
    for request in requests(&json!({"headers": [{"key": "X-Plan", "value": "$interest"}]})) {
        assert_eq!(header(&request.unwrap(), "x-plan"), Some(""));
    }
    // It would turn a contact into the whole collection.
    for request in requests(&json!({"url": "https://h.example/contacts/$interest", "method": "DELETE"})) {
        assert!(request.unwrap_err().to_string().contains("empty in a DELETE"));
    }
}

#[test]
fn names_that_nobody_declared_stay_unknown() {
    for url in ["https://h.example/?x=$nobody", "https://h.example/?x=$interests"] {
        for request in requests(&json!({"url": url})) {
            assert!(request.unwrap_err().to_string().contains("unknown variable"), "{url}");
        }
    }
}
