//! Events whose parameters are written as tools write them.

use super::*;

/// An event whose trigger has these parameters and upserts name, email, phone and company.
fn lead(parameters: &Value, arguments: Value) -> Value {
    let action = json!({"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email"});
    let trigger = json!({"name": "register_lead", "parameters": parameters, "action": action});
    with(with(event(), "/data/trigger", trigger), "/data/arguments", arguments)
}

fn stored(event: &Value) -> Result<Vec<(&'static str, String)>, (Reason, String)> {
    let plan = run(event, &rules()).map_err(|fault| (fault.reason, fault.message))?;
    let Work::UpsertContact(update) = &plan.steps[0].work else { panic!("a CRM step") };
    assert_eq!(rejected(update), []);
    Ok(values(update).into_iter().map(|(field, value)| (field, value.to_owned())).collect())
}

#[test]
fn strict_schemas_accept_null_where_they_say_so() {
    let parameters = json!({
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "email": {"type": ["string", "null"]},
            "company": {"anyOf": [{"type": "string"}, {"type": "null"}]},
        },
        "required": ["name", "email", "company"],
        "additionalProperties": false,
    });
    let given = json!({"name": "Helena Prado", "email": null, "company": null});
    assert_eq!(stored(&lead(&parameters, given)), Ok(vec![("name", "Helena Prado".into())]));
    let (reason, message) =
        stored(&lead(&parameters, json!({"name": null, "email": null, "company": null}))).unwrap_err();
    assert_eq!(reason, Reason::ArgumentsInvalid);
    assert_eq!(message, "trigger `register_lead`: argument `name` is required but missing");
}

#[test]
fn patterns_may_look_around() {
    let pattern = r"^(?!\.)(?!.*\.\.)[^@\s]+@[^@\s]+\.[A-Za-z]{2,}$";
    let parameters = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "properties": {"name": {"type": "string"}, "email": {"type": "string", "format": "email", "pattern": pattern}},
        "required": ["name", "email"],
    });
    let email = |email: &str| stored(&lead(&parameters, json!({"name": "Igor", "email": email})));
    let expected = vec![("name", "Igor".to_owned()), ("email", "igor@firma.example".to_owned())];
    assert_eq!(email("igor@firma.example"), Ok(expected));
    assert_eq!(email("igor..m@firma.example").unwrap_err().0, Reason::ArgumentsInvalid);
}

#[test]
fn definitions_may_use_each_other() {
    let parameters = json!({
        "properties": {"name": {"type": "string"}, "email": {"type": "string"}, "lead": {"$ref": "#/$defs/Lead"}},
        "$defs": {
            "Plan": {"type": "string", "enum": ["starter", "growth"]},
            "Lead": {"type": "object", "properties": {"plan": {"$ref": "#/$defs/Plan"}}, "required": ["plan"]},
        },
    });
    let plan = |plan: &str| {
        stored(&lead(
            &parameters,
            json!({"name": "Kelly", "email": "k@firma.example", "lead": {"plan": plan}}),
        ))
    };
    assert!(plan("growth").is_ok());
    let (reason, message) = plan("gold").unwrap_err();
    assert_eq!(reason, Reason::ArgumentsInvalid);
    assert_eq!(message, "trigger `register_lead`: argument `lead` is not one of the values in `enum`");
}
