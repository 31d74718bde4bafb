//! What is wrong and what waits, for the first page of the console. Each statement reads at most `limit` rows, so the
//! page costs the same however much has failed.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::endpoints::Lane;

/// Unsettled dead letters of one reason and stage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The name of the reason.
    pub reason: String,
    /// The name of the stage.
    pub stage: String,
    /// How many.
    pub count: i64,
    /// How many of them are being replayed.
    pub replaying: i64,
    /// When the first of them failed for the first time.
    pub first_seen_at: OffsetDateTime,
    /// When the last of them failed for the last time.
    pub last_seen_at: OffsetDateTime,
}

/// What waits to be sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waiting {
    /// How many wait.
    pub count: i64,
    /// How many of them are due.
    pub due: i64,
    /// When the oldest of them was created.
    pub oldest_at: Option<OffsetDateTime>,
    /// When the first of them is or was due.
    pub first_due_at: Option<OffsetDateTime>,
}

/// An endpoint whose lane is closed or has failures.
#[derive(Clone, Debug)]
pub struct Troubled {
    /// The company's id.
    pub company: String,
    /// The endpoint's id.
    pub id: Uuid,
    /// Its address. The path may be a secret.
    pub url: String,
    /// Its lane.
    pub lane: Lane,
    /// What went wrong last, human-readable.
    pub last_error: Option<String>,
}

/// The newest `limit` unsettled dead letters by reason and stage, the most first.
///
/// # Errors
/// When the database fails.
pub async fn failed(conn: &mut PgConnection, limit: i64) -> Result<Vec<Failed>, sqlx::Error> {
    sqlx::query_as!(
        Failed,
        r#"SELECT reason, stage, count(*) AS "count!", count(*) FILTER (WHERE state = 'replaying') AS "replaying!",
               min(first_seen_at) AS "first_seen_at!", max(last_seen_at) AS "last_seen_at!"
           FROM (SELECT reason, stage, state, first_seen_at, last_seen_at FROM dead_letters
                 WHERE unsettled ORDER BY last_seen_at DESC LIMIT $1) newest
           GROUP BY reason, stage ORDER BY 3 DESC, 1, 2"#,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Deliveries that wait for an attempt; of more than `limit`, the first ones by key.
///
/// # Errors
/// When the database fails.
pub async fn deliveries(conn: &mut PgConnection, limit: i64) -> Result<Waiting, sqlx::Error> {
    sqlx::query_as!(
        Waiting,
        r#"SELECT count(*) AS "count!", count(*) FILTER (WHERE due_at <= now()) AS "due!", min(created_at) AS oldest_at,
               min(due_at) AS first_due_at
           FROM (SELECT due_at, created_at FROM webhook_pending
                 ORDER BY company_id, delivery_id LIMIT $1) waiting"#,
        limit,
    )
    .fetch_one(conn)
    .await
}

/// Events that committed transactions have still to publish; of more than `limit` rows, any `limit` of them.
///
/// # Errors
/// When the database fails.
pub async fn events(conn: &mut PgConnection, limit: i64) -> Result<Waiting, sqlx::Error> {
    sqlx::query_as!(
        Waiting,
        r#"SELECT coalesce(sum(items), 0) AS "count!", coalesce(sum(items) FILTER (WHERE due_at <= now()), 0) AS "due!",
               min(created_at) AS oldest_at, min(due_at) AS first_due_at
           FROM (SELECT items, due_at, created_at FROM effects WHERE kind = 'publish' LIMIT $1) waiting"#,
        limit,
    )
    .fetch_one(conn)
    .await
}

/// At most `limit` endpoints that are paused, disabled, held or failing.
///
/// # Errors
/// When the database fails.
pub async fn troubled(conn: &mut PgConnection, limit: i64) -> Result<Vec<Troubled>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT company_id, endpoint_id, url, paused_at, disabled_at, nullif(held_until, 'epoch') AS held_until,
               nullif(next_slot_at, 'epoch') AS next_slot_at, breaker, nullif(breaker_until, 'epoch') AS breaker_until,
               failures, failing_since, last_error
           FROM webhook_endpoints
           WHERE (paused_at IS NOT NULL OR disabled_at IS NOT NULL OR breaker <> 'closed' OR failures > 0)
             AND endpoint_id <> '00000000-0000-0000-0000-000000000000'
           ORDER BY company_id, endpoint_id LIMIT $1"#,
        limit,
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| Troubled {
        company: row.company_id,
        id: row.endpoint_id,
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
        last_error: row.last_error,
    });
    Ok(rows.collect())
}
