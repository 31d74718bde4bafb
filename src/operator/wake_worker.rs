//! Wakes worker 2 through its queue. Only a hint: the worker also polls, so a failed wake-up costs a moment.

use serde_json::json;
use uuid::Uuid;

use crate::{
    amqp::{ConnectError, Message, PublishError, Publisher, Topology, properties},
    domain::webhook::requested::{WEBHOOK_REQUESTED, wake_up_body},
    settings,
    telemetry::chain,
};

/// Why the worker could not be woken.
#[derive(Debug, thiserror::Error)]
pub(super) enum WakeUpError {
    #[error("could not reach the broker")]
    Connect(#[from] ConnectError),
    #[error("could not publish webhook.requested")]
    Publish(#[from] PublishError),
}

/// Wakes the worker. Logs if that fails.
pub async fn wake(settings: &settings::Amqp) {
    let wake = async || {
        let mut publisher = Publisher::connect(settings, "wake-up").await?;
        publish(&mut publisher, &Topology::new(&settings.namespace)).await
    };
    if let Err(error) = wake().await {
        failed(&error);
    }
}

/// Logs that the worker could not be woken.
pub(super) fn failed(error: &WakeUpError) {
    tracing::warn!(
        error = chain(error),
        "could not wake the worker, which finds the deliveries at its next poll"
    );
}

/// Publishes a `webhook.requested` to the webhook queue.
///
/// # Errors
/// When the broker fails.
pub(super) async fn publish(publisher: &mut Publisher, topology: &Topology) -> Result<(), WakeUpError> {
    let id = Uuid::now_v7();
    let properties = json!({
        "contentType": "application/cloudevents+json", "deliveryMode": 2, "messageId": id,
        "type": WEBHOOK_REQUESTED,
    });
    let message = Message {
        exchange: String::new(),
        routing_key: topology.webhook(),
        // Without the queue no worker has ever run, and its first claim finds the due deliveries.
        mandatory: false,
        body: wake_up_body(id),
        properties: properties::from_json(&properties),
    };
    publisher.publish(&[message]).await?;
    Ok(())
}
