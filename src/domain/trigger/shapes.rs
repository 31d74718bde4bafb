//! Members that programs write in another shape than the one they mean: a number for a text, a text for a number or for
//! `true`, an empty list for an empty object, an empty text for nothing. Each type reads these shapes, and none that
//! could mean something else.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::de::{
    Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor,
    value::MapAccessDeserializer,
};
use serde_json::Value;

/// Up to this number, a float is exactly the whole number that was written: two to the power of 53.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// An id. A whole number stands for its digits.
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

            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Cow::Owned(number.to_string()))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Cow::Owned(number.to_string()))
            }

            /// `5.0` is the number 5 of a language that knows only floats.
            fn visit_f64<E: Error>(self, number: f64) -> Result<Self::Value, E> {
                if number.fract() != 0.0 || number.abs() > MAX_EXACT {
                    return Err(E::invalid_value(Unexpected::Float(number), &self));
                }
                // The sum of minus zero and zero is zero.
                Ok(Cow::Owned((number + 0.0).to_string()))
            }
        }

        reader.deserialize_any(Text).map(Self)
    }
}

/// A whole number from 0 to `u32::MAX`, also as a float (`2.0`) or as text (`"2"`). Null and an empty text are none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Whole(pub Option<u32>);

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        struct Number;

        impl Visitor<'_> for Number {
            type Value = Option<u32>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }

            fn visit_unit<E>(self) -> Result<Option<u32>, E> {
                Ok(None)
            }

            fn visit_u64<E: Error>(self, number: u64) -> Result<Option<u32>, E> {
                let whole = u32::try_from(number).map(Some);
                whole.map_err(|_| E::invalid_value(Unexpected::Unsigned(number), &self))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Option<u32>, E> {
                let whole = u32::try_from(number).map(Some);
                whole.map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
            }

            fn visit_f64<E: Error>(self, number: f64) -> Result<Option<u32>, E> {
                // A whole number is written without a point.
                let whole = number.to_string().parse().map(Some);
                whole.map_err(|_| E::invalid_value(Unexpected::Float(number), &self))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Option<u32>, E> {
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

/// An object, which an empty list and an empty text also stand for.
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

/// A list, which an empty object and an empty text also stand for.
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
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn an_id_is_a_text_or_a_whole_number() {
        for (text, expected) in [
            (r#""acme""#, Some("acme")),
            (r#""a\u0062""#, Some("ab")),
            (r#""""#, Some("")),
            (r#""5""#, Some("5")),
            ("5", Some("5")),
            ("-5", Some("-5")),
            ("0", Some("0")),
            ("-0.0", Some("0")),
            ("5.0", Some("5")),
            ("5e2", Some("500")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("-9223372036854775808", Some("-9223372036854775808")),
            ("9007199254740992.0", Some("9007199254740992")),
            // Rounded: another id could look the same.
            ("9007199254740994.0", None),
            ("18446744073709551616", None),
            ("5.5", None),
            ("true", None),
            ("null", None),
            ("[]", None),
            ("{}", None),
        ] {
            let read = serde_json::from_str::<Id<'_>>(text).ok();
            assert_eq!(read, expected.map(|id| Id(id.into())), "{text}");
        }
    }

    #[test]
    fn a_whole_number_may_be_a_float_or_a_text() {
        for (text, expected) in [
            ("2", Some(2)),
            ("0", Some(0)),
            ("2.0", Some(2)),
            ("2e1", Some(20)),
            (r#""2""#, Some(2)),
            (r#"" 2 ""#, Some(2)),
            (r#""2.0""#, Some(2)),
            ("4294967295", Some(u32::MAX)),
            (r#""4294967295""#, Some(u32::MAX)),
            ("4294967296", None),
            (r#""4294967296""#, None),
            ("-1", None),
            (r#""-1""#, None),
            (r#""+1""#, None),
            ("1.5", None),
            ("1e300", None),
            (r#""two""#, None),
            ("true", None),
            ("[]", None),
        ] {
            let read = serde_json::from_str(text).ok();
            assert_eq!(read, expected.map(|number| Whole(Some(number))), "{text}");
        }
        for text in ["null", r#""""#, r#"" ""#] {
            assert_eq!(serde_json::from_str(text).ok(), Some(Whole(None)), "{text}");
        }
    }

    #[test]
    fn a_flag_may_be_a_text_or_a_number() {
        for (value, expected) in [
            (json!(true), Some(true)),
            (json!(false), Some(false)),
            (json!("true"), Some(true)),
            // Python, C#
            (json!("True"), Some(true)),
            (json!("False"), Some(false)),
            // spreadsheets
            (json!("TRUE"), Some(true)),
            (json!("FALSE"), Some(false)),
            // PHP, SQL
            (json!("1"), Some(true)),
            (json!("0"), Some(false)),
            (json!(1), Some(true)),
            (json!(0), Some(false)),
            (json!(1.0), Some(true)),
            (json!(2), None),
            (json!(-1), None),
            (json!("yes"), None),
            (json!(""), None),
            (json!(null), None),
            (json!([]), None),
            (json!({}), None),
        ] {
            assert_eq!(flag(&value), expected, "{value}");
        }
    }

    #[test]
    fn an_empty_list_is_an_empty_object_and_the_reverse() {
        type Object = ObjectOrEmptyList<std::collections::BTreeMap<String, u8>>;
        for (text, expected) in
            [("[]", true), (" [ \r\n]", true), ("[1]", false), ("{}", false), ("", false), ("[", false)]
        {
            assert_eq!(is_empty_list(text), expected, "{text}");
        }
        let members =
            |text: &str| serde_json::from_str::<Object>(text).map(|ObjectOrEmptyList(map)| map.len()).ok();
        let items =
            |text: &str| serde_json::from_str(text).map(|ListOrEmptyObject::<u8>(list)| list.len()).ok();
        for (text, object, list) in [
            ("[]", Some(0), Some(0)),
            ("{}", Some(0), Some(0)),
            (r#"{"a": 1}"#, Some(1), None),
            ("[1]", None, Some(1)),
            (r#"[{"a": 1}]"#, None, None),
            ("null", None, None),
            (r#""""#, Some(0), Some(0)),
            (r#""x""#, None, None),
            ("[] x", None, None),
        ] {
            assert_eq!((members(text), items(text)), (object, list), "{text}");
        }
        for (text, expected) in [(r#""""#, true), (r#" "  " "#, true), (r#""x""#, false), ("[]", false)] {
            assert_eq!(is_empty_text(text), expected, "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn numbers_keep_their_digits(number: i64, small: u32) {
            let digits = number.to_string();
            prop_assert_eq!(serde_json::from_str::<Id<'_>>(&digits).unwrap(), Id(digits.as_str().into()));
            for text in [format!("\"{small}\""), format!("{small}.0")] {
                prop_assert_eq!(serde_json::from_str::<Whole>(&text).unwrap(), Whole(Some(small)));
            }
        }
    }
}
