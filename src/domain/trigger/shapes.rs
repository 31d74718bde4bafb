//! Members that programs write in another shape than they mean: a number for a text, a text for a number or for
//! `true`, an empty list for an empty object, an empty text for nothing. Each type accepts these shapes, but none
//! that could mean something else.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::de::{
    Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
    value::MapAccessDeserializer,
};
use serde_json::{Value, value::RawValue};

/// From this number on, a language that knows only floats writes different whole numbers alike: two to the power of 53.
const MAX_EXACT: u64 = 1 << 53;

/// An id. A whole number means its digits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Id<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Id<'a> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Text;

        impl<'de> Visitor<'de> for Text {
            type Value = Cow<'de, str>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a whole number")
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Cow::Borrowed(text))
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Cow::Owned(text.to_owned()))
            }
        }

        // A float is rounded when it is read as one, so that another id could look the same.
        let raw = <&RawValue>::deserialize(reader)?.get();
        let id = match whole(raw) {
            Some(digits) => Cow::Owned(digits),
            None => {
                serde_json::Deserializer::from_str(raw).deserialize_any(Text).map_err(D::Error::custom)?
            }
        };
        Ok(Self(id))
    }
}

/// The digits of a JSON number that is whole, however it is written: `5`, `5.0`, `5e2`.
fn whole(number: &str) -> Option<String> {
    if let Ok(number) = number.parse::<u64>() {
        return Some(number.to_string());
    }
    if let Ok(number) = number.parse::<i64>() {
        return Some(number.to_string());
    }
    let unsigned = number.strip_prefix('-').unwrap_or(number);
    let (decimal, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (integer, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    let digits = format!("{integer}{fraction}");
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let digits = digits.trim_start_matches('0');
    if digits.is_empty() {
        return Some("0".to_owned());
    }
    // The number is `digits` times ten to the power of `exponent`.
    let exponent = exponent.parse::<i64>().ok()?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
    let significant = digits.trim_end_matches('0');
    let zeros = exponent.checked_add(i64::try_from(digits.len() - significant.len()).ok()?)?;
    let zeros = usize::try_from(zeros).ok().filter(|zeros| *zeros < 20)?;
    let whole = format!("{significant}{}", "0".repeat(zeros));
    whole.parse().ok().filter(|whole: &u64| *whole < MAX_EXACT)?;
    Some(if number.starts_with('-') { format!("-{whole}") } else { whole })
}

/// A whole number from 0 to `u64::MAX`, also as a float (`2.0`) or as text (`"2"`). Null and an empty text are absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whole(pub Option<u64>);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Option<u64>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_unit<E>(self) -> Result<Option<u64>, E> {
                Ok(None)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Option<u64>, E> {
                Ok(Some(number))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Option<u64>, E> {
                let whole = u64::try_from(number).map(Some);
                whole.map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Option<u64>, E> {
                // A whole number is written without a point.
                let whole = number.to_string().parse().map(Some);
                whole.map_err(|_| E::invalid_value(Unexpected::Float(number), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Option<u64>, E> {
                let digits = text.trim();
                if digits.is_empty() {
                    return Ok(None);
                }
                let digits = digits.strip_suffix(".0").unwrap_or(digits);
                let whole =
                    if digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None };
                whole.map(Some).ok_or_else(|| E::invalid_value(Unexpected::Str("a text"), &self))
            }
        }

        reader.deserialize_any(Number).map(Self)
    }
}

/// `true` or `false`, also as text in any case (Python's `True`) or as 1 and 0.
pub(super) fn flag(value: &Value) -> Option<bool> {
    let text = match value {
        Value::Bool(flag) => return Some(*flag),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.trim().to_ascii_lowercase(),
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    match text.as_str() {
        "true" | "1" | "1.0" => Some(true),
        "false" | "0" | "0.0" => Some(false),
        _ => None,
    }
}

/// Whether a JSON text is a list without items: an empty map in PHP.
#[must_use]
pub fn is_empty_list(text: &str) -> bool {
    let inside = text.trim_ascii().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

/// Whether a JSON text is a text without content: a box of a form that nobody filled in.
pub(super) fn is_empty_text(text: &str) -> bool {
    let inside = text.trim_ascii().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    inside.is_some_and(|inside| inside.trim_ascii().is_empty())
}

/// An object, or an empty list or text in place of an empty one.
pub(super) struct ObjectOrEmptyList<T>(pub(super) T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for ObjectOrEmptyList<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Members<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for Members<T> {
            type Value = T;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, access: A) -> Result<T, A::Error> {
                T::deserialize(MapAccessDeserializer::new(access))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<T, A::Error> {
                match access.next_element::<IgnoredAny>()? {
                    None => Ok(T::default()),
                    Some(_) => Err(A::Error::invalid_type(Unexpected::Seq, &self)),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
                if text.trim().is_empty() {
                    return Ok(T::default());
                }
                Err(E::invalid_type(Unexpected::Str("a text"), &self))
            }
        }

        reader.deserialize_any(Members(PhantomData)).map(Self)
    }
}

/// A list, or an empty object or text in place of an empty one.
pub struct ListOrEmptyObject<T>(pub Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for ListOrEmptyObject<T> {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Items<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Items<T> {
            type Value = Vec<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Vec<T>, A::Error> {
                let mut items = Vec::new();
                while let Some(item) = access.next_element()? {
                    items.push(item);
                }
                Ok(items)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Vec<T>, A::Error> {
                match access.next_key::<IgnoredAny>()? {
                    None => Ok(Vec::new()),
                    Some(_) => Err(A::Error::invalid_type(Unexpected::Map, &self)),
                }
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Vec<T>, E> {
                if text.trim().is_empty() {
                    return Ok(Vec::new());
                }
                Err(E::invalid_type(Unexpected::Str("a text"), &self))
            }
        }

        reader.deserialize_any(Items(PhantomData)).map(Self)
    }
}

#[cfg(test)]
mod tests;
