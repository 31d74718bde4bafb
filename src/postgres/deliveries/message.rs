//! The message that stands for a delivery in a dead letter, and that wakes the webhook worker.

use serde_json::json;

use super::DeliveryKey;

/// The same delivery always gives the same bytes: they are what dead letters are told apart by.
pub(super) fn message(key: &DeliveryKey, trigger: &str, event_id: &str, source: &str) -> Vec<u8> {
    let body = json!({
        "specversion": "1.0", "id": key.id, "source": "contact-relay", "type": "webhook.requested",
        "datacontenttype": "application/json",
        "data": {
            "company": {"id": key.company}, "deliveryId": key.id,
            "trigger": {"name": trigger, "eventId": event_id, "eventSource": source},
        },
    });
    body.to_string().into_bytes()
}
