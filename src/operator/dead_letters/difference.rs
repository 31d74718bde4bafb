//! What an edit changed in the JSON of an event.

use serde_json::{Map, Value, json};

/// Maximum size of all paths together, in bytes. Beyond that, the whole event counts as replaced: the path of a member contains
/// the names of all its parents, so many deeply nested members would take far more room than the event itself.
const MAX_PATHS: usize = 1 << 20;

/// The members that differ, as a list of `{"path": JSON pointer, "before": …, "after": …}`. A member that was added has no
/// `before`, one that was removed no `after`. If the original is not JSON, the whole event was replaced.
pub(super) fn difference(before: Option<&Value>, after: &Value) -> Value {
    let mut found = Vec::new();
    match before {
        Some(before) => {
            let mut room = MAX_PATHS;
            if compare("", before, after, &mut found, &mut room).is_none() {
                found = vec![json!({ "path": "", "before": storable(before), "after": storable(after) })];
            }
        }
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

/// `None` once the paths take more than the `room`.
fn compare(
    path: &str,
    before: &Value,
    after: &Value,
    found: &mut Vec<Value>,
    room: &mut usize,
) -> Option<()> {
    match (before, after) {
        (Value::Object(old), Value::Object(new)) => {
            for (key, value) in old {
                // Before its path is written: it may be long.
                if new.get(key) == Some(value) {
                    continue;
                }
                let path = within(path, key);
                if let Some(other) = new.get(key) {
                    compare(&path, value, other, found, room)?;
                } else {
                    *room = room.checked_sub(path.len())?;
                    found.push(json!({ "path": path, "before": storable(value) }));
                }
            }
            for (key, value) in new.iter().filter(|(key, _)| !old.contains_key(*key)) {
                let path = within(path, key);
                *room = room.checked_sub(path.len())?;
                found.push(json!({ "path": path, "after": storable(value) }));
            }
        }
        (Value::Array(old), Value::Array(new)) if old.len() == new.len() => {
            let pairs = old.iter().zip(new).enumerate();
            for (index, (value, other)) in pairs.filter(|(_, (value, other))| value != other) {
                compare(&format!("{path}/{index}"), value, other, found, room)?;
            }
        }
        (before, after) if before == after => {}
        (before, after) => {
            *room = room.checked_sub(path.len())?;
            found.push(json!({ "path": path, "before": storable(before), "after": storable(after) }));
        }
    }
    Some(())
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

    #[test]
    fn difference_is_not_much_larger_than_the_events() {
        let event = |value: u8| json!({ "x".repeat(100_000): vec![value; 50] });
        let (before, after) = (event(1), event(2));
        let found = difference(Some(&before), &after);
        assert_eq!(found, json!([{ "path": "", "before": before, "after": after }]));
    }
}
