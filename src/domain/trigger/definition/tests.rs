//! Valid definitions, and everything that can be wrong with one.

use serde_json::json;

use super::*;

fn definition(member: &str, value: Value) -> Value {
    let mut definition = json!({
        "name": "register",
        "parameters": {"properties": {"name": {"type": "string"}}},
        "action": {"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name"},
    });
    definition[member] = value;
    definition
}

fn faults(definition: &Value) -> (Reason, String) {
    let bad = Trigger::parse(&definition.to_string()).unwrap_err();
    (bad.reason, bad.message())
}

#[test]
fn a_complete_definition_is_parsed() {
    let trigger = Trigger::parse(
        r#"{"name": "register_qualified_lead", "description": "Registers the lead",
            "parameters": {"properties": {"name": {"type": "string"}, "email": {"type": "string"},
                "interest": {"type": "string", "enum": ["starter", "growth"]}}, "required": ["name", "email"]},
            "action": {"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email"},
            "interpretResponse": true, "category": "ignored"}"#,
    )
    .unwrap();
    assert_eq!(trigger.name(), "register_qualified_lead");
    assert_eq!(trigger.description(), Some("Registers the lead"));
    assert_eq!(trigger.parameters(), ["name", "email", "interest"]);
    assert!(trigger.interprets_response());
    let [Action::UpsertContact(mapping)] = trigger.actions() else { panic!("one CRM action") };
    assert_eq!(mapping.iter().count(), 2);
}

#[test]
fn optional_members_may_be_null() {
    let mut definition = definition("description", Value::Null);
    definition["interpretResponse"] = Value::Null;
    definition["actions"] = Value::Null;
    assert!(!Trigger::parse(&definition.to_string()).unwrap().interprets_response());
    let bare = json!({"name": "x", "action": {"type": "CRM", "subtype": "UPSERT_CONTACT"}});
    assert!(Trigger::parse(&bare.to_string()).unwrap().parameters().is_empty());
}

#[test]
fn members_may_be_spelled_otherwise() {
    let action = json!({"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name"});
    let schema = json!({"properties": {"name": {"type": "string"}}}).to_string();
    for (member, value) in [
        // A text column of a database that holds JSON
        ("parameters", json!(schema)),
        ("action", json!(action.to_string())),
        // Serializers that write both members: one is empty
        ("actions", json!([])),
        ("actions", json!("")),
        ("actions", json!({})),
        // Forms
        ("description", json!("")),
        ("description", json!(5)),
        ("description", json!({"en": "x"})),
        ("interpretResponse", json!(" ")),
    ] {
        let definition = definition(member, value.clone());
        let trigger = Trigger::parse(&definition.to_string()).unwrap_or_else(|bad| panic!("{value}: {bad}"));
        let [Action::UpsertContact(mapping)] = trigger.actions() else { panic!("{value}: one CRM action") };
        assert_eq!((mapping.iter().count(), trigger.interprets_response()), (1, false), "{value}");
        assert_eq!(trigger.parameters(), ["name"], "{value}");
    }
    for empty in [json!({}), json!([]), json!("")] {
        let mut definition = definition("action", empty);
        definition["actions"] = json!([action]).to_string().into();
        assert_eq!(Trigger::parse(&definition.to_string()).unwrap().actions().len(), 1);
    }
    let bare = json!({"name": "x", "parameters": "", "action": {"type": "CRM", "subtype": "UPSERT_CONTACT"}});
    assert!(Trigger::parse(&bare.to_string()).unwrap().parameters().is_empty());
}

