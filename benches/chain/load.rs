//! The events that a platform publishes for the chain of two interactions.

use std::time::Duration;

use contact_relay::{
    amqp::{self, Message, Publisher},
    settings,
};
use lapin::{
    BasicProperties, Confirmation,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use serde_json::json;
use tokio::{task::JoinSet, time::MissedTickBehavior};
use uuid::Uuid;

use crate::receiver::micros;

/// Maximum number of unconfirmed messages.
const WINDOW: usize = 1000;

/// Which events are published.
#[derive(Clone)]
pub(crate) struct Load {
    /// The company, or the beginning of the names of several.
    pub(crate) company: String,
    /// Number of companies; the contacts are dealt to them in turn.
    pub(crate) companies: usize,
    /// Base URLs of the receivers, in turn.
    pub(crate) urls: Vec<String>,
    /// Number of paths below each base URL; 0 for the base URL itself.
    pub(crate) paths: usize,
    /// Number of contacts that were stored before the run; one event in five is about one of them.
    pub(crate) stored: usize,
}

impl Load {
    /// Events of one company with one receiver.
    pub(crate) fn to(url: &str) -> Self {
        Self { company: "bench".to_owned(), companies: 1, urls: vec![url.to_owned()], paths: 0, stored: 0 }
    }

    fn company_of(&self, person: usize) -> String {
        if self.companies <= 1 {
            return self.company.clone();
        }
        format!("{}-{}", self.company, person % self.companies)
    }

    fn url(&self, number: usize) -> String {
        let count = self.urls.len().max(1);
        let base = self.urls.get(number % count).map_or("", String::as_str);
        match (number / count).checked_rem(self.paths) {
            None => base.to_owned(),
            Some(path) => format!("{base}/{path}"),
        }
    }

    /// The `number`th event.
    pub(crate) fn event(&self, number: usize) -> Event {
        // One event in five is about the contact of an earlier event, or of a stored one.
        let again = number % 5 == 4;
        let person = if again { number - 4 } else { number };
        let (email, phone) = if again && self.stored > 0 {
            // Knuth's multiplicative hash: the same contacts in every run, none adjacent.
            stored(number.wrapping_mul(2_654_435_761) % self.stored)
        } else {
            (format!("lead-{person}@customers.example"), format!("+55119{:08}", person % 100_000_000))
        };
        let (id, at) = (Uuid::now_v7().to_string(), micros());
        let body = body(&id, at, number, &self.company_of(person), &self.url(number), &email, &phone);
        Event { id, at, body }
    }

    /// Publishes the events in `range` and waits for every confirm. With an empty `exchange` the routing key is a
    /// queue.
    pub(crate) async fn publish(
        &self,
        settings: &settings::Amqp,
        exchange: &str,
        routing_key: &str,
        range: std::ops::Range<usize>,
    ) -> anyhow::Result<()> {
        publish(settings, range, |number| self.event(number).message(exchange, routing_key)).await
    }

    /// Publishes events at a steady rate, without waiting for confirms in between. Each has its own time of
    /// publication, so a publisher that falls behind its rate does not hide latency.
    pub(crate) async fn paced(
        &self,
        settings: &settings::Amqp,
        exchange: &str,
        routing_key: &str,
        rate: u32,
        range: std::ops::Range<usize>,
    ) -> anyhow::Result<Vec<Sent>> {
        let connection = amqp::connect(settings, "load").await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut confirms = JoinSet::new();
        for number in range {
            tick.tick().await;
            let Event { id, at, body } = self.event(number);
            let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
            let confirm = channel
                .basic_publish(exchange.into(), routing_key.into(), options, &body, properties(&id))
                .await?;
            confirms.spawn(async move {
                let confirmation = confirm.await?;
                anyhow::ensure!(matches!(confirmation, Confirmation::Ack(None)), "{confirmation:?}");
                Ok(Sent { id, at, confirmed: micros() })
            });
        }
        confirms.join_all().await.into_iter().collect()
    }
}

/// An event to publish.
pub(crate) struct Event {
    /// CloudEvents `id`.
    pub(crate) id: String,
    /// When it was made, in microseconds since 1970. Its webhook carries it.
    at: u64,
    pub(crate) body: Vec<u8>,
}

impl Event {
    fn message(self, exchange: &str, routing_key: &str) -> Message {
        Message {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
            mandatory: true,
            properties: properties(&self.id),
            body: self.body,
        }
    }
}

/// An event that was published at a steady rate. Times are in microseconds since 1970.
pub(crate) struct Sent {
    pub(crate) id: String,
    pub(crate) at: u64,
    pub(crate) confirmed: u64,
}

/// Email and phone of the `number`th contact that was stored before a run.
fn stored(number: usize) -> (String, String) {
    (format!("stored-{number}@customers.example"), format!("+55219{number:08}"))
}

fn body(id: &str, at: u64, number: usize, company: &str, url: &str, email: &str, phone: &str) -> Vec<u8> {
    let time = time::OffsetDateTime::now_utc().format(&time::format_description::well_known::Rfc3339);
    json!({
        "specversion": "1.0",
        "id": id,
        "source": format!("/companies/{company}/assistants/sales"),
        "type": "trigger.fired",
        "time": time.unwrap_or_default(),
        "datacontenttype": "application/json",
        "data": {
            "company": {"id": company},
            "assistant": {"id": "sales", "maxInteractions": 2},
            "session": {"id": Uuid::now_v7().to_string()},
            "clientData": {"sentAt": at},
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
                    {"type": "WEBHOOK", "url": url, "method": "POST",
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

/// Publishes a message for each number and waits for every confirm.
pub(crate) async fn publish(
    settings: &settings::Amqp,
    mut range: std::ops::Range<usize>,
    message: impl Fn(usize) -> Message,
) -> anyhow::Result<()> {
    let mut publisher = Publisher::connect(settings, "load").await?;
    loop {
        let messages: Vec<Message> = range.by_ref().take(WINDOW).map(&message).collect();
        if messages.is_empty() {
            return Ok(());
        }
        for sent in publisher.publish(&messages).await? {
            sent?;
        }
    }
}

fn properties(id: &str) -> BasicProperties {
    BasicProperties::default()
        .with_message_id(id.into())
        .with_delivery_mode(2)
        .with_content_type("application/cloudevents+json".into())
}
