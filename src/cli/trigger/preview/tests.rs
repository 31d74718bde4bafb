//! A preview is what the workers would do.

use super::*;
use crate::settings;

const REFERENCE: &str = r#"{
    "name": "register_qualified_lead",
    "parameters": {"properties": {"name": {"type": "string"}, "email": {"type": "string"}}, "required": ["name"]},
    "actions": [
        {"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email"},
        {"type": "WEBHOOK", "url": "https://hooks.example/$plan", "method": "PUT",
         "headers": [{"key": "X-Session", "value": "$session.id"}],
         "body": {"text": "$name ($contact.email) $contact.operation"}},
        {"type": "WEBHOOK", "url": "https://hooks.example/"}
    ]
}"#;

fn fired(
    text: &str,
    arguments: &str,
    client_data: &str,
    environment: &[(&str, &str)],
) -> anyhow::Result<Value> {
    let environment = environment.iter().map(|(name, value)| ((*name).into(), (*value).into()));
    let settings = settings::load(None, environment).unwrap().settings;
    fire(text, &argument(arguments, "a")?, &argument(client_data, "c")?, &settings)
}

#[test]
fn the_steps_are_carried_out_in_memory() {
    let arguments = r#"{"name": "Ada", "email": " ADA@Analytical.example "}"#;
    let shown = fired(REFERENCE, arguments, r#"{"plan": "a/b"}"#, &[]).unwrap();
    assert_eq!(shown["steps"][0]["fields"], json!({ "name": "Ada", "email": "ada@analytical.example" }));
    let request = &shown["steps"][1];
    assert_eq!(request["url"], "https://hooks.example/a%2Fb");
    assert_eq!(request["method"], "PUT");
    assert_eq!(request["body"], r#"{"text":"Ada (ada@analytical.example) created"}"#);
    assert!(request["headers"].to_string().contains(r#"["x-session","preview"]"#), "{request}");
    assert_eq!(shown["skipped"], 1);
    let text = as_text(&shown);
    assert!(text.contains("PUT https://hooks.example/a%2Fb") && text.contains("1 further"), "{text}");
}

#[test]
fn without_a_body_the_event_is_sent() {
    let arguments = r#"{"name": "Ada", "email": "ada@analytical.example"}"#;
    let shown = fired(
        REFERENCE,
        arguments,
        r#"{"plan": "x"}"#,
        &[("CONTACT_RELAY__CHAIN__DEFAULT_MAX_INTERACTIONS", "3")],
    );
    let shown = shown.unwrap();
    let body: Value = serde_json::from_str(shown["steps"][2]["body"].as_str().unwrap()).unwrap();
    assert_eq!(body["type"], "contact.upserted");
    assert_eq!(body["data"]["contact"]["email"], "ada@analytical.example");
}

#[test]
fn what_would_be_a_dead_letter_is_an_error() {
    let missing = fired(REFERENCE, "{}", "{}", &[]).unwrap_err().to_string();
    assert!(missing.contains("arguments_invalid"), "{missing}");
    let unknown = fired(REFERENCE, r#"{"name": "Ada"}"#, "{}", &[]).unwrap();
    assert!(unknown["steps"][1]["error"].as_str().unwrap().contains("webhook_invalid"), "{unknown}");
    let http = REFERENCE.replace("https://hooks.example/$plan", "http://hooks.example/");
    let blocked = fired(&http, r#"{"name": "Ada"}"#, "{}", &[]).unwrap();
    assert!(blocked["steps"][1]["error"].as_str().unwrap().contains("webhook_blocked"), "{blocked}");
    let allowed =
        fired(&http, r#"{"name": "Ada"}"#, "{}", &[("CONTACT_RELAY__WEBHOOK__ALLOW_HTTP", "true")]).unwrap();
    assert_eq!(allowed["steps"][1].get("error"), None);
}

#[test]
fn what_the_event_says_stands() {
    let event = format!(
        r#"{{"data": {{"assistant": {{"maxInteractions": 1}}, "clientData": {{"plan": "p"}}, "trigger": {REFERENCE}}}}}"#
    );
    assert_eq!(fired(&event, r#"{"name": "Ada"}"#, "{}", &[]).unwrap()["skipped"], 2);
    assert!(argument("5", "--arguments").is_err());
    assert!(argument("{", "--arguments").is_err());
}
