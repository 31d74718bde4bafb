//! Endpoints as operators look at them. Nothing here changes a row.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::postgres::deliveries::Attempt;

/// Names an endpoint, and its lane.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointKey {
    /// The company's id.
    pub company: String,
    /// The endpoint.
    pub id: Uuid,
}

/// What keeps the deliveries of an endpoint waiting. Times are those of the database's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// Since when an operator has it paused.
    pub paused_at: Option<OffsetDateTime>,
    /// When it said that it is gone (410).
    pub disabled_at: Option<OffsetDateTime>,
    /// How long it asked for patience (`Retry-After`); may be over.
    pub held_until: Option<OffsetDateTime>,
    /// When the next request of a limited rate may begin; may be over.
    pub next_slot_at: Option<OffsetDateTime>,
    /// `closed`, `open`, `half_open` or `ramp_up`.
    pub breaker: String,
    /// The end of `open` or of the probe of `half_open`.
    pub breaker_until: Option<OffsetDateTime>,
    /// In a row.
    pub failures: i32,
    /// The first of them.
    pub failing_since: Option<OffsetDateTime>,
}

/// One endpoint and what waits for it.
#[derive(Clone)]
pub struct EndpointRow {
    /// Which.
    pub key: EndpointKey,
    /// Its address as written. The path may be a secret.
    pub url: String,
    /// Its lane.
    pub lane: Lane,
    /// The operator who paused it.
    pub paused_by: Option<String>,
    /// Why it is disabled, for a person.
    pub disabled_because: Option<String>,
    /// Deliveries that are pending.
    pub waiting: i64,
    /// When the first of them was or will be due.
    pub oldest_due_at: Option<OffsetDateTime>,
    /// Those of them that a worker has in hand.
    pub in_flight: i64,
    /// The last 2xx.
    pub last_success_at: Option<OffsetDateTime>,
    /// The last attempt that failed.
    pub last_failure_at: Option<OffsetDateTime>,
    /// What was wrong then, for a person.
    pub last_error: Option<String>,
    /// When its first delivery was made.
    pub created_at: OffsetDateTime,
    /// The database's clock.
    pub now: OffsetDateTime,
}

/// The endpoints of a company, or of all, by company and address.
///
/// # Errors
/// When the database refuses or is away.
pub async fn list(conn: &mut PgConnection, company: Option<&str>) -> Result<Vec<EndpointRow>, sqlx::Error> {
    rows(conn, company, None).await
}

/// One endpoint.
///
/// # Errors
/// When the database refuses or is away.
pub async fn get(conn: &mut PgConnection, key: &EndpointKey) -> Result<Option<EndpointRow>, sqlx::Error> {
    Ok(rows(conn, Some(&key.company), Some(key.id)).await?.pop())
}

/// The endpoints with this address, or whose id lies between the two, both included.
///
/// # Errors
/// When the database refuses or is away.
pub async fn matching(
    conn: &mut PgConnection,
    company: Option<&str>,
    url: Option<&str>,
    (first, last): (Uuid, Uuid),
) -> Result<Vec<EndpointKey>, sqlx::Error> {
    sqlx::query_as!(
        EndpointKey,
        "SELECT company_id AS company, endpoint_id AS id FROM webhook_endpoints
         WHERE ($1::text IS NULL OR company_id = $1) AND ($2::text IS NULL OR url = $2)
           AND endpoint_id BETWEEN $3 AND $4
         ORDER BY company_id, endpoint_id",
        company,
        url,
        first,
        last,
    )
    .fetch_all(conn)
    .await
}

