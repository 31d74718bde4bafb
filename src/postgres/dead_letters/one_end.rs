//! An event ends once: it is applied, or it is a dead letter. The ledger decides which, see
//! [`crate::postgres::ledger::insert`]; this file updates the dead letters accordingly.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::NewDeadLetter;
use crate::{
    domain::{event::Key, fault::Reason},
    postgres::{
        columns::{column, key_columns},
        free::query_free,
        ledger::{End, Ends, EventKey, Proof},
    },
};

/// A message of stage upsert, as its dead letter knows it.
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    /// The company's id, empty if the message has none.
    pub company: &'a str,
    /// [`crate::domain::trigger::fired::meaning`] of its body.
    pub meaning: &'a [u8; 32],
}

/// A message that ends its event, or whose event has ended.
#[derive(Clone, Copy, Debug)]
pub struct Ended<'a> {
    /// The message.
    pub message: Message<'a>,
    /// The key of its event, if the ledger listed that as refused until now.
    pub refused: Option<Uuid>,
}

/// Explains [`Reason::EventIdConflict`].
pub const OTHER_CONTENTS: &str =
    "an event with this source and id was applied before, with other contents; a new event needs a new id";

/// A dead letter, unless its message has ended otherwise: its event was applied with the same meaning, or is about a person
/// who has been erased. If it was applied with another meaning, that is why the message failed, whatever else is wrong with
/// it. Only the broker did not judge the contents of what it dead-lettered.
#[must_use]
pub fn unless_ended(new: NewDeadLetter, ends: &Ends<'_>) -> Option<NewDeadLetter> {
    let end = new.event().and_then(|event| ends.get(&event)).copied();
    match end {
        Some(end) if end.covers(&new.meaning) => None,
        Some(End::Applied(_)) if new.reason != Reason::Broker => {
            let (reason, message) = (Reason::EventIdConflict, OTHER_CONTENTS.to_owned());
            Some(NewDeadLetter { reason, message, ..new })
        }
        Some(End::Applied(_) | End::Erased | End::Refused) | None => Some(new),
    }
}

/// The rows by which the ledger knows that the events of these dead letters were refused. An event that was applied with
/// another meaning keeps its own.
#[must_use]
pub fn refusals<'a>(dead_letters: &'a [NewDeadLetter], ends: &Ends<'_>) -> Vec<Proof<'a>> {
    let mut events = HashSet::new();
    let mut refusals = Vec::new();
    for event in dead_letters.iter().filter_map(NewDeadLetter::event) {
        let replaces = match ends.get(&event) {
            None => false,
            Some(End::Refused) => true,
            Some(End::Applied(_) | End::Erased) => continue,
        };
        if events.insert(event) {
            refusals.push(Proof { event, end: End::Refused, replaces });
        }
    }
    refusals
}

/// Locks the rows by which the ledger knows that these events were refused. Call it before dead letters of these events are
/// deleted: of two transactions that delete the last ones of an event, the second must see that the first is gone.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn lock_refusals(conn: &mut PgConnection, events: &[EventKey<'_>]) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "SELECT ae.event_key FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, event_key)
         JOIN applied_events ae ON ae.company_id = u.company_id AND ae.event_key = u.event_key
         WHERE ae.meaning IS NULL ORDER BY ae.company_id, ae.event_key FOR UPDATE OF ae",
        &column(events, |(company, _)| *company) as &[&str],
        &column(events, |(_, key)| *key),
    )
    .fetch_all(conn)
    .await
    .map(drop)
}

/// Locks these rows like [`lock_refusals`], except those that others have locked. Returns the events of the skipped rows.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(super) async fn lock_free_refusals(
    conn: &mut PgConnection,
    events: &[EventKey<'_>],
) -> Result<Vec<Key>, sqlx::Error> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    query_free!(
        "event_key",
        "",
        "UNNEST($1::text[], $2::uuid[]) AS u(company_id, event_key)
         JOIN applied_events r ON r.company_id = u.company_id AND r.event_key = u.event_key
         WHERE r.meaning IS NULL",
        "",
        &column(events, |(company, _)| *company) as &[&str],
        &column(events, |(_, key)| *key),
    )
    .fetch_all(conn)
    .await
}

/// Lets the ledger forget that these events were refused, once their dead letters are deleted, unless another one
/// of the same event exists: if it was discarded and the event is applied after all, it must be found. The caller has locked the
/// rows before it deleted the dead letters.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn forget_refusals(conn: &mut PgConnection, events: &[EventKey<'_>]) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "WITH refused AS MATERIALIZED (
             SELECT ae.company_id, ae.event_key FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, event_key)
             JOIN applied_events ae ON ae.company_id = u.company_id AND ae.event_key = u.event_key
             WHERE ae.meaning IS NULL AND NOT EXISTS (
                 SELECT FROM dead_letters dl
                 WHERE dl.company_id = u.company_id AND dl.event_key = u.event_key)
             FOR UPDATE OF ae SKIP LOCKED)
         DELETE FROM applied_events ae USING refused
         WHERE ae.company_id = refused.company_id AND ae.event_key = refused.event_key AND ae.meaning IS NULL",
        &column(events, |(company, _)| *company) as &[&str],
        &column(events, |(_, key)| *key),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Resolves the dead letters of messages that this transaction ends otherwise, and of other messages with the same event
