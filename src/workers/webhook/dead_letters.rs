//! The dead letters of recorded attempts: inserted when a delivery dies, resolved when a replay of it is delivered.

use serde_json::json;
use sqlx::PgConnection;

use crate::{
    domain::{
        event::Key,
        fault::{Reason, Stage},
        webhook::{attempt::Next, requested::WebhookRequested},
    },
    postgres::{
        dead_letters::{self, NewDeadLetter},
        deliveries::{ClaimedDelivery, Recorded},
    },
};

/// Inserts and resolves the dead letters of a batch, in the transaction that recorded it. Skips deliveries whose lease
/// was `lost`.
///
/// # Errors
/// When the database fails; the transaction is then lost.
pub(super) async fn record(
    conn: &mut PgConnection,
    batch: &[Recorded],
    lost: &[Key],
) -> Result<(), sqlx::Error> {
    let held = || batch.iter().filter(|entry| !lost.contains(&entry.delivery.key));
    let dead = held().filter_map(|Recorded { delivery, next, .. }| match next {
        Next::Dead(reason, message) => Some(dead_letter(delivery, *reason, message)),
        Next::Delivered | Next::Retry { .. } => None,
    });
    dead_letters::insert(conn, &dead.collect::<Vec<_>>()).await?;
    let delivered = held().filter(|entry| entry.next == Next::Delivered).map(|entry| &entry.delivery);
    let replayed = delivered.filter(|delivery| delivery.attempts > delivery.attempts_in_round);
    let replayed: Vec<_> = replayed.map(ClaimedDelivery::requested).collect();
    dead_letters::resolve_deliveries(conn, &replayed).await
}

fn dead_letter(delivery: &ClaimedDelivery, reason: Reason, message: &str) -> NewDeadLetter {
    NewDeadLetter {
        company: delivery.key.company.clone(),
        stage: Stage::Webhook,
        reason,
        message: message.to_owned(),
        body: delivery.requested().body(),
        routing_key: WebhookRequested::TYPE.to_owned(),
        properties: json!({
            "contentType": "application/cloudevents+json", "deliveryMode": 2, "messageId": delivery.key.id,
            "correlationId": delivery.event_id, "type": WebhookRequested::TYPE,
        }),
        source: Some(delivery.source.clone()),
        event_id: Some(delivery.event_id.clone()),
        trigger: Some(delivery.trigger.clone()),
        delivery_id: Some(delivery.key.id),
        attempts: i32::try_from(delivery.attempts_in_round.saturating_add(1)).unwrap_or(i32::MAX),
        replay_of: None,
    }
}
