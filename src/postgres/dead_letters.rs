//! Dead letters, from the failure until a replay resolves them or an operator discards them.
//!
//! This file has the writes of the workers; `read`, `groups`, `settle`, `edit` and `import` serve operators. Nothing
//! here publishes: `operator::dead_letters` does that between two calls of this module.

mod blank;
mod edit;
mod filter;
mod groups;
mod guard;
mod import;
mod one_end;
mod read;
mod search;
mod settle;

use std::collections::BTreeMap;

use bytes::Bytes;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

pub use blank::{Recognition, SearchBudget, blank, log_unsearched};
pub use edit::{Edited, insert_edited, supersede};
pub use filter::{BadText, Filter, SearchText, State};
pub use groups::{Group, Note, groups, note, write_note};
pub use guard::{looping, replayed_since, replaying, without_delivery};
pub use import::{PutBack, delivery_of, put_back};
pub use one_end::{
    Ended, Message, OTHER_CONTENTS, Replay, forget_refusals, lock_discarded, lock_refusals, refusals,
    resolve, take_locked, unless_ended,
};
pub use read::{DeadLetter, Summary, get, get_all, keys, matching, summaries};
pub use search::list;
pub use settle::{
    Replayable, Settled, begin_replay, begin_replay_of_deliveries, delete_settled, deliveries_in, discard,
    discard_with_deliveries, end_replay, reopen, resolve_deliveries, restore,
};

use super::{columns::column, ledger::EventKey};
use crate::domain::fault::{Reason, Signature, Stage};

/// A message or delivery that cannot be processed, from a worker or the collector.
#[derive(Clone)]
pub struct NewDeadLetter {
    /// The company's id, empty if the message has none.
    pub company: String,
    /// Where it failed, and where a replay sends it.
    pub stage: Stage,
    /// Why it failed.
    pub reason: Reason,
    /// Explains the failure to a person, without personal data.
    pub message: String,
    /// [`crate::domain::trigger::fired::meaning`] of the body: the same meaning is the same dead letter.
    pub meaning: [u8; 32],
    /// The bytes as they arrived.
    pub body: Bytes,
    /// The routing key of the message.
    pub routing_key: String,
    /// The AMQP properties, as `amqp::properties::to_text` writes them.
    pub properties: String,
    /// `CloudEvents` `source`, if it was readable.
    pub source: Option<String>,
    /// `CloudEvents` `id`, if it was readable.
    pub event_id: Option<String>,
    /// The key of the event in the ledger, if company and event were readable. Only for stage upsert.
    pub event_key: Option<Uuid>,
    /// The name of the (first) trigger, if it was readable.
    pub trigger: Option<String>,
    /// The delivery; only for stage webhook.
    pub delivery_id: Option<Uuid>,
    /// Where it goes; only for stage webhook.
    pub endpoint_id: Option<Uuid>,
    /// How often it failed this time.
    pub attempts: i32,
    /// The dead letter whose replay failed.
    pub replay_of: Option<Uuid>,
    /// The latest time at which it was known, regardless of its body's time; only if an operator imports or edits it.
    pub known_at: Option<OffsetDateTime>,
    /// Its contents were not kept, because they may name a person who has been erased. See [`blank`].
    pub is_blank: bool,
}

impl NewDeadLetter {
    /// The message, if it is of stage upsert.
    #[must_use]
    pub fn as_message(&self) -> Message<'_> {
        Message { company: &self.company, meaning: &self.meaning }
    }

    /// The group that it belongs to.
    #[must_use]
    pub fn signature(&self) -> Signature {
        Signature::of(
            self.stage,
            self.reason.name(),
            self.trigger.as_deref(),
            self.endpoint_id,
            &self.message,
        )
    }

    /// The event in the ledger.
    #[must_use]
    pub fn event(&self) -> Option<EventKey<'_>> {
        Some((self.company.as_str(), self.event_key?))
    }
}

