//! The outbox: events that are committed with their cause and published after it.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::columns::{column, interval, key_columns};
use crate::domain::{
    chain::outgoing::{OutgoingEvent, ReplyTo},
    event::Key,
    trace_context::TraceContext,
};

/// Inserts events. Until `lease` ends only the caller publishes them. An event that is already there stays as
/// it is.
pub async fn insert(
    conn: &mut PgConnection,
    events: &[OutgoingEvent],
    lease: Duration,
) -> Result<(), sqlx::Error> {
    if events.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "INSERT INTO outbox (company_id, message_id, routing_key, type, source, subject, correlation_id,
             traceparent, tracestate, time, body, reply_to, reply_correlation_id, leased_until)
         SELECT u.*, now() + $14::interval FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[],
             $6::text[], $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::bytea[],
             $12::text[], $13::text[]) AS u
         ON CONFLICT DO NOTHING",
        &column(events, |event| event.company.as_str()) as &[&str],
        &column(events, |event| event.id),
        &column(events, |event| event.routing_key.as_str()) as &[&str],
        &column(events, |event| event.kind.as_str()) as &[&str],
        &column(events, |event| event.source.as_str()) as &[&str],
        &column(events, |event| event.subject.as_deref()) as &[Option<&str>],
        &column(events, |event| event.correlation_id.as_str()) as &[&str],
        &column(events, |event| event.trace.traceparent()) as &[Option<&str>],
        &column(events, |event| event.trace.tracestate()) as &[Option<&str>],
        &column(events, |event| event.time),
        &column(events, |event| event.body.as_slice()) as &[&[u8]],
        &column(events, |event| Some(event.reply_to.as_ref()?.queue.as_str())) as &[Option<&str>],
        &column(events, |event| event.reply_to.as_ref()?.correlation_id.as_deref()) as &[Option<&str>],
        interval(lease),
    )
    .execute(conn)
    .await?;
    Ok(())
}

struct Row {
    company: String,
    id: Uuid,
    routing_key: String,
    kind: String,
    source: String,
    subject: Option<String>,
    correlation_id: String,
    traceparent: Option<String>,
    tracestate: Option<String>,
    time: OffsetDateTime,
    body: Vec<u8>,
    reply_to: Option<String>,
    reply_correlation_id: Option<String>,
}

impl From<Row> for OutgoingEvent {
    fn from(row: Row) -> Self {
        let correlation_id = row.reply_correlation_id;
        Self {
            company: row.company,
            id: row.id,
            kind: row.kind,
            routing_key: row.routing_key,
            source: row.source,
            subject: row.subject,
            time: row.time,
            correlation_id: row.correlation_id,
            trace: TraceContext::new(row.traceparent.as_deref(), row.tracestate.as_deref()),
            reply_to: row.reply_to.map(|queue| ReplyTo { queue, correlation_id }),
            body: row.body,
        }
    }
}

/// Takes up to `limit` events whose lease has ended and leases them to the caller. Any relay may do this
/// at any time.
pub async fn take_expired(
    conn: &mut PgConnection,
    limit: i64,
    lease: Duration,
) -> Result<Vec<OutgoingEvent>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"WITH expired AS (
             SELECT company_id, message_id FROM outbox WHERE leased_until <= now()
             ORDER BY leased_until LIMIT $1 FOR UPDATE SKIP LOCKED)
         UPDATE outbox o SET leased_until = now() + $2::interval
         FROM expired e WHERE o.company_id = e.company_id AND o.message_id = e.message_id
         RETURNING o.company_id AS company, o.message_id AS id, o.routing_key, o.type AS kind, o.source, o.subject,
             o.correlation_id, o.traceparent, o.tracestate, o.time, o.body, o.reply_to,
             o.reply_correlation_id"#,
        limit,
        interval(lease),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(OutgoingEvent::from).collect())
}

/// Deletes events that the broker has confirmed. It does not wait for the disk: if a crash of the database
/// loses the deletion, the event is published once more, with the same id.
pub async fn delete(conn: &mut PgConnection, confirmed: &[Key]) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(confirmed);
    sqlx::query!(
        "WITH relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
         DELETE FROM outbox o USING relaxed, UNNEST($1::text[], $2::uuid[]) AS u(company_id, message_id)
         WHERE o.company_id = u.company_id AND o.message_id = u.message_id",
        &companies as &[&str],
        &ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Releases events that could not be published, so that the next sweep takes them.
pub async fn release(conn: &mut PgConnection, events: &[Key]) -> Result<(), sqlx::Error> {
    let (companies, ids) = key_columns(events);
    sqlx::query!(
        "UPDATE outbox o SET leased_until = now() FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, message_id)
         WHERE o.company_id = u.company_id AND o.message_id = u.message_id",
        &companies as &[&str],
        &ids
    )
    .execute(conn)
    .await?;
    Ok(())
}
