//! Parses JSON from strangers in one of two ways: as `serde_json` does, and strictly.
//!
//! Strictly, duplicate keys and numbers beyond 64 bits are defects, except in an `object_of_doubles`. NUL
//! characters, which Postgres cannot store, are dropped, and the escape of half a surrogate pair, which is no character, is
//! read as U+FFFD. `is_shallow` limits the nesting. Nothing here knows what the JSON means.
//!
//! `serde_json` replaces an object that has its own private key (`$serde_json::private::RawValue`) with the JSON in
//! that member's text. A value could so become any other one, with characters that nobody has escaped. Here it is an
//! object like any other.

mod doubles;
mod surrogates;
mod wide;

use std::{
    borrow::Cow,
    cell::{Cell, RefCell},
    collections::HashSet,
    fmt,
};

use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor, value::MapAccessDeserializer,
};
use serde_json::{Map, Value, error::Category, value::RawValue};

pub use self::{doubles::within_doubles, wide::Digits};
pub(in crate::domain) use self::{
    surrogates::paired,
    wide::{is_whole, is_wide, written},
};

/// Nesting of arrays and objects in a message; the outermost object counts as 1. `serde_json` reads no deeper value.
pub(in crate::domain) const MAX_DEPTH: usize = 127;

/// Why a text is not strict JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::domain) enum Defect {
    /// Not JSON.
    Syntax { line: usize, column: usize },
    /// JSON, but not an object.
    NotAnObject,
    /// A duplicate key in an object.
    DuplicateKey,
    /// A number that does not fit 64 bits.
    WideNumber,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Syntax { line, column } => write!(f, "is not JSON (line {line}, column {column})"),
            Self::NotAnObject => f.write_str("must be an object"),
            Self::DuplicateKey => f.write_str("contains a duplicate key in an object"),
            Self::WideNumber => f.write_str("contains a number that does not fit 64 bits"),
        }
    }
}

/// Why a text is not a strict JSON object.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::domain) struct BadJson {
    /// The first defect.
    pub(in crate::domain) defect: Defect,
    /// The member of the outermost object that has it.
    pub(in crate::domain) member: Option<String>,
}

/// Reads JSON. The last of duplicate members counts.
#[must_use]
pub fn parse(text: &[u8]) -> Option<Value> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = Any { notes: None }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(value)
}

/// Whether a member is empty. Some serializers write all members of a class, and forms all of their fields.
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

/// The text in a JSON string.
pub(in crate::domain) fn text(json: &str) -> Option<String> {
    serde_json::from_str(json).ok().or_else(|| serde_json::from_str(&paired(json)?).ok())
}

/// Parses a strict JSON object.
pub(in crate::domain) fn object(text: &str) -> Result<Map<String, Value>, BadJson> {
    object_of(text, Sizes::Bits64)
}

/// Parses a strict JSON object whose member `any_size` may have numbers of any size. One that no double can hold is read as
/// the greatest double.
pub(in crate::domain) fn object_with(
    any_size: &'static str,
    text: &str,
) -> Result<Map<String, Value>, BadJson> {
    let parsed = object_of(text, Sizes::AnyIn(any_size));
    // serde_json has no value for such a number.
    if parsed.as_ref().is_err_and(|bad| bad.defect == Defect::WideNumber)
        && let Cow::Owned(text) = within_doubles(text)
    {
        return object_of(&text, Sizes::AnyIn(any_size));
    }
    parsed
}

/// Parses a strict JSON object with any numbers that a double can hold.
pub(in crate::domain) fn object_of_doubles(text: &str) -> Result<Map<String, Value>, BadJson> {
    object_of(text, Sizes::Any)
}

fn object_of(text: &str, sizes: Sizes) -> Result<Map<String, Value>, BadJson> {
    let parse = |text: &str| Notes { sizes, ..Notes::default() }.object(text);
    let parsed = parse(text);
    match &parsed {
        Err(BadJson { defect: Defect::Syntax { .. }, .. }) => {
            paired(text).map_or(parsed, |text| parse(&text))
        }
        _ => parsed,
    }
}

