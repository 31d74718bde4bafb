//! The events that a platform publishes for the chain of two interactions.

use contact_relay::amqp::{Message, Publisher};
use contact_relay::settings::Settings;
use lapin::BasicProperties;
use serde_json::json;

use crate::receiver::micros;

/// Maximum number of unconfirmed messages.
const WINDOW: usize = 1000;

/// One event in five is about the contact of an earlier event.
fn person(number: usize) -> usize {
    if number % 5 == 4 { number - 4 } else { number }
}

/// The `number`th event of a run, with its webhook sent to `receiver`.
pub(crate) fn event(number: usize, receiver: &str) -> Vec<u8> {
    let person = person(number);
    let phone = format!("+55119{:08}", person % 100_000_000);
    event_about(number, &format!("lead-{person}@customers.example"), &phone, receiver)
}

/// Email and phone of the `number`th contact that was stored before a run.
fn stored(number: usize) -> (String, String) {
    (format!("stored-{number}@customers.example"), format!("+55219{number:08}"))
}

fn event_about(number: usize, email: &str, phone: &str, receiver: &str) -> Vec<u8> {
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
                "email": email,
                "phone": phone,
                "company": "Analytical Engines",
                "interest": "growth",
            },
        },
    })
    .to_string()
    .into_bytes()
}

/// Publishes the events in `range` and waits for every confirm. With an empty `exchange` the routing key is a
/// queue.
pub(crate) async fn publish(
    settings: &Settings,
    exchange: &str,
    routing_key: &str,
    receiver: &str,
    range: std::ops::Range<usize>,
) -> anyhow::Result<()> {
    publish_all(settings, range, |number| message(exchange, routing_key, event(number, receiver))).await
}

/// Publishes events. One in five is about one of `contacts` stored contacts, spread over the table.
pub(crate) async fn publish_about_stored(
    settings: &Settings,
    exchange: &str,
    events: usize,
    contacts: usize,
) -> anyhow::Result<()> {
    let receiver = "http://127.0.0.1:9/";
    publish_all(settings, 0..events, |number| {
        let body = if number % 5 == 4 {
            // Knuth's multiplicative hash: the same contacts in every run, none adjacent.
            let (email, phone) = stored(number.wrapping_mul(2_654_435_761) % contacts);
            event_about(number, &email, &phone, receiver)
        } else {
            event(number, receiver)
        };
        message(exchange, "trigger.fired", body)
    })
    .await
}

async fn publish_all(
    settings: &Settings,
    range: std::ops::Range<usize>,
    message: impl Fn(usize) -> Message,
) -> anyhow::Result<()> {
    let mut publisher = Publisher::connect(&settings.amqp, "load").await?;
    let numbers: Vec<usize> = range.collect();
    for window in numbers.chunks(WINDOW) {
        let messages: Vec<Message> = window.iter().map(|number| message(*number)).collect();
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
