//! For the process that works on an operation: it claims the operation, takes items, and settles them.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{domain::event::Key, postgres::columns::interval};

use super::{Action, Object};

/// An operation whose row this transaction has locked, and that this process owns.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// Its id.
    pub id: Uuid,
    /// Whether to continue.
    pub is_running: bool,
    /// What it does.
    pub action: Action,
    /// Items per second.
    pub rate: Option<i32>,
    /// The items of the step that is judged before more follow.
    pub canary: Option<i32>,
    /// When the last item of that step was done.
    pub canary_since: Option<OffsetDateTime>,
    /// Number of items.
    pub total: i64,
    /// Items that have an outcome: the first ones.
    pub settled: i64,
    /// Those of them that were not skipped.
    pub replayed: i64,
    /// Who planned it.
    pub operator: String,
    /// On which surface.
    pub via: String,
    /// Why.
    pub reason: Option<String>,
    /// The time of the database.
    pub now: OffsetDateTime,
}

/// Makes this process the owner of a running operation that has none, or whose owner has died: of `wanted` if given.
/// Returns its id.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    conn: &mut PgConnection,
    owner: Uuid,
    lease: std::time::Duration,
    wanted: Option<Uuid>,
) -> Result<Option<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        "UPDATE operations SET owner = $1, owner_until = now() + $2
         WHERE operation_id = (
             SELECT operation_id FROM operations
             WHERE state = 'running' AND owner_until <= now() AND ($3::uuid IS NULL OR operation_id = $3)
             ORDER BY owner_until LIMIT 1 FOR UPDATE SKIP LOCKED)
         RETURNING operation_id",
        owner,
        interval(lease),
        wanted,
    )
    .fetch_optional(conn)
    .await
}

/// Locks the operation and renews the ownership. `None` if it has another owner.
///
/// # Errors
/// When the database fails.
pub async fn lock(
    conn: &mut PgConnection,
    operation: Uuid,
    owner: Uuid,
    lease: std::time::Duration,
) -> Result<Option<Claimed>, sqlx::Error> {
    let row = sqlx::query!(
        r#"UPDATE operations SET owner_until = now() + $3
           WHERE operation_id = $1 AND owner = $2
           RETURNING action, state = 'running' AS "is_running!", rate, canary, canary_since, total, done + skipped + failed AS "settled!",
               done + failed AS "replayed!", operator, via, reason,
               now() AS "now!""#,
        operation,
        owner,
        interval(lease),
    )
    .fetch_optional(conn)
    .await?;
    // The schema allows no other action.
    Ok(row.and_then(|row| {
        Some(Claimed {
            id: operation,
            is_running: row.is_running,
            action: row.action.parse().ok()?,
            rate: row.rate,
            canary: row.canary,
            canary_since: row.canary_since,
            total: row.total,
            settled: row.settled,
            replayed: row.replayed,
            operator: row.operator,
            via: row.via,
            reason: row.reason,
            now: row.now,
        })
    }))
}

/// Lets another process continue the operation at once.
///
/// # Errors
/// When the database fails.
pub async fn release(conn: &mut PgConnection, operation: Uuid, owner: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE operations SET owner = NULL, owner_until = now() WHERE operation_id = $1 AND owner = $2",
        operation,
        owner,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// One item that has no outcome.
#[derive(Clone, Debug)]
pub struct Item {
    /// Its place.
    pub position: i64,
    /// The dead letter.
    pub key: Key,
    /// How often it had been replayed or attempted when it was chosen.
    pub tries: i32,
    /// It was marked, and may or may not have been published.
    pub is_started: bool,
    /// Size of its message.
    pub bytes: i64,
}

/// The next `limit` items of a locked operation, of which `left` are not settled. By their range, as `outcomes` marks them.
///
/// # Errors
/// When the database fails.
pub async fn next_items(
    conn: &mut PgConnection,
    operation: Uuid,
    left: i64,
    limit: i64,
) -> Result<Vec<Item>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT i.position, i.company_id, i.object_id, i.tries, i.outcome IS NOT NULL AS "is_started!",
               coalesce(octet_length(dl.body), 0)::bigint AS "bytes!"
           FROM operation_items i
           LEFT JOIN dead_letters dl ON dl.company_id = i.company_id AND dl.dead_letter_id = i.object_id
           WHERE i.operation_id = $1 AND i.position > -$2::bigint AND i.position <= $3 - $2::bigint ORDER BY i.position"#,
        operation,
        left,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let items = rows.into_iter().map(|row| Item {
        position: row.position,
        key: Key { company: row.company_id, id: row.object_id },
        tries: row.tries,
        is_started: row.is_started,
        bytes: row.bytes,
    });
    Ok(items.collect())
}

/// The results of the items that an operation has replayed or resent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Their event was applied, or their delivery delivered.
    pub resolved: i64,
    /// They failed again.
    pub open: i64,
    /// No result yet.
    pub replaying: i64,
}

/// The states of what was replayed or resent, of all items but the last `left` ones.
///
/// # Errors
/// When the database fails.
pub async fn verdict(
    conn: &mut PgConnection,
    operation: Uuid,
    object: Object,
    left: i64,
) -> Result<Verdict, sqlx::Error> {
    match object {
        Object::DeadLetter => {
            sqlx::query_as!(
                Verdict,
                r#"SELECT count(*) FILTER (WHERE dl.state = 'resolved') AS "resolved!",
                       count(*) FILTER (WHERE i.outcome = 'failed' OR dl.state = 'open') AS "open!",
                       count(*) FILTER (WHERE dl.state = 'replaying') AS "replaying!"
                   FROM operation_items i
                   JOIN dead_letters dl ON dl.company_id = i.company_id AND dl.dead_letter_id = i.object_id
                   WHERE i.operation_id = $1 AND i.position <= -$2::bigint AND i.outcome IN ('done', 'failed')"#,
                operation,
                left,
            )
            .fetch_one(conn)
            .await
        }
        // One that waits for its next attempt has failed in the one that the resend made due.
        Object::Delivery => {
            sqlx::query_as!(
                Verdict,
                r#"SELECT count(*) FILTER (WHERE d.state IN ('delivered', 'superseded', 'digested')) AS "resolved!",
                       count(*) FILTER (WHERE d.state = 'dead' OR d.state = 'pending' AND p.attempts > i.tries) AS "open!",
                       count(*) FILTER (WHERE d.state = 'pending' AND p.attempts <= i.tries) AS "replaying!"
                   FROM operation_items i
                   JOIN webhook_deliveries d ON d.company_id = i.company_id AND d.delivery_id = i.object_id
                   LEFT JOIN webhook_pending p ON p.company_id = d.company_id AND p.delivery_id = d.delivery_id
                   WHERE i.operation_id = $1 AND i.position <= -$2::bigint AND i.outcome = 'done'"#,
                operation,
                left,
            )
            .fetch_one(conn)
            .await
        }
    }
}

/// Sets the step that follows the judged one, `None` for no further one, and pauses the operation if given a
/// reason.
///
/// # Errors
/// When the database fails.
pub async fn judge(
    conn: &mut PgConnection,
    operation: Uuid,
    canary: Option<i32>,
    pause_because: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE operations SET canary = $2, paused_because = $3,
             state = CASE WHEN $3::text IS NULL THEN state ELSE 'paused' END
         WHERE operation_id = $1 AND state = 'running'",
        operation,
        canary,
        pause_because,
    )
    .execute(conn)
    .await?;
    Ok(())
}