#[test]
fn missing_names_and_actions_make_the_event_invalid() {
    let action = json!({"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name"});
    for (member, value, expected) in [
        ("name", Value::Null, "/name: is required"),
        ("name", json!(3), "/name: must be a string"),
        ("action", Value::Null, "one of `action` and `actions` is required"),
        ("actions", json!([action]), "give either `action` or `actions`, not both"),
    ] {
        let found = faults(&definition(member, value));
        assert_eq!(found, (Reason::EventInvalid, expected.to_owned()));
    }
    for count in [0, 1, 10, 11] {
        let mut definition = definition("actions", Value::Array(vec![action.clone(); count]));
        definition["action"] = Value::Null;
        match Trigger::parse(&definition.to_string()) {
            Ok(trigger) => assert_eq!(trigger.actions().len(), count),
            Err(bad) => {
                assert!(count == 0 || count == 11);
                assert_eq!(bad.message(), "/actions: must be a list of 1 to 10 actions");
            }
        }
    }
    assert_eq!(Trigger::parse("[]").unwrap_err().reason, Reason::EventInvalid);
}

#[test]
fn other_problems_make_the_trigger_invalid() {
    for (member, value, expected) in [
        ("name", json!(""), "/name: must be 1 to 255 characters without control characters"),
        ("name", json!("é".repeat(256)), "/name: must be 1 to 255 characters without control characters"),
        ("name", json!("a\nb"), "/name: must be 1 to 255 characters without control characters"),
        ("interpretResponse", json!("yes"), "/interpretResponse: must be true or false"),
        ("parameters", json!([{}]), "/parameters: must be an object, a JSON Schema with `properties`"),
        ("action", json!("x"), "/action: must be an object"),
        ("action", json!({}), "/action/type: is required; write `CRM` or `WEBHOOK`"),
        ("parameters", json!("object"), "/parameters: must be an object, a JSON Schema with `properties`"),
        ("parameters", json!("[{}]"), "/parameters: must be an object, a JSON Schema with `properties`"),
        ("parameters", json!("{"), "/parameters: must be an object, a JSON Schema with `properties`"),
        ("action", json!({"type": "SMS"}), "/action/type: unknown type `SMS`; write `CRM` or `WEBHOOK`"),
        ("action", json!({"type": "crm"}), "/action/type: unknown type `crm`; write `CRM` or `WEBHOOK`"),
        ("action", json!({"type": "CRM"}), "/action/subtype: must be `UPSERT_CONTACT`"),
        ("action", json!({"type": "CRM", "subtype": "DELETE"}), "/action/subtype: must be `UPSERT_CONTACT`"),
    ] {
        let (reason, message) = faults(&definition(member, value));
        assert_eq!(reason, Reason::TriggerInvalid);
        assert!(message.starts_with(expected), "{message}");
    }
    assert!(Trigger::parse(&definition("name", json!("é".repeat(255))).to_string()).is_ok());
    let mapping = json!({"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "$name", "nick": "name"});
    let (reason, message) = faults(&definition("action", mapping));
    assert_eq!(reason, Reason::TriggerInvalid);
    assert!(message.contains("/action/name: write the bare parameter name, `name`"), "{message}");
    assert!(message.contains("; /action/nick: unknown field `nick`"), "{message}");
}

#[test]
fn defects_of_the_json_are_reported_with_the_name() {
    for (raw, reason, message) in [
        (r#"{"name": "n", "x": "\u0000"}"#, Reason::TriggerInvalid, "/x: contains a NUL character"),
        (r#"{"name": "n", "x": [1e999]}"#, Reason::TriggerInvalid, "/x: contains a number that does not fit"),
        (r#"{"name": "n", "x": {"a": 1, "a": 2}}"#, Reason::Undecodable, "/x: contains a duplicate key"),
    ] {
        let bad = Trigger::parse(raw).unwrap_err();
        assert_eq!((bad.reason, bad.name.as_deref()), (reason, Some("n")));
        assert!(bad.message().starts_with(message), "{}", bad.message());
    }
    let wide = format!(r#"{{"name": "n", "parameters": {{"minProperties": {}}}}}"#, u128::MAX);
    assert_eq!(Trigger::parse(&wide).unwrap_err().reason, Reason::TriggerInvalid);
}
