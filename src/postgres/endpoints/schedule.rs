//! The schedule of lanes: which need an owner, who owns them, and until when nobody needs to look at them.
//!
//! `next_due_at` may be too early, never too late. A claim sets it to infinity. Code that makes a delivery due lowers
//! it. The owner lowers it to the time of its remaining deliveries on release; `least` keeps a lower value from
//! another transaction. So a claim reads only lanes that are due, however many others wait.

use std::{collections::BTreeMap, time::Duration};

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::state::{ClaimedLane, LaneRow, Row};
use crate::{
    domain::event::Key,
    postgres::{
        columns::{column, interval, key_columns},
        free::query_free,
    },
};

/// Into how many buckets the companies are hashed (stochastic fair queueing). The column `turn` is the bucket.
pub const BUCKETS: i32 = 64;

/// The state of these lanes. Leaves out keys that do not exist.
///
/// # Errors
/// When the database fails.
pub async fn lanes<'a>(
    conn: &mut PgConnection,
    keys: impl IntoIterator<Item = &'a Key>,
) -> Result<Vec<LaneRow>, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT e.company_id, e.endpoint_id, e.url, e.turn AS "turn!", e.max_in_flight, e.send_interval_us,
               e.paused_at IS NOT NULL OR e.disabled_at IS NOT NULL AS "is_stopped!", e.held_until, e.next_slot_at,
               e.breaker, e.breaker_until, e.openings, e.allowance, e.failures, e.failing_since,
               e.owner IS NOT NULL OR e.next_due_at <= now() AS "has_backlog!", now() AS "now!"
           FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, endpoint_id)
           JOIN webhook_endpoints e ON e.company_id = u.company_id AND e.endpoint_id = u.endpoint_id"#,
        &companies as &[&str],
        &ids,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(LaneRow::from).collect())
}

/// How many lanes a claim takes, and where it begins.
#[derive(Clone, Copy, Debug)]
pub struct ClaimLimits {
    /// The bucket that comes first. Random, or the last buckets would get nothing under load.
    pub first_bucket: i32,
    /// Maximum number of lanes of one bucket.
    pub per_bucket: usize,
    /// Maximum number of lanes.
    pub lanes: usize,
    /// The hash from which the companies of a bucket are gone through, if one of them is to be skipped. Random, or the last
    /// of them would get nothing.
    pub first_company_hash: i32,
}

/// Takes lanes that are due and have no owner, bucket by bucket, in each those that have been due longest. Skips companies
/// in `full`, however many of their lanes are due; of the others of their buckets, up to 256 companies are looked at. A lane
/// whose breaker's wait is over becomes half open.
///
/// # Errors
/// When the database fails.
pub async fn claim(
    conn: &mut PgConnection,
    owner: Uuid,
    limits: ClaimLimits,
    full: &[&str],
) -> Result<Vec<ClaimedLane>, sqlx::Error> {
    let counted = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
    let rows = sqlx::query_file_as!(
        Row,
        "src/postgres/endpoints/claim.sql",
        owner,
        counted(limits.per_bucket),
        counted(limits.lanes),
        full as &[&str],
        limits.first_bucket,
        BUCKETS,
        limits.first_company_hash,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(ClaimedLane::from).collect())
}

/// Lowers the times at which these lanes need an owner. Locks their rows, in the order of their keys.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn schedule(
    conn: &mut PgConnection,
    lanes: &BTreeMap<Key, OffsetDateTime>,
) -> Result<(), sqlx::Error> {
    if lanes.is_empty() {
        return Ok(());
    }
    let (companies, ids) = key_columns(lanes.keys());
    sqlx::query!(
        "WITH locked AS MATERIALIZED (
             SELECT e.company_id, e.endpoint_id, u.due_at
             FROM UNNEST($1::text[], $2::uuid[], $3::timestamptz[]) AS u(company_id, endpoint_id, due_at)
             JOIN webhook_endpoints e ON e.company_id = u.company_id AND e.endpoint_id = u.endpoint_id
             ORDER BY e.company_id, e.endpoint_id FOR UPDATE OF e)
         -- Nobody can send for a lane that an operator must open first; whoever opens it schedules it.
         UPDATE webhook_endpoints e SET next_due_at = CASE
             WHEN e.paused_at IS NOT NULL OR e.disabled_at IS NOT NULL THEN e.next_due_at
             ELSE least(e.next_due_at, locked.due_at) END
         FROM locked WHERE e.company_id = locked.company_id AND e.endpoint_id = locked.endpoint_id",
        &companies as &[&str],
        &ids,
        &lanes.values().copied().collect::<Vec<_>>(),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Stores when the rate limits of these lanes allow the next request, if `owner` still owns them: their next owner uses
/// what it has stored. Returns those whose rows are locked; nothing is stored of them.
///
/// # Errors
/// When the database fails.
pub async fn save_slots(
    conn: &mut PgConnection,
    owner: Uuid,
    lanes: &[(&Key, OffsetDateTime)],
) -> Result<Vec<Key>, sqlx::Error> {
    let (companies, ids) = key_columns(lanes.iter().map(|(key, _)| *key));
    query_free!(
        "endpoint_id",
        ", u.next_slot_at",
        "UNNEST($1::text[], $2::uuid[], $3::timestamptz[]) AS u(company_id, endpoint_id, next_slot_at)
         JOIN webhook_endpoints r ON r.company_id = u.company_id AND r.endpoint_id = u.endpoint_id
         WHERE r.owner = $4",
        ", saved AS (
             UPDATE webhook_endpoints e SET next_slot_at = free.next_slot_at
             FROM free WHERE e.company_id = free.company_id AND e.endpoint_id = free.endpoint_id)",
        &companies as &[&str],
        &ids,
        &column(lanes, |(_, at)| *at),
        owner,
    )
    .fetch_all(conn)
    .await
}

