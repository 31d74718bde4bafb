//! The lines of a listing. Nothing here changes a row.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Summary, unrecorded};
use crate::{
    domain::{event::Key, webhook::delivery::NO_ENDPOINT},
    postgres::{columns::key_columns, endpoints::Lane},
};

/// The summaries of these deliveries, in this order; at the end those that have no row yet. Leaves out keys that do not
/// exist.
///
/// # Errors
/// When the database fails.
pub async fn summaries(conn: &mut PgConnection, keys: &[Key]) -> Result<Vec<Summary>, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    let rows = sqlx::query_as!(
        Row,
        r#"SELECT d.delivery_id, d.company_id, d.trigger_name, d.state, d.event_id, d.contact_id, d.contact_version,
               d.endpoint_id, coalesce(p.attempts, d.attempts) AS "attempts!", coalesce(p.schedule_from, 0) AS "schedule_from!",
               last.status AS "last_status?", last.error AS "last_error?", last.outcome AS "last_class?",
               d.newest_only, d.digest, d.digest_id, d.created_at, d.finished_at, p.due_at AS "next_attempt_at?",
               coalesce(p.due_at <= now() AND EXISTS (SELECT FROM processes live
                   WHERE live.process_id = e.owner AND live.alive_until > now()), false) AS "in_flight!", now() AS "now!",
               e.url AS "url?", e.paused_at, e.disabled_at, nullif(e.held_until, 'epoch') AS held_until,
               nullif(e.next_slot_at, 'epoch') AS next_slot_at, e.breaker AS "breaker?",
               nullif(e.breaker_until, 'epoch') AS breaker_until, e.failures AS "failures?", e.failing_since
           FROM UNNEST($1::text[], $2::uuid[]) WITH ORDINALITY AS u(company_id, delivery_id, position)
           JOIN webhook_deliveries d ON d.company_id = u.company_id AND d.delivery_id = u.delivery_id
           LEFT JOIN webhook_pending p ON p.company_id = d.company_id AND p.delivery_id = d.delivery_id
           LEFT JOIN webhook_endpoints e ON e.company_id = d.company_id AND e.endpoint_id = d.endpoint_id
           LEFT JOIN LATERAL (
               SELECT a.outcome, a.status, a.error FROM all_webhook_attempts a
               WHERE a.company_id = d.company_id AND a.delivery_id = d.delivery_id AND a.created_at = d.created_at
               ORDER BY a.attempt DESC LIMIT 1) last ON true
           ORDER BY u.position"#,
        &companies as &[&str],
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    let missing = keys.len() > rows.len();
    let mut summaries: Vec<Summary> = rows.into_iter().map(Summary::from).collect();
    if missing {
        summaries.extend(unrecorded(conn, keys).await?.found.iter().map(Summary::unsent));
    }
    Ok(summaries)
}

struct Row {
    delivery_id: Uuid,
    company_id: String,
    trigger_name: String,
    state: String,
    event_id: String,
    contact_id: Option<Uuid>,
    contact_version: Option<i64>,
    endpoint_id: Uuid,
    attempts: i32,
    schedule_from: i32,
    last_status: Option<i32>,
    last_error: Option<String>,
    last_class: Option<String>,
    newest_only: bool,
    digest: bool,
    digest_id: Option<Uuid>,
    created_at: OffsetDateTime,
    finished_at: Option<OffsetDateTime>,
    next_attempt_at: Option<OffsetDateTime>,
    in_flight: bool,
    now: OffsetDateTime,
    url: Option<String>,
    paused_at: Option<OffsetDateTime>,
    disabled_at: Option<OffsetDateTime>,
    held_until: Option<OffsetDateTime>,
    next_slot_at: Option<OffsetDateTime>,
    breaker: Option<String>,
    breaker_until: Option<OffsetDateTime>,
    failures: Option<i32>,
    failing_since: Option<OffsetDateTime>,
}

impl From<Row> for Summary {
    fn from(row: Row) -> Self {
        Self {
            lane: row.breaker.map(|breaker| Lane {
                paused_at: row.paused_at,
                disabled_at: row.disabled_at,
                held_until: row.held_until,
                next_slot_at: row.next_slot_at,
                breaker,
                breaker_until: row.breaker_until,
                failures: row.failures.unwrap_or_default(),
                failing_since: row.failing_since,
            }),
            id: row.delivery_id,
            company: row.company_id,
            trigger: row.trigger_name,
            event_id: row.event_id,
            contact_id: row.contact_id,
            contact_version: row.contact_version,
            endpoint_id: Some(row.endpoint_id).filter(|id| *id != NO_ENDPOINT),
            endpoint_url: row.url,
            attempts: row.attempts,
            schedule_from: row.schedule_from,
            last_status: row.last_status,
            last_class: row.last_class,
            last_error: row.last_error,
            newest_only: row.newest_only,
            digest: row.digest,
            digest_id: row.digest_id,
            in_flight: row.in_flight,
            created_at: row.created_at,
            next_attempt_at: row.next_attempt_at,
            finished_at: row.finished_at,
            state: row.state,
            now: row.now,
        }
    }
}
