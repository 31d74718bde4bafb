//! The meaning of a message body: what stays the same however its JSON is written. Nothing here knows what the JSON
//! is about.
//!
//! It is the SHA-256 of a canonical form: members sorted by key, texts without escapes, numbers in decimal. As in
//! RFC 8785, `1.0` and `1` are the same number, and texts are compared byte by byte.

use std::{borrow::Cow, cell::Cell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use sha2::{Digest as _, Sha256};

use super::literals::without_nan;
use crate::domain::json;

/// Of the body of an event, in bytes. A larger one is never applied, so only its bytes are compared.
pub const MAX_BODY: usize = 1024 * 1024;

/// From here on, nobody writes out all digits of a number: it is the limit of a type, in a schema.
const LIMIT: f64 = 1e30;

/// Identifies the meaning of a message body. Two bodies that differ only in the order of members, in spacing, in the
/// escapes of texts or in a byte order mark have the same meaning. `NaN` means what it is read as, null, and half of a
/// surrogate pair the replacement character.
///
/// Members with the same key stay in their order. A body that is not JSON, too large or too deep means its own bytes.
#[must_use]
pub fn meaning(body: &[u8]) -> [u8; 32] {
    meaning_without(&[], body)
}

/// The same, without the members of the body's own object that have one of these names.
#[must_use]
pub fn meaning_without(names: &[&str], body: &[u8]) -> [u8; 32] {
    let body = without_mark(body);
    if body.len() > MAX_BODY {
        return Sha256::digest(body).into();
    }
    let canonical = canonical(names, body, None).or_else(|| {
        let plain = plain(body)?;
        let wide = Wide { written: &json::written(&plain), next: &Cell::new(0) };
        canonical(names, json::within_doubles(&plain).as_bytes(), Some(wide))
    });
    canonical.map_or_else(|| Sha256::digest(body), Sha256::digest).into()
}

/// The body without the byte order mark that some writers of UTF-8 put first (RFC 8259, 8.1).
#[must_use]
pub fn without_mark(body: &[u8]) -> &[u8] {
    body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body)
}

/// The body as it is read where it is no JSON: see [`without_nan`] and [`json::paired`].
fn plain(body: &[u8]) -> Option<Cow<'_, str>> {
    let text = std::str::from_utf8(body).ok()?;
    let plain = without_nan(text).map_or(Cow::Borrowed(text), Cow::Owned);
    Some(json::paired(&plain).map_or(plain, Cow::Owned))
}

fn canonical(without: &[&str], body: &[u8], wide: Option<Wide<'_>>) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(2 * body.len());
    let mut reader = serde_json::Deserializer::from_slice(body);
    Writer { out: &mut out, without, wide }.deserialize(&mut reader).ok()?;
    reader.end().ok()?;
    Some(out)
}

/// The numbers of the body that `serde_json` rounds, and how many have been read.
#[derive(Clone, Copy)]
struct Wide<'n> {
    /// As they were written, and whether each is a whole number.
    written: &'n [(&'n str, bool)],
    next: &'n Cell<usize>,
}

impl<'n> Wide<'n> {
    /// The next one.
    fn next(self) -> Option<(&'n str, bool)> {
        let index = self.next.replace(self.next.get() + 1);
        self.written.get(index).copied()
    }
}

/// Writes any value to the end of `out`. Nothing else is kept of a list or an object, so the memory is a small
/// multiple of the body.
struct Writer<'o, 'n> {
    out: &'o mut Vec<u8>,
    /// The names of members that are left out, if it is an object.
    without: &'n [&'n str],
    /// `None` if it is not known whether the body has any.
    wide: Option<Wide<'n>>,
}

impl<'n> Writer<'_, 'n> {
    /// Writes what is within.
    fn inner(&mut self) -> Writer<'_, 'n> {
        Writer { out: &mut *self.out, without: &[], wide: self.wide }
    }
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
        let written = match self.wide.filter(|_| json::is_wide(value)) {
            Some(wide) => wide.next(),
            // Different ones look the same.
            None if json::is_wide(value) && value.abs() < LIMIT => {
                return Err(E::custom("a number that does not fit 64 bits"));
            }
            None => None,
        };
        match written {
            // No double can hold it.
            Some((number, _)) if number.parse().is_ok_and(f64::is_infinite) => {
                write_number(self.out, &number.to_ascii_lowercase().replace('+', ""));
            }
            // Written out, it would take fifty times its size.
            _ if value.abs() >= LIMIT => write_number(self.out, &format!("{value:e}")),
            Some((digits, true)) => write_number(self.out, digits),
            // The sum of minus zero and zero is zero.
            _ => write_number(self.out, &(value + 0.0).to_string()),
        }
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.out.push(b's');
        write_text(self.out, value);
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        self.out.push(b'[');
        while access.next_element_seed(self.inner())?.is_some() {}
        self.out.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut access: A) -> Result<(), A::Error> {
        self.out.push(b'{');
        let first = self.out.len();
        let mut members = Vec::new();
        loop {
            let start = self.out.len();
            if access.next_key_seed(Key { out: &mut *self.out })?.is_none() {
                break;
            }
            let value = self.out.len();
            access.next_value_seed(self.inner())?;
            if is_among(self.without, self.out.get(start..value)) {
                self.out.truncate(start);
                continue;
            }
            members.push(Member { start, value, end: self.out.len() });
        }
        sort(self.out, first, &mut members);
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

/// Sorts the members, which `out` ends with from `first` on, by key. Those with the same key keep their order.
fn sort(out: &mut Vec<u8>, first: usize, members: &mut [Member]) {
    let key = |member: &Member| out.get(member.start..member.value).unwrap_or_default();
    if members.is_sorted_by_key(key) {
        return;
    }
    members.sort_by(|one, other| key(one).cmp(key(other)));
    let mut sorted = Vec::with_capacity(out.len() - first);
    for member in members.iter() {
        sorted.extend_from_slice(out.get(member.start..member.end).unwrap_or_default());
    }
    out.truncate(first);
    out.extend_from_slice(&sorted);
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
mod tests;
