//! `webhook.requested` of one delivery: the message that its dead letter keeps, and that a replay publishes
//! to wake the webhook worker.

use serde_json::json;

use crate::domain::event::{self, Key};

/// A delivery and the trigger event behind it.
#[derive(Clone, Copy, Debug)]
pub struct WebhookRequested<'a> {
    /// The delivery.
    pub delivery: &'a Key,
    /// The name of the trigger.
    pub trigger: &'a str,
    /// `CloudEvents` `id` of the trigger event.
    pub event_id: &'a str,
    /// `CloudEvents` `source` of the trigger event.
    pub source: &'a str,
}

impl WebhookRequested<'_> {
    /// The `CloudEvents` `type`, and the routing key.
    pub const TYPE: &'static str = "webhook.requested";

    /// The bytes, always the same for the same delivery.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let Key { company, id } = self.delivery;
        let body = json!({
            "specversion": "1.0", "id": id, "source": "contact-relay", "type": Self::TYPE,
            "datacontenttype": "application/json",
            "data": {
                "company": {"id": company}, "deliveryId": id,
                "trigger": {"name": self.trigger, "eventId": self.event_id, "eventSource": self.source},
            },
        });
        body.to_string().into_bytes()
    }

    /// The meaning of the body, which identifies the dead letter of the delivery.
    #[must_use]
    pub fn meaning(&self) -> [u8; 32] {
        event::meaning(&self.body())
    }
}
