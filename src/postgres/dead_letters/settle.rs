//! Replays and discards dead letters. The delivery of a dead letter of stage webhook must change in the same
//! transaction: the caller locks it first ([`deliveries_in`]) and calls `postgres::deliveries` for it.

use std::collections::HashMap;

use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    filter::State,
    one_end::{forget_refusals, lock_free_refusals},
};
use crate::{
    domain::{event::Key, fault::Stage, webhook::requested::DeliveryMessage},
    postgres::columns::{column, key_columns},
};

/// A dead letter that is being replayed.
pub struct Replayable {
    /// Its key.
    pub key: Key,
    /// Its state before.
    pub was: String,
    /// The stage that receives it.
    pub stage: Stage,
    /// Its delivery, to be restarted in the same transaction, whether or not the message arrives. Only for stage
    /// webhook.
    pub delivery_id: Option<Uuid>,
    /// The bytes as they arrived.
    pub body: Vec<u8>,
    /// AMQP properties, see `amqp::properties`.
    pub properties: serde_json::Value,
    /// The key of its event, if it could be read.
    pub event_key: Option<Uuid>,
    /// The meaning of the body.
    pub meaning: Vec<u8>,
}

impl Replayable {
    /// Whether the replay consists of its message alone, without a delivery that is due anyway.
    #[must_use]
    pub fn is_its_message(&self) -> bool {
        self.delivery_id.is_none()
    }

    /// The key of its delivery.
    #[must_use]
    pub fn delivery(&self) -> Option<Key> {
        Some(Key { company: self.key.company.clone(), id: self.delivery_id? })
    }
}

/// The deliveries of those of these dead letters that are in one of these states. Locks nothing: deliveries are locked
/// before their dead letters.
///
/// # Errors
/// When the database fails.
pub async fn deliveries_in(
    conn: &mut PgConnection,
    keys: &[Key],
    states: &[State],
) -> Result<Vec<Key>, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    sqlx::query_as!(
        Key,
        r#"SELECT dl.company_id AS company, dl.delivery_id AS "id!"
           FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, dead_letter_id)
           JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.dead_letter_id = u.dead_letter_id
           WHERE dl.state = ANY($3) AND dl.delivery_id IS NOT NULL"#,
        &companies as &[&str],
        &ids,
        &column(states, |state| state.name()) as &[&str],
    )
    .fetch_all(conn)
    .await
}

/// Marks unsettled dead letters as replaying and counts the replay. Commit before you publish: if the process dies in
/// between, they can be replayed again.
///
/// Returns the marked ones in the order of `keys`. Skips those that are settled, that do not exist, whose contents
/// were not kept, whose delivery has been delivered or has left, or whose number of replays differs from `replays`: somebody
/// else has replayed them since.
///
/// # Errors
/// When the database fails.
pub async fn begin_replay(
    conn: &mut PgConnection,
    keys: &[Key],
    replays: &[i32],
) -> Result<Vec<Replayable>, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    let rows = sqlx::query!(
        "WITH replayable AS MATERIALIZED (
             SELECT dl.company_id, dl.dead_letter_id, dl.state, dl.delivery_id
             FROM UNNEST($1::text[], $2::uuid[], $3::integer[]) AS u(company_id, dead_letter_id, replays)
             JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.dead_letter_id = u.dead_letter_id
             WHERE dl.state IN ('open', 'replaying') AND NOT dl.is_blank AND dl.replays = u.replays
             ORDER BY dl.company_id, dl.dead_letter_id FOR UPDATE OF dl)
         UPDATE dead_letters dl SET state = 'replaying', replays = replays + 1
         FROM replayable old WHERE dl.company_id = old.company_id AND dl.dead_letter_id = old.dead_letter_id
           AND (old.delivery_id IS NULL OR EXISTS (
               SELECT FROM webhook_deliveries d
               WHERE d.company_id = old.company_id AND d.delivery_id = old.delivery_id AND d.state <> 'delivered'))
         RETURNING dl.company_id, dl.dead_letter_id, dl.stage, dl.body, dl.properties, dl.delivery_id, dl.event_key,
             dl.meaning, old.state AS was",
        &companies as &[&str],
        &ids,
        replays,
    )
    .fetch_all(conn)
    .await?;
    let mut marked: Vec<Replayable> = rows
        .into_iter()
        .filter_map(|row| {
            // The schema allows no other stage.
            let stage = row.stage.parse().ok()?;
            let key = Key { company: row.company_id, id: row.dead_letter_id };
            let (body, properties, meaning) = (row.body, row.properties, row.meaning);
            let (delivery_id, event_key) = (row.delivery_id, row.event_key);
            Some(Replayable { key, was: row.was, stage, delivery_id, body, properties, event_key, meaning })
        })
        .collect();
    let places: HashMap<&Key, usize> = keys.iter().zip(0..).collect();
    marked.sort_by_key(|dead_letter| places.get(&dead_letter.key).copied());
    Ok(marked)
}

