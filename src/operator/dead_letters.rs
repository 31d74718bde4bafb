//! Lists, shows, groups, edits, exports and imports dead letters, and what `operations` does to many of them.
//!
//! A replay is published through the default exchange to the queue of the stage that failed, so subscribers of the
//! topic exchange do not receive it again.

mod difference;
pub mod edit;
mod settle;
mod show;
mod sight;
mod spans;
pub mod transfer;

pub use settle::ReplayError;
pub(super) use settle::{
    begin, discard_window, discard_with_deliveries, end, publish, record_reopened, replay_with_deliveries,
    restore_window,
};
pub use show::{Shown, show};
pub use sight::{Seen, reveal, seen};
pub(super) use spans::Recording;

use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    audit::{self, Actor, Change},
    ids,
    paging::{Cursor, Page},
    selection::{moment, narrowed},
};
pub use crate::postgres::dead_letters::{
    BadText, DeadLetter, Filter, Group, Note, SearchText, State, Summary,
};
use crate::{
    amqp::properties,
    domain::{
        event::Key,
        fault::{Reason, Signature, Stage},
    },
    postgres::{Database, dead_letters as store},
};

/// The longest note, in bytes.
pub const MAX_NOTE: usize = 2_000;

/// Why a text does not identify one dead letter.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Not hexadecimal, too short or too long.
    #[error(
        "`{0}` is not an id of a dead letter; give the whole id, or at least its first 8 hexadecimal digits"
    )]
    NotAnId(String),
    /// No dead letter has this id.
    #[error("there is no dead letter `{0}`")]
    Unknown(String),
    /// Several ids begin with the text.
    #[error("`{0}` matches several dead letters; give more of the id")]
    Ambiguous(String),
    /// The database failed.
    #[error("could not look up the dead letter")]
    Database(#[from] sqlx::Error),
}

/// At most `limit` of the dead letters that match, newest first, from the one after the cursor. A search for a text stops after
/// a number of dead letters: such a page may have few rows or none, and still a `next`.
///
/// # Errors
/// When the database fails.
pub async fn list(
    database: &Database,
    filter: &Filter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Summary>, sqlx::Error> {
    let before = after.map(Cursor::position);
    let (rows, end) =
        database.unit(async |conn| store::list(conn, filter, before, i64::from(limit) + 1).await).await?;
    let mut page = Page::of(rows, limit, |row| Cursor::new(row.last_seen_at, row.id));
    page.next = page.next.or_else(|| end.map(|(at, id)| Cursor::new(at, id)));
    Ok(page)
}

/// At most `limit` of the groups that match, the most recent failure first, from the one after the cursor. Only unsettled
/// dead letters count.
///
/// # Errors
/// When the database fails.
pub async fn groups(
    database: &Database,
    filter: &Filter,
    after: Option<Cursor>,
    limit: u32,
) -> Result<Page<Group>, sqlx::Error> {
    let before = after
        .map(Cursor::position)
        .and_then(|(at, id)| Some((at, Signature::try_from(&id.as_bytes()[..]).ok()?)));
    let rows =
        database.unit(async |conn| store::groups(conn, filter, before, i64::from(limit) + 1).await).await?;
    let cursor = |row: &Group| Cursor::new(row.last_seen_at, Uuid::from_bytes(*row.signature.as_bytes()));
    Ok(Page::of(rows, limit, cursor))
}

/// The lines of a listing for `keys`, by key. Leaves out those that do not exist.
///
/// # Errors
/// When the database fails.
pub async fn summaries(database: &Database, keys: &[Key]) -> Result<Vec<Summary>, sqlx::Error> {
    database.unit(async |conn| store::summaries(conn, keys).await).await
}

/// The keys of the dead letters that match, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn keys(database: &Database, filter: &Filter) -> Result<Vec<Key>, sqlx::Error> {
    database.unit(async |conn| store::keys(conn, filter).await).await
}

