//! JSON of people whom nobody knows.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads JSON. The last of duplicate members counts.
///
/// `serde_json` takes an object with its own private key (`$serde_json::private::RawValue`) for the JSON in the text of
/// that member. So a value could become any other one, with characters that nobody has escaped. Here it is an object
/// like any other.
#[must_use]
pub fn parse(text: &[u8]) -> Option<Value> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Plain.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(value)
}

/// Whether a member says nothing. Some serializers write all members of a class, and forms all of their boxes.
#[must_use]
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim().is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

struct Plain;

impl<'de> DeserializeSeed<'de> for Plain {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Plain {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = access.next_element_seed(Self)? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            object.insert(key, access.next_value_seed(Self)?);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn private_key_of_the_library_is_a_key_like_any_other() {
        let text = r#"{"a": [{"$serde_json::private::RawValue": "[1]"}]}"#;
        let value = parse(text.as_bytes()).unwrap();
        assert_eq!(value["a"][0]["$serde_json::private::RawValue"], "[1]");
        // What the library makes of it.
        assert_eq!(serde_json::from_str::<Value>(text).unwrap(), json!({"a": [[1]]}));
    }

    #[test]
    fn everything_else_is_read_as_the_library_does() {
        for text in [
            r#" {"b": [1, -1, 1.5, 1e300, true, null, "é\n", {}], "a": 18446744073709551615, "b": 2} "#,
            "[]",
            r#""x""#,
            "5",
            "",
            "[1] x",
            "{\"a\"",
            "1e400",
            "\"\\ud800\"",
            &"[".repeat(200),
        ] {
            assert_eq!(parse(text.as_bytes()), serde_json::from_str(text).ok(), "{text}");
        }
        assert_eq!(parse(b"\"\xff\""), None);
    }

    #[test]
    fn members_without_content_are_empty() {
        for value in [json!(null), json!(""), json!(" \n"), json!([]), json!({})] {
            assert!(is_empty(&value), "{value}");
        }
        for value in [json!(false), json!(0), json!("x"), json!([null]), json!({"": null})] {
            assert!(!is_empty(&value), "{value}");
        }
    }
}
