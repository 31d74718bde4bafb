//! An event with a new identity: an edited event is a different event.

use serde_json::{Value, value::RawValue};

use crate::domain::{event::without_mark, json};

/// The same event with this `id`, and with this `source` if one is given. All other members stay as they are written.
/// `None` if the body is not a JSON object.
#[must_use]
pub fn renamed(body: &[u8], id: &str, source: Option<&str>) -> Option<Vec<u8>> {
    let text = std::str::from_utf8(without_mark(body)).ok().filter(|text| json::is_shallow(text))?;
    let members = json::members(text).ok()?;
    let names = [Some(("id", id)), source.map(|source| ("source", source))];
    let names: Vec<(&str, &str)> = names.into_iter().flatten().collect();
    let is_new = |key: &str| names.iter().any(|(name, _)| *name == key);
    let first = names.iter().map(|(name, value)| member(name, &Value::from(*value).to_string()));
    let others =
        members.iter().filter(|(key, _)| !is_new(key)).map(|(key, raw)| member(key, RawValue::get(raw)));
    let all: Vec<String> = first.chain(others).collect();
    Some(format!("{{{}}}", all.join(",")).into_bytes())
}

fn member(key: &str, value: &str) -> String {
    format!("{}:{value}", Value::from(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(body: &str, source: Option<&str>) -> Option<String> {
        renamed(body.as_bytes(), "n\"1", source).map(|body| String::from_utf8(body).unwrap())
    }

    #[test]
    fn other_members_keep_their_spelling() {
        let body = r#"{ "b": 1.50, "id": "old", "source": "/s", "é": {"id": 1e400} }"#;
        assert_eq!(of(body, None).unwrap(), r#"{"id":"n\"1","b":1.50,"source":"/s","é":{"id": 1e400}}"#);
        assert_eq!(
            of(body, Some("/t")).unwrap(),
            r#"{"id":"n\"1","source":"/t","b":1.50,"é":{"id": 1e400}}"#
        );
        assert_eq!(of("\u{feff}{}", None).unwrap(), r#"{"id":"n\"1"}"#);
    }

    #[test]
    fn only_an_object_can_be_renamed() {
        let deep = "[".repeat(100_000);
        for body in ["", "[]", "1", "{", "{} x", "{'a': 1}", &format!("{{\"a\":{deep}")] {
            assert_eq!(of(body, None), None, "{body:.20}");
        }
        assert_eq!(renamed(b"\xff{}", "1", None), None);
    }
}