/// Reads the members of an object in order, without parsing their values or rejecting duplicate keys. For
/// explaining why a message could not be decoded.
pub(in crate::domain) fn members(text: &str) -> Result<Members<'_>, Defect> {
    let mut reader = serde_json::Deserializer::from_str(text);
    let members = reader.deserialize_map(Unread);
    members
        .and_then(|members| reader.end().map(|()| members))
        .map_err(|error| Notes::default().bad_json(&error).defect)
}

/// Whether two members have the same key.
pub(in crate::domain) fn has_duplicate(members: &Members<'_>) -> bool {
    let mut keys = HashSet::new();
    !members.iter().all(|(key, _)| keys.insert(key))
}

/// The members of an object with unparsed values.
pub(in crate::domain) type Members<'a> = Vec<(String, &'a RawValue)>;

/// Deserializes a struct only from a JSON object. Derived implementations also accept an array of its
/// members' values.
pub(in crate::domain) struct ObjectOnly<T>(pub(in crate::domain) T);

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
pub(in crate::domain) fn is_shallow(text: &str) -> bool {
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

/// Which members of an object may have numbers beyond 64 bits.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Sizes {
    /// None.
    #[default]
    Bits64,
    /// This one.
    AnyIn(&'static str),
    /// All.
    Any,
}

/// The defect that a visitor found; `serde_json`'s own error does not distinguish them.
#[derive(Default)]
struct Notes {
    defect: Cell<Option<Defect>>,
    member: RefCell<Option<String>>,
    sizes: Sizes,
    /// Whether the member that is being read may have numbers of any size.
    is_any_size: Cell<bool>,
}

impl Notes {
    fn object(self, text: &str) -> Result<Map<String, Value>, BadJson> {
        let mut reader = serde_json::Deserializer::from_str(text);
        let object = Outermost { notes: &self }.deserialize(&mut reader);
        object.and_then(|object| reader.end().map(|()| object)).map_err(|error| self.bad_json(&error))
    }

    fn reject<E: serde::de::Error>(&self, defect: Defect) -> E {
        self.defect.set(Some(defect));
        E::custom(defect)
    }

    /// Whether a float may be stored. Integers beyond 64 bits arrive as floats, rounded.
    fn admits(&self, value: f64) -> bool {
        !is_wide(value) || self.is_any_size.get()
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
        while let Some(key) = access.next_key::<String>()?.map(without_nul) {
            self.notes.is_any_size.set(match self.notes.sizes {
                Sizes::Bits64 => false,
                Sizes::AnyIn(name) => name == key,
                Sizes::Any => true,
            });
            let value = access.next_value_seed(Any { notes: Some(self.notes) });
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

/// Any value, read strictly where there are notes.
#[derive(Clone, Copy)]
struct Any<'n> {
    notes: Option<&'n Notes>,
}

impl Any<'_> {
    fn text(self, text: String) -> String {
        if self.notes.is_some() { without_nul(text) } else { text }
    }
}

fn without_nul(text: String) -> String {
    if text.as_bytes().contains(&0) { text.replace('\0', "") } else { text }
}

impl<'de> DeserializeSeed<'de> for Any<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_> {
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
        match self.notes {
            Some(notes) if !notes.admits(value) => Err(notes.reject(Defect::WideNumber)),
            _ => Ok(value.into()),
        }
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(self.text(value.to_owned())))
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
        while let Some(key) = access.next_key::<String>()?.map(|key| self.text(key)) {
            let earlier = object.insert(key, access.next_value_seed(self)?);
            if let Some(notes) = self.notes.filter(|_| earlier.is_some()) {
                return Err(notes.reject(Defect::DuplicateKey));
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
mod tests;
