//! The dead-letter store: what a worker could not do, kept until it is resolved or discarded.
//!
//! Reading and settling for operators is in `settle`; what the workers write is here. Nothing here
//! publishes: `operator::dead_letters` does that between two calls of this module.

mod read;
mod settle;

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

pub use read::{DeadLetter, Filter, Key, State, Summary, get, keys, list, matching};
pub use settle::{Replayable, begin_replay, discard, mark_open_again};

use crate::domain::fault::{Reason, Stage};

/// A message that cannot be done, as a worker or the collector hands it over.
#[derive(Clone)]
pub struct NewDeadLetter {
    /// The company's id, empty where the message does not tell.
    pub company: String,
    /// Where it failed, and so where a replay sends it.
    pub stage: Stage,
    /// Why.
    pub reason: Reason,
    /// For a person, without personal data.
    pub message: String,
    /// The bytes as they came.
    pub body: Vec<u8>,
    /// The routing key with which the message came.
    pub routing_key: String,
    /// The AMQP properties, as `amqp::properties::to_json` writes them.
    pub properties: serde_json::Value,
    /// `CloudEvents` `source`, where it could be read.
    pub source: Option<String>,
    /// `CloudEvents` `id`, where it could be read.
    pub event_id: Option<String>,
    /// The name of the (first) trigger, where it could be read.
    pub trigger: Option<String>,
    /// The delivery, for stage webhook.
    pub delivery_id: Option<Uuid>,
    /// How often it was tried this time.
    pub attempts: i32,
    /// The dead letter whose replay this is.
    pub replays: Option<Uuid>,
}

/// A replayed message that was applied.
#[derive(Clone, Debug)]
pub struct Replayed {
    /// The company of the applied event.
    pub company: String,
    /// Where it failed before.
    pub stage: Stage,
    /// The dead letter that the message names.
    pub id: Uuid,
    /// SHA-256 of the body.
    pub digest: [u8; 32],
}

impl std::fmt::Debug for NewDeadLetter {
    /// Leaves out body and properties: both are the sender's and may hold personal data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewDeadLetter")
            .field("company", &self.company)
            .field("stage", &self.stage)
            .field("reason", &self.reason)
            .field("message", &self.message)
            .finish_non_exhaustive()
    }
}

/// Stores messages that cannot be done, in the caller's transaction.
///
/// The same body of the same company and stage is the same dead letter: it is opened again and its
/// attempts grow; routing key and properties stay those of its first arrival, for those are the
/// sender's own and not a replay's.
///
/// # Errors
/// When the database refuses or is away; the transaction is then lost.
pub async fn insert(conn: &mut PgConnection, dead_letters: &[NewDeadLetter]) -> Result<(), sqlx::Error> {
    let rows = coalesce(dead_letters);
    if rows.is_empty() {
        return Ok(());
    }
    let column = |value: fn(&NewDeadLetter) -> &str| -> Vec<String> {
        rows.iter().map(|row| without_nul(value(row.new))).collect()
    };
    let optional = |value: fn(&NewDeadLetter) -> Option<&String>| -> Vec<Option<String>> {
        rows.iter().map(|row| value(row.new).map(|text| without_nul(text))).collect()
    };
    let ids: Vec<Uuid> = rows.iter().map(|_| Uuid::now_v7()).collect();
    let digests: Vec<&[u8]> = rows.iter().map(|row| row.digest.as_slice()).collect();
    let bodies: Vec<&[u8]> = rows.iter().map(|row| row.new.body.as_slice()).collect();
    let properties: Vec<serde_json::Value> = rows.iter().map(|row| row.new.properties.clone()).collect();
    let delivery_ids: Vec<Option<Uuid>> = rows.iter().map(|row| row.new.delivery_id).collect();
    let attempts: Vec<i32> = rows.iter().map(|row| row.attempts).collect();
    sqlx::query!(
        r#"INSERT INTO dead_letters AS old (company_id, dead_letter_id, stage, reason, message, digest, body,
               routing_key, properties, source, event_id, trigger_name, delivery_id, attempts)
           SELECT * FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bytea[],
               $7::bytea[], $8::text[], $9::jsonb[], $10::text[], $11::text[], $12::text[], $13::uuid[],
               $14::integer[])
           ON CONFLICT (company_id, stage, digest) DO UPDATE SET
               state = 'open', settled_at = NULL, settled_by = NULL,
               reason = excluded.reason, message = excluded.message,
               source = COALESCE(excluded.source, old.source),
               event_id = COALESCE(excluded.event_id, old.event_id),
               trigger_name = COALESCE(excluded.trigger_name, old.trigger_name),
               delivery_id = COALESCE(excluded.delivery_id, old.delivery_id),
               attempts = old.attempts + excluded.attempts, last_seen_at = now()"#,
        &column(|new| &new.company),
        &ids,
        &column(|new| new.stage.name()),
        &column(|new| new.reason.name()),
        &column(|new| &new.message),
        &digests as &[&[u8]],
        &bodies as &[&[u8]],
        &column(|new| &new.routing_key),
        &properties,
        &optional(|new| new.source.as_ref()) as &[Option<String>],
        &optional(|new| new.event_id.as_ref()) as &[Option<String>],
        &optional(|new| new.trigger.as_ref()) as &[Option<String>],
        &delivery_ids as &[Option<Uuid>],
        &attempts,
    )
    .execute(&mut *conn)
    .await?;
    close_replays(conn, dead_letters).await
}

