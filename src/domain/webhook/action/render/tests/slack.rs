//! Tests of requests to Slack endpoints.

use proptest::prelude::*;
use serde_json::{Value as Json, json};

use super::{header, rendered_for, shape};
use crate::domain::webhook::{
    endpoint::Profile,
    request::{MAX_BODY, WebhookInvalid, WebhookRequest},
};

/// Mentions everybody and links elsewhere, unless it is escaped.
const HOSTILE: &str = "<!channel> & <https://evil.example|click>";
const ESCAPED: &str = "&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;";

/// Renders a webhook with these members; `$v` has this value.
fn sent(members: &Json, value: &Json) -> Result<WebhookRequest, WebhookInvalid> {
    let mut definition = json!({"type": "WEBHOOK", "url": "https://hooks.slack.com/services/T/B/x"});
    definition.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
    rendered_for(Profile::Slack, &definition, &json!({ "v": value }), false)
}

fn message(members: &Json, value: &Json) -> Json {
    let request = sent(members, value).unwrap();
    assert_eq!(header(&request, "content-type"), Some("application/json"), "{members}");
    assert_eq!(request.headers.iter().filter(|(name, _)| name == "content-type").count(), 1);
    serde_json::from_slice(&request.body.unwrap()).unwrap()
}

#[test]
fn every_kind_of_body_becomes_a_message() {
    let declared = |kind: &str| json!([{"key": "Content-Type", "value": kind}]);
    for (members, expected) in [
        (json!({}), json!({"text": "*Trigger fired*"})),
        (json!({"body": "<!here> $v"}), json!({"text": format!("<!here> {ESCAPED}")})),
        (json!({"body": {"text": "<!here> $v"}}), json!({"text": format!("<!here> {ESCAPED}")})),
        (json!({"body": {"text": "$v"}}), json!({"text": ESCAPED})),
        (json!({"body": r#"{"text": "<$v>"}"#}), json!({"text": format!("<{ESCAPED}>")})),
        (
            json!({"body": r#"{"text": $v}"#, "headers": declared("application/json; charset=utf-8")}),
            json!({"text": ESCAPED}),
        ),
        (
            json!({"body": "a=$v", "headers": declared("application/x-www-form-urlencoded")}),
            json!({"text": format!("a={ESCAPED}")}),
        ),
        (json!({"body": "$v", "headers": declared("text/plain")}), json!({"text": ESCAPED})),
        (
            json!({"body": r#"{"text": "<$v>"}"#, "headers": declared("text/plain")}),
            json!({"text": format!("<{ESCAPED}>")}),
        ),
        (
            json!({"body": {"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "*$v*"}}]}}),
            json!({"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": format!("*{ESCAPED}*")}}]}),
        ),
        (
            json!({"body": {"Name": "$v", "Age": 36, "Phone": "$contact.phone", "Who": "<@U1>"}}),
            json!({"text": format!("*Name*: {ESCAPED}\n*Age*: 36\n*Who*: <@U1>")}),
        ),
        (json!({"body": "Lead $unknown"}), json!({"text": "Lead $unknown"})),
    ] {
        assert_eq!(message(&members, &json!(HOSTILE)), expected, "{members}");
    }
}

#[test]
fn strings_within_lists_and_objects_are_escaped() {
    let value = json!({"<a>": ["<!here>", {"b": "&"}]});
    let escaped = json!({"&lt;a&gt;": ["&lt;!here&gt;", {"b": "&amp;"}]});
    let blocks = json!({"body": {"blocks": "$v"}});
    assert_eq!(message(&blocks, &value), json!({"blocks": escaped}));
    assert_eq!(message(&json!({"body": {"text": "$v"}}), &value), json!({"text": escaped.to_string()}));
    assert_eq!(message(&json!({"body": "is $v"}), &value), json!({"text": format!("is {escaped}")}));
    assert_eq!(message(&json!({"body": {"text": "$v"}}), &json!(36)), json!({"text": "36"}));
}

/// The JSON library reads an object with this key as the JSON in its text, also in a test.
#[test]
fn no_object_becomes_other_json() {
    let hidden = |json: &str| json!({"$serde_json::private::RawValue": json});
    let bytes = |members: &Json, value: &Json| {
        String::from_utf8(sent(members, value).unwrap().body.unwrap()).unwrap()
    };
    let (channel, here) = (r#""\u003c!channel\u003e""#, r#""\u003c!here\u003e""#);
    for value in [hidden(channel), json!([hidden(here)]), hidden("[]")] {
        for body in [
            json!({"text": "$v"}),
            json!({"text": "x $v"}),
            json!({"text": "x", "blocks": "$v"}),
            json!({"Name": "$v"}),
            json!(r#"{"text": $v}"#),
        ] {
            let sent = bytes(&json!({ "body": body }), &value);
            assert!(!sent.contains(['<', '>']) && sent.contains("RawValue"), "{body}: {sent}");
        }
    }
    let author = r#"{"text":"x","blocks":{"$serde_json::private::RawValue":"[1]"}}"#;
    assert_eq!(bytes(&json!({ "body": author }), &json!("x")), author);
}

#[test]
fn url_and_headers_are_not_escaped() {
    let members =
        json!({"url": "https://hooks.slack.com/services/$v", "headers": [{"key": "x-a", "value": "$v"}]});
    let request = sent(&members, &json!("a&b")).unwrap();
    assert_eq!(request.url, "https://hooks.slack.com/services/a%26b");
    assert_eq!(header(&request, "x-a"), Some("a&b"));
}

#[test]
fn get_sends_no_body() {
    assert_eq!(sent(&json!({"method": "GET"}), &json!("x")).unwrap().body, None);
}

#[test]
fn bodies_too_deep_or_too_long_are_rejected_without_quoting_values() {
    let error = |members: &Json, value: &Json| sent(members, value).unwrap_err().to_string();
    let deep = (0..126).fold(json!("secret"), |inner, _| json!([inner]));
    let body = json!({"body": {"text": "x", "deep": {"a": [{"b": "$v"}]}}});
    let refused = "the body is nested too deeply for Slack, or has a number of more than 64 bits";
    assert_eq!(error(&body, &deep), refused);
    assert_eq!(error(&json!({"body": r#"{"text": "x", "n": 1e400}"#}), &json!("x")), refused);
    let long = json!("<".repeat(MAX_BODY / 3));
    assert_eq!(error(&json!({"body": {"text": "$v"}}), &long), "the body is longer than 1048576 bytes");
    assert_eq!(error(&json!({"body": "$v"}), &long), "the body is longer than 1048576 bytes");
}

proptest! {
    #[test]
    fn no_value_mentions_links_or_changes_the_structure(value in any::<String>()) {
        let template = json!({"text": "a $v", "blocks": [{"text": "$v", "$v": ["$v$v"]}]});
        let sent = message(&json!({ "body": template }), &json!(value));
        prop_assert_eq!(shape(&sent), shape(&template));
        prop_assert!(!sent.to_string().contains(['<', '>']));
        let undone = sent["blocks"][0]["text"].as_str().unwrap().replace("&lt;", "<").replace("&gt;", ">");
        prop_assert_eq!(undone.replace("&amp;", "&"), value.clone());
        for body in [json!("a $v"), json!({"Name": "$v"}), json!(["$v"])] {
            let sent = message(&json!({ "body": body }), &json!(value));
            prop_assert_eq!(shape(&sent), json!({"text": null}));
            let text = sent["text"].as_str().unwrap();
            prop_assert!(!text.contains(['<', '>']));
            prop_assert!(body.is_string() || text.lines().count() <= 1);
        }
    }
}
