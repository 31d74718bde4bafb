//! What an edit changed in the JSON of an event.

use serde_json::{Map, Value, json};

/// The members that differ, as a list of `{"path": JSON pointer, "before": …, "after": …}`. A member that was added has no
/// `before`, one that was removed no `after`. If the original is not JSON, the whole event was replaced.
pub(super) fn difference(before: Option<&Value>, after: &Value) -> Value {
    let mut found = Vec::new();
    match before {
        Some(before) => compare("", before, after, &mut found),
        None => found.push(json!({ "path": "", "after": storable(after) })),
    }
    Value::Array(found)
}

/// The value without zero bytes, which Postgres refuses.
pub(super) fn storable(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(without_nul(text)),
        Value::Array(items) => items.iter().map(storable).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| (without_nul(key), storable(value)));
            Value::Object(members.collect::<Map<_, _>>())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn compare(path: &str, before: &Value, after: &Value, found: &mut Vec<Value>) {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                match new.get(key) {
                    Some(other) => compare(&within(path, key), value, other, found),
                    None => found.push(json!({ "path": within(path, key), "before": storable(value) })),
                }
            }
            let added = new.iter().filter(|(key, _)| !old.contains_key(*key));
            found.extend(
                added.map(|(key, value)| json!({ "path": within(path, key), "after": storable(value) })),
            );
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            for (index, (value, other)) in old.iter().zip(new).enumerate() {
                compare(&format!("{path}/{index}"), value, other, found);
            }
        }
        (before, after) if before == after => {}
        (before, after) => {
            found.push(json!({ "path": path, "before": storable(before), "after": storable(after) }));
        }
    }
}

/// RFC 6901, section 3.
fn within(path: &str, key: &str) -> String {
    format!("{path}/{}", without_nul(key).replace('~', "~0").replace('/', "~1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_names_each_member_that_was_changed() {
        let before = json!({"a": 1, "b": {"c": [1, 2], "d/e~f": "x"}, "gone": null, "list": [1]});
        let after = json!({"a": 1, "b": {"c": [1, 3], "d/e~f": "y\0"}, "new": {"k": true}, "list": [1, 2]});
        assert_eq!(
            difference(Some(&before), &after),
            json!([
                {"path": "/b/c/1", "before": 2, "after": 3},
                {"path": "/b/d~1e~0f", "before": "x", "after": "y\u{fffd}"},
                {"path": "/gone", "before": null},
                {"path": "/list", "before": [1], "after": [1, 2]},
                {"path": "/new", "after": {"k": true}},
            ])
        );
        assert_eq!(difference(Some(&after), &after), json!([]));
        assert_eq!(difference(None, &json!(1)), json!([{"path": "", "after": 1}]));
    }
}
