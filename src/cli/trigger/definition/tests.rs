//! The findings that an author gets, with their places.

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
fn file_that_is_not_json_is_reported_by_line_and_column() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    std::io::Write::write_all(&mut file, b"{\n  \"name\": Zaphod\n}").unwrap();
    let error = crate::telemetry::chain(read(file.path()).unwrap_err().as_ref());
    let expected =
        format!("could not parse {} as JSON: expected value at line 2 column 11", file.path().display());
    assert_eq!(error, expected);
}

#[test]
fn good_definition_has_no_findings_in_any_wrapping() {
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
        "type": "WEBHOOK", "url": "http://h.example/$name/$plan",
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
            ("/parameters/properties/email", true),
        ]
    );
    assert!(found[3].2.contains("$plan"), "{found:?}");
}

#[test]
fn parameter_used_by_a_webhook_is_not_reported() {
    let webhook = r#"{"type": "WEBHOOK", "url": "https://h.example/$name", "body": "mail $email."}"#;
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
