//! What an author is told, with its place.

use serde_json::json;

use super::*;

const PARAMETERS: &str = r#"{"properties": {"name": {"type": "string"}, "email": {"type": "string"}}}"#;

fn findings(text: &str) -> Vec<(Severity, String, String)> {
    let found = find(text).unwrap();
    found.iter().flat_map(lint).map(|finding| (finding.severity, finding.place, finding.message)).collect()
}

fn with_actions(actions: &str) -> String {
    format!(r#"{{"name": "t", "parameters": {PARAMETERS}, "actions": {actions}}}"#)
}

const CRM: &str = r#"{"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email"}"#;

#[test]
fn a_good_definition_is_silent_in_every_wrapping() {
    let definition = with_actions(&format!("[{CRM}]"));
    for text in [
        definition.clone(),
        format!(r#"{{"trigger": {definition}, "next": [{definition}]}}"#),
        format!(r#"{{"specversion": "1.0", "data": {{"trigger": {definition}, "next": null}}}}"#),
    ] {
        assert_eq!(findings(&text), []);
    }
}

#[test]
fn every_error_has_its_place_in_the_file() {
    let bad =
        with_actions(r#"[{"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "$name", "mail": "email"}]"#);
    let told = findings(&format!(r#"{{"data": {{"trigger": {bad}, "next": [{bad}]}}}}"#));
    let places: Vec<&str> = told.iter().map(|(_, place, _)| place.as_str()).collect();
    assert_eq!(
        places,
        [
            "/data/trigger/actions/0/mail",
            "/data/trigger/actions/0/name",
            "/data/next/0/actions/0/mail",
            "/data/next/0/actions/0/name",
        ]
    );
    assert!(told.iter().all(|(severity, ..)| *severity == Severity::Error));
    assert!(findings("not json").iter().any(|(severity, ..)| *severity == Severity::Error));
}

#[test]
fn warnings_tell_what_is_hardly_meant() {
    let webhook = json!({
        "type": "WEBHOOK", "url": "http://h.example/$name/$plan",
        "headers": [{ "key": "Authorization", "value": "Bearer x" }, { "key": "x-a", "value": "$session.id" }],
        "body": { "a": ["$contact.phone and $whatever"] },
    });
    let crm = r#"{"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name"}"#;
    let told = findings(&with_actions(&format!("[{crm}, {webhook}]")));
    let at: Vec<(&str, bool)> =
        told.iter().map(|(severity, place, _)| (place.as_str(), *severity == Severity::Warning)).collect();
    assert_eq!(
        at,
        [
            ("/actions/0", true),
            ("/actions/1/url", true),
            ("/actions/1/headers/0/value", true),
            ("/actions/1/url", true),
            ("/parameters/properties/email", true),
        ]
    );
    assert!(told[3].2.contains("$plan"), "{told:?}");
}

#[test]
fn a_use_in_a_webhook_is_a_use() {
    let webhook = r#"{"type": "WEBHOOK", "url": "https://h.example/$name", "body": "mail $email."}"#;
    assert_eq!(findings(&with_actions(&format!("[{webhook}]"))), []);
}

#[test]
fn a_webhook_that_cannot_be_sent_is_an_error() {
    let webhook = r#"{"type": "WEBHOOK", "url": "https://$name/x", "body": "$email"}"#;
    let told = findings(&with_actions(&format!("[{webhook}]")));
    assert!(told.iter().any(|(severity, ..)| *severity == Severity::Error), "{told:?}");
    let told = findings(&with_actions(&format!(r#"[{{"type": "CRM"}}, {webhook}]"#)));
    let places: Vec<&str> = told.iter().map(|(_, place, _)| place.as_str()).collect();
    assert_eq!(places, ["/actions/0/subtype", "/actions/1"], "all at once");
}
