//! Strict JSON: stricter than `serde_json`.
//!
//! Duplicate keys, NUL characters (which Postgres cannot store) and numbers beyond 64 bits are defects.
//! [`is_shallow`] limits the nesting. Nothing here knows what the JSON means.

use std::{
    cell::{Cell, RefCell},
    collections::HashSet,
    fmt,
};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer,
};
use serde_json::{Map, Number, Value, error::Category, value::RawValue};

/// Nesting of arrays and objects in a message; the outermost object counts as 1.
pub(super) const MAX_DEPTH: usize = 128;

/// Two to the power of 64, the first whole number above `u64`.
const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;
/// Minus two to the power of 63. The integers just below it round to it.
const MINUS_TWO_POW_63: f64 = -9_223_372_036_854_775_808.0;

/// Why a text is not strict JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Defect {
    /// Not JSON.
    Syntax { line: usize, column: usize },
    /// JSON, but not an object.
    NotAnObject,
    /// A duplicate key in an object.
    DuplicateKey,
    /// A NUL character in a key or a string.
    Nul,
    /// A number that does not fit 64 bits.
    WideNumber,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { line, column } => write!(f, "is not JSON (line {line}, column {column})"),
            Self::NotAnObject => f.write_str("must be an object"),
            Self::DuplicateKey => f.write_str("contains a duplicate key in an object"),
            Self::Nul => f.write_str("contains a NUL character, which cannot be stored"),
            Self::WideNumber => f.write_str("contains a number that does not fit 64 bits"),
        }
    }
}

/// Why a text is not a strict JSON object.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadJson {
    /// The first defect.
    pub(super) defect: Defect,
    /// The member of the outermost object that has it.
    pub(super) member: Option<String>,
}

/// Parses a strict JSON object.
pub(super) fn object(text: &str) -> Result<Map<String, Value>, BadJson> {
    let notes = Notes::default();
    let mut reader = serde_json::Deserializer::from_str(text);
    let object = Outermost { notes: &notes }.deserialize(&mut reader);
    object.and_then(|object| reader.end().map(|()| object)).map_err(|error| notes.bad_json(&error))
}

/// Reads the members of an object in order, without parsing their values or rejecting duplicate keys. For
/// explaining why a message could not be decoded.
pub(super) fn members(text: &str) -> Result<Members<'_>, Defect> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Unread);
    members
        .and_then(|members| reader.end().map(|()| members))
        .map_err(|error| Notes::default().bad_json(&error).defect)
}

/// Whether two members have the same key.
pub(super) fn has_duplicate(members: &Members<'_>) -> bool {
    let mut keys = HashSet::new();
    !members.iter().all(|(key, _)| keys.insert(key))
}

/// The members of an object with unparsed values.
pub(super) type Members<'a> = Vec<(String, &'a RawValue)>;

/// Deserializes a struct only from a JSON object. Derived implementations also accept an array of its
/// members' values.
pub(super) struct ObjectOnly<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ObjectOnly<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Members<T>(std::marker::PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(access))
            }
        }

        reader.deserialize_map(Members(std::marker::PhantomData)).map(Self)
    }
}

/// Whether `text` is nested no deeper than [`MAX_DEPTH`]. Looks only at brackets, so it is safe on any text;
/// `serde_json` does not limit the depth of values that it skips.
pub(super) fn is_shallow(text: &str) -> bool {
    let opening = |byte: &&u8| matches!(byte, b'[' | b'{');
    // Nearly every message has fewer brackets than the limit.
    text.as_bytes().iter().filter(opening).count() <= MAX_DEPTH || deepest(text) <= MAX_DEPTH
}

fn deepest(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            _ if in_string => {}
            b'[' | b'{' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// The defect that a visitor found; `serde_json`'s own error does not distinguish them.
#[derive(Default)]
struct Notes {
    defect: Cell<Option<Defect>>,
    member: RefCell<Option<String>>,
}

impl Notes {
    fn reject<E: serde::de::Error>(&self, defect: Defect) -> E {
        self.defect.set(Some(defect));
        E::custom(defect)
    }

    fn without_nul<E: serde::de::Error>(&self, text: &str) -> Result<(), E> {
        if text.as_bytes().contains(&0) { Err(self.reject(Defect::Nul)) } else { Ok(()) }
    }

    fn bad_json(self, error: &serde_json::Error) -> BadJson {
        let defect = self.defect.get().unwrap_or_else(|| match error.classify() {
            Category::Data => Defect::NotAnObject,
            // serde_json reports a float beyond f64 as a syntax error; only the text differs.
            _ if error.to_string().starts_with("number out of range") => Defect::WideNumber,
            Category::Syntax | Category::Eof | Category::Io => {
                Defect::Syntax { line: error.line(), column: error.column() }
            }
        });
        BadJson { defect, member: self.member.into_inner() }
    }
}

/// The outermost object; remembers which member has the defect.
struct Outermost<'n> {
    notes: &'n Notes,
}

impl<'de> DeserializeSeed<'de> for Outermost<'_> {
    type Value = Map<String, Value>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Outermost<'_> {
    type Value = Map<String, Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            self.notes.without_nul(&key)?;
            let value = access.next_value_seed(Strict { notes: self.notes });
            match value {
                Ok(value) => {
                    if object.insert(key, value).is_some() {
                        return Err(self.notes.reject(Defect::DuplicateKey));
                    }
                }
                Err(error) => {
                    self.notes.member.replace(Some(key));
                    return Err(error);
                }
            }
        }
        Ok(object)
    }
}

