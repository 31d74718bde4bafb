//! The ledger: the proof that an event was applied, and the history of contacts, with the values that each step gave.

use std::fmt::{Display, Write as _};

use serde::{Serialize, Serializer};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::columns::{column, nanos};
use crate::domain::{
    chain::entry::Entry,
    contact::{Identifier, Rejected},
    event::{CompanyId, to_micros},
};

/// Bytes of a meaning that are kept.
const MEANING_LENGTH: usize = 16;

/// The proof that an event was applied.
pub struct Proof<'a> {
    /// The company.
    pub company: &'a CompanyId,
    /// [`crate::domain::event::EventRef::key`] of the event.
    pub key: Uuid,
    /// [`crate::domain::event::meaning`] of the message body.
    pub meaning: &'a [u8; 32],
    /// The event is about a person who has been erased since it happened: it was seen, and did nothing.
    pub erased: bool,
}

/// An event that is in the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// With the meaning that this is a part of.
    WithMeaning(Vec<u8>),
    /// It was about a person who has been erased.
    Erased,
}

impl Applied {
    /// Whether this event was applied with this meaning. The meaning of an event about an erased person does not matter
    /// any more.
    #[must_use]
    pub fn is_same(&self, meaning: &[u8; 32]) -> bool {
        match self {
            Self::WithMeaning(stored) => stored == kept(meaning),
            Self::Erased => true,
        }
    }
}

/// What the database knows about the events and the people of a batch.
#[derive(Debug, Default)]
pub struct Seen {
    /// The events that were applied, as indexes.
    pub applied: Vec<(usize, Applied)>,
    /// The identifiers that belonged to an erased person, as indexes, each with the time of the last erasure. An event
    /// from that time or earlier that names one of them must not be applied.
    pub erased: Vec<(usize, OffsetDateTime)>,
}

/// Looks up events and identifiers.
///
/// Call it after the contacts of the identifiers are locked, so that a concurrent erasure has finished, and so has a
/// transaction that applies one of the events to one of them. The part about erasures costs almost nothing while no
/// person has been erased.
///
/// # Errors
/// When the database fails.
pub async fn seen(
    conn: &mut PgConnection,
    pepper: &str,
    events: &[(&CompanyId, Uuid)],
    identifiers: &[(CompanyId, Identifier)],
) -> Result<Seen, sqlx::Error> {
    let rows = sqlx::query_file!(
        "src/postgres/ledger/seen.sql",
        &column(events, |(company, _)| company.as_str()) as &[&str],
        &column(events, |(_, key)| *key),
        &column(identifiers, |(company, _)| company.as_str()) as &[&str],
        &column(identifiers, |(_, key)| key.kind()) as &[&str],
        &column(identifiers, |(_, key)| key.value()) as &[&str],
        pepper,
    )
    .fetch_all(conn)
    .await?;
    let mut seen = Seen::default();
    for row in rows {
        // `ORDINALITY` counts from 1.
        let index = usize::try_from(row.ordinal - 1).map_err(|error| sqlx::Error::Decode(error.into()))?;
        match (row.meaning, row.erased_at) {
            (Some(_), _) if row.erased => seen.applied.push((index, Applied::Erased)),
            (Some(meaning), _) => seen.applied.push((index, Applied::WithMeaning(meaning))),
            (None, Some(erased_at)) => seen.erased.push((index, erased_at)),
            (None, None) => {}
        }
    }
    Ok(seen)
}

/// Inserts proofs, and the entries in the order in which they were applied. Their contacts must be locked.
///
/// # Errors
/// When the database fails. A unique violation means that another transaction has applied one of the events meanwhile:
/// the caller rolls back and starts over.
pub async fn insert(
    conn: &mut PgConnection,
    mut proofs: Vec<Proof<'_>>,
    entries: &[Entry<'_>],
) -> Result<(), sqlx::Error> {
    if proofs.is_empty() {
        return Ok(());
    }
    // The one lock order of all workers.
    proofs.sort_unstable_by_key(|proof| (proof.company, proof.key));
    sqlx::query_file!(
        "src/postgres/ledger/insert.sql",
        &column(&proofs, |proof| proof.company.as_str()) as &[&str],
        &column(&proofs, |proof| proof.key),
        &column(&proofs, |proof| kept(proof.meaning)) as &[&[u8]],
        &column(&proofs, |proof| proof.erased),
        &column(entries, |entry| entry.company.as_str()) as &[&str],
        &column(entries, |entry| entry.contact.0),
        &column(entries, |entry| to_micros(entry.time)),
        &column(entries, |entry| nanos(entry.time)),
        &column(entries, |entry| entry.event.source()) as &[&str],
        &column(entries, |entry| entry.event.id()) as &[&str],
        // A chain has 110 steps at most (11 triggers of 10 actions).
        &column(entries, |entry| i16::try_from(entry.step).unwrap_or(i16::MAX)),
        &column(entries, |entry| entry.trigger) as &[&str],
        &column(entries, |entry| entry.operation.name()) as &[&str],
        &column(entries, |entry| entry.version),
        &column(entries, |entry| joined(entry.changed.iter().map(|field| field.name())))
            as &[Option<String>],
        &column(entries, |entry| joined(entry.merged)) as &[Option<String>],
        &column(entries, |entry| json(&Fields(entry))),
        &column(entries, rejected) as &[Option<String>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Separated by commas; `None` without any.
fn joined<T: Display>(items: impl IntoIterator<Item = T>) -> Option<String> {
    let mut text = String::new();
    for item in items {
        if !text.is_empty() {
            text.push(',');
        }
        // Writing to a `String` never fails.
        let _ = write!(text, "{item}");
    }
    (!text.is_empty()).then_some(text)
}

fn kept(meaning: &[u8; 32]) -> &[u8] {
    meaning.get(..MEANING_LENGTH).unwrap_or(meaning)
}

/// The accepted values by name. An identifier that belongs to another contact is not among them.
struct Fields<'a>(&'a Entry<'a>);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let not_taken = self.0.kept_apart.map(|rejected| rejected.field);
        let taken = self.0.values.iter().filter(|(field, _)| Some(*field) != not_taken);
        serializer.collect_map(taken.map(|(field, value)| (field.name(), value)))
    }
}

fn rejected(entry: &Entry<'_>) -> Option<String> {
    let rejected: Vec<&Rejected> = entry.rejected.iter().chain(&entry.kept_apart).collect();
    (!rejected.is_empty()).then(|| json(&rejected))
}

/// Cannot fail: all keys are strings.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
