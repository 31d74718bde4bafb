//! What identifies an event: the company, and CloudEvents' `source` + `id`. And when: its stamp.

use std::{fmt, sync::Arc};

use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;
use uuid::Uuid;

/// The tenant. 1 to 255 bytes, no control characters.
///
/// Only [`CompanyId::new`] makes one, so it always fits the key columns.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CompanyId(Arc<str>);

/// The text is empty, too long or holds a control character.
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
    /// When the text is empty, longer than 255 bytes or holds a control character.
    pub fn new(text: &str) -> Result<Self, BadId> {
        checked(text, 255).map(|text| Self(text.into()))
    }

    /// The id as text.
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

/// CloudEvents `id` + `source`: the same pair is the same event, for ever (CloudEvents 1.0, 3.1.1).
///
/// Each at most 1,024 bytes without control characters. Orders by id, then source: the tie-break
/// between events of the same time.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventRef {
    id: Arc<str>,
    source: Arc<str>,
}

impl EventRef {
    /// # Errors
    /// When either text is empty, longer than 1,024 bytes or holds a control character.
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

    /// The ledger's key of this event within its company.
    #[must_use]
    pub fn key(&self) -> Uuid {
        self.derive(None, "trigger.fired", 0)
    }

    /// The id of something that this event causes in `company` at `step`: the same event always
    /// causes the same ids, and no other company's event causes them, not even one that was given the
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

/// A name-based id (RFC 9562, version 8 over SHA-256).
pub(super) fn name_based<'a>(parts: impl IntoIterator<Item = &'a str>, step: u16) -> Uuid {
    let mut hash = Sha256::new();
    for part in parts {
        // Length-prefixed, so that no two lists of parts give the same bytes.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.update(step.to_be_bytes());
    let digest: [u8; 32] = hash.finalize().into();
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest) {
        *to = from;
    }
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// SHA-256 of a message body.
#[must_use]
pub fn body_hash(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// When a value was said: event time first, then event id, then the step of its chain.
/// The greatest stamp wins a field, whatever the order of arrival.
///
/// `time` is UTC with microseconds, which is what Postgres keeps.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Stamp {
    /// The event's `time`.
    pub time: OffsetDateTime,
    /// The event.
    pub event: EventRef,
    /// The step within the event's chain, counted from 1.
    pub step: u16,
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
    fn ids_are_bounded() {
        assert!(CompanyId::new("").is_err());
        assert!(CompanyId::new("a\0b").is_err());
        assert!(CompanyId::new(&"x".repeat(255)).is_ok());
        assert!(CompanyId::new(&"x".repeat(256)).is_err());
        assert!(EventRef::new("s", &"x".repeat(1025)).is_err());
    }
}