/// Releases lanes that `owner` owns and has nothing in memory of. Each is due again with its first delivery, but not
/// before it opens; one whose receiver is unreachable also when a delivery exceeds `max_age`, and one that an operator
/// must open only then. Returns those whose rows are locked; they are still owned.
///
/// # Errors
/// When the database fails; the lanes are then still owned.
pub async fn release<'a>(
    conn: &mut PgConnection,
    owner: Uuid,
    keys: impl IntoIterator<Item = &'a Key>,
    max_age: Duration,
) -> Result<Vec<Key>, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    query_free!(
        "endpoint_id",
        "",
        "UNNEST($2::text[], $3::uuid[]) AS u(company_id, endpoint_id)
         JOIN webhook_endpoints r ON r.company_id = u.company_id AND r.endpoint_id = u.endpoint_id
         WHERE r.owner = $1",
        ", released AS (
             UPDATE webhook_endpoints e SET owner = NULL, next_due_at = least(e.next_due_at, (
                 SELECT CASE
                     WHEN e.paused_at IS NOT NULL OR e.disabled_at IS NOT NULL THEN 'infinity'
                     ELSE greatest(p.due_at, e.next_slot_at, least(p.due_at + $4::interval,
                         greatest(e.held_until, CASE WHEN e.breaker = 'open' THEN e.breaker_until END))) END
                 FROM webhook_pending p
                 WHERE p.company_id = e.company_id AND p.endpoint_id = e.endpoint_id
                 ORDER BY p.due_at, p.delivery_id LIMIT 1))
             FROM free WHERE e.company_id = free.company_id AND e.endpoint_id = free.endpoint_id)",
        owner,
        &companies as &[&str],
        &ids,
        interval(max_age),
    )
    .fetch_all(conn)
    .await
}

/// Releases lanes that `owner` owns without knowing it: a claim succeeded, but its answer was lost. `known` are those
/// that it owns. Only the task that claims may call it.
///
/// # Errors
/// When the database fails.
pub async fn release_forgotten(
    conn: &mut PgConnection,
    owner: Uuid,
    known: &[Key],
) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(known);
    sqlx::query!(
        "WITH forgotten AS MATERIALIZED (
             SELECT e.company_id, e.endpoint_id FROM webhook_endpoints e
             WHERE e.owner = $1
               AND (e.company_id, e.endpoint_id) NOT IN (
                   SELECT company_id, endpoint_id FROM UNNEST($2::text[], $3::uuid[]) AS u(company_id, endpoint_id))
             FOR UPDATE SKIP LOCKED)
         UPDATE webhook_endpoints e SET owner = NULL, next_due_at = now()
         FROM forgotten o WHERE e.company_id = o.company_id AND e.endpoint_id = o.endpoint_id",
        owner,
        &companies as &[&str],
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Releases up to `limit` lanes of these dead processes, to be claimed at once, and returns their number. Skips rows that
/// are locked.
///
/// # Errors
/// When the database fails.
pub async fn release_owned(conn: &mut PgConnection, dead: &[Uuid], limit: i64) -> Result<u64, sqlx::Error> {
    let released = sqlx::query!(
        "WITH owned AS MATERIALIZED (
             SELECT company_id, endpoint_id FROM webhook_endpoints WHERE owner = ANY($1)
             LIMIT $2 FOR UPDATE SKIP LOCKED)
         UPDATE webhook_endpoints e SET owner = NULL, next_due_at = now()
         FROM owned o WHERE e.company_id = o.company_id AND e.endpoint_id = o.endpoint_id",
        dead,
        limit,
    )
    .execute(conn)
    .await?;
    Ok(released.rows_affected())
}

/// The time until the next lane needs an owner; zero if one does already, `None` if none will.
///
/// # Errors
/// When the database fails.
pub async fn next_due(conn: &mut PgConnection) -> Result<Option<Duration>, sqlx::Error> {
    let wait = sqlx::query_scalar!(
        "SELECT (extract(epoch FROM min(lane.next_due_at) - now()) * 1000)::double precision
         FROM generate_series(0, $1 - 1) AS turns(turn)
         CROSS JOIN LATERAL (
             SELECT e.next_due_at FROM webhook_endpoints e
             WHERE e.turn = turns.turn AND e.owner IS NULL AND e.next_due_at < 'infinity'
             ORDER BY e.next_due_at LIMIT 1) lane",
        BUCKETS,
    )
    .fetch_one(conn)
    .await?;
    // Negative once it is due, which is not a valid `Duration`.
    Ok(wait.map(|milliseconds| Duration::try_from_secs_f64(milliseconds / 1000.0).unwrap_or_default()))
}