/// One dead letter with all details.
///
/// # Errors
/// When the database fails.
pub async fn get(database: &Database, key: &Key) -> Result<Option<DeadLetter>, sqlx::Error> {
    database.unit(async |conn| store::get(conn, key).await).await
}

async fn note(database: &Database, signature: Signature) -> Result<Option<Note>, sqlx::Error> {
    database.unit(async |conn| store::note(conn, signature).await).await
}

/// A filter as shown to people, without the search text, which may be about a person.
#[must_use]
pub fn shown(filter: &Filter) -> Value {
    narrowed(json!({
        "reason": filter.reason.map(Reason::name),
        "stage": filter.stage.map(Stage::name),
        "company": filter.company,
        "trigger": filter.trigger,
        "endpoint": filter.endpoint,
        "eventId": filter.event_id,
        "signature": filter.signature.map(|signature| signature.to_string()),
        "text": filter.text.as_ref().map(|_| "…"),
        "since": moment(filter.since),
        "until": moment(filter.until),
        "states": filter.states.iter().map(|state| state.name()).collect::<Vec<_>>(),
        "limit": filter.limit,
    }))
}

/// The trace that the message of a dead letter belongs to.
#[must_use]
pub fn trace_id(dead_letter: &DeadLetter) -> Option<String> {
    let ids = properties::trace(&dead_letter.properties, &dead_letter.body).ids()?;
    Some(format!("{:032x}", ids.trace))
}

/// The dead letter whose id begins with `text`.
///
/// # Errors
/// When none or more than one matches, or the database fails.
pub async fn resolve(database: &Database, text: &str) -> Result<Key, ResolveError> {
    let range = ids::range(text, ids::MIN_DIGITS).ok_or_else(|| ResolveError::NotAnId(text.to_owned()))?;
    let mut found = database.unit(async |conn| store::matching(conn, range, 2).await).await?;
    match (found.pop(), found.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(_), false) => Err(ResolveError::Ambiguous(text.to_owned())),
        (None, _) => Err(ResolveError::Unknown(text.to_owned())),
    }
}

/// Why a note was not written.
#[derive(Debug, thiserror::Error)]
pub enum NoteError {
    /// It is empty, too long, or contains control characters other than line breaks and tabs.
    #[error(
        "a note must be 1 to {MAX_NOTE} bytes, without control characters other than line breaks and tabs"
    )]
    Malformed,
    /// No unsettled dead letter has this signature, and there is no note on it.
    #[error("there is no such group of dead letters; see `dead-letter groups`")]
    Unknown,
    /// The database failed.
    #[error("could not write the note")]
    Database(#[from] sqlx::Error),
}

/// Writes the note on a group, or removes it. The text itself is not recorded.
///
/// # Errors
/// See [`NoteError`]; nothing has changed then.
pub async fn write_note(
    database: &Database,
    actor: &Actor,
    signature: Signature,
    text: Option<&str>,
) -> Result<(), NoteError> {
    let text = text.map(str::trim);
    let is_control = |c: char| c.is_control() && !matches!(c, '\n' | '\r' | '\t');
    if text.is_some_and(|text| !(1..=MAX_NOTE).contains(&text.len()) || text.contains(is_control)) {
        return Err(NoteError::Malformed);
    }
    let write = async |conn: &mut PgConnection| {
        let had_one = store::write_note(conn, signature, text, &actor.name).await?;
        if let Some(had_one) = had_one {
            let change = Change {
                action: audit::DEAD_LETTER_NOTE,
                company: "",
                object: signature.to_string(),
                before: Some(json!({ "note": had_one })),
                after: Some(json!({ "note": text.is_some() })),
            };
            audit::record(conn, actor, &change).await?;
        }
        Ok(had_one)
    };
    let had_one = database.transact(|_| true, write).await?;
    had_one.map(drop).ok_or(NoteError::Unknown)
}
