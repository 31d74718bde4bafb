//! Builds trigger-fired events: `Event::lead("Ada").phone("+55 11 98765-4321").webhook(&url)`.

use lapin::BasicProperties;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

/// The 15 fields of a contact. The lead's trigger maps each to a parameter of the same name.
const FIELDS: [&str; 15] = [
    "name",
    "identity",
    "phone",
    "email",
    "company",
    "position",
    "birthday",
    "zipCode",
    "country",
    "state",
    "city",
    "district",
    "street",
    "number",
    "complement",
];

/// One `trigger.fired` event, to be changed before it is published.
#[derive(Clone, Debug)]
pub(crate) struct Event(Value);

impl Event {
    /// A new event, now, of company `acme`: a trigger whose only action upserts the contact `name`.
    pub(crate) fn lead(name: &str) -> Self {
        let parameters =
            FIELDS.into_iter().chain(["interest"]).map(|field| (field.to_owned(), json!({"type": "string"})));
        let mapping = FIELDS.into_iter().map(|field| (field.to_owned(), field.into()));
        let mut action: Map<_, _> = mapping.collect();
        action.insert("type".to_owned(), "CRM".into());
        action.insert("subtype".to_owned(), "UPSERT_CONTACT".into());
        let time = OffsetDateTime::now_utc().format(&Rfc3339).expect("a time");
        Self(json!({
            "specversion": "1.0",
            "id": Uuid::now_v7(),
            "source": "/companies/acme/assistants/sales",
            "type": "trigger.fired",
            "time": time,
            "datacontenttype": "application/json",
            "data": {
                "company": {"id": "acme"},
                "assistant": {"id": "sales", "maxInteractions": 10},
                "session": {"id": Uuid::now_v7()},
                "trigger": {
                    "name": "register_lead",
                    "parameters": {"properties": parameters.collect::<Map<_, _>>(), "required": []},
                    "interpretResponse": false,
                    "actions": [action]
                },
                "arguments": {"name": name}
            }
        }))
    }

    /// An event from its complete JSON.
    pub(crate) fn from_json(event: Value) -> Self {
        Self(event)
    }

    /// An event like [`Event::lead`] without any action. Add at least one.
    pub(crate) fn bare() -> Self {
        Self::lead("nobody").with("/data/trigger/actions", json!([]))
    }

    /// Sets an argument. For the 15 fields it is the field's value.
    pub(crate) fn argument(self, name: &str, value: impl Into<Value>) -> Self {
        self.with(&format!("/data/arguments/{name}"), value.into())
    }

    pub(crate) fn phone(self, phone: &str) -> Self {
        self.argument("phone", phone)
    }

    pub(crate) fn email(self, email: &str) -> Self {
        self.argument("email", email)
    }

    pub(crate) fn id(self, id: &str) -> Self {
        self.with("/id", id.into())
    }

    /// An RFC 3339 time.
    pub(crate) fn time(self, time: &str) -> Self {
        self.with("/time", time.into())
    }

    pub(crate) fn company(self, id: &str) -> Self {
        self.with("/data/company/id", id.into())
    }

    pub(crate) fn max_interactions(self, count: u32) -> Self {
        self.with("/data/assistant/maxInteractions", count.into())
    }

    /// Adds an action: a POST to `url` without a body.
    pub(crate) fn webhook(self, url: &str) -> Self {
        self.action(json!({"type": "WEBHOOK", "url": url, "method": "POST"}))
    }

    /// Adds an action to the trigger.
    pub(crate) fn action(mut self, action: Value) -> Self {
        let actions = self.0.pointer_mut("/data/trigger/actions").and_then(Value::as_array_mut);
        actions.expect("a list of actions").push(action);
        self
    }

    /// Adds a trigger with this action to run after this one.
    pub(crate) fn next(mut self, action: &Value) -> Self {
        let parameters = self.0.pointer("/data/trigger/parameters").cloned();
        let definition = json!({"name": "next", "parameters": parameters, "action": action});
        let data = self.0.pointer_mut("/data").and_then(Value::as_object_mut).expect("an event");
        let next = data.entry("next").or_insert_with(|| json!([]));
        next.as_array_mut().expect("a list of triggers").push(definition);
        self
    }

    /// Sets the value at a JSON pointer, whose parent must be an object.
    pub(crate) fn with(mut self, pointer: &str, value: Value) -> Self {
        let (object, key) = self.member(pointer);
        object.insert(key, value);
        self
    }

    /// Removes the value at a JSON pointer.
    pub(crate) fn without(mut self, pointer: &str) -> Self {
        let (object, key) = self.member(pointer);
        object.remove(&key).expect("it is there");
        self
    }

    pub(crate) fn event_id(&self) -> &str {
        self.text("/id")
    }

    /// The text at a JSON pointer.
    pub(crate) fn text(&self, pointer: &str) -> &str {
        self.0.pointer(pointer).and_then(Value::as_str).expect("a text")
    }

    /// The value at a JSON pointer.
    pub(crate) fn value(&self, pointer: &str) -> &Value {
        self.0.pointer(pointer).expect("a value")
    }

    /// The argument of that name, if it is a text.
    pub(crate) fn argument_text(&self, name: &str) -> Option<&str> {
        self.0.pointer("/data/arguments")?.get(name)?.as_str()
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.to_string().into_bytes()
    }

    /// The platform's properties: persistent, CloudEvents JSON, the event's id.
    pub(crate) fn properties(&self) -> BasicProperties {
        let id = self.0.pointer("/id").and_then(Value::as_str).unwrap_or_default();
        BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/cloudevents+json".into())
            .with_message_id(id.into())
    }

    fn member(&mut self, pointer: &str) -> (&mut Map<String, Value>, String) {
        let (parent, key) = pointer.rsplit_once('/').expect("a JSON pointer");
        let object = self.0.pointer_mut(parent).and_then(Value::as_object_mut);
        (object.unwrap_or_else(|| panic!("{parent} is not an object")), key.to_owned())
    }
}
