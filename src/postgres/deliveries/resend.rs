//! Makes deliveries due again, for operators: finished ones with a full retry schedule, pending ones at once. Or discards them.
//! The caller decides which may be changed, between [`lock`] or [`lock_rows`] and the updates.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{RowKey, State};
use crate::{
    domain::{event::Key, webhook::requested::DeliveryMessage},
    postgres::{
        columns::{column, interval, key_columns},
        endpoints,
    },
};

/// The state of a delivery that an operator wants to send again or to discard.
#[derive(Clone)]
pub struct Locked {
    /// Its key.
    pub key: Key,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// Its state; `None` if only a later version of the service knows it.
    pub state: Option<State>,
    /// Why it is never sent.
    pub fault: Option<String>,
    /// A process owns its lane, and it is due, or will be soon.
    pub in_flight: bool,
    /// An older version of the contact must not follow a newer one.
    pub newest_only: bool,
    /// Attempts so far.
    pub attempts: i32,
    trigger: String,
    event_id: String,
    source: String,
}

impl Locked {
    /// Names its row.
    #[must_use]
    pub fn row(&self) -> RowKey {
        RowKey { key: self.key.clone(), created_at: self.created_at }
    }

    /// The message of its dead letter.
    #[must_use]
    pub fn message(&self) -> DeliveryMessage<'_> {
        let Self { key, trigger, event_id, source, .. } = self;
        DeliveryMessage { delivery: key, trigger, event_id, source }
    }
}

/// Locks what is pending of these deliveries. It comes before their own rows in the lock order of all processes.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn lock_pending(
    conn: &mut PgConnection,
    companies: &[&str],
    ids: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "SELECT FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
         JOIN webhook_pending p ON p.company_id = u.company_id AND p.delivery_id = u.delivery_id
         ORDER BY p.company_id, p.delivery_id FOR UPDATE OF p",
        companies as &[&str],
        ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks deliveries and what is pending of them, in the lock order of all processes. Leaves out keys that do not exist.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn lock_rows(conn: &mut PgConnection, keys: &[Key]) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    lock_pending(conn, &companies, &ids).await?;
    sqlx::query!(
        "SELECT FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
         JOIN webhook_deliveries d ON d.company_id = u.company_id AND d.delivery_id = u.delivery_id
         ORDER BY d.company_id, d.delivery_id FOR UPDATE OF d",
        &companies as &[&str],
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks the lanes of deliveries, in the lock order of all processes.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn lock_lanes(conn: &mut PgConnection, keys: &[Key]) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    sqlx::query!(
        "SELECT FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
         JOIN webhook_deliveries d ON d.company_id = u.company_id AND d.delivery_id = u.delivery_id
         JOIN webhook_endpoints e ON e.company_id = d.company_id AND e.endpoint_id = d.endpoint_id
         ORDER BY e.company_id, e.endpoint_id FOR UPDATE OF e",
        &companies as &[&str],
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Locks deliveries as [`lock_rows`] does, and returns their state. Leaves out keys that do not exist. Those that are due within
/// `soon` may be sent at any moment, because the owner of a lane loads what is due without a lock.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn lock(conn: &mut PgConnection, keys: &[Key], soon: Duration) -> Result<Vec<Locked>, sqlx::Error> {
    lock_rows(conn, keys).await?;
    let (companies, ids) = key_columns(keys);
    // Reads after the locks, because the transaction it waited for may have changed everything.
    let rows = sqlx::query!(
        r#"SELECT d.company_id, d.delivery_id, d.created_at, d.state, d.fault, d.newest_only, d.trigger_name, d.event_id, d.source,
               coalesce(p.attempts, d.attempts) AS "attempts!", coalesce(p.due_at <= clock_timestamp() + $3 AND EXISTS (SELECT FROM processes live
                   WHERE live.process_id = e.owner AND live.alive_until > now()), false) AS "in_flight!"
           FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
           JOIN webhook_deliveries d ON d.company_id = u.company_id AND d.delivery_id = u.delivery_id
           LEFT JOIN webhook_pending p ON p.company_id = d.company_id AND p.delivery_id = d.delivery_id
           LEFT JOIN webhook_endpoints e ON e.company_id = d.company_id AND e.endpoint_id = d.endpoint_id
           ORDER BY d.company_id, d.delivery_id"#,
        &companies as &[&str],
        &ids,
        interval(soon),
    )
    .fetch_all(conn)
    .await?;
    let locked = rows.into_iter().map(|row| Locked {
        key: Key { company: row.company_id, id: row.delivery_id },
        created_at: row.created_at,
        state: row.state.parse().ok(),
        fault: row.fault,
        in_flight: row.in_flight,
        newest_only: row.newest_only,
        attempts: row.attempts,
        trigger: row.trigger_name,
        event_id: row.event_id,
        source: row.source,
    });
    Ok(locked.collect())
}

/// Makes locked deliveries that ended in one of these states pending and due now, with a full retry schedule. They
/// no longer count for their chain: it has counted them, or will end without them.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn restart(conn: &mut PgConnection, keys: &[Key], ended: &[State]) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    // The first attempt moves to the others: the row has room for one that is the last as well.
    let rows = sqlx::query_as!(
        Due,
        r#"WITH restarted AS (
               UPDATE webhook_deliveries d SET state = 'pending', finished_at = NULL, awaited = false
               FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
               WHERE d.company_id = u.company_id AND d.delivery_id = u.delivery_id AND d.state = ANY($3)
                 AND d.state <> 'pending'
               RETURNING d.*),
           moved AS (
               INSERT INTO webhook_attempts (company_id, created_at, delivery_id, attempt, started_at, duration_ms,
                   connect_ms, answer_ms, outcome, status, response_body)
               SELECT company_id, created_at, delivery_id, 1, started_at, duration_ms, connect_ms, answer_ms, 'delivered',
                   last_status, response_body
               FROM restarted WHERE started_at IS NOT NULL),
           due AS (
               INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts,
                   schedule_from, round_started_at, contact_id, contact_version)
               SELECT company_id, delivery_id, created_at, endpoint_id, now(), attempts, attempts, now(),
                   CASE WHEN newest_only THEN contact_id END, CASE WHEN newest_only THEN contact_version END
               FROM restarted)
           SELECT company_id AS "company!", delivery_id AS "id!", endpoint_id AS "endpoint!" FROM restarted"#,
        &companies as &[&str],
        &ids,
        &column(ended, |state| state.name()) as &[&str],
    )
    .fetch_all(&mut *conn)
    .await?;
    let (companies, ids): (Vec<&str>, Vec<Uuid>) =
        rows.iter().map(|row| (row.company.as_str(), row.id)).unzip();
    sqlx::query!(
        "UPDATE webhook_deliveries d
         SET started_at = NULL, duration_ms = NULL, connect_ms = NULL, answer_ms = NULL, response_body = NULL
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
         WHERE d.company_id = u.company_id AND d.delivery_id = u.delivery_id AND d.started_at IS NOT NULL",
        &companies as &[&str],
        &ids,
    )
    .execute(&mut *conn)
    .await?;
    schedule(conn, &rows).await
}

