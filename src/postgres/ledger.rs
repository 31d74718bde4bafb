//! The ledger: the proof of how an event ended. `batch` writes the history of contacts, and `contacts` reads it.

use std::collections::HashMap;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::columns::column;
use crate::domain::{contact::Identifier, event::CompanyId};

/// Bytes of a meaning that are kept.
const MEANING_LENGTH: usize = 16;

/// The key of an event: its company, and [`crate::domain::event::EventRef::key`].
pub type EventKey<'a> = (&'a str, Uuid);

/// How an event ended: forever, or if it was refused, until it ends otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// It was applied with this meaning, see [`End::applied`].
    Applied([u8; MEANING_LENGTH]),
    /// It is about a person who has been erased since it happened: it was ignored.
    Erased,
    /// It was refused, and is a dead letter.
    Refused,
}

impl End {
    /// The end of an event that was applied with [`crate::domain::trigger::fired::meaning`].
    #[must_use]
    pub fn applied(meaning: &[u8; 32]) -> Self {
        Self::Applied(meaning.first_chunk().copied().unwrap_or_default())
    }

    /// Whether a message of this event with this meaning has nothing left to do. The meaning of an event about an
    /// erased person does not matter any more.
    #[must_use]
    pub fn covers(self, meaning: &[u8; 32]) -> bool {
        match self {
            Self::Applied(_) => self == Self::applied(meaning),
            Self::Erased => true,
            Self::Refused => false,
        }
    }

    /// What the ledger keeps of the meaning. The meaning of an event that was never applied is not needed, but
    /// distinguishes one that was seen from one that was refused.
    pub(super) fn meaning(&self) -> Option<&[u8]> {
        match self {
            Self::Applied(meaning) => Some(meaning),
            Self::Erased => Some(&[]),
            Self::Refused => None,
        }
    }
}

/// How events have ended.
pub type Ends<'a> = HashMap<EventKey<'a>, End>;

/// The row of an event.
#[derive(Clone, Copy, Debug)]
pub struct Proof<'a> {
    /// The event.
    pub event: EventKey<'a>,
    /// How it ended.
    pub end: End,
    /// The ledger lists the event as refused, and this row replaces that one.
    pub replaces: bool,
}

/// What the database knows about the events and the people of a batch.
#[derive(Debug, Default)]
pub struct Seen<'a> {
    /// The events that have ended.
    pub ends: Ends<'a>,
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
pub async fn seen<'a>(
    conn: &mut PgConnection,
    pepper: &str,
    events: &[EventKey<'a>],
    identifiers: &[(CompanyId, Identifier)],
) -> Result<Seen<'a>, sqlx::Error> {
    let rows = sqlx::query_file!(
        "src/postgres/ledger/seen.sql",
        &column(events, |(company, _)| *company) as &[&str],
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
        if let Some(erased_at) = row.erased_at {
            seen.erased.push((index, erased_at));
        } else if let Some(event) = events.get(index) {
            let end = match row.meaning.as_deref() {
                _ if row.erased => End::Erased,
                Some(meaning) => End::Applied(kept(meaning)?),
                None => End::Refused,
            };
            seen.ends.insert(*event, end);
        }
    }
    Ok(seen)
}

/// Inserts proofs. The contacts of their events must be locked.
///
/// Refusals are rows, too, so two transactions that refuse and apply an event collide here, and the second one starts
/// over and sees what the first one did.
///
/// # Errors
/// When the database fails. A unique violation means that another transaction has ended one of the events meanwhile:
/// the caller rolls back and starts over.
pub async fn insert(conn: &mut PgConnection, mut proofs: Vec<Proof<'_>>) -> Result<(), sqlx::Error> {
    if proofs.is_empty() {
        return Ok(());
    }
    sort_and_remove_replaced(conn, &mut proofs).await?;
    sqlx::query!(
        "INSERT INTO applied_events (company_id, event_key, meaning, erased)
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::bytea[], $4::boolean[])",
        &column(&proofs, |proof| proof.event.0) as &[&str],
        &column(&proofs, |proof| proof.event.1),
        &column(&proofs, |proof| proof.end.meaning()) as &[Option<&[u8]>],
        &column(&proofs, |proof| proof.end == End::Erased),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Sorts proofs in the common lock order, and removes the rows that they replace. If another transaction was
/// faster, the row that it wrote instead is a unique violation when the proofs are inserted.
pub(super) async fn sort_and_remove_replaced(
    conn: &mut PgConnection,
    proofs: &mut [Proof<'_>],
) -> Result<(), sqlx::Error> {
    proofs.sort_unstable_by_key(|proof| proof.event);
    let replaced: Vec<EventKey<'_>> =
        proofs.iter().filter(|proof| proof.replaces).map(|proof| proof.event).collect();
    if replaced.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "DELETE FROM applied_events ae USING UNNEST($1::text[], $2::uuid[]) AS u(company_id, event_key)
         WHERE ae.company_id = u.company_id AND ae.event_key = u.event_key AND ae.meaning IS NULL",
        &column(&replaced, |(company, _)| *company) as &[&str],
        &column(&replaced, |(_, key)| *key),
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn kept(meaning: &[u8]) -> Result<[u8; MEANING_LENGTH], sqlx::Error> {
    meaning.try_into().map_err(|error: std::array::TryFromSliceError| sqlx::Error::Decode(error.into()))
}
