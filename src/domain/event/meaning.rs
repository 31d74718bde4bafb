//! The meaning of a message body: what stays the same however its JSON is written. Nothing here knows what the JSON
//! is about.
//!
//! It is the SHA-256 of a canonical form: members sorted by key, texts without escapes, numbers in decimal. As in
//! RFC 8785, `1.0` and `1` are the same number, and texts are compared byte by byte.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use sha2::{Digest as _, Sha256};

use super::literals::without_nan;

/// Of the body of an event, in bytes. A larger one is never applied, so only its bytes are compared.
pub const MAX_BODY: usize = 1024 * 1024;

/// From here on, `serde_json` rounds whole numbers, so different ones look the same.
const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;
/// From here on, nobody writes out all digits of a number: it is the limit of a type, in a schema.
const LIMIT: f64 = 1e30;

/// Identifies the meaning of a message body. Two bodies that differ only in the order of members, in spacing, in the
/// escapes of texts or in a byte order mark have the same meaning. `NaN` means what it is read as, null.
///
/// A body that is not JSON, has a duplicate key in an object, or is too large, too deep or too precise to be read
/// means its own bytes.
#[must_use]
pub fn meaning(body: &[u8]) -> [u8; 32] {
    meaning_without(&[], body)
}

/// The same, without the members of the body's own object that have one of these names.
#[must_use]
pub fn meaning_without(names: &[&str], body: &[u8]) -> [u8; 32] {
    let body = without_mark(body);
    let canonical = canonical(names, body).or_else(|| canonical(names, plain(body)?.as_bytes()));
    canonical.map_or_else(|| Sha256::digest(body), Sha256::digest).into()
}

/// The body without the byte order mark that some writers of UTF-8 put first (RFC 8259, 8.1).
#[must_use]
pub fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

/// See [`without_nan`].
fn plain(body: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(body).ok().filter(|text| text.len() <= MAX_BODY)?;
    without_nan(text)
}

fn canonical(without: &[&str], body: &[u8]) -> Option<Vec<u8>> {
    if body.len() > MAX_BODY {
        return None;
    }
    let mut out = Vec::with_capacity(2 * body.len());
    let mut reader = serde_json::Deserializer::from_slice(body);
    Writer { out: &mut out, without }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(out)
}

/// Writes any value to the end of `out`. Nothing else is kept of a list or an object, so the memory is a small
/// multiple of the body.
struct Writer<'o, 'n> {
    out: &'o mut Vec<u8>,
    /// The names of members that are left out, if it is an object.
    without: &'n [&'n str],
}

impl<'de> DeserializeSeed<'de> for Writer<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Writer<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.out.push(b'0');
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.out.push(if value { b't' } else { b'f' });
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        write_number(self.out, &value.to_string());
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        write_number(self.out, &value.to_string());
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        if value.abs() >= LIMIT {
            // Written out, it would take fifty times its size.
            write_number(self.out, &format!("{value:e}"));
            return Ok(());
        }
        if value.abs() >= TWO_POW_64 {
            return Err(E::custom("a number that does not fit 64 bits"));
        }
        // The sum of minus zero and zero is zero.
        write_number(self.out, &(value + 0.0).to_string());
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.out.push(b's');
        write_text(self.out, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        self.out.push(b'[');
        while access.next_element_seed(Writer { out: &mut *self.out, without: &[] })?.is_some() {}
        self.out.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        self.out.push(b'{');
        let first = self.out.len();
        let mut members = Vec::new();
        loop {
            let start = self.out.len();
            if access.next_key_seed(Key { out: &mut *self.out })?.is_none() {
                break;
            }
            let value = self.out.len();
            access.next_value_seed(Writer { out: &mut *self.out, without: &[] })?;
            if is_among(self.without, self.out.get(start..value)) {
                self.out.truncate(start);
                continue;
            }
            members.push(Member { start, value, end: self.out.len() });
        }
        if !sort(self.out, first, &mut members) {
            return Err(A::Error::custom("a duplicate key"));
        }
        self.out.push(b'}');
        Ok(())
    }
}

