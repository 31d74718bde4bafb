//! Endpoints for operators. Nothing here changes a row.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{domain::event::Key, postgres::columns::column};

/// What keeps the deliveries of an endpoint waiting. Times are of the database's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lane {
    /// When an operator paused it.
    pub paused_at: Option<OffsetDateTime>,
    /// When it answered 410 Gone.
    pub disabled_at: Option<OffsetDateTime>,
    /// The end of the hold that it asked for (`Retry-After`); may be past.
    pub held_until: Option<OffsetDateTime>,
    /// When its rate limit allows the next request; may be past.
    pub next_slot_at: Option<OffsetDateTime>,
    /// `closed`, `open`, `half_open` or `ramp_up`.
    pub breaker: String,
    /// The end of `open`; may be past.
    pub breaker_until: Option<OffsetDateTime>,
    /// Consecutive failures.
    pub failures: i32,
    /// The time of the first of them.
    pub failing_since: Option<OffsetDateTime>,
}

/// One endpoint and its queue.
#[derive(Clone)]
pub struct EndpointRow {
    /// Its key.
    pub key: Key,
    /// Its address as written. The path may hold a secret.
    pub url: String,
    /// Its lane.
    pub lane: Lane,
    /// The operator who paused it.
    pub paused_by: Option<String>,
    /// Why it is disabled, human-readable.
    pub disabled_because: Option<String>,
    /// Pending deliveries.
    pub waiting: i64,
    /// When the first of them is due; may be past.
    pub oldest_due_at: Option<OffsetDateTime>,
    /// How many of them are due. Only the process that sends them knows which of these it has in flight.
    pub due: i64,
    /// The time of the last success.
    pub last_success_at: Option<OffsetDateTime>,
    /// The time of the last failed attempt.
    pub last_failure_at: Option<OffsetDateTime>,
    /// What went wrong in it, human-readable.
    pub last_error: Option<String>,
    /// When its first delivery was created.
    pub created_at: OffsetDateTime,
    /// The database's `now()`.
    pub now: OffsetDateTime,
}

/// At most `limit` of the endpoints of a company, or of all, by company and id, after this one. Its id is enough within a
/// company.
///
/// # Errors
/// When the database fails.
pub async fn page(
    conn: &mut PgConnection,
    company: Option<&str>,
    after: Option<&Key>,
    limit: i64,
) -> Result<Vec<EndpointRow>, sqlx::Error> {
    let after_id = after.map_or(Uuid::nil(), |key| key.id);
    let keys = if let Some(company) = company {
        let of_company = sqlx::query_as!(
            Key,
            "SELECT company_id AS company, endpoint_id AS id FROM webhook_endpoints
                 WHERE company_id = $1 AND endpoint_id > $2 ORDER BY endpoint_id LIMIT $3",
            company,
            after_id,
            limit,
        );
        of_company.fetch_all(&mut *conn).await?
    } else {
        let of_all = sqlx::query_as!(
            Key,
            "SELECT company_id AS company, endpoint_id AS id FROM webhook_endpoints
                 WHERE (company_id, endpoint_id) > ($1, $2)
                   AND endpoint_id <> '00000000-0000-0000-0000-000000000000'
                 ORDER BY company_id, endpoint_id LIMIT $3",
            after.map_or("", |key| key.company.as_str()),
            after_id,
            limit,
        );
        of_all.fetch_all(&mut *conn).await?
    };
    let mut rows = rows(conn, &keys).await?;
    rows.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(rows)
}

