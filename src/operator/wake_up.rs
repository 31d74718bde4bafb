//! Wakes worker 2 through its queue. Only a hint: the worker also polls, so a failed wake-up costs a moment.

use serde_json::json;
use uuid::Uuid;

use crate::{
    amqp::{ConnectError, Message, PublishError, Publisher, Topology, properties},
    settings,
};

/// A connection that publishes wake-ups.
pub struct WakeUp {
    publisher: Publisher,
    queue: String,
}

/// Why the worker could not be woken.
#[derive(Debug, thiserror::Error)]
pub enum WakeUpError {
    /// The broker cannot be reached.
    #[error("could not reach the broker")]
    Connect(#[from] ConnectError),
    /// The broker failed or refused the message.
    #[error("could not publish webhook.requested")]
    Publish(#[from] PublishError),
}

impl WakeUp {
    /// Opens the connection.
    ///
    /// # Errors
    /// When the broker cannot be reached.
    pub async fn connect(settings: &settings::Amqp) -> Result<Self, WakeUpError> {
        let publisher = Publisher::connect(settings, "wake-up").await?;
        Ok(Self { publisher, queue: Topology::new(&settings.namespace).webhook() })
    }

    /// Publishes a `webhook.requested` to the webhook queue.
    ///
    /// # Errors
    /// When the broker fails.
    pub async fn send(&mut self) -> Result<(), WakeUpError> {
        let id = Uuid::now_v7();
        let body = json!({
            "specversion": "1.0", "id": id, "source": "contact-relay", "type": "webhook.requested",
            "datacontenttype": "application/json", "data": {},
        });
        let properties = json!({
            "contentType": "application/cloudevents+json", "deliveryMode": 2, "messageId": id,
            "type": "webhook.requested",
        });
        let message = Message {
            exchange: String::new(),
            routing_key: self.queue.clone(),
            // Without the queue no worker has ever run, and its first claim finds the due deliveries.
            mandatory: false,
            body: body.to_string().into_bytes(),
            properties: properties::from_json(&properties),
        };
        self.publisher.publish(&[message]).await?;
        Ok(())
    }
}
