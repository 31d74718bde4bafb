//! Events to publish: how they are packed, and the rows of one transaction.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{EffectsKey, Group, Kind, NewEffects, Part, by_company, packed, unpacked};
use crate::domain::{
    chain::outgoing::{OutgoingEvent, ReplyTo},
    trace_context::TraceContext,
};

/// The events that one transaction committed for one company: one row.
#[derive(Debug)]
pub struct EventBatch {
    /// The row.
    pub key: EffectsKey,
    /// The process that is to publish them.
    pub owner: Option<Uuid>,
    /// Its events.
    pub events: Vec<OutgoingEvent>,
    /// When they were about to be committed, or taken from the database.
    pub since: Instant,
}

/// Inserts events, one row for each company, and returns the rows that the process `owner` must publish. Without an
/// owner the result is empty: any process publishes them. `batch` is the transaction's.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn insert(
    conn: &mut PgConnection,
    batch: Uuid,
    owner: Option<Uuid>,
    events: Vec<OutgoingEvent>,
) -> Result<Vec<EventBatch>, sqlx::Error> {
    let committed = group(batch, owner, events);
    super::insert(conn, &NewEffects::of_groups(&committed, owner)?).await?;
    Ok(if owner.is_some() { committed } else { Vec::new() })
}

/// The events of one transaction by company.
#[must_use]
pub fn group(batch: Uuid, owner: Option<Uuid>, events: Vec<OutgoingEvent>) -> Vec<EventBatch> {
    let since = Instant::now();
    let committed = by_company(events, |event| &event.company).into_iter().map(|(company, events)| {
        let key = EffectsKey { company, batch, kind: Kind::Publish };
        EventBatch { key, owner, events, since }
    });
    committed.collect()
}

impl Group for EventBatch {
    type Part = OutgoingEvent;

    fn key(&self) -> &EffectsKey {
        &self.key
    }

    fn parts(&self) -> &[OutgoingEvent] {
        &self.events
    }
}

impl Part for OutgoingEvent {
    const KIND: Kind = Kind::Publish;

    fn id(&self) -> Uuid {
        self.id
    }

    fn pack(parts: &[Self]) -> Result<Vec<u8>, sqlx::Error> {
        packed(parts.iter().map(Packed::of))
    }

    fn unpack(company: &str, body: &[u8]) -> Result<Vec<Self>, sqlx::Error> {
        unpacked(body, |event: Packed<'_>| event.unpacked(company))
    }
}

/// An event as it is stored. The row has the company.
#[derive(Serialize, Deserialize)]
struct Packed<'a> {
    id: Uuid,
    kind: &'a str,
    routing_key: &'a str,
    source: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    /// Nanoseconds since 1970: the header and the body have the same time.
    time: i64,
    correlation_id: &'a str,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_to: Option<&'a str>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reply_correlation_id: Option<&'a str>,
    #[serde(with = "serde_bytes")]
    body: &'a [u8],
}

impl<'a> Packed<'a> {
    fn of(event: &'a OutgoingEvent) -> Self {
        let reply_to = event.reply_to.as_ref();
        Self {
            id: event.id,
            kind: &event.kind,
            routing_key: &event.routing_key,
            source: &event.source,
            subject: event.subject.as_deref(),
            // Fits until the year 2262.
            time: i64::try_from(event.time.unix_timestamp_nanos()).unwrap_or_default(),
            correlation_id: &event.correlation_id,
            traceparent: event.trace.traceparent(),
            tracestate: event.trace.tracestate(),
            reply_to: reply_to.map(|reply| reply.queue.as_str()),
            reply_correlation_id: reply_to.and_then(|reply| reply.correlation_id.as_deref()),
            body: &event.body,
        }
    }

    fn unpacked(self, company: &str) -> OutgoingEvent {
        let correlation_id = self.reply_correlation_id.map(str::to_owned);
        // Every number of nanoseconds in 64 bits is a valid time.
        let time = OffsetDateTime::from_unix_timestamp_nanos(self.time.into());
        OutgoingEvent {
            company: company.to_owned(),
            id: self.id,
            kind: self.kind.to_owned(),
            routing_key: self.routing_key.to_owned(),
            source: self.source.to_owned(),
            subject: self.subject.map(str::to_owned),
            time: time.unwrap_or(OffsetDateTime::UNIX_EPOCH),
            correlation_id: self.correlation_id.to_owned(),
            trace: TraceContext::new(self.traceparent, self.tracestate),
            reply_to: self.reply_to.map(|queue| ReplyTo { queue: queue.to_owned(), correlation_id }),
            body: self.body.to_vec(),
        }
    }
}

#[cfg(test)]
mod tests;
