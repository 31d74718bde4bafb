//! Samples of the whole database for metrics, taken every few seconds. Each statement reads a bounded number of rows.

use sqlx::PgConnection;
use time::OffsetDateTime;

use super::endpoints::BUCKETS;

/// Maximum number of rows that one statement counts.
const MAX_COUNTED: i64 = 10_000;

/// The same of operations.
const MAX_OPERATIONS: i64 = 1_000;

/// How many overdue lanes of a bucket, and how many batches, are searched for a company that nobody serves.
const MAX_PASSED: i64 = 10;

/// How long the oldest untaken work is overdue, in seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lag {
    /// Events to publish.
    pub publish: f64,
    /// Webhooks to send, and lanes to be claimed, of companies that no process serves. The work of the others waits for its
    /// company's share, which says nothing about the service.
    pub webhook: f64,
}

/// The lag now.
///
/// # Errors
/// When the database fails.
pub async fn lag(conn: &mut PgConnection) -> Result<Lag, sqlx::Error> {
    sqlx::query_as!(
        Lag,
        r#"WITH served AS MATERIALIZED (
               (SELECT e.company_id FROM webhook_endpoints e WHERE e.owner IS NOT NULL LIMIT $2)
               UNION
               (SELECT f.company_id FROM effects f WHERE f.owner IS NOT NULL AND f.kind = 'send' LIMIT $2))
           SELECT
             coalesce(
                 (SELECT extract(epoch FROM now() - f.due_at) FROM effects f
                  WHERE f.kind = 'publish' AND NOT f.postponed AND f.owner IS NULL AND f.due_at <= now()
                  ORDER BY f.due_at LIMIT 1),
                 0)::float8 AS "publish!",
             coalesce(greatest(
                 (SELECT max(extract(epoch FROM now() - due.due_at)) FROM (
                      SELECT f.company_id, f.due_at FROM effects f
                      WHERE f.kind = 'send' AND NOT f.postponed AND f.owner IS NULL AND f.due_at <= now()
                      ORDER BY f.due_at LIMIT $3) due
                  WHERE NOT EXISTS (SELECT FROM served s WHERE s.company_id = due.company_id)),
                 (SELECT max(extract(epoch FROM now() - due.next_due_at)) FROM generate_series(0, $1 - 1) AS t(turn)
                  CROSS JOIN LATERAL (
                      SELECT e.company_id, e.next_due_at FROM webhook_endpoints e
                      WHERE e.turn = t.turn AND e.owner IS NULL AND e.next_due_at < 'infinity' AND e.next_due_at <= now()
                      ORDER BY e.next_due_at LIMIT $3) due
                  WHERE NOT EXISTS (SELECT FROM served s WHERE s.company_id = due.company_id))),
                 0)::float8 AS "webhook!""#,
        BUCKETS,
        MAX_COUNTED,
        MAX_PASSED,
    )
    .fetch_one(conn)
    .await
}

/// Endpoints that do not get all requests at once, by state: `paused`, `disabled`, or the state of the breaker.
///
/// # Errors
/// When the database fails.
pub async fn troubled_endpoints(conn: &mut PgConnection) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT state AS "state!", count(*) AS "count!" FROM (
             SELECT CASE WHEN e.disabled_at IS NOT NULL THEN 'disabled' WHEN e.paused_at IS NOT NULL THEN 'paused'
                 ELSE e.breaker END AS state
             FROM webhook_endpoints e
             WHERE e.breaker <> 'closed' OR e.paused_at IS NOT NULL OR e.disabled_at IS NOT NULL LIMIT $1) troubled
         GROUP BY state"#,
        MAX_COUNTED,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.state, row.count)).collect())
}

/// Dead letters with something in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// As in the table.
    pub stage: String,
    /// As in the table.
    pub reason: String,
    /// As in the table.
    pub state: String,
    /// How many.
    pub count: i64,
}

/// The newest dead letters that are not settled.
///
/// # Errors
/// When the database fails.
pub async fn unsettled(conn: &mut PgConnection) -> Result<Vec<Counted>, sqlx::Error> {
    sqlx::query_as!(
        Counted,
        r#"SELECT stage AS "stage!", reason AS "reason!", state AS "state!", count(*) AS "count!" FROM (
             SELECT dl.stage, dl.reason, dl.state FROM dead_letters dl WHERE dl.unsettled
             ORDER BY dl.last_seen_at DESC LIMIT $1) newest
         GROUP BY stage, reason, state"#,
        MAX_COUNTED,
    )
    .fetch_all(conn)
    .await
}

/// Operations that have not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOperations {
    /// As in the table.
    pub state: String,
    /// How many.
    pub count: i64,
    /// Their items that have no outcome.
    pub items: i64,
}

/// Operations that run or are paused, by state.
///
/// # Errors
/// When the database fails.
pub async fn operations(conn: &mut PgConnection) -> Result<Vec<OpenOperations>, sqlx::Error> {
    sqlx::query_as!(
        OpenOperations,
        r#"SELECT state AS "state!", count(*) AS "count!", sum(total - done - skipped - failed)::bigint AS "items!" FROM (
             SELECT state, total, done, skipped, failed FROM operations
             WHERE state IN ('running', 'paused') ORDER BY created_at DESC LIMIT $1) newest
         GROUP BY state"#,
        MAX_OPERATIONS,
    )
    .fetch_all(conn)
    .await
}

/// Until when settled dead letters are counted: older transactions have committed, or are not counted.
///
/// # Errors
/// When the database fails.
pub async fn settled_by(conn: &mut PgConnection) -> Result<OffsetDateTime, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT now() - interval '10 seconds' AS "until!""#).fetch_one(conn).await
}

/// The dead letters that were settled after `since`, up to `until` or a maximum number of them, and until when they are
/// all of them.
///
/// # Errors
/// When the database fails.
pub async fn settled(
    conn: &mut PgConnection,
    since: OffsetDateTime,
    until: OffsetDateTime,
) -> Result<(Vec<Counted>, OffsetDateTime), sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT settled_at AS "settled_at!", stage AS "stage!", reason AS "reason!", state AS "state!", count(*) AS "count!"
         FROM (
             SELECT dl.settled_at, dl.stage, dl.reason, dl.state FROM dead_letters dl
             WHERE dl.settled_at > $1 AND dl.settled_at <= $2 ORDER BY dl.settled_at LIMIT $3) settled
         GROUP BY settled_at, stage, reason, state ORDER BY settled_at"#,
        since,
        until,
        MAX_COUNTED,
    )
    .fetch_all(conn)
    .await?;
    let (first, last) = (rows.first().map(|row| row.settled_at), rows.last().map(|row| row.settled_at));
    let is_all = rows.iter().map(|row| row.count).sum::<i64>() < MAX_COUNTED;
    let known = match (first, last) {
        // Others may have been settled at the same time as the last one.
        (Some(first), Some(last)) if !is_all && first < last => last - time::Duration::microseconds(1),
        (_, Some(last)) if !is_all => last,
        _ => until,
    };
    let counted = rows.into_iter().filter(|row| row.settled_at <= known).map(|row| Counted {
        stage: row.stage,
        reason: row.reason,
        state: row.state,
        count: row.count,
    });
    Ok((counted.collect(), known))
}
