//! The outbox: events that are committed with their cause and published after it.

use std::time::Duration;

use sqlx::{PgConnection, postgres::types::PgInterval};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{
    chain::outgoing::{OutgoingEvent, ReplyTo},
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
    let text = |column: fn(&OutgoingEvent) -> &str| events.iter().map(column).collect::<Vec<&str>>();
    let optional =
        |column: fn(&OutgoingEvent) -> Option<&str>| events.iter().map(column).collect::<Vec<Option<&str>>>();
    let ids: Vec<Uuid> = events.iter().map(|event| event.id).collect();
    let times: Vec<OffsetDateTime> = events.iter().map(|event| event.time).collect();
    let bodies: Vec<&[u8]> = events.iter().map(|event| event.body.as_slice()).collect();
    sqlx::query!(
        "INSERT INTO outbox (company_id, message_id, routing_key, type, source, subject, correlation_id,
             traceparent, tracestate, time, body, reply_to, reply_correlation_id, leased_until)
         SELECT u.*, now() + $14::interval FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[],
             $6::text[], $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::bytea[],
             $12::text[], $13::text[]) AS u
         ON CONFLICT DO NOTHING",
        &text(|event| &event.company) as &[&str],
        &ids,
        &text(|event| &event.routing_key) as &[&str],
        &text(|event| &event.kind) as &[&str],
        &text(|event| &event.source) as &[&str],
        &optional(|event| event.subject.as_deref()) as &[Option<&str>],
        &text(|event| &event.correlation_id) as &[&str],
        &optional(|event| event.trace.traceparent()) as &[Option<&str>],
        &optional(|event| event.trace.tracestate()) as &[Option<&str>],
        &times,
        &bodies as &[&[u8]],
        &optional(|event| Some(event.reply_to.as_ref()?.queue.as_str())) as &[Option<&str>],
        &optional(|event| event.reply_to.as_ref()?.correlation_id.as_deref()) as &[Option<&str>],
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
        Row,        r#"WITH expired AS (
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
pub async fn delete(conn: &mut PgConnection, confirmed: &[(String, Uuid)]) -> Result<(), sqlx::Error> {
    let (companies, ids): (Vec<String>, Vec<Uuid>) = confirmed.iter().cloned().unzip();
    sqlx::query!(
        "WITH relaxed AS MATERIALIZED (SELECT set_config('synchronous_commit', 'off', true))
         DELETE FROM outbox o USING relaxed, UNNEST($1::text[], $2::uuid[]) AS k(company_id, message_id)
         WHERE o.company_id = k.company_id AND o.message_id = k.message_id",
        &companies,
        &ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Releases events that could not be published, so that the next sweep takes them.
pub async fn release(conn: &mut PgConnection, events: &[(String, Uuid)]) -> Result<(), sqlx::Error> {
    let (companies, ids): (Vec<String>, Vec<Uuid>) = events.iter().cloned().unzip();
    sqlx::query!(
        "UPDATE outbox o SET leased_until = now() FROM UNNEST($1::text[], $2::uuid[]) AS k(company_id, message_id)
         WHERE o.company_id = k.company_id AND o.message_id = k.message_id",
        &companies,
        &ids
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn interval(duration: Duration) -> PgInterval {
    PgInterval { months: 0, days: 0, microseconds: i64::try_from(duration.as_micros()).unwrap_or(i64::MAX) }
}