/// A replay that fails again opens its own dead letter again, above; unless more is known of it now,
/// such as its company. Then it is another one, and the one that was replayed has come to its end.
async fn close_replays(conn: &mut PgConnection, dead_letters: &[NewDeadLetter]) -> Result<(), sqlx::Error> {
    let failed: Vec<Uuid> = dead_letters.iter().filter_map(|new| new.replays).collect();
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

/// Marks dead letters as resolved whose replay was applied, in the caller's transaction. Each is
/// named by the company of the applied event, its stage, its id and the digest of its body, for a
/// header alone could name any; those that are settled already stay as they are.
///
/// A dead letter without a company (the message did not tell, or was not read) is found as well.
///
/// # Errors
/// When the database refuses or is away.
pub async fn resolve(conn: &mut PgConnection, applied: &[Replayed]) -> Result<(), sqlx::Error> {
    if applied.is_empty() {
        return Ok(());
    }
    let companies: Vec<&str> = applied.iter().map(|one| one.company.as_str()).collect();
    let stages: Vec<&str> = applied.iter().map(|one| one.stage.name()).collect();
    let ids: Vec<Uuid> = applied.iter().map(|one| one.id).collect();
    let digests: Vec<&[u8]> = applied.iter().map(|one| one.digest.as_slice()).collect();
    sqlx::query!(
        r#"UPDATE dead_letters SET state = 'resolved', settled_at = now()
           FROM UNNEST($1::text[], $2::text[], $3::uuid[], $4::bytea[])
               AS applied (company_id, stage, dead_letter_id, digest)
           WHERE dead_letters.company_id IN (applied.company_id, '')
             AND dead_letters.dead_letter_id = applied.dead_letter_id
             AND dead_letters.stage = applied.stage
             AND dead_letters.digest = applied.digest
             AND dead_letters.state IN ('open', 'replaying')"#,
        &companies as &[&str],
        &stages as &[&str],
        &ids,
        &digests as &[&[u8]],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One row of the statement: a dead letter and how often it stands in the batch.
struct Row<'a> {
    new: &'a NewDeadLetter,
    digest: [u8; 32],
    attempts: i32,
}

/// One row for each key, the latest of its kind, because an upsert cannot touch a row twice. Sorted
/// by key, so that all workers lock in one order.
fn coalesce(dead_letters: &[NewDeadLetter]) -> Vec<Row<'_>> {
    let mut rows: BTreeMap<_, Row<'_>> = BTreeMap::new();
    for new in dead_letters {
        let digest: [u8; 32] = Sha256::digest(&new.body).into();
        rows.entry((new.company.as_str(), new.stage.name(), digest))
            .and_modify(|row| {
                row.new = new;
                row.attempts = row.attempts.saturating_add(new.attempts);
            })
            .or_insert(Row { new, digest, attempts: new.attempts });
    }
    rows.into_values().collect()
}

/// Postgres refuses NUL in text, and a refused dead letter would block its queue.
fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(company: &str, body: &[u8], message: &str) -> NewDeadLetter {
        NewDeadLetter {
            company: company.to_owned(),
            stage: Stage::Upsert,
            reason: Reason::Undecodable,
            message: message.to_owned(),
            body: body.to_vec(),
            routing_key: "trigger.fired".to_owned(),
            properties: serde_json::json!({}),
            source: None,
            event_id: None,
            trigger: None,
            delivery_id: None,
            attempts: 1,
            replays: None,
        }
    }

    #[test]
    fn a_batch_touches_each_row_once_in_key_order() {
        let batch = [new("b", b"1", "first"), new("a", b"1", "other"), new("b", b"1", "second")];
        let rows = coalesce(&batch);
        let seen: Vec<_> = rows
            .iter()
            .map(|row| (row.new.company.as_str(), row.new.message.as_str(), row.attempts))
            .collect();
        assert_eq!(seen, [("a", "other", 1), ("b", "second", 2)]);
    }

    #[test]
    fn debug_shows_no_body() {
        let shown = format!("{:?}", new("acme", b"ada@analytical.example", "not JSON"));
        assert!(shown.contains("not JSON") && !shown.contains("ada"), "{shown}");
    }
}