/// Marks the dead letters of these deliveries as replaying, discarded ones included, and counts the replay. Returns them with
/// their state before.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn begin_replay_of_deliveries(
    conn: &mut PgConnection,
    deliveries: &[DeliveryMessage<'_>],
) -> Result<Vec<(Key, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        "WITH resent AS MATERIALIZED (
             SELECT dl.company_id, dl.dead_letter_id, dl.state
             FROM UNNEST($1::text[], $2::bytea[]) AS u(company_id, meaning)
             JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.stage = 'webhook' AND dl.meaning = u.meaning
             WHERE dl.state IN ('open', 'replaying', 'discarded')
             ORDER BY dl.company_id, dl.dead_letter_id FOR UPDATE OF dl)
         UPDATE dead_letters dl
         SET state = 'replaying', replays = replays + 1, settled_at = NULL, settled_by = NULL
         FROM resent old WHERE dl.company_id = old.company_id AND dl.dead_letter_id = old.dead_letter_id
         RETURNING dl.company_id, dl.dead_letter_id, old.state AS was",
        &column(deliveries, |one| one.delivery.company.as_str()) as &[&str],
        &column(deliveries, DeliveryMessage::meaning) as &[[u8; 32]],
    )
    .fetch_all(conn)
    .await?;
    let of = |company, id| Key { company, id };
    Ok(rows.into_iter().map(|row| (of(row.company_id, row.dead_letter_id), row.was)).collect())
}

/// Resolves the dead letters of deliveries that succeeded after a replay.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn resolve_deliveries(
    conn: &mut PgConnection,
    deliveries: &[DeliveryMessage<'_>],
) -> Result<(), sqlx::Error> {
    if deliveries.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "UPDATE dead_letters dl SET state = 'resolved', settled_at = now()
         FROM UNNEST($1::text[], $2::bytea[]) AS u(company_id, meaning)
         WHERE dl.company_id = u.company_id AND dl.stage = 'webhook' AND dl.meaning = u.meaning
           AND dl.state IN ('open', 'replaying')",
        &column(deliveries, |one| one.delivery.company.as_str()) as &[&str],
        &column(deliveries, DeliveryMessage::meaning) as &[[u8; 32]],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Discards the unsettled dead letters of deliveries that were discarded, on behalf of `operator`. Returns them with their state
/// before.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn discard_with_deliveries(
    conn: &mut PgConnection,
    deliveries: &[DeliveryMessage<'_>],
    operator: &str,
) -> Result<Vec<(Key, String)>, sqlx::Error> {
    let rows = sqlx::query!(
        "WITH given_up AS MATERIALIZED (
             SELECT dl.company_id, dl.dead_letter_id, dl.state
             FROM UNNEST($1::text[], $2::bytea[]) AS u(company_id, meaning)
             JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.stage = 'webhook' AND dl.meaning = u.meaning
             WHERE dl.state IN ('open', 'replaying')
             ORDER BY dl.company_id, dl.dead_letter_id FOR UPDATE OF dl)
         UPDATE dead_letters dl SET state = 'discarded', settled_at = now(), settled_by = $3
         FROM given_up old WHERE dl.company_id = old.company_id AND dl.dead_letter_id = old.dead_letter_id
         RETURNING dl.company_id, dl.dead_letter_id, old.state AS was",
        &column(deliveries, |one| one.delivery.company.as_str()) as &[&str],
        &column(deliveries, DeliveryMessage::meaning) as &[[u8; 32]],
        operator,
    )
    .fetch_all(conn)
    .await?;
    let of = |company, id| Key { company, id };
    Ok(rows.into_iter().map(|row| (of(row.company_id, row.dead_letter_id), row.was)).collect())
}

