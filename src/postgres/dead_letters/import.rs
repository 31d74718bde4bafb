//! Inserts exported dead letters again.

use serde_json::Value;
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{NewDeadLetter, State, without_nul};
use crate::domain::event::Key;

/// A dead letter as it was.
pub struct PutBack<'a> {
    /// Its id.
    pub id: Uuid,
    /// The message, and why it failed.
    pub new: &'a NewDeadLetter,
    /// Open or discarded.
    pub state: State,
    /// How often it was replayed.
    pub replays: i32,
    /// When it first failed.
    pub first_seen_at: OffsetDateTime,
    /// When it last failed.
    pub last_seen_at: OffsetDateTime,
    /// When it was discarded.
    pub settled_at: Option<OffsetDateTime>,
    /// The operator who discarded it.
    pub settled_by: Option<&'a str>,
    /// The dead letter whose edited event this is.
    pub edited_from: Option<Uuid>,
    /// What the edit changed.
    pub difference: Option<&'a Value>,
}

/// Inserts a dead letter, unless it, or another one of the same message, exists. Returns whether it was inserted.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn put_back(conn: &mut PgConnection, one: &PutBack<'_>) -> Result<bool, sqlx::Error> {
    let new = one.new;
    let signature = new.signature();
    let done = sqlx::query!(
        "INSERT INTO dead_letters (company_id, dead_letter_id, stage, reason, message, meaning, body, routing_key,
             properties, source, event_id, event_key, trigger_name, delivery_id, endpoint_id, signature, attempts, replays,
             state, first_seen_at, last_seen_at, settled_at, settled_by, edited_from, difference)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20,
             $21, $22, $23, $24, $25)
         ON CONFLICT DO NOTHING",
        new.company,
        one.id,
        new.stage.name(),
        new.reason.name(),
        without_nul(&new.message),
        &new.meaning[..],
        new.body.as_ref(),
        without_nul(&new.routing_key),
        new.properties,
        new.source,
        new.event_id,
        new.event_key,
        new.trigger.as_deref().map(without_nul),
        new.delivery_id,
        new.endpoint_id,
        &signature.as_bytes()[..],
        new.attempts,
        one.replays,
        one.state.name(),
        one.first_seen_at,
        one.last_seen_at,
        one.settled_at,
        one.settled_by,
        one.edited_from,
        one.difference,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// The state and the endpoint of a delivery, if it still exists. They stay so until the transaction ends.
///
/// # Errors
/// When the database fails.
pub async fn delivery_of(
    conn: &mut PgConnection,
    delivery: &Key,
) -> Result<Option<(String, Uuid)>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT state, endpoint_id FROM webhook_deliveries WHERE company_id = $1 AND delivery_id = $2
         FOR SHARE",
        delivery.company,
        delivery.id,
    )
    .fetch_optional(conn)
    .await?;
    Ok(row.map(|row| (row.state, row.endpoint_id)))
}
