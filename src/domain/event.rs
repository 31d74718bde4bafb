//! Identifies an event (its company, and CloudEvents' `source` + `id`) and orders its values (the stamp).

mod literals;
mod meaning;

use std::{fmt, sync::Arc};

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::{
    literals::without_nan,
    meaning::{MAX_BODY, meaning, meaning_without, without_mark},
};

/// The tenant: 1 to 255 bytes without control characters, so it fits the key columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CompanyId(Arc<str>);

/// The id is empty, too long or contains a control character.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to {max} bytes without control characters")]
pub struct BadId {
    max: usize,
}

fn checked(text: &str, max: usize) -> Result<&str, BadId> {
    if text.is_empty() || text.len() > max || text.chars().any(char::is_control) {
        return Err(BadId { max });
    }
    Ok(text)
}

impl CompanyId {
    /// # Errors
    /// If the text is empty, longer than 255 bytes or contains a control character.
    pub fn new(text: &str) -> Result<Self, BadId> {
        checked(text, 255).map(|text| Self(text.into()))
    }

    /// The id as the publisher wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CompanyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// CloudEvents `id` + `source`: the same pair always means the same event (CloudEvents 1.0, 3.1.1).
///
/// Each is 1 to 1,024 bytes without control characters. The order, by id and then by source, breaks ties
/// between events with the same time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventRef {
    id: Arc<str>,
    source: Arc<str>,
}

impl EventRef {
    /// # Errors
    /// If either text is empty, longer than 1,024 bytes or contains a control character.
    pub fn new(source: &str, id: &str) -> Result<Self, BadId> {
        Ok(Self { id: checked(id, 1024)?.into(), source: checked(source, 1024)?.into() })
    }

    /// CloudEvents `id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// CloudEvents `source`.
    #[must_use]
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The event's key in the ledger of its company.
    #[must_use]
    pub fn key(&self) -> Uuid {
        self.derive(None, "trigger.fired", 0)
    }

    /// Derives the id of something that this event causes in `company` at `step`.
    ///
    /// A redelivered event derives the same id. An event of another company never does, even with the
    /// same source and id.
    #[must_use]
    pub fn id_of(&self, company: &CompanyId, purpose: &str, step: u16) -> Uuid {
        self.derive(Some(company), purpose, step)
    }

    fn derive(&self, company: Option<&CompanyId>, purpose: &str, step: u16) -> Uuid {
        let company = company.map(CompanyId::as_str);
        name_based([purpose, &self.source, &self.id].into_iter().chain(company), step)
    }
}

/// Derives a UUID from names (RFC 9562, version 8 over SHA-256).
pub(super) fn name_based<'a>(parts: impl IntoIterator<Item = &'a str>, step: u16) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        // The length prefix keeps two lists of parts from hashing the same bytes.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(step.to_be_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(hash) {
        *to = from;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// SHA-256 of the bytes of a message that must not be decoded; any other has a [`meaning`].
#[must_use]
pub fn body_hash(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// Orders the values of a field: by event time, then event id, then step.
///
/// The greatest stamp wins, in any order of arrival.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// The event's `time`, UTC, to the nanosecond.
    pub time: OffsetDateTime,
    /// The event that gave the value.
    pub event: EventRef,
    /// The step within the event's chain, counted from 1.
    pub step: u16,
}

/// The time without the nanoseconds, which Postgres does not store. Cuts toward the past, before 1970 as well.
#[must_use]
pub fn to_micros(time: OffsetDateTime) -> OffsetDateTime {
    // A part of a second fits a second.
    time.replace_nanosecond(time.microsecond() * 1_000).unwrap_or(time)
}

/// Names a row of one company: a delivery, an endpoint, a dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The company's id. Empty for a dead letter whose company could not be read.
    pub company: String,
    /// The row's id.
    pub id: Uuid,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn derived_ids_are_stable_and_distinct() {
        let event = EventRef::new("/a", "b").unwrap();
        assert_eq!(event.key(), EventRef::new("/a", "b").unwrap().key());
        assert_ne!(event.key(), EventRef::new("/", "ab").unwrap().key());
        let (acme, other) = (CompanyId::new("acme").unwrap(), CompanyId::new("other").unwrap());
        assert_eq!(event.id_of(&acme, "x", 1), event.clone().id_of(&acme, "x", 1));
        assert_ne!(event.id_of(&acme, "x", 1), event.id_of(&acme, "x", 2));
        assert_ne!(event.id_of(&acme, "x", 1), event.id_of(&acme, "y", 1));
        assert_ne!(event.id_of(&acme, "x", 1), event.id_of(&other, "x", 1));
        assert_eq!(event.key().get_version_num(), 8);
    }

    #[test]
    fn nanoseconds_are_cut_toward_the_past() {
        use time::macros::datetime;
        for time in [datetime!(2026-01-01 0:00:00.123456789 UTC), datetime!(1969-01-01 0:00:00.123456001 UTC)]
        {
            assert_eq!(to_micros(time), time.replace_nanosecond(123_456_000).unwrap());
        }
    }

    #[test]
    fn empty_long_and_control_character_ids_are_rejected() {
        assert!(CompanyId::new("").is_err());
        assert!(CompanyId::new("a\0b").is_err());
        assert!(CompanyId::new(&"x".repeat(255)).is_ok());
        assert!(CompanyId::new(&"x".repeat(256)).is_err());
        assert!(EventRef::new("s", &"x".repeat(1025)).is_err());
    }
}
