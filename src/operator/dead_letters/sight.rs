//! What people see of a dead letter's message: everything except identity documents, which only [`reveal`] shows.
//!
//! A document is found as worker 1 finds it: it is the argument that an action's field `identity` names. A message
//! that is not JSON does not show where it has one, so it is withheld.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sqlx::PgConnection;

use super::DeadLetter;
use crate::{
    domain::{
        event::{Key, without_mark},
        value::identity::masked,
    },
    operator::audit::{self, Actor, Change},
    postgres::{Database, dead_letters as store},
};

/// The shortest document that is looked for within other texts. A shorter one would match by chance.
const MIN_WITHIN: usize = 6;

/// A message as it may be shown.
pub struct Seen {
    /// The message; `None` if it is withheld, because it is not JSON.
    pub body: Option<Vec<u8>>,
    /// What an edit changed in it.
    pub difference: Option<Value>,
}

/// The message without identity documents.
#[must_use]
pub fn seen(dead_letter: &DeadLetter) -> Seen {
    let Some(event) = parsed(&dead_letter.body) else {
        let body = dead_letter.body.is_empty().then(Vec::new);
        return Seen { body, difference: None };
    };
    let mut documents = Documents::default();
    documents.collect(&event);
    let difference = dead_letter.difference.as_ref().map(|difference| {
        let changes = difference.as_array().map(Vec::as_slice).unwrap_or_default();
        for part in changes.iter().flat_map(|change| [change.get("before"), change.get("after")]).flatten() {
            // For a replaced event as a whole.
            documents.collect(part);
        }
        documents.collect_changed(changes);
        documents.hide(difference)
    });
    let hidden = documents.hide(&event);
    let body = if hidden == event { dead_letter.body.clone() } else { hidden.to_string().into_bytes() };
    Seen { body: Some(body), difference }
}

/// The edited event with the documents of the original where it still has what [`seen`] shows in their place.
#[must_use]
pub(super) fn restored(original: &[u8], edited: &[u8]) -> Option<Vec<u8>> {
    let (original, mut value) = (parsed(original)?, parsed(edited)?);
    let mut documents = Documents::default();
    documents.collect(&original);
    let is_restored = restore(&original, &documents.hide(&original), &mut value);
    is_restored.then(|| value.to_string().into_bytes())
}

/// The unmasked message; the request is recorded. `None` if the dead letter does not exist.
///
/// # Errors
/// When the database fails.
pub async fn reveal(
    database: &Database,
    actor: &Actor,
    key: &Key,
) -> Result<Option<DeadLetter>, sqlx::Error> {
    let reveal = async |conn: &mut PgConnection| {
        let found = store::get(conn, key).await?;
        if found.is_some() {
            let change = Change {
                action: audit::DEAD_LETTER_REVEAL,
                company: &key.company,
                object: key.id.to_string(),
                before: None,
                after: Some(json!({ "field": "body" })),
            };
            audit::record(conn, actor, &change).await?;
        }
        Ok(found)
    };
    database.transact(Option::is_some, reveal).await
}

fn parsed(body: &[u8]) -> Option<Value> {
    let value: Value = serde_json::from_slice(without_mark(body)).ok()?;
    (value.is_object() || value.is_array()).then_some(value)
}

/// The identity documents of an event.
#[derive(Default)]
struct Documents {
    /// The parameters that have one.
    parameters: BTreeSet<String>,
    values: BTreeSet<String>,
}

impl Documents {
    fn collect(&mut self, event: &Value) {
        self.parameters.insert("identity".to_owned());
        self.collect_parameters(event);
        let arguments = event.pointer("/data/arguments").and_then(Value::as_object);
        for (name, value) in arguments.into_iter().flatten() {
            self.collect_argument(name, value);
        }
    }

