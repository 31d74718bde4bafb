//! Bodies of webhooks with numbers beyond 64 bits, which a JSON value of this program cannot hold. Such a body is read as
//! the text that its JSON is: a text that is JSON keeps the digits of its numbers.

use serde_json::{Value, value::RawValue};

use crate::domain::json;

/// The definition with each body that has such a number as a text. `None` if there is none.
pub(super) fn as_texts(raw: &str) -> Option<String> {
    let mut found = false;
    let changed = with_members(raw, |key, value| match key {
        "action" => with_text_body(value, &mut found),
        "actions" => {
            let actions: Vec<&RawValue> = serde_json::from_str(value).ok()?;
            let actions = actions.iter().map(|action| {
                with_text_body(action.get(), &mut found).unwrap_or_else(|| action.get().to_owned())
            });
            Some(format!("[{}]", actions.collect::<Vec<_>>().join(",")))
        }
        _ => None,
    });
    changed.filter(|_| found)
}

fn with_text_body(action: &str, found: &mut bool) -> Option<String> {
    with_members(action, |key, value| {
        let is_wide = key == "body" && value.starts_with(['{', '[']) && !json::written(value).is_empty();
        *found |= is_wide;
        is_wide.then(|| Value::from(value).to_string())
    })
}

/// The JSON object with other values for the members for which `change` gives one.
fn with_members(object: &str, mut change: impl FnMut(&str, &str) -> Option<String>) -> Option<String> {
    let members = json::members(object).ok()?;
    let written = members.iter().map(|(key, value)| {
        let value = change(key, value.get()).unwrap_or_else(|| value.get().to_owned());
        format!("{}:{value}", Value::from(key.as_str()))
    });
    Some(format!("{{{}}}", written.collect::<Vec<_>>().join(",")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_bodies_with_wide_numbers_become_texts() {
        for (raw, expected) in [
            (
                r#"{"name": "t", "action": {"body": {"iccid": 89551234567890123456}}}"#,
                Some(r#"{"name":"t","action":{"body":"{\"iccid\": 89551234567890123456}"}}"#),
            ),
            (
                r#"{"actions": [{"body": [1e20], "a": 1}, {"body": {"b": 2}}, 7]}"#,
                Some(r#"{"actions":[{"body":"[1e20]","a":1},{"body":{"b": 2}},7]}"#),
            ),
            (r#"{"action": {"body": {"iccid": "89551234567890123456"}}}"#, None),
            (r#"{"action": {"headers": [89551234567890123456], "body": {}}}"#, None),
            (r#"{"action": {"body": 89551234567890123456}}"#, None),
            (r#"{"parameters": {"body": [89551234567890123456]}}"#, None),
            ("[]", None),
        ] {
            assert_eq!(as_texts(raw).as_deref(), expected, "{raw}");
        }
    }
}
