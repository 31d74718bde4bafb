//! Fires the samples and waits until each has ended as expected, or a timeout.

use std::time::Duration;

use lapin::BasicProperties;
use serde_json::Value;
use time::OffsetDateTime;
use tokio::time::timeout;

use crate::{
    amqp::{self, Message, Publisher, Subscriber, Topology},
    dev::{
        demo_receiver::{DemoReceiver, Received},
        samples::{self, Expected, Sample},
    },
    domain::{contact::Contact, event::CompanyId},
    operator::{contacts, dead_letters, paging::MAX_PAGE},
    postgres::{
        Database,
        dead_letters::{Filter, Summary},
    },
    settings::Settings,
};

/// From publishing the samples to the last outcome.
const OUTCOME_TIMEOUT: Duration = Duration::from_secs(30);

pub(super) struct Demo<'a> {
    pub(super) settings: &'a Settings,
    pub(super) database: &'a Database,
    pub(super) receiver: &'a DemoReceiver,
}

/// The effects of all samples.
pub(super) struct Outcome {
    pub(super) contacts: Vec<Contact>,
    pub(super) events: Vec<Value>,
    pub(super) webhooks: Vec<Received>,
    pub(super) dead_letters: Vec<Summary>,
    /// Samples that did not end as expected, in words.
    pub(super) unexpected: Vec<String>,
}

impl Demo<'_> {
    pub(super) async fn run(&self) -> anyhow::Result<Outcome> {
        let since = OffsetDateTime::now_utc();
        let samples = samples::samples(&self.receiver.url("/sales"));
        let topology = Topology::new(&self.settings.amqp.namespace);
        let connection = amqp::connect(&self.settings.amqp, "dev").await?;
        let keys = ["contact.upserted.#".to_owned()];
        let mut subscriber = Subscriber::open(&connection, &topology.events(), &keys).await?;
        self.publish(&topology, &samples).await?;
        let applied =
            samples.iter().filter(|sample| !matches!(sample.expected, Expected::DeadLetter(_))).count();
        let mut events = Vec::new();
        let settled = timeout(OUTCOME_TIMEOUT, async {
            while events.len() < applied {
                events.push(serde_json::from_slice(&subscriber.next().await?.body)?);
            }
            let mut tick = tokio::time::interval(Duration::from_millis(50));
            loop {
                tick.tick().await;
                let outcome = self.look(&samples, since, Vec::new()).await?;
                if outcome.unexpected.is_empty() {
                    return Ok::<_, anyhow::Error>(outcome);
                }
            }
        });
        match settled.await {
            Ok(outcome) => Ok(Outcome { events, ..outcome? }),
            Err(_) => self.look(&samples, since, events).await,
        }
    }

    async fn publish(&self, topology: &Topology, samples: &[Sample]) -> anyhow::Result<()> {
        let messages: Vec<Message> = samples.iter().map(|sample| to_message(topology, sample)).collect();
        let mut publisher = Publisher::connect(&self.settings.amqp, "dev").await?;
        for sent in publisher.publish(&messages).await? {
            sent?;
        }
        Ok(())
    }

    /// The effects so far.
    async fn look(
        &self,
        samples: &[Sample],
        since: OffsetDateTime,
        events: Vec<Value>,
    ) -> anyhow::Result<Outcome> {
        let filter = Filter { since: Some(since), ..Filter::default() };
        let dead_letters = dead_letters::list(self.database, &filter, None, MAX_PAGE).await?.items;
        let webhooks = self.receiver.requests();
        let mut outcome =
            Outcome { contacts: Vec::new(), events, webhooks, dead_letters, unexpected: Vec::new() };
        for sample in samples {
            let as_expected = match sample.expected {
                Expected::Contact(email) => self.find(email, &mut outcome).await?,
                Expected::ContactAndWebhook(email) => {
                    self.find(email, &mut outcome).await? && !outcome.webhooks.is_empty()
                }
                Expected::DeadLetter(reason) => {
                    outcome.dead_letters.iter().any(|dead| dead.reason == reason.name())
                }
            };
            if !as_expected {
                outcome.unexpected.push(format!("{}: expected {:?}", sample.title, sample.expected));
            }
        }
        Ok(outcome)
    }

    async fn find(&self, email: &str, outcome: &mut Outcome) -> anyhow::Result<bool> {
        let company = CompanyId::new(samples::COMPANY)?;
        let rules = self.settings.rules();
        let found = contacts::find(self.database, &rules, &company, None, Some(email)).await?;
        let is_there = !found.is_empty();
        outcome.contacts.extend(found);
        Ok(is_there)
    }
}

fn to_message(topology: &Topology, sample: &Sample) -> Message {
    Message {
        exchange: topology.events(),
        routing_key: "trigger.fired".to_owned(),
        mandatory: true,
        body: sample.body.clone(),
        properties: BasicProperties::default()
            .with_message_id(sample.id.as_str().into())
            .with_content_type("application/cloudevents+json".into())
            .with_delivery_mode(2),
    }
}