    /// Of a definition wherever it is: `action`, `actions`, `next`, however deep.
    fn collect_parameters(&mut self, value: &Value) {
        match value {
            Value::Object(members) => {
                for (key, value) in members {
                    match value {
                        Value::String(name) if plain(key) == "identity" => {
                            self.parameters.insert(plain(name));
                        }
                        _ => self.collect_parameters(value),
                    }
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect_parameters(item)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// For single members that an edit changed.
    fn collect_changed(&mut self, changes: &[Value]) {
        let parts = |change: &Value| {
            let path = change.get("path").and_then(Value::as_str).unwrap_or_default().to_owned();
            let values = ["before", "after"].into_iter().filter_map(|part| change.get(part).cloned());
            (path, values.collect::<Vec<_>>())
        };
        let parts: Vec<(String, Vec<Value>)> = changes.iter().map(parts).collect();
        let last = |path: &str| plain(path.rsplit('/').next().unwrap_or_default());
        for (_, values) in parts.iter().filter(|(path, _)| last(path) == "identity") {
            self.parameters.extend(values.iter().filter_map(Value::as_str).map(plain));
        }
        for (path, values) in &parts {
            match path.strip_prefix("/data/arguments/") {
                Some(name) => values.iter().for_each(|value| self.collect_argument(name, value)),
                None if path == "/data/arguments" => {
                    for (name, value) in values.iter().filter_map(Value::as_object).flatten() {
                        self.collect_argument(name, value);
                    }
                }
                None => {}
            }
        }
    }

    fn collect_argument(&mut self, name: &str, value: &Value) {
        if !self.parameters.contains(&plain(name)) {
            return;
        }
        match value {
            Value::String(text) => {
                self.values.insert(text.trim().to_owned());
            }
            Value::Number(number) => {
                self.values.insert(number.to_string());
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect_argument(name, item)),
            Value::Object(members) => members.values().for_each(|item| self.collect_argument(name, item)),
            Value::Null | Value::Bool(_) => {}
        }
        self.values.remove("");
    }

    /// The value without the documents, wherever they are.
    fn hide(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.hide_in(text)),
            Value::Number(number) if self.values.contains(&number.to_string()) => {
                Value::String(masked(&number.to_string()))
            }
            Value::Array(items) => items.iter().map(|item| self.hide(item)).collect(),
            Value::Object(members) => {
                members.iter().map(|(key, value)| (key.clone(), self.hide(value))).collect()
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    fn hide_in(&self, text: &str) -> String {
        if self.values.contains(text.trim()) {
            return masked(text.trim());
        }
        let within = self.values.iter().filter(|value| value.len() >= MIN_WITHIN);
        within.fold(text.to_owned(), |text, value| {
            if text.contains(value.as_str()) { text.replace(value.as_str(), &masked(value)) } else { text }
        })
    }
}

/// As names of fields and parameters are compared: `$Tax-ID` and `{{tax_id}}` are `taxid`.
fn plain(name: &str) -> String {
    name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// Restores the original wherever the edited value is what was shown for it. Returns whether it did.
fn restore(original: &Value, hidden: &Value, edited: &mut Value) -> bool {
    match (original, hidden, edited) {
        (Value::Object(original), Value::Object(hidden), Value::Object(edited)) => {
            let mut is_restored = false;
            for (key, value) in edited.iter_mut() {
                if let (Some(original), Some(hidden)) = (original.get(key), hidden.get(key)) {
                    is_restored |= restore(original, hidden, value);
                }
            }
            is_restored
        }
        (Value::Array(original), Value::Array(hidden), Value::Array(edited)) => {
            let pairs = original.iter().zip(hidden).zip(edited);
            pairs.fold(false, |is_restored, ((original, hidden), edited)| {
                restore(original, hidden, edited) || is_restored
            })
        }
        (original, hidden, edited) => {
            let is_shown = original != hidden && *hidden == *edited;
            if is_shown {
                *edited = original.clone();
            }
            is_shown
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event() -> Value {
        json!({"data": {
            "trigger": {"actions": [{"type": "CRM", "subtype": "UPSERT_CONTACT", "identity": "tax_id"}]},
            "next": [{"action": {"identity": "passport"}}],
            "clientData": {"note": "has 529.982.247-25, she says"},
            "arguments": {"tax_id": "529.982.247-25", "passport": 123_456_789, "name": "Ada", "other": "1"},
        }})
    }

    fn documents(event: &Value) -> Documents {
        let mut documents = Documents::default();
        documents.collect(event);
        documents
    }

    #[test]
    fn documents_are_hidden_wherever_they_are() {
        let hidden = documents(&event()).hide(&event());
        assert_eq!(
            hidden["data"]["arguments"],
            json!({"tax_id": "***-25", "passport": "***789", "name": "Ada", "other": "1"})
        );
        assert_eq!(hidden["data"]["clientData"]["note"], "has ***-25, she says");
        assert_eq!(hidden["data"]["trigger"], event()["data"]["trigger"]);
    }

    #[test]
    fn edit_of_what_is_shown_keeps_the_documents() {
        let mut edited = documents(&event()).hide(&event());
        edited["data"]["arguments"]["name"] = json!("Ada Lovelace");
        let bytes = |value: &Value| value.to_string().into_bytes();
        let restored = restored(&bytes(&event()), &bytes(&edited)).unwrap();
        let mut expected = event();
        expected["data"]["arguments"]["name"] = json!("Ada Lovelace");
        assert_eq!(serde_json::from_slice::<Value>(&restored).unwrap(), expected);
        // Another document is a change.
        edited["data"]["arguments"]["tax_id"] = json!("111.444.777-35");
        let restored = super::restored(&bytes(&event()), &bytes(&edited)).unwrap();
        let restored: Value = serde_json::from_slice(&restored).unwrap();
        assert_eq!(restored["data"]["arguments"]["tax_id"], "111.444.777-35");
        assert_eq!(super::restored(&bytes(&event()), &bytes(&event())), None);
    }

    #[test]
    fn what_an_edit_changed_is_hidden_too() {
        let mut documents = documents(&event());
        let changes = [
            json!({"path": "/data/arguments/tax_id", "before": "52998224725", "after": "529.982.247-25"}),
            json!({"path": "/data/trigger/actions/0/identity", "before": "cpf", "after": "tax_id"}),
            json!({"path": "/data/arguments/cpf", "before": "111.444.777-35"}),
        ];
        documents.collect_changed(&changes);
        let hidden = documents.hide(&json!(changes)).to_string();
        for value in ["52998224725", "529.982", "111.444"] {
            assert!(!hidden.contains(value), "{hidden}");
        }
    }
}