/// Writes the key of a member.
struct Key<'o> {
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        write_text(self.out, value);
        Ok(())
    }
}

/// Where a member of an object begins, where its value begins, and where it ends.
struct Member {
    start: usize,
    value: usize,
    end: usize,
}

/// Sorts the members, which `out` ends with from `first` on, by key. `false` if two have the same key.
fn sort(out: &mut Vec<u8>, first: usize, members: &mut [Member]) -> bool {
    let key = |member: &Member| out.get(member.start..member.value).unwrap_or_default();
    if !members.is_sorted_by(|one, next| key(one) < key(next)) {
        members.sort_unstable_by(|one, other| key(one).cmp(key(other)));
        if !members.is_sorted_by(|one, next| key(one) < key(next)) {
            return false;
        }
        let mut sorted = Vec::with_capacity(out.len() - first);
        for member in members.iter() {
            sorted.extend_from_slice(out.get(member.start..member.end).unwrap_or_default());
        }
        out.truncate(first);
        out.extend_from_slice(&sorted);
    }
    true
}

/// Whether one of the names is what [`write_text`] has written.
fn is_among(names: &[&str], written: Option<&[u8]>) -> bool {
    let name = written.and_then(|written| written.get(size_of::<u64>()..));
    names.iter().any(|one| Some(one.as_bytes()) == name)
}

