//! Messages that are committed with their cause and published after it.

use std::time::Duration;

use sqlx::{PgConnection, postgres::types::PgInterval};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{chain::outgoing::Outgoing, event::CompanyId};

/// One message to publish to the events exchange, and, where somebody asked for it, to their queue as well.
#[derive(Clone)]
pub struct OutboxMessage {
    /// The company that it concerns.
    pub company: String,
    /// `CloudEvents` `id` and AMQP `message_id`.
    pub id: Uuid,
    /// The routing key.
    pub routing_key: String,
    /// `CloudEvents` `type`.
    pub kind: String,
    /// `CloudEvents` `source`.
    pub source: String,
    /// `CloudEvents` `subject`.
    pub subject: Option<String>,
    /// Id of the trigger event.
    pub correlation_id: String,
    /// W3C trace context of the trigger message.
    pub traceparent: Option<String>,
    /// W3C trace context of the trigger message.
    pub tracestate: Option<String>,
    /// `CloudEvents` `time`.
    pub time: OffsetDateTime,
    /// The exact bytes.
    pub body: Vec<u8>,
    /// The queue that is answered as well.
    pub reply_to: Option<String>,
    /// What the asker knows its request by.
    pub reply_correlation_id: Option<String>,
}

impl OutboxMessage {
    /// The message of an event that happens now in `company`, without a trace.
    #[must_use]
    pub fn new(
        company: &CompanyId,
        event: Outgoing,
        source: &str,
        correlation_id: String,
        now: OffsetDateTime,
    ) -> Self {
        Self {
            company: company.to_string(),
            id: event.id,
            routing_key: event.routing_key,
            kind: event.kind.to_owned(),
            source: source.to_owned(),
            subject: event.subject,
            correlation_id,
            traceparent: None,
            tracestate: None,
            time: now,
            body: event.body,
            reply_to: None,
            reply_correlation_id: None,
        }
    }
}

/// Inserts messages, left to the caller to publish until `lease` runs out. A message that is there
/// already stays as it is.
pub async fn insert(
    conn: &mut PgConnection,
    messages: &[OutboxMessage],
    lease: Duration,
) -> Result<(), sqlx::Error> {
    if messages.is_empty() {
        return Ok(());
    }
    let text = |column: fn(&OutboxMessage) -> &str| messages.iter().map(column).collect::<Vec<&str>>();
    let optional = |column: fn(&OutboxMessage) -> Option<&str>| {
        messages.iter().map(column).collect::<Vec<Option<&str>>>()
    };
    let ids: Vec<Uuid> = messages.iter().map(|message| message.id).collect();
    let times: Vec<OffsetDateTime> = messages.iter().map(|message| message.time).collect();
    let bodies: Vec<&[u8]> = messages.iter().map(|message| message.body.as_slice()).collect();
    sqlx::query!(
        "INSERT INTO outbox (company_id, message_id, routing_key, type, source, subject, correlation_id,
             traceparent, tracestate, time, body, reply_to, reply_correlation_id, leased_until)
         SELECT u.*, now() + $14::interval FROM UNNEST($1::text[], $2::uuid[], $3::text[], $4::text[], $5::text[],
             $6::text[], $7::text[], $8::text[], $9::text[], $10::timestamptz[], $11::bytea[],
             $12::text[], $13::text[]) AS u
         ON CONFLICT DO NOTHING",
        &text(|message| &message.company) as &[&str],
        &ids,
        &text(|message| &message.routing_key) as &[&str],
        &text(|message| &message.kind) as &[&str],
        &text(|message| &message.source) as &[&str],
        &optional(|message| message.subject.as_deref()) as &[Option<&str>],
        &text(|message| &message.correlation_id) as &[&str],
        &optional(|message| message.traceparent.as_deref()) as &[Option<&str>],
        &optional(|message| message.tracestate.as_deref()) as &[Option<&str>],
        &times,
        &bodies as &[&[u8]],
        &optional(|message| message.reply_to.as_deref()) as &[Option<&str>],
        &optional(|message| message.reply_correlation_id.as_deref()) as &[Option<&str>],
        interval(lease),
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes up to `limit` messages whose lease ran out and leases them anew. Safe beside other relays.
pub async fn take_expired(
    conn: &mut PgConnection,
    limit: i64,
    lease: Duration,
) -> Result<Vec<OutboxMessage>, sqlx::Error> {
    sqlx::query_as!(
        OutboxMessage,
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
    .await
}

/// Deletes messages that the broker has confirmed. Does not wait for the disk: a deletion that a crash
/// of the database forgets only publishes the message once more, with the same id.
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

/// Gives messages that could not be published back to the next sweep.
pub async fn hand_back(conn: &mut PgConnection, messages: &[(String, Uuid)]) -> Result<(), sqlx::Error> {
    let (companies, ids): (Vec<String>, Vec<Uuid>) = messages.iter().cloned().unzip();
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