struct Due {
    company: String,
    id: Uuid,
    endpoint: Uuid,
}

/// Schedules the lanes of deliveries that are due now.
async fn schedule(conn: &mut PgConnection, due: &[Due]) -> Result<(), sqlx::Error> {
    let lane =
        |row: &Due| (Key { company: row.company.clone(), id: row.endpoint }, OffsetDateTime::UNIX_EPOCH);
    endpoints::schedule(conn, &due.iter().map(lane).collect()).await
}

/// Makes locked pending deliveries due now; their retry schedule continues. A delivery that is in flight keeps its attempt.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn make_due(conn: &mut PgConnection, keys: &[Key]) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    let rows = sqlx::query_as!(
        Due,
        "UPDATE webhook_pending p SET due_at = least(p.due_at, now())
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
         WHERE p.company_id = u.company_id AND p.delivery_id = u.delivery_id
         RETURNING p.company_id AS company, p.delivery_id AS id, p.endpoint_id AS endpoint",
        &companies as &[&str],
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    schedule(conn, &rows).await
}

/// Discards locked deliveries that wait or are dead.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn discard(conn: &mut PgConnection, keys: &[Key]) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    sqlx::query!(
        "WITH discarded AS (
             UPDATE webhook_deliveries d SET state = 'discarded', finished_at = now(),
                 attempts = coalesce((SELECT p.attempts FROM webhook_pending p
                     WHERE p.company_id = d.company_id AND p.delivery_id = d.delivery_id), d.attempts)
             FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
             WHERE d.company_id = u.company_id AND d.delivery_id = u.delivery_id AND d.state IN ('dead', 'pending')
             RETURNING d.company_id, d.delivery_id)
         DELETE FROM webhook_pending p USING discarded d
         WHERE p.company_id = d.company_id AND p.delivery_id = d.delivery_id",
        &companies as &[&str],
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes locked deliveries that were discarded dead again, as they were before.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn restore(conn: &mut PgConnection, keys: &[Key]) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    sqlx::query!(
        "UPDATE webhook_deliveries d SET state = 'dead'
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
         WHERE d.company_id = u.company_id AND d.delivery_id = u.delivery_id AND d.state = 'discarded'",
        &companies as &[&str],
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}