/// if that was refused until now: its end is theirs. Also finds those that were discarded before, and those without a
/// company. An event id conflict remains, because its message is another event that needs a new id.
///
/// # Errors
/// When the database fails; the transaction is then lost.
pub async fn resolve(conn: &mut PgConnection, ended: &[Ended<'_>]) -> Result<(), sqlx::Error> {
    if ended.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "WITH found AS MATERIALIZED (
             SELECT dl.company_id, dl.dead_letter_id FROM UNNEST($1::text[], $2::bytea[]) AS u(company_id, meaning)
             JOIN dead_letters dl ON dl.company_id = ANY(ARRAY[u.company_id, '']) AND dl.stage = 'upsert'
                 AND dl.meaning = u.meaning AND dl.state <> 'resolved'
             UNION
             SELECT dl.company_id, dl.dead_letter_id FROM UNNEST($1::text[], $3::uuid[]) AS u(company_id, event_key)
             JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.event_key = u.event_key
                 AND dl.stage = 'upsert' AND dl.state <> 'resolved' AND dl.reason <> 'event_id_conflict'),
         locked AS MATERIALIZED (
             SELECT dl.company_id, dl.dead_letter_id FROM found
             JOIN dead_letters dl ON dl.company_id = found.company_id AND dl.dead_letter_id = found.dead_letter_id
             WHERE dl.state <> 'resolved'
             ORDER BY dl.company_id, dl.dead_letter_id FOR UPDATE OF dl)
         UPDATE dead_letters dl SET state = 'resolved', settled_at = now(), settled_by = NULL
         FROM locked WHERE dl.company_id = locked.company_id AND dl.dead_letter_id = locked.dead_letter_id",
        &column(ended, |one| one.message.company) as &[&str],
        &column(ended, |one| *one.message.meaning) as &[[u8; 32]],
        &column(ended, |one| one.refused) as &[Option<Uuid>],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The replay of a message: the dead letter, and the meaning of the body, because a sender could put any id into the
/// header.
pub type Replay = (Uuid, [u8; 32]);

/// Locks the dead letters that these messages replay, and returns the replays whose dead letter an operator has discarded
/// or edited since. A discard that comes later waits for the caller's transaction.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn lock_discarded(
    conn: &mut PgConnection,
    replays: &[(Uuid, Message<'_>)],
) -> Result<HashSet<Replay>, sqlx::Error> {
    if replays.is_empty() {
        return Ok(HashSet::new());
    }
    let locked = sqlx::query!(
        "SELECT dl.dead_letter_id, dl.meaning, dl.state, dl.superseded_by
         FROM UNNEST($1::text[], $2::uuid[], $3::bytea[]) AS u(company_id, dead_letter_id, meaning)
         JOIN dead_letters dl ON dl.company_id = ANY(ARRAY[u.company_id, '']) AND dl.dead_letter_id = u.dead_letter_id
             AND dl.stage = 'upsert' AND dl.meaning = u.meaning
         ORDER BY dl.company_id, dl.dead_letter_id FOR UPDATE OF dl",
        &column(replays, |(_, message)| message.company) as &[&str],
        &column(replays, |(id, _)| *id),
        &column(replays, |(_, message)| *message.meaning) as &[[u8; 32]],
    )
    .fetch_all(conn)
    .await?;
    let is_superseded = |state: &str, by: Option<Uuid>| state == "resolved" && by.is_some();
    let discarded = locked
        .into_iter()
        .filter(|row| row.state == "discarded" || is_superseded(&row.state, row.superseded_by));
    Ok(discarded.filter_map(|row| Some((row.dead_letter_id, row.meaning.try_into().ok()?))).collect())
}

/// Locks the open dead letters that messages already have, without waiting. Takes out, and returns, the
/// messages whose dead letter another session has locked: only its counts would change. A message without its contents
/// stays, because the contents of its dead letter must go.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn take_locked(
    conn: &mut PgConnection,
    dead_letters: &mut Vec<NewDeadLetter>,
) -> Result<Vec<NewDeadLetter>, sqlx::Error> {
    let locked = query_free!(
        "dead_letter_id",
        "",
        "UNNEST($1::text[], $2::bytea[], $3::text[]) AS u(company_id, meaning, stage)
         JOIN dead_letters r ON r.company_id = ANY(ARRAY[u.company_id, '']) AND r.stage = u.stage
             AND r.meaning = u.meaning
         WHERE r.state IN ('open', 'replaying')",
        "",
        &column(dead_letters, |new| new.company.as_str()) as &[&str],
        &column(dead_letters, |new| new.meaning) as &[[u8; 32]],
        &column(dead_letters, |new| new.stage.name()) as &[&str],
    )
    .fetch_all(&mut *conn)
    .await?;
    if locked.is_empty() {
        return Ok(Vec::new());
    }
    let (companies, ids) = key_columns(&locked);
    let locked = sqlx::query!(
        "SELECT dl.company_id, dl.stage, dl.meaning FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, dead_letter_id)
         JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.dead_letter_id = u.dead_letter_id",
        &companies as &[&str],
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let has_locked = |new: &mut NewDeadLetter| {
        let is_its = |company: &str| company.is_empty() || company == new.company;
        let is_same = |stage: &str, meaning: &[u8]| stage == new.stage.name() && meaning == new.meaning;
        !new.is_blank && locked.iter().any(|row| is_its(&row.company_id) && is_same(&row.stage, &row.meaning))
    };
    Ok(dead_letters.extract_if(.., has_locked).collect())
}