/// What is pending is counted in the index of lanes. What is in hand has its lease's end within the hour:
/// no lease is that long, and what is due later need not be looked at.
async fn rows(
    conn: &mut PgConnection,
    company: Option<&str>,
    id: Option<Uuid>,
) -> Result<Vec<EndpointRow>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT e.company_id, e.endpoint_id, e.url, e.paused_at, e.paused_by, e.disabled_at, e.disabled_because,
               NULLIF(e.held_until, 'epoch') AS held_until, NULLIF(e.next_slot_at, 'epoch') AS next_slot_at,
               e.breaker, NULLIF(e.breaker_until, 'epoch') AS breaker_until, e.failures, e.failing_since,
               e.last_success_at, e.last_failure_at, e.last_error, e.created_at, now() AS "now!",
               (SELECT count(*) FROM webhook_deliveries d WHERE d.company_id = e.company_id
                AND d.endpoint_id = e.endpoint_id AND d.state = 'pending') AS "waiting!",
               (SELECT d.next_attempt_at FROM webhook_deliveries d WHERE d.company_id = e.company_id
                AND d.endpoint_id = e.endpoint_id AND d.state = 'pending' ORDER BY d.next_attempt_at LIMIT 1)
                AS oldest_due_at,
               (SELECT count(*) FROM webhook_deliveries d WHERE d.company_id = e.company_id
                AND d.endpoint_id = e.endpoint_id AND d.state = 'pending' AND d.lease_token IS NOT NULL
                AND d.next_attempt_at > now() AND d.next_attempt_at < now() + interval '1 hour') AS "in_flight!"
           FROM webhook_endpoints e
           WHERE ($1::text IS NULL OR e.company_id = $1) AND ($2::uuid IS NULL OR e.endpoint_id = $2)
           ORDER BY e.company_id, e.url"#,
        company,
        id,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| EndpointRow {
        key: EndpointKey { company: row.company_id, id: row.endpoint_id },
        url: row.url,
        lane: Lane {
            paused_at: row.paused_at,
            disabled_at: row.disabled_at,
            held_until: row.held_until,
            next_slot_at: row.next_slot_at,
            breaker: row.breaker,
            breaker_until: row.breaker_until,
            failures: row.failures,
            failing_since: row.failing_since,
        },
        paused_by: row.paused_by,
        disabled_because: row.disabled_because,
        waiting: row.waiting,
        oldest_due_at: row.oldest_due_at,
        in_flight: row.in_flight,
        last_success_at: row.last_success_at,
        last_failure_at: row.last_failure_at,
        last_error: row.last_error,
        created_at: row.created_at,
        now: row.now,
    });
    Ok(rows.collect())
}

/// How many deliveries of the last 24 hours are in each state.
///
/// # Errors
/// When the database refuses or is away.
pub async fn states(conn: &mut PgConnection, key: &EndpointKey) -> Result<Vec<(String, i64)>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT state, count(*) AS "count!" FROM webhook_deliveries
           WHERE company_id = $1 AND endpoint_id = $2 AND created_at >= now() - interval '24 hours'
           GROUP BY state ORDER BY state"#,
        key.company,
        key.id,
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.state, row.count)).collect())
}

/// The last ten attempts, the newest first: of what ended last among the deliveries of the last 24 hours, and of
/// what is pending. Attempts know their delivery only, so all of them are not looked through.
///
/// # Errors
/// When the database refuses or is away.
pub async fn attempts(conn: &mut PgConnection, key: &EndpointKey) -> Result<Vec<Attempt>, sqlx::Error> {
    sqlx::query_as!(
        Attempt,
        r#"SELECT a.delivery_id, a.attempt, a.started_at, a.duration_ms, a.connect_ms, a.answer_ms,
               a.outcome AS class, a.status, a.error, a.response_body
           FROM (
               (SELECT company_id, delivery_id FROM webhook_deliveries
                WHERE company_id = $1 AND endpoint_id = $2 AND created_at >= now() - interval '24 hours'
                  AND state <> 'pending' AND attempts > 0
                ORDER BY finished_at DESC LIMIT 20)
               UNION ALL
               (SELECT company_id, delivery_id FROM webhook_deliveries
                WHERE company_id = $1 AND endpoint_id = $2 AND state = 'pending' AND attempts > 0
                ORDER BY next_attempt_at DESC LIMIT 1000)) d
           CROSS JOIN LATERAL (
               SELECT * FROM webhook_attempts a
               WHERE a.company_id = d.company_id AND a.delivery_id = d.delivery_id
               ORDER BY a.attempt DESC LIMIT 10) a
           ORDER BY a.started_at DESC LIMIT 10"#,
        key.company,
        key.id,
    )
    .fetch_all(conn)
    .await
}
