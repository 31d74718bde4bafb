//! An example event and the default placeholders, for the tests of the domain.

use proptest::{prelude::Strategy, string::string_regex};
use serde_json::{Value, json};

use crate::domain::contact::placeholder::{PlaceholderLists, Placeholders};

/// From the default settings.
pub(super) fn placeholders() -> Placeholders {
    let defaults =
        config::File::from_str(include_str!("../../config/default.toml"), config::FileFormat::Toml);
    let settings = config::Config::builder().add_source(defaults).build().unwrap();
    Placeholders::new(&settings.get::<PlaceholderLists>("placeholders").unwrap())
}

/// Texts that a regular expression describes. An expression that is a strategy itself is parsed for each of its values, which
/// takes most of the time of a test.
pub(super) fn matching(expression: &str) -> impl Strategy<Value = String> {
    string_regex(expression).unwrap()
}

/// A `trigger.fired` event with a CRM and a WEBHOOK action.
pub(super) fn event() -> Value {
    json!({
        "specversion": "1.0",
        "id": "0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11",
        "source": "/companies/acme/assistants/sales",
        "type": "trigger.fired",
        "time": "2026-11-22T10:00:00.123Z",
        "datacontenttype": "application/json",
        "data": {
            "company": {"id": "acme"},
            "assistant": {"id": "sales", "maxInteractions": 2},
            "session": {"id": "5e0c4a36-90c4-4b0c-8a4e-0d6f5b8f2f55"},
            "clientData": {"plan": "enterprise", "user_id": "usr_999"},
            "images": ["https://cdn.example/1.png"],
            "trigger": {
                "name": "register_qualified_lead",
                "description": "Registers the lead in the CRM after collecting the necessary data.",
                "parameters": {
                    "properties": {
                        "name": {"type": "string"},
                        "email": {"type": "string"},
                        "company": {"type": "string"},
                        "interest": {"type": "string", "enum": ["starter", "growth", "enterprise"]}
                    },
                    "required": ["name", "email", "company"]
                },
                "interpretResponse": false,
                "actions": [
                    {"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email", "company": "company"},
                    {
                        "type": "WEBHOOK",
                        "url": "https://hooks.example/sales",
                        "method": "POST",
                        "headers": [{"key": "Authorization", "value": "Bearer my_token"}],
                        "body": {"text": "New $interest lead: $name ($email), session $session.id"}
                    }
                ]
            },
            "arguments": {
                "name": "Ada Lovelace",
                "email": "ada@analytical.example",
                "company": "Analytical",
                "interest": "growth"
            }
        }
    })
}

/// Sets the value at the JSON pointer.
pub(super) fn with(mut event: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    event.pointer_mut(parent).unwrap()[key] = value;
    event
}

/// Removes the member at the JSON pointer.
pub(super) fn without(mut event: Value, pointer: &str) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    event.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    event
}
