//! Waking the webhook worker. Only a hint: it looks for what is due by itself, too, so who cannot wake it has
//! lost a moment.

use serde_json::json;
use uuid::Uuid;

use crate::{
    amqp::{ConnectError, Message, PublishError, Publisher, Topology, properties},
    settings,
};

/// A connection to wake the worker by.
pub struct WakeUp {
    publisher: Publisher,
    queue: String,
}

/// Why the worker is not woken.
#[derive(Debug, thiserror::Error)]
pub enum WakeUpError {
    /// The broker is away.
    #[error("could not reach the broker")]
    Connect(#[from] ConnectError),
    /// The broker went away.
    #[error("could not publish webhook.requested")]
    Publish(#[from] PublishError),
}

impl WakeUp {
    /// # Errors
    /// When the broker is away.
    pub async fn connect(settings: &settings::Amqp) -> Result<Self, WakeUpError> {
        let publisher = Publisher::connect(settings, "wake-up").await?;
        Ok(Self { publisher, queue: Topology::new(&settings.namespace).webhook() })
    }

    /// Puts a `webhook.requested` into the webhook queue.
    ///
    /// # Errors
    /// When the broker is away.
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
            // Where there is no such queue no worker has ever run, and its first look finds what is due.
            mandatory: false,
            body: body.to_string().into_bytes(),
            properties: properties::from_json(&properties),
        };
        self.publisher.publish(&[message]).await?;
        Ok(())
    }
}
