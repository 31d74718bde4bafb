//! `webhook.requested`, as the service itself writes it: the message that the dead letter of a delivery keeps, and that a
//! replay publishes to wake the webhook worker; and a message that only wakes it. The event of that name, which a chain
//! without a CRM step publishes, is in `chain::outgoing`.

use serde_json::{Value, json};
use uuid::Uuid;

use crate::domain::event::{self, Key};

/// The `CloudEvents` `type`, and the routing key.
pub const WEBHOOK_REQUESTED: &str = "webhook.requested";

/// The message of one delivery: which it is, and the trigger event behind it.
#[derive(Clone, Copy, Debug)]
pub struct DeliveryMessage<'a> {
    /// The delivery.
    pub delivery: &'a Key,
    /// The name of the trigger.
    pub trigger: &'a str,
    /// `CloudEvents` `id` of the trigger event.
    pub event_id: &'a str,
    /// `CloudEvents` `source` of the trigger event.
    pub source: &'a str,
}

impl DeliveryMessage<'_> {
    /// The bytes, always the same for the same delivery.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let Key { company, id } = self.delivery;
        let data = json!({
            "company": {"id": company}, "deliveryId": id,
            "trigger": {"name": self.trigger, "eventId": self.event_id, "eventSource": self.source},
        });
        body(*id, &data)
    }

    /// The meaning of the body, which identifies the dead letter of the delivery.
    #[must_use]
    pub fn meaning(&self) -> [u8; 32] {
        event::meaning(&self.body())
    }
}

/// The bytes of a message that only wakes the webhook worker.
#[must_use]
pub fn wake_up_body(id: Uuid) -> Vec<u8> {
    body(id, &json!({}))
}

fn body(id: Uuid, data: &Value) -> Vec<u8> {
    let body = json!({
        "specversion": "1.0", "id": id, "source": "contact-relay", "type": WEBHOOK_REQUESTED,
        "datacontenttype": "application/json", "data": data,
    });
    body.to_string().into_bytes()
}