/// Any value within the outermost object.
#[derive(Clone, Copy)]
struct Strict<'n> {
    notes: &'n Notes,
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Value, E> {
        // Integers beyond 64 bits arrive here, rounded.
        let fits = value < TWO_POW_64 && value > MINUS_TWO_POW_63;
        let number = if fits { Number::from_f64(value) } else { None };
        number.map(Value::Number).ok_or_else(|| self.notes.reject(Defect::WideNumber))
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<Value, E> {
        self.notes.without_nul(value)?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = access.next_element_seed(self)? {
            list.push(item);
        }
        // Short lists would take four times their size.
        list.shrink_to_fit();
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(key) = access.next_key::<String>()? {
            self.notes.without_nul(&key)?;
            if object.insert(key, access.next_value_seed(self)?).is_some() {
                return Err(self.notes.reject(Defect::DuplicateKey));
            }
        }
        Ok(Value::Object(object))
    }
}

struct Unread;

impl<'de> Visitor<'de> for Unread {
    type Value = Members<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry::<String, &RawValue>()? {
            members.push(member);
        }
        Ok(members)
    }
}

#[cfg(test)]
mod tests {
    use std::mem::discriminant;

    use super::*;

    const SYNTAX: Defect = Defect::Syntax { line: 0, column: 0 };

    fn defect(text: &str) -> Option<Defect> {
        object(text).err().map(|bad| bad.defect)
    }

    #[test]
    fn each_defect_is_recognized() {
        let table = [
            (r#"{"a": [1, -1, 1.5, true, null, "x", {"b": {}}]}"#, None),
            (r#"{"a": 18446744073709551615, "b": -9223372036854775808}"#, None),
            (r#"{"a": 1.0e19, "b": 1e-400, "c": -0.0}"#, None),
            (r#"{"a": 18446744073709551616}"#, Some(Defect::WideNumber)),
            (r#"{"a": -9223372036854775809}"#, Some(Defect::WideNumber)),
            (r#"{"a": [{"b": 1e400}]}"#, Some(Defect::WideNumber)),
            (r#"{"a": 1e300}"#, Some(Defect::WideNumber)),
            (r#"{"a": "x\u0000y"}"#, Some(Defect::Nul)),
            (r#"{"a": {"x\u0000y": 1}}"#, Some(Defect::Nul)),
            (r#"{"x\u0000y": 1}"#, Some(Defect::Nul)),
            (r#"{"a": 1, "a": 2}"#, Some(Defect::DuplicateKey)),
            (r#"{"a": 1, "\u0061": 2}"#, Some(Defect::DuplicateKey)),
            (r#"{"o": [{"a": 1, "a": 2}]}"#, Some(Defect::DuplicateKey)),
            (r#"{"a": 1} x"#, Some(SYNTAX)),
            (r#"{"a": "\ud800"}"#, Some(SYNTAX)),
            (r#"{"a": NaN}"#, Some(SYNTAX)),
            (r#"{"a": 1"#, Some(SYNTAX)),
            ("", Some(SYNTAX)),
            ("[1]", Some(Defect::NotAnObject)),
            ("null", Some(Defect::NotAnObject)),
            ("1e400", Some(Defect::WideNumber)),
        ];
        for (text, expected) in table {
            let found = defect(text);
            assert_eq!(
                found.map(|found| discriminant(&found)),
                expected.map(|defect| discriminant(&defect)),
                "{text}"
            );
        }
    }

    #[test]
    fn the_member_with_the_defect_is_named() {
        let bad = object(r#"{"a": 1, "b": [{"c": "\u0000"}]}"#).unwrap_err();
        assert_eq!(bad, BadJson { defect: Defect::Nul, member: Some("b".into()) });
    }

    #[test]
    fn syntax_errors_have_a_position() {
        assert_eq!(defect("{\n  \"a\": x}").unwrap().to_string(), "is not JSON (line 2, column 8)");
    }

    #[test]
    fn valid_json_is_read_as_serde_json_does() {
        let text = r#"{"a": [1, -1, 1.5, true, null, "é\n", {"b": {}}], "c": 1e3}"#;
        assert_eq!(Value::Object(object(text).unwrap()), text.parse::<Value>().unwrap());
    }

    #[test]
    fn depth_is_counted_outside_of_strings() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_shallow(&nested(MAX_DEPTH)));
        assert!(!is_shallow(&nested(MAX_DEPTH + 1)));
        assert!(!is_shallow(&"[".repeat(1_000_000)));
        assert!(is_shallow(&format!(r#"["{}", "\"{}"]"#, "[".repeat(500), "{".repeat(500))));
        assert!(is_shallow(&format!("[{}[]]", "[],".repeat(500))));
        // A shallow text is safe for recursive parsers.
        assert_eq!(defect(&format!(r#"{{"a": {}}}"#, nested(126))), None);
    }

    #[test]
    fn members_keep_the_text_of_their_values() {
        let read = members(r#"{"a": [1, {"x": 1e400}], "b": null}"#).unwrap();
        let read: Vec<_> = read.iter().map(|(key, value)| (key.as_str(), value.get())).collect();
        assert_eq!(read, [("a", r#"[1, {"x": 1e400}]"#), ("b", "null")]);
        assert!(has_duplicate(&members(r#"{"a": 1, "\u0061": 1}"#).unwrap()));
        assert!(!has_duplicate(&members(r#"{"a": 1, "b": {"a": 1}}"#).unwrap()));
        assert_eq!(members("3").unwrap_err(), Defect::NotAnObject);
        assert_eq!(members("{} x").unwrap_err(), Defect::Syntax { line: 1, column: 4 });
    }
}
