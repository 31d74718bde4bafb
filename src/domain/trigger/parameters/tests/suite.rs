//! The JSON Schema Test Suite, each schema as that of a parameter (`tests/json-schema-suite`).

use serde::Deserialize;

use super::*;
use crate::domain::{json as strict, trigger::definition::Trigger};

const SUITE: &str = include_str!("../../../../../tests/json-schema-suite/draft2020-12.json");

/// Where the references of a schema point to from the root on.
const PLACE: &str = "#/properties/value";

#[derive(Deserialize)]
struct Group {
    file: String,
    description: String,
    schema: Value,
    tests: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    description: String,
    data: Value,
    valid: bool,
}

/// The schema at [`PLACE`], with its references moved there. Below an `$id` they do not count from the root.
fn moved(schema: &Value) -> Value {
    match schema {
        Value::Object(members) if members.get("$id").is_some_and(Value::is_string) => schema.clone(),
        Value::Object(members) => {
            let member = |(key, value): (&String, &Value)| {
                let value = match (key.as_str(), value) {
                    ("const" | "enum" | "default" | "examples", _) => value.clone(),
                    ("$ref" | "$dynamicRef", Value::String(text))
                        if text == "#" || text.starts_with("#/") =>
                    {
                        format!("{PLACE}{}", &text[1..]).into()
                    }
                    _ => moved(value),
                };
                (key.clone(), value)
            };
            Value::Object(members.iter().map(member).collect())
        }
        Value::Array(items) => items.iter().map(moved).collect(),
        schema => schema.clone(),
    }
}

/// Whether an event with these arguments passes; `None` if the trigger or the arguments cannot be read.
fn passes(schema: &Value, data: &Value) -> Option<bool> {
    let parameters = json!({"properties": {"value": moved(schema)}, "required": ["value"]});
    let action = json!({"type": "CRM", "subtype": "UPSERT_CONTACT"});
    let definition = json!({"name": "suite", "parameters": parameters, "action": action});
    let trigger = Trigger::parse(&definition.to_string()).ok()?;
    let arguments = strict::object(&json!({ "value": data }).to_string()).ok()?;
    Some(trigger.check_arguments(&arguments.into()).is_ok())
}

#[test]
fn the_official_test_suite_agrees() {
    let groups: Vec<Group> = serde_json::from_str(SUITE).unwrap();
    let mut count = 0;
    let mut others = Vec::new();
    for group in &groups {
        for case in &group.tests {
            count += 1;
            if passes(&group.schema, &case.data) != Some(case.valid) {
                others.push(format!("{}: {}: {}", group.file, group.description, case.description));
            }
        }
    }
    assert_eq!(count, 1179);
    // NUL characters are dropped, the number is 1e308, and dynamic references depend on where they are used.
    let known = [
        "const: nul characters in strings: do not match string lacking nul",
        "enum: nul characters in strings: do not match string lacking nul",
        "multipleOf: float division = inf: always invalid, but naive implementations may raise an overflow error",
        "unevaluatedItems: unevaluatedItems with $dynamicRef: with unevaluated items",
        "unevaluatedProperties: unevaluatedProperties with $dynamicRef: with unevaluated properties",
    ];
    assert_eq!(others, known);
    assert!(others.len() * 100 < count);
}