/// As [`page`], but only endpoints in one of these states, by the names of `operator::lane::LaneState`, which defines them (a
/// test compares the two), and with `address`, only those whose host contains it or whose whole address it is. The rest of an
/// address may be a secret that nobody must find out letter by letter.
///
/// # Errors
/// When the database fails.
pub async fn page_in_states(
    conn: &mut PgConnection,
    company: Option<&str>,
    states: &[&str],
    address: Option<&str>,
    after: Option<&Key>,
    limit: i64,
) -> Result<Vec<EndpointRow>, sqlx::Error> {
    // Few endpoints are not open, and those have an index.
    let includes_open = states.contains(&"open");
    let keys = sqlx::query_as!(
        Key,
        r"SELECT company_id AS company, endpoint_id AS id FROM webhook_endpoints
         WHERE (company_id, endpoint_id) > ($1::text, $2::uuid) AND ($3::text IS NULL OR company_id = $3)
           AND ($4::boolean OR paused_at IS NOT NULL OR disabled_at IS NOT NULL OR breaker <> 'closed' OR failures > 0)
           AND CASE
                 WHEN paused_at IS NOT NULL THEN 'paused'
                 WHEN disabled_at IS NOT NULL THEN 'disabled'
                 WHEN held_until > now() THEN 'held'
                 WHEN breaker IN ('open', 'half_open') THEN CASE WHEN failures = 0 THEN 'held' ELSE 'breaker_open' END
                 WHEN failures > 0 THEN 'failing'
                 ELSE 'open'
               END = ANY($5::text[])
           AND ($7::text IS NULL OR url = $7
                OR strpos(lower(substring(url FROM '^[^:/]+://(?:[^/?#]*@)?([^/?#@]*)')), lower($7)) > 0)
           AND endpoint_id <> '00000000-0000-0000-0000-000000000000'
         ORDER BY company_id, endpoint_id LIMIT $6",
        after.map_or(company.unwrap_or_default(), |key| key.company.as_str()),
        after.map_or(Uuid::nil(), |key| key.id),
        company,
        includes_open,
        states as &[&str],
        limit,
        address,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut rows = rows(conn, &keys).await?;
    rows.sort_by(|one, other| one.key.cmp(&other.key));
    Ok(rows)
}

/// One endpoint.
///
/// # Errors
/// When the database fails.
pub async fn get(conn: &mut PgConnection, key: &Key) -> Result<Option<EndpointRow>, sqlx::Error> {
    Ok(rows(conn, std::slice::from_ref(key)).await?.pop())
}

/// The endpoints with this address and an id in this inclusive range, which an abbreviated id spans.
///
/// # Errors
/// When the database fails.
pub async fn matching(
    conn: &mut PgConnection,
    company: Option<&str>,
    url: Option<&str>,
    (first, last): (Uuid, Uuid),
) -> Result<Vec<Key>, sqlx::Error> {
    sqlx::query_as!(
        Key,
        "SELECT company_id AS company, endpoint_id AS id FROM webhook_endpoints
         WHERE ($1::text IS NULL OR company_id = $1) AND ($2::text IS NULL OR url = $2)
           AND endpoint_id BETWEEN $3 AND $4 AND endpoint_id <> '00000000-0000-0000-0000-000000000000'
         ORDER BY company_id, endpoint_id",
        company,
        url,
        first,
        last,
    )
    .fetch_all(conn)
    .await
}

/// Counts pending deliveries in the index of lanes. The lane of deliveries without an endpoint is left out.
async fn rows(conn: &mut PgConnection, keys: &[Key]) -> Result<Vec<EndpointRow>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"SELECT e.company_id, e.endpoint_id, e.url, e.paused_at, e.paused_by, e.disabled_at, e.disabled_because,
               nullif(e.held_until, 'epoch') AS held_until, nullif(e.next_slot_at, 'epoch') AS next_slot_at,
               e.breaker, nullif(e.breaker_until, 'epoch') AS breaker_until, e.failures, e.failing_since,
               e.last_success_at, e.last_failure_at, e.last_error, e.created_at, now() AS "now!",
               (SELECT count(*) FROM webhook_pending p WHERE p.company_id = e.company_id
                AND p.endpoint_id = e.endpoint_id) AS "waiting!",
               (SELECT p.due_at FROM webhook_pending p WHERE p.company_id = e.company_id
                AND p.endpoint_id = e.endpoint_id ORDER BY p.due_at, p.delivery_id LIMIT 1) AS oldest_due_at,
               (SELECT count(*) FROM webhook_pending p WHERE p.company_id = e.company_id
                AND p.endpoint_id = e.endpoint_id AND p.due_at <= now()) AS "due!"
           FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, endpoint_id)
           JOIN webhook_endpoints e ON e.company_id = u.company_id AND e.endpoint_id = u.endpoint_id
           WHERE e.endpoint_id <> '00000000-0000-0000-0000-000000000000'
           ORDER BY e.company_id, e.url"#,
        &column(keys, |key| key.company.as_str()) as &[&str],
        &column(keys, |key| key.id),
    )
    .fetch_all(conn)
    .await?;
    let rows = rows.into_iter().map(|row| EndpointRow {
        key: Key { company: row.company_id, id: row.endpoint_id },
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
        due: row.due,
        last_success_at: row.last_success_at,
        last_failure_at: row.last_failure_at,
        last_error: row.last_error,
        created_at: row.created_at,
        now: row.now,
    });
    Ok(rows.collect())
}
