//! What a batch writes: everything new in one round trip, because an event that comes alone waits for each of them.

use std::{
    collections::BTreeSet,
    fmt::{Display, Write as _},
};

use serde::{Serialize, Serializer};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    columns::{column, key_columns, nanos},
    directory::query_contacts,
    effects::{NewEffects, count},
    endpoints::{LaneRow, state::Row},
    ledger::{self, End, EventKey, Proof},
};
use crate::domain::{
    chain::entry::Entry,
    contact::{Contact, ContactId, Identifier, Rejected},
    event::{CompanyId, Key, to_micros},
};

/// The new rows of a batch. The contacts that it changes or merges are locked.
#[derive(Default)]
pub struct NewRows<'a> {
    /// Contacts.
    pub contacts: Vec<&'a Contact>,
    /// Identifiers and their owners.
    pub identifiers: &'a [(CompanyId, Identifier, ContactId)],
    /// How its events ended.
    pub proofs: Vec<Proof<'a>>,
    /// The history, in the order in which the steps were applied.
    pub entries: &'a [Entry<'a>],
    /// What is left to do.
    pub effects: &'a [NewEffects],
}

impl NewRows<'_> {
    fn is_empty(&self) -> bool {
        self.contacts.is_empty()
            && self.identifiers.is_empty()
            && self.proofs.is_empty()
            && self.entries.is_empty()
            && self.effects.is_empty()
    }
}

/// What was not looked up: nothing is inserted if any of it has been seen before.
#[derive(Default)]
pub struct Unseen<'a> {
    /// Events that have not ended.
    pub events: &'a [EventKey<'a>],
    /// Identifiers that belonged to nobody who was erased.
    pub identifiers: &'a [(CompanyId, Identifier)],
    /// The suppressions' pepper.
    pub pepper: &'a str,
    /// The identifiers belong to no contact either. The statement needs no transaction around it then.
    pub nobody_is_known: bool,
}

/// What became of the rows.
pub enum Inserted {
    /// They are inserted. The state of the lanes.
    All(Vec<LaneRow>),
    /// None of them is, because of what [`Unseen`] names.
    Seen,
    /// Another transaction took one of the new identifiers: the caller rolls back and starts over.
    Race,
}

/// Inserts rows, unless something was seen before, and returns the state of these lanes.
///
/// # Errors
/// When the database fails. A unique violation means that another transaction has ended one of the events meanwhile:
/// the caller rolls back and starts over.
pub async fn insert(
    conn: &mut PgConnection,
    mut rows: NewRows<'_>,
    lanes: &BTreeSet<Key>,
    unseen: Unseen<'_>,
) -> Result<Inserted, sqlx::Error> {
    if rows.is_empty() {
        return Ok(Inserted::All(Vec::new()));
    }
    ledger::sort_and_remove_replaced(conn, &mut rows.proofs).await?;
    let NewRows { contacts, identifiers, proofs, entries, effects } = &rows;
    let (companies, endpoints) = key_columns(lanes);
    let read = query_contacts!(
        query_file_as!(LaneColumns, "src/postgres/batch/insert.sql"),
        contacts,
        &column(identifiers, |(company, ..)| company.as_str()) as &[&str],
        &column(identifiers, |(_, identifier, _)| identifier.kind()) as &[&str],
        &column(identifiers, |(_, identifier, _)| identifier.value()) as &[&str],
        &column(identifiers, |(.., owner)| owner.0),
        &column(proofs, |proof| proof.event.0) as &[&str],
        &column(proofs, |proof| proof.event.1),
        &column(proofs, |proof| proof.end.meaning()) as &[Option<&[u8]>],
        &column(proofs, |proof| proof.end == End::Erased),
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
        &column(entries, |entry| joined(&entry.webhooks)) as &[Option<String>],
        &column(entries, |entry| entry.trace.map(Uuid::from_u128)) as &[Option<Uuid>],
        &column(effects, |row| row.key.company.as_str()) as &[&str],
        &column(effects, |row| row.key.batch),
        &column(effects, |row| row.key.kind.name()) as &[&str],
        &column(effects, |row| row.owner) as &[Option<Uuid>],
        &column(effects, |row| count(row.items)),
        &column(effects, |row| row.body.as_slice()) as &[&[u8]],
        &companies as &[&str],
        &endpoints,
        &column(unseen.events, |(company, _)| *company) as &[&str],
        &column(unseen.events, |(_, key)| *key),
        &column(unseen.identifiers, |(company, _)| company.as_str()) as &[&str],
        &column(unseen.identifiers, |(_, key)| key.kind()) as &[&str],
        &column(unseen.identifiers, |(_, key)| key.value()) as &[&str],
        unseen.pepper,
        unseen.nobody_is_known,
    );
    match read.fetch_all(conn).await {
        Ok(read) => Ok(inserted(read, identifiers.len())),
        Err(error) if unseen.nobody_is_known && is_undone(&error) => Ok(Inserted::Seen),
        Err(error) => Err(error),
    }
}

/// Division by zero: the statement has undone its inserts, because another transaction took an identifier meanwhile.
fn is_undone(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).as_deref() == Some("22012")
}

fn inserted(read: Vec<LaneColumns>, identifiers: usize) -> Inserted {
    // There is always a row.
    let (is_seen, claimed) = read.first().map_or((false, 0), |row| (row.is_seen, row.claimed));
    if is_seen {
        Inserted::Seen
    } else if usize::try_from(claimed).ok() == Some(identifiers) {
        Inserted::All(read.into_iter().filter_map(LaneColumns::lane).collect())
    } else {
        Inserted::Race
    }
}

/// Whether something was seen, how many identifiers were free, and a lane. There is a row without a lane if there would be none otherwise.
struct LaneColumns {
    is_seen: bool,
    claimed: i64,
    company_id: Option<String>,
    endpoint_id: Option<Uuid>,
    url: Option<String>,
    turn: Option<i16>,
    max_in_flight: Option<i32>,
    send_interval_us: Option<i64>,
    is_stopped: bool,
    held_until: Option<OffsetDateTime>,
    next_slot_at: Option<OffsetDateTime>,
    breaker: Option<String>,
    breaker_until: Option<OffsetDateTime>,
    openings: Option<i32>,
    allowance: Option<i32>,
    failures: Option<i32>,
    failing_since: Option<OffsetDateTime>,
    has_backlog: Option<bool>,
    now: OffsetDateTime,
}

impl LaneColumns {
    fn lane(self) -> Option<LaneRow> {
        let row = Row {
            company_id: self.company_id?,
            endpoint_id: self.endpoint_id?,
            url: self.url?,
            turn: self.turn?,
            max_in_flight: self.max_in_flight?,
            send_interval_us: self.send_interval_us?,
            is_stopped: self.is_stopped,
            held_until: self.held_until?,
            next_slot_at: self.next_slot_at?,
            breaker: self.breaker?,
            breaker_until: self.breaker_until?,
            openings: self.openings?,
            allowance: self.allowance?,
            failures: self.failures?,
            failing_since: self.failing_since,
            has_backlog: self.has_backlog?,
            now: self.now,
        };
        Some(row.into())
    }
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
