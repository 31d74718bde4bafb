//! The dead letters of recorded attempts: inserted when a delivery dies, resolved when a replay of it is delivered.

use serde_json::{Map, json};
use sqlx::PgConnection;

use super::job::Job;
use crate::{
    domain::{
        fault::{Reason, Stage},
        webhook::{
            attempt::Next,
            delivery::{Delivery, NO_ENDPOINT},
            requested::WEBHOOK_REQUESTED,
        },
    },
    postgres::dead_letters::{self, NewDeadLetter},
};

/// Inserts and resolves the dead letters of recorded attempts, in the transaction that recorded them.
///
/// # Errors
/// When the database fails; the transaction is then lost.
pub(super) async fn record<'a>(
    conn: &mut PgConnection,
    recorded: impl Iterator<Item = (&'a Job, &'a Next)> + Clone,
) -> Result<(), sqlx::Error> {
    let dead = recorded.clone().filter_map(|(job, next)| match next {
        Next::Dead(reason, message) => Some(dead_letter(job, *reason, message)),
        Next::Delivered | Next::Retry { .. } => None,
    });
    dead_letters::insert(conn, &dead.collect::<Vec<_>>()).await?;
    let replayed = recorded.filter(|(job, next)| **next == Next::Delivered && job.progress.schedule_from > 0);
    let replayed: Vec<_> = replayed.map(|(job, _)| job.delivery.message()).collect();
    dead_letters::resolve_deliveries(conn, &replayed).await
}

fn dead_letter(Job { delivery, progress, .. }: &Job, reason: Reason, message: &str) -> NewDeadLetter {
    NewDeadLetter {
        company: delivery.key.company.clone(),
        stage: Stage::Webhook,
        reason,
        message: message.to_owned(),
        meaning: delivery.message().meaning(),
        body: delivery.message().body().into(),
        routing_key: WEBHOOK_REQUESTED.to_owned(),
        properties: properties(delivery),
        source: Some(delivery.source.clone()),
        event_id: Some(delivery.event_id.clone()),
        event_key: None,
        trigger: Some(delivery.trigger.clone()),
        delivery_id: Some(delivery.key.id),
        endpoint_id: Some(delivery.endpoint_id).filter(|id| *id != NO_ENDPOINT),
        attempts: i32::try_from(progress.attempts_in_round().saturating_add(1)).unwrap_or(i32::MAX),
        replay_of: None,
        known_at: None,
        is_blank: false,
    }
}

/// As a message would have had them, see `amqp::properties`.
fn properties(delivery: &Delivery) -> String {
    let headers =
        [("traceparent", delivery.trace.traceparent()), ("tracestate", delivery.trace.tracestate())];
    let headers =
        headers.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!({ "string": value? }))));
    json!({
        "contentType": "application/cloudevents+json", "deliveryMode": 2, "messageId": delivery.key.id,
        "correlationId": delivery.event_id, "type": WEBHOOK_REQUESTED,
        "headers": headers.collect::<Map<_, _>>(),
    })
    .to_string()
}