/// Resolves unsettled dead letters whose replay ends with the publication.
///
/// # Errors
/// When the database fails.
pub async fn end_replay(conn: &mut PgConnection, keys: &[Key]) -> Result<(), sqlx::Error> {
    if keys.is_empty() {
        return Ok(());
    }
    let (companies, ids) = key_columns(keys);
    sqlx::query!(
        "UPDATE dead_letters dl SET state = 'resolved', settled_at = now()
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, dead_letter_id)
         WHERE dl.company_id = u.company_id AND dl.dead_letter_id = u.dead_letter_id
           AND dl.state IN ('open', 'replaying')",
        &companies as &[&str],
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Reopens dead letters whose replay could not be published. Skips those that have changed state since.
///
/// # Errors
/// When the database fails.
pub async fn reopen(conn: &mut PgConnection, keys: &[Key]) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    sqlx::query!(
        "UPDATE dead_letters dl SET state = 'open'
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, dead_letter_id)
         WHERE dl.company_id = u.company_id AND dl.dead_letter_id = u.dead_letter_id AND dl.state = 'replaying'",
        &companies as &[&str],
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes a portion of the dead letters that were settled before `before`, and returns how many. Leaves out those that
/// others have locked.
///
/// # Errors
/// When the database fails.
pub async fn delete_settled(
    conn: &mut PgConnection,
    before: OffsetDateTime,
    portion: i64,
) -> Result<u64, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let mut old = sqlx::query!(
        "SELECT company_id, dead_letter_id, event_key FROM dead_letters WHERE settled_at < $1
         ORDER BY settled_at LIMIT $2",
        before,
        portion,
    )
    .fetch_all(&mut *transaction)
    .await?;
    let events = old.iter().filter_map(|row| Some((row.company_id.as_str(), row.event_key?)));
    let locked = lock_free_refusals(&mut transaction, &events.collect::<Vec<_>>()).await?;
    old.retain(|row| {
        !locked.iter().any(|event| event.company == row.company_id && Some(event.id) == row.event_key)
    });
    let deleted = sqlx::query!(
        "WITH old AS MATERIALIZED (
             SELECT dl.company_id, dl.dead_letter_id FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, dead_letter_id)
             JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.dead_letter_id = u.dead_letter_id
             WHERE dl.settled_at < $3 FOR UPDATE OF dl SKIP LOCKED)
         DELETE FROM dead_letters dl USING old
         WHERE dl.company_id = old.company_id AND dl.dead_letter_id = old.dead_letter_id
         RETURNING dl.company_id, dl.event_key",
        &column(&old, |row| row.company_id.as_str()) as &[&str],
        &column(&old, |row| row.dead_letter_id),
        before,
    )
    .fetch_all(&mut *transaction)
    .await?;
    let events = deleted.iter().filter_map(|row| Some((row.company_id.as_str(), row.event_key?)));
    forget_refusals(&mut transaction, &events.collect::<Vec<_>>()).await?;
    transaction.commit().await?;
    Ok(deleted.len() as u64)
}

/// The result of [`discard`] or [`restore`].
#[derive(Debug, Default)]
pub struct Settled {
    /// The dead letters that were changed, with their state before.
    pub dead_letters: Vec<(Key, String)>,
    /// Their deliveries, to be changed in the same transaction.
    pub deliveries: Vec<Key>,
}

/// Discards unsettled dead letters on behalf of `operator`.
///
/// # Errors
/// When the database fails.
pub async fn discard(conn: &mut PgConnection, keys: &[Key], operator: &str) -> Result<Settled, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    let rows = sqlx::query!(
        "WITH unsettled AS MATERIALIZED (
             SELECT dl.company_id, dl.dead_letter_id, dl.state
             FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, dead_letter_id)
             JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.dead_letter_id = u.dead_letter_id
             WHERE dl.state IN ('open', 'replaying')
             ORDER BY dl.company_id, dl.dead_letter_id FOR UPDATE OF dl)
         UPDATE dead_letters dl SET state = 'discarded', settled_at = now(), settled_by = $3
         FROM unsettled old WHERE dl.company_id = old.company_id AND dl.dead_letter_id = old.dead_letter_id
         RETURNING dl.company_id, dl.dead_letter_id, dl.delivery_id, old.state AS was",
        &companies as &[&str],
        &ids,
        operator,
    )
    .fetch_all(conn)
    .await?;
    let mut discarded = Settled::default();
    for row in rows {
        let of = |id| Key { company: row.company_id.clone(), id };
        discarded.deliveries.extend(row.delivery_id.map(of));
        discarded.dead_letters.push((of(row.dead_letter_id), row.was));
    }
    Ok(discarded)
}

/// Reopens discarded dead letters. Skips those whose contents were not kept or whose delivery has left: they can only be discarded.
///
/// # Errors
/// When the database fails.
pub async fn restore(conn: &mut PgConnection, keys: &[Key]) -> Result<Settled, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    let rows = sqlx::query!(
        "WITH restorable AS MATERIALIZED (
             SELECT dl.company_id, dl.dead_letter_id, dl.state, dl.delivery_id
             FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, dead_letter_id)
             JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.dead_letter_id = u.dead_letter_id
             WHERE dl.state = 'discarded' AND NOT dl.is_blank
             ORDER BY dl.company_id, dl.dead_letter_id FOR UPDATE OF dl)
         UPDATE dead_letters dl SET state = 'open', settled_at = NULL, settled_by = NULL
         FROM restorable old WHERE dl.company_id = old.company_id AND dl.dead_letter_id = old.dead_letter_id
           AND (old.delivery_id IS NULL OR EXISTS (
               SELECT FROM webhook_deliveries d WHERE d.company_id = old.company_id AND d.delivery_id = old.delivery_id))
         RETURNING dl.company_id, dl.dead_letter_id, dl.delivery_id, old.state AS was",
        &companies as &[&str],
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let mut restored = Settled::default();
    for row in rows {
        let of = |id| Key { company: row.company_id.clone(), id };
        restored.deliveries.extend(row.delivery_id.map(of));
        restored.dead_letters.push((of(row.dead_letter_id), row.was));
    }
    Ok(restored)
}