/// The length comes first: it keeps two texts from being one.
fn write_text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u64).to_be_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn write_number(out: &mut Vec<u8>, decimal: &str) {
    out.push(b'n');
    out.extend_from_slice(decimal.as_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;
    use crate::domain::samples::matching;

    fn is_same(one: &str, other: &str) -> bool {
        meaning(one.as_bytes()) == meaning(other.as_bytes())
    }

    #[test]
    fn spelling_does_not_matter() {
        for (one, other) in [
            (r#"{"a":1,"b":[true,null]}"#, "\u{feff} {\n\"b\" : [ true,null ],\t\"a\" : 1 }\r\n"),
            (r#"{"a":{"x":1,"y":2,"z":3}}"#, r#"{"a":{"z":3,"x":1,"y":2}}"#),
            (r#"["A/\u00e9\ud83d\ude00\n"]"#, "[\"\\u0041\\/é😀\\u000a\"]"),
            (r#"{"\u0061":1}"#, r#"{"a":1}"#),
            ("[1, 0, 1000, 10000000000000000000]", "[1.0, -0.0, 1e3, 1e19]"),
            ("[0.1]", "[1E-1]"),
            (
                r#"{"minimum":0,"maximum":1.7976931348623157E+308}"#,
                r#"{"maximum": 1.7976931348623157e308, "minimum": 0.0}"#,
            ),
            ("[-3.4028234663852886e38]", "[-340282346638528860000000000000000000000]"),
            ("no JSON", "\u{feff}no JSON"),
            ("[null]", "[NaN]"),
            (r#"{"a":null,"b":"NaN"}"#, r#"{"b":"NaN","a":-Infinity}"#),
        ] {
            assert!(is_same(one, other), "{one} and {other}");
        }
    }

    #[test]
    fn every_difference_of_values_matters() {
        let texts = [
            "",
            "{}",
            "[]",
            "0",
            "1",
            "-1",
            "0.5",
            "null",
            "true",
            "false",
            r#""""#,
            r#""0""#,
            r#""null""#,
            "[[]]",
            "[{}]",
            r#"["a","b"]"#,
            r#"["b","a"]"#,
            r#"["ab"]"#,
            r#"["a,b"]"#,
            r#"[["a"],"b"]"#,
            r#"[["a","b"]]"#,
            "[1,2]",
            "[12]",
            "[1,2,0]",
            "[-12]",
            r#"{"a":"b"}"#,
            r#"{"b":"a"}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":{},"b":1}"#,
            r#"{"":"ab"}"#,
            r#"{"ab":""}"#,
            r#"["é"]"#,
            "[\"e\u{301}\"]",
            // Not read: they mean their bytes.
            r#"{"a":1,"a":2}"#,
            r#"{"a":2,"a":1}"#,
            r#"{"a":1,"\u0061":2}"#,
            "[18446744073709551616]",
            "[18446744073709551617]",
            "[1e400]",
            "NaN x",
            r#"["NaN"]"#,
            "[1e300]",
            "[-1e300]",
            "[1e301]",
            "[1",
            "[1] x",
            r#"["\ud800"]"#,
        ];
        for (index, one) in texts.iter().enumerate() {
            for other in texts.iter().skip(index + 1) {
                assert!(!is_same(one, other), "{one} and {other}");
            }
        }
    }

    #[test]
    fn large_and_deep_bodies_mean_their_bytes() {
        let padded = |spaces: usize| format!("{}1", " ".repeat(spaces));
        assert!(is_same(&padded(MAX_BODY - 1), "1"));
        assert!(!is_same(&padded(MAX_BODY), "1"));
        let nested = |depth: usize, inner: &str| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(is_same(&nested(100, " "), &nested(100, "")));
        assert!(!is_same(&nested(100_000, " "), &nested(100_000, "")));
        assert_eq!(meaning(b"\xff{}"), <[u8; 32]>::from(Sha256::digest(b"\xff{}")));
    }

    #[test]
    fn members_can_be_left_out_of_the_body_and_not_of_what_is_within() {
        let is_same = |one: &str, other: &str| {
            meaning_without(&["x", "yy"], one.as_bytes()) == meaning_without(&["x", "yy"], other.as_bytes())
        };
        for other in [
            r#"{"x":1,"a":1,"yy":[{}]}"#,
            r#"{"a":1,"\u0078":{"a":2}}"#,
            r#"{"x":1,"x":2,"a":1}"#,
            "\u{feff}{\"a\":1.0,\"x\":NaN}",
        ] {
            assert!(is_same(r#"{"a":1}"#, other), "{other}");
        }
        for other in [r#"{"a":1,"y":1}"#, r#"{"a":1,"X":1}"#, r#"{"a":{"x":1}}"#, r#"{"x":1,"a":1,"a":1}"#] {
            assert!(!is_same(r#"{"a":1}"#, other), "{other}");
        }
        assert!(!is_same(r#"{"a":{"x":1}}"#, r#"{"a":{}}"#) && !is_same(r#"[{"x":1}]"#, "[{}]"));
        assert_eq!(meaning_without(&["x"], br#"{"a":[1,{"x":2}]}"#), meaning(br#"{"a":[1,{"x":2}]}"#));
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            // Never a whole number, which would be equal to an integer.
            (-1e9..1e9).prop_map(|number: f64| Value::from(number.floor() + 0.5)),
            matching("\\PC{0,8}").prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((matching("\\PC{0,4}"), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The same value with the members of each object in reverse.
    fn reversed(value: &Value) -> Value {
        match value {
            Value::Array(items) => items.iter().map(reversed).collect(),
            Value::Object(members) => {
                let members = members.iter().rev().map(|(key, value)| (key.clone(), reversed(value)));
                Value::Object(members.collect::<Map<_, _>>())
            }
            leaf => leaf.clone(),
        }
    }

    proptest! {
        #[test]
        fn order_and_spacing_do_not_matter(value in values()) {
            let pretty = serde_json::to_vec_pretty(&reversed(&value)).unwrap();
            prop_assert_eq!(meaning(value.to_string().as_bytes()), meaning(&pretty));
        }

        #[test]
        fn two_values_have_two_meanings(one in values(), other in values()) {
            let meaning = |value: &Value| meaning(value.to_string().as_bytes());
            prop_assert_eq!(one == other, meaning(&one) == meaning(&other));
            prop_assert_ne!(meaning(&json!([one])), meaning(&json!([one, other])));
        }

        #[test]
        fn any_bytes_have_a_meaning(bytes: Vec<u8>) {
            prop_assert_eq!(meaning(&bytes), meaning(&bytes.clone()));
        }
    }
}
