//! The events: what a platform publishes for the two-interaction chain.

use contact_relay::amqp::{Message, Publisher};
use contact_relay::settings::Settings;
use lapin::BasicProperties;
use serde_json::json;

use crate::receiver::micros;

/// Most unconfirmed messages.
const WINDOW: usize = 1000;

/// One event in five is about a person that an earlier event was about.
fn person(number: usize) -> usize {
    if number % 5 == 4 { number - 4 } else { number }
}

/// The `number`th event of a run, its webhook going to `receiver`.
pub(crate) fn event(number: usize, receiver: &str) -> Vec<u8> {
    let person = person(number);
    let time = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339);
    json!({
        "specversion": "1.0",
        "id": uuid::Uuid::now_v7().to_string(),
        "source": "/companies/bench/assistants/sales",
        "type": "trigger.fired",
        "time": time.unwrap_or_default(),
        "datacontenttype": "application/json",
        "data": {
            "company": {"id": "bench"},
            "assistant": {"id": "sales", "maxInteractions": 2},
            "session": {"id": uuid::Uuid::now_v7().to_string()},
            "clientData": {"sentAt": micros()},
            "trigger": {
                "name": "register_qualified_lead",
                "description": "Registers the lead in the CRM after collecting the necessary data.",
                "parameters": {
                    "properties": {
                        "name": {"type": "string"}, "email": {"type": "string"}, "phone": {"type": "string"},
                        "company": {"type": "string"},
                        "interest": {"type": "string", "enum": ["starter", "growth", "enterprise"]},
                    },
                    "required": ["name", "email", "company"],
                },
                "interpretResponse": false,
                "actions": [
                    {"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email",
                     "phone": "phone", "company": "company"},
                    {"type": "WEBHOOK", "url": receiver, "method": "POST",
                     "headers": [{"key": "Authorization", "value": "Bearer my_token"}],
                     "body": {"sentAt": "$sentAt",
                              "text": "New $interest lead: $name ($email), session $session.id"}},
                ],
            },
            "arguments": {
                "name": format!("Lead {number}"),
                "email": format!("lead-{person}@customers.example"),
                "phone": format!("+55119{:08}", person % 100_000_000),
                "company": "Analytical Engines",
                "interest": "growth",
            },
        },
    })
    .to_string()
    .into_bytes()
}

/// Publishes events `from..to` to one exchange or queue and waits for every confirm.
pub(crate) async fn publish(
    settings: &Settings,
    exchange: &str,
    routing_key: &str,
    receiver: &str,
    range: std::ops::Range<usize>,
) -> anyhow::Result<()> {
    let mut publisher = Publisher::connect(&settings.amqp, "load").await?;
    let numbers: Vec<usize> = range.collect();
    for window in numbers.chunks(WINDOW) {
        let messages: Vec<Message> =
            window.iter().map(|number| message(exchange, routing_key, event(*number, receiver))).collect();
        for sent in publisher.publish(&messages).await? {
            sent?;
        }
    }
    Ok(())
}

pub(crate) fn message(exchange: &str, routing_key: &str, body: Vec<u8>) -> Message {
    Message {
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        mandatory: true,
        body,
        properties: BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/cloudevents+json".into()),
    }
}
