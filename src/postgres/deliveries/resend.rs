//! Makes deliveries due again, for operators: finished ones with a full retry schedule, pending ones at once.
//! `operator::deliveries` decides which may be sent again, between [`lock`] and the updates.

use sqlx::PgConnection;

use super::State;
use crate::{
    domain::{event::Key, webhook::requested::WebhookRequested},
    postgres::columns::{column, key_columns},
};

/// The state of a delivery that an operator wants to send again.
#[derive(Clone)]
pub struct Locked {
    /// Its key.
    pub key: Key,
    /// Its state; `None` if only a later version of the service knows it.
    pub state: Option<State>,
    /// Why it is never sent.
    pub fault: Option<String>,
    /// A worker has claimed it, and the lease has not expired.
    pub in_flight: bool,
    /// An older version of the contact must not follow a newer one.
    pub newest_only: bool,
    trigger: String,
    event_id: String,
    source: String,
}

impl Locked {
    /// The message of its dead letter.
    #[must_use]
    pub fn requested(&self) -> WebhookRequested<'_> {
        let Self { key, trigger, event_id, source, .. } = self;
        WebhookRequested { delivery: key, trigger, event_id, source }
    }
}

/// Locks deliveries, in the order of their keys. Leaves out keys that do not exist.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn lock(conn: &mut PgConnection, keys: &[Key]) -> Result<Vec<Locked>, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    let rows = sqlx::query!(
        r#"SELECT d.company_id, d.delivery_id, d.state, d.fault, d.newest_only, d.trigger_name, d.event_id, d.source,
               d.lease_token IS NOT NULL AND d.next_attempt_at > now() AS "in_flight!"
           FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
           JOIN webhook_deliveries d ON d.company_id = u.company_id AND d.delivery_id = u.delivery_id
           ORDER BY d.company_id, d.delivery_id FOR UPDATE OF d"#,
        &companies as &[&str],
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let locked = rows.into_iter().map(|row| Locked {
        key: Key { company: row.company_id, id: row.delivery_id },
        state: row.state.parse().ok(),
        fault: row.fault,
        in_flight: row.in_flight,
        newest_only: row.newest_only,
        trigger: row.trigger_name,
        event_id: row.event_id,
        source: row.source,
    });
    Ok(locked.collect())
}

/// Makes deliveries that ended in one of these states pending and due now, with a full retry schedule. They
/// no longer count for their chain: it has counted them, or will end without them.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn restart(conn: &mut PgConnection, keys: &[Key], ended: &[State]) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    sqlx::query!(
        "UPDATE webhook_deliveries d
         SET state = 'pending', schedule_from = attempts, next_attempt_at = now(), round_started_at = now(),
             finished_at = NULL, lease_token = NULL, awaited = false
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
         WHERE d.company_id = u.company_id AND d.delivery_id = u.delivery_id AND d.state = ANY($3)",
        &companies as &[&str],
        &ids,
        &column(ended, |state| state.name()) as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes pending deliveries due now; their retry schedule continues. Skips those under an unexpired lease.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn make_due(conn: &mut PgConnection, keys: &[Key]) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    // IS NOT DISTINCT FROM keeps the planner from walking the index of all pending deliveries.
    sqlx::query!(
        "UPDATE webhook_deliveries d SET next_attempt_at = now(), lease_token = NULL
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
         WHERE d.company_id = u.company_id AND d.delivery_id = u.delivery_id
           AND d.state IS NOT DISTINCT FROM 'pending'
           AND (d.lease_token IS NULL OR d.next_attempt_at <= now())",
        &companies as &[&str],
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Discards the deliveries of discarded dead letters, unless they have ended another way.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn discard(conn: &mut PgConnection, keys: &[Key]) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    sqlx::query!(
        "UPDATE webhook_deliveries d
         SET state = 'discarded', finished_at = now(), lease_token = NULL
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
         WHERE d.company_id = u.company_id AND d.delivery_id = u.delivery_id AND d.state IN ('dead', 'pending')",
        &companies as &[&str],
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}
