//! How much memory decoded JSON takes. A text of `{"":0},{"":0}` takes seventy times its size.
//!
//! A fixed factor for the text would have to be seventy for all messages, so ordinary ones would wait for room that
//! they do not need. Measuring a message costs less than a hundredth of decoding it.

use serde_json::{Map, Value};

/// A member of an object without its key's text and its value's content: key, value, hash and its place in the index.
const MEMBER: usize = size_of::<(String, Value)>() + 3 * size_of::<usize>();

/// An object has room for at least this many members, unless it is empty.
const LEAST_MEMBERS: usize = 4;

/// The memory behind an object's members, in bytes. An estimate that is rather too high.
pub(super) fn of_members(members: &Map<String, Value>) -> usize {
    if members.is_empty() {
        return 0;
    }
    // Its room doubles as it grows.
    let room = members.len().next_power_of_two().max(LEAST_MEMBERS) * MEMBER;
    room + members.iter().map(|(key, value)| key.capacity() + of_value(value)).sum::<usize>()
}

/// The memory behind a value, in bytes.
pub(super) fn of_value(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => text.capacity(),
        Value::Array(items) => {
            items.capacity() * size_of::<Value>() + items.iter().map(of_value).sum::<usize>()
        }
        Value::Object(members) => of_members(members),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn size(value: &Value) -> usize {
        of_members(value.as_object().unwrap())
    }

    #[test]
    fn small_values_take_far_more_than_their_text() {
        for (value, text) in [(json!(0), 2), (json!([0]), 4), (json!({"": 0}), 7)] {
            let size = size(&json!({"list": vec![value.clone(); 1000]}));
            // As an allocator that counts has found.
            assert!((30 * 1000 * text..100 * 1000 * text).contains(&size), "{value}: {size}");
        }
    }

    #[test]
    fn text_takes_its_size() {
        assert_eq!(size(&json!({})), 0);
        let (short, long) = (json!({"a": "x"}), json!({"a": "x".repeat(1001)}));
        assert_eq!(size(&long) - size(&short), 1000);
    }
}
