//! Tests of parsing definitions.

use serde_json::json;

use super::*;

fn refused(definition: &Value) -> String {
    WebhookAction::parse(definition).err().unwrap_or_else(|| panic!("accepted: {definition}"))
}

fn problems(definition: &Value) -> Vec<String> {
    WebhookAction::parse(definition).unwrap_or_else(|e| panic!("{definition}: {e}")).problems()
}

#[test]
fn a_valid_definition_has_no_problems() {
    let definition = json!({
        "type": "WEBHOOK", "url": "https://hooks.example/sales?x=$name", "method": "PUT", "responseDirective": "Say it",
        "headers": [{"key": "Authorization", "value": "Bearer my_token"}, {"key": "X-Name", "value": "$name"}],
        "body": {"text": "New $interest lead"},
    });
    let action = WebhookAction::parse(&definition).unwrap();
    assert_eq!(action.problems(), [""; 0]);
    assert_eq!(action.response_directive(), Some("Say it"));
    assert_eq!(action.as_written().url, "https://hooks.example/sales?x=$name");
    assert_eq!(action.as_written().method, Method::Put);
}

#[test]
fn null_members_count_as_absent_and_post_is_the_default() {
    let url = "https://h.example/";
    let definition = json!({"type": "WEBHOOK", "url": url, "method": null, "headers": null, "body": null, "responseDirective": null});
    let action = WebhookAction::parse(&definition).unwrap();
    assert_eq!(action.method, Method::Post);
    assert!(matches!(action.body, Ok(None)));
    assert_eq!(
        WebhookAction::parse(&json!({"type": "WEBHOOK", "url": url, "method": "delete"})).unwrap().method,
        Method::Delete
    );
}

#[test]
fn members_of_other_actions_may_be_there_if_they_are_empty() {
    let definition = json!({"type": "WEBHOOK", "url": "https://h.example/", "method": "", "headers": "", "responseDirective": " ",
        "subtype": null, "name": "", "email": null, "tags": [], "options": {}});
    let action = WebhookAction::parse(&definition).unwrap();
    assert_eq!((action.method, action.response_directive()), (Method::Post, None));
    assert_eq!(action.problems(), [""; 0]);
    let method = json!({"type": "WEBHOOK", "url": "https://h.example/", "method": " put "});
    assert_eq!(WebhookAction::parse(&method).unwrap().method, Method::Put);
}

#[test]
fn invalid_structures_are_rejected_without_quoting_values() {
    let check = |mut members: Value, expected: &str| {
        if let Some(members) = members.as_object_mut() {
            members.entry("type").or_insert("WEBHOOK".into());
            members.entry("url").or_insert("https://secret.example/".into());
        }
        let message = refused(&members);
        assert!(message.contains(expected), "{message}");
        assert!(!message.contains("secret"), "{message}");
    };
    check(json!([]), "must be an object");
    check(json!({"type": "CRM"}), "type");
    check(json!({"url": null}), "url is missing");
    check(json!({"url": 7}), "url must be a string");
    check(json!({"method": "secret"}), "method must be GET, POST, PUT, PATCH or DELETE");
    check(json!({"method": "HEAD"}), "method must be");
    check(json!({"method": 1}), "method must be a string");
    check(json!({"headers": "secret"}), "headers must be a list");
    check(json!({"headers": ["secret"]}), "headers[0]: must be an object");
    check(
        json!({"headers": [{"key": "A", "value": "b"}, {"value": "secret"}]}),
        "headers[1]: key is missing",
    );
    check(json!({"headers": [{"key": "A", "value": {}}]}), "headers[0]: value must be a text");
    check(json!({"responseDirective": ["secret"]}), "responseDirective must be a string");
}

#[test]
fn invalid_urls_and_headers_are_problems_of_this_step_alone() {
    let check = |members: Value, expected: &str| {
        let mut definition = json!({"type": "WEBHOOK", "url": "https://secret.example/"});
        definition.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        let problems = problems(&definition).join("; ");
        assert!(problems.contains(expected), "{problems}");
        assert!(!problems.contains("secret"), "{problems}");
    };
    check(json!({"url": "secret"}), "must begin with https://");
    check(json!({"url": ""}), "must begin with https://");
    check(json!({"url": "$url"}), "must begin with https://");
    check(json!({"url": "$secret://x"}), "must begin with https://");
    check(json!({"url": "https:secret.example"}), "must begin with https://");
    check(json!({"url": "https:///secret"}), "must begin with https://");
    check(json!({"url": "ftp://secret.example/"}), "must begin with https://");
    check(json!({"url": "https://sec ret/"}), "must begin with https://");
    check(json!({"url": "https://secret:99999/"}), "must begin with https://");
    check(json!({"url": "https://$host/"}), "variable in its host");
    check(json!({"url": "https://a.$host.example/"}), "variable in its host");
    check(json!({"url": "https://a.example:$port/"}), "variable in its host");
    check(json!({"url": "https://a.example$tld"}), "variable in its host");
    check(json!({"url": "https://$user@secret.example/"}), "variable in its host");
    check(json!({"url": "https://user:secret@a.example/"}), "user name or password");
    check(json!({"url": "https://a.example/sec\nret"}), "line break");
    check(
        json!({"headers": [{"key": "bad name", "value": "secret"}]}),
        "headers[0]: key is not a valid header name",
    );
    check(json!({"headers": [{"key": "", "value": "secret"}]}), "headers[0]: key is not a valid header name");
    check(
        json!({"headers": [{"key": "X:", "value": "secret"}]}),
        "headers[0]: key is not a valid header name",
    );
    check(
        json!({"headers": [{"key": "X\r\nY", "value": "secret"}]}),
        "headers[0]: key is not a valid header name",
    );
    check(
        json!({"headers": [{"key": "X-Y", "value": "sec\r\nret"}]}),
        "headers[0]: value contains a line break",
    );
    check(json!({"Url": "secret"}), "\"Url\" is not a member");
    // Postman and curl show them as if they were the author's.
    for own in [
        "Host",
        "content-length",
        "Transfer-Encoding",
        "Connection",
        "User-Agent",
        "Traceparent",
        "Webhook-Id",
        "webhook-anything",
    ] {
        check(
            json!({"headers": [{"key": own, "value": "secret"}]}),
            "headers[0]: the service sets this header",
        );
    }
}
