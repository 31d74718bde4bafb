//! Recorded attempts. Deliveries and endpoints list them; only `deliveries::record` writes them.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::event::Key;

/// One HTTP request of a delivery.
#[derive(Clone)]
pub struct Attempt {
    /// The delivery's id.
    pub delivery_id: Uuid,
    /// Counts the attempts of the delivery from 1.
    pub attempt: i32,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// Milliseconds until it ended.
    pub duration_ms: i32,
    /// Milliseconds until the connection was open; `None` on a reused connection.
    pub connect_ms: Option<i32>,
    /// Milliseconds until the response head arrived.
    pub answer_ms: Option<i32>,
    /// The name of its class: `delivered`, or what went wrong.
    pub class: String,
    /// The HTTP status.
    pub status: Option<i32>,
    /// What went wrong, human-readable.
    pub error: Option<String>,
    /// The beginning of the response body, if this was the first or last answer. May hold personal data.
    pub response_body: Option<Vec<u8>>,
}

/// Every attempt of a delivery that was created at this time, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn of_delivery(
    conn: &mut PgConnection,
    delivery: &Key,
    created_at: OffsetDateTime,
) -> Result<Vec<Attempt>, sqlx::Error> {
    sqlx::query_file_as!(
        Attempt,
        "src/postgres/attempts/of_delivery.sql",
        delivery.company,
        delivery.id,
        created_at,
    )
    .fetch_all(conn)
    .await
}

/// The last ten attempts at an endpoint, newest first. They come from its pending deliveries and from these, which have ended and
/// were created at these times: there is no index of attempts by endpoint.
///
/// # Errors
/// When the database fails.
pub async fn of_endpoint(
    conn: &mut PgConnection,
    endpoint: &Key,
    ended: &[(Uuid, OffsetDateTime)],
) -> Result<Vec<Attempt>, sqlx::Error> {
    let (ids, times): (Vec<Uuid>, Vec<OffsetDateTime>) = ended.iter().copied().unzip();
    sqlx::query_as!(
        Attempt,
        r#"SELECT a.delivery_id AS "delivery_id!", a.attempt AS "attempt!", a.started_at AS "started_at!",
               a.duration_ms AS "duration_ms!", a.connect_ms, a.answer_ms, a.outcome AS "class!", a.status, a.error,
               a.response_body
           FROM (
               SELECT $1 AS company_id, delivery_id, created_at
               FROM UNNEST($3::uuid[], $4::timestamptz[]) AS u(delivery_id, created_at)
               UNION ALL
               (SELECT company_id, delivery_id, created_at FROM webhook_pending
                WHERE company_id = $1 AND endpoint_id = $2 AND attempts > 0
                ORDER BY due_at DESC, delivery_id DESC LIMIT 1000)) d
           CROSS JOIN LATERAL (
               SELECT * FROM all_webhook_attempts a
               WHERE a.company_id = d.company_id AND a.delivery_id = d.delivery_id AND a.created_at = d.created_at
               ORDER BY a.attempt DESC LIMIT 10) a
           ORDER BY a.started_at DESC LIMIT 10"#,
        endpoint.company,
        endpoint.id,
        &ids,
        &times,
    )
    .fetch_all(conn)
    .await
}