impl std::fmt::Debug for NewDeadLetter {
    /// Omits body and properties, which come from the sender and may hold personal data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewDeadLetter")
            .field("company", &self.company)
            .field("stage", &self.stage)
            .field("reason", &self.reason)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

/// In bytes. The database refuses a row whose text is too large for an index, and a dead letter must never be refused. Names and ids
/// that were checked are shorter.
const MAX_INDEXED: usize = 2_000;

/// Inserts dead letters, in the caller's transaction.
///
/// The same meaning in the same company and stage is the same dead letter: it is reopened, and its attempts add up. It
/// keeps body, routing key and properties of its first arrival, which are the sender's and not those of a replay. If these
/// were not kept, because too many others came with it, it gets those of a later arrival.
///
/// # Errors
/// When the database fails; the transaction is then lost.
pub async fn insert(conn: &mut PgConnection, dead_letters: &[NewDeadLetter]) -> Result<(), sqlx::Error> {
    let rows = coalesce(dead_letters);
    if rows.is_empty() {
        return Ok(());
    }
    let text = |of: fn(&NewDeadLetter) -> &String| column(&rows, |row| without_nul(of(row.new)));
    let optional = |of: fn(&NewDeadLetter) -> Option<&String>| {
        column(&rows, |row| of(row.new).map(|text| without_nul(text)))
    };
    let indexed = |of: fn(&NewDeadLetter) -> Option<&String>| {
        column(&rows, |row| {
            of(row.new).filter(|text| text.len() <= MAX_INDEXED).map(|text| without_nul(text))
        })
    };
    sqlx::query!(
        "INSERT INTO dead_letters AS dl (company_id, dead_letter_id, stage, reason, message, meaning, body,
             routing_key, properties, source, event_id, trigger_name, delivery_id, attempts,
             event_key, is_blank, endpoint_id, signature)
         SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[],
             $7::bytea[], $8::text[], $9::text[]::jsonb[], $10::text[], $11::text[], $12::text[], $13::uuid[],
             $14::integer[], $15::uuid[], $16::boolean[], $17::uuid[], $18::bytea[])
         ON CONFLICT (company_id, stage, meaning) DO UPDATE SET
             state = 'open', settled_at = NULL, settled_by = NULL, superseded_by = NULL,
             signature = excluded.signature, endpoint_id = coalesce(excluded.endpoint_id, dl.endpoint_id),
             difference = CASE WHEN excluded.is_blank THEN NULL ELSE dl.difference END,
             reason = excluded.reason, message = excluded.message,
             is_blank = excluded.is_blank,
             body = CASE WHEN dl.is_blank OR excluded.is_blank THEN excluded.body ELSE dl.body END,
             properties = CASE WHEN dl.is_blank OR excluded.is_blank THEN excluded.properties ELSE dl.properties END,
             routing_key = CASE WHEN dl.is_blank OR excluded.is_blank THEN excluded.routing_key ELSE dl.routing_key END,
             source = CASE WHEN excluded.is_blank THEN NULL ELSE coalesce(excluded.source, dl.source) END,
             event_id = CASE WHEN excluded.is_blank THEN NULL ELSE coalesce(excluded.event_id, dl.event_id) END,
             event_key = coalesce(excluded.event_key, dl.event_key),
             trigger_name = coalesce(excluded.trigger_name, dl.trigger_name),
             delivery_id = coalesce(excluded.delivery_id, dl.delivery_id),
             attempts = dl.attempts + excluded.attempts, last_seen_at = now()",
        &text(|new| &new.company),
        &column(&rows, |_| Uuid::now_v7()),
        &column(&rows, |row| row.new.stage.name()) as &[&str],
        &column(&rows, |row| row.new.reason.name()) as &[&str],
        &text(|new| &new.message),
        &column(&rows, |row| row.new.meaning) as &[[u8; 32]],
        &column(&rows, |row| row.new.body.as_ref()) as &[&[u8]],
        &text(|new| &new.routing_key),
        &column(&rows, |row| row.new.properties.as_str()) as &[&str],
        &optional(|new| new.source.as_ref()) as &[Option<String>],
        &indexed(|new| new.event_id.as_ref()) as &[Option<String>],
        &indexed(|new| new.trigger.as_ref()) as &[Option<String>],
        &column(&rows, |row| row.new.delivery_id) as &[Option<Uuid>],
        &column(&rows, |row| row.attempts),
        &column(&rows, |row| row.new.event_key) as &[Option<Uuid>],
        &column(&rows, |row| row.new.is_blank),
        &column(&rows, |row| row.new.endpoint_id) as &[Option<Uuid>],
        &column(&rows, |row| *row.new.signature().as_bytes()) as &[[u8; 16]],
    )
    .execute(&mut *conn)
    .await?;
    resolve_originals(conn, dead_letters).await
}

/// The insert above reopens the dead letter of a replay that failed again. But if a replay got further than its
/// original, which had no company, it is a new dead letter, and the original is resolved.
async fn resolve_originals(
    conn: &mut PgConnection,
    dead_letters: &[NewDeadLetter],
) -> Result<(), sqlx::Error> {
    let failed: Vec<Uuid> = dead_letters.iter().filter_map(|new| new.replay_of).collect();
    if failed.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE dead_letters SET state = 'resolved', settled_at = now()
         WHERE company_id = '' AND dead_letter_id = ANY($1) AND state = 'replaying'",
        &failed,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One row to insert, which may combine several dead letters of the batch.
struct Row<'a> {
    new: &'a NewDeadLetter,
    attempts: i32,
}

/// The latest dead letter of each key, because an upsert cannot change a row twice. Sorted by key, so that all
/// workers lock in the same order.
fn coalesce(dead_letters: &[NewDeadLetter]) -> Vec<Row<'_>> {
    let mut rows: BTreeMap<_, Row<'_>> = BTreeMap::new();
    for new in dead_letters {
        rows.entry((new.company.as_str(), new.stage.name(), new.meaning))
            .and_modify(|row| {
                row.new = new;
                row.attempts = row.attempts.saturating_add(new.attempts);
            })
            .or_insert(Row { new, attempts: new.attempts });
    }
    rows.into_values().collect()
}

/// Postgres rejects NUL in text, and a rejected dead letter would block its queue.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::meaning;

    fn new(company: &str, body: &[u8], message: &str) -> NewDeadLetter {
        NewDeadLetter {
            company: company.to_owned(),
            stage: Stage::Upsert,
            reason: Reason::Undecodable,
            message: message.to_owned(),
            meaning: meaning(body),
            body: body.to_vec().into(),
            routing_key: "trigger.fired".to_owned(),
            properties: "{}".to_owned(),
            source: None,
            event_id: None,
            event_key: None,
            trigger: None,
            delivery_id: None,
            endpoint_id: None,
            attempts: 1,
            replay_of: None,
            known_at: None,
            is_blank: false,
        }
    }

    #[test]
    fn batch_has_each_row_once_in_key_order() {
        let batch = [new("b", b"1", "first"), new("a", b"1", "other"), new("b", b"1", "second")];
        let rows = coalesce(&batch);
        let seen: Vec<_> = rows
            .iter()
            .map(|row| (row.new.company.as_str(), row.new.message.as_str(), row.attempts))
            .collect();
        assert_eq!(seen, [("a", "other", 1), ("b", "second", 2)]);
    }

    #[test]
    fn debug_output_omits_the_body() {
        let shown = format!("{:?}", new("acme", b"ada@analytical.example", "not JSON"));
        assert!(shown.contains("not JSON") && !shown.contains("ada"), "{shown}");
    }
}
