//! An edited event replaces its dead letter. It starts as a dead letter of its own that is being replayed, so it is
//! never lost, and fails or succeeds like any replay.

use serde_json::Value;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{NewDeadLetter, without_nul};
use crate::domain::event::Key;

/// An edited event.
pub struct Edited<'a> {
    /// The id of its dead letter.
    pub id: Uuid,
    /// The event. So far, it has failed for the original's reason.
    pub new: &'a NewDeadLetter,
    /// The dead letter that was edited.
    pub original: Uuid,
    /// What was changed.
    pub difference: &'a Value,
}

/// Inserts an edited event as a dead letter that is being replayed. Commit before you publish it.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn insert_edited(conn: &mut PgConnection, edited: &Edited<'_>) -> Result<(), sqlx::Error> {
    let new = edited.new;
    let signature = new.signature();
    sqlx::query!(
        "INSERT INTO dead_letters (company_id, dead_letter_id, stage, reason, message, meaning, body, routing_key,
             properties, source, event_id, event_key, trigger_name, signature, attempts, replays, state, edited_from,
             difference)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, $10, $11, $12, $13, $14, 0, 1, 'replaying', $15, $16)",
        new.company,
        edited.id,
        new.stage.name(),
        new.reason.name(),
        new.message,
        &new.meaning[..],
        new.body.as_ref(),
        without_nul(&new.routing_key),
        new.properties,
        new.source,
        new.event_id,
        new.event_key,
        new.trigger,
        &signature.as_bytes()[..],
        edited.original,
        edited.difference,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Resolves an open dead letter of stage upsert because the edited one `by` replaces it. `false`, and no change, if
/// it is no longer open.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn supersede(
    conn: &mut PgConnection,
    key: &Key,
    by: Uuid,
    operator: &str,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE dead_letters SET state = 'resolved', settled_at = now(), settled_by = $4, superseded_by = $3
         WHERE company_id = $1 AND dead_letter_id = $2 AND state = 'open' AND stage = 'upsert' AND NOT is_blank",
        key.company,
        key.id,
        by,
        operator,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
