//! Publishes what is committed: at once what the workers hand over, and by a sweep what a crash or an
//! outage left in the outbox.
//!
//! A message is deleted only after the broker confirmed it, so it is published at least once, and
//! always with the same id.

mod answers;

use std::sync::Arc;

use lapin::{BasicProperties, types::FieldTable};
use sqlx::PgConnection;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use self::answers::{Answers, answer};
use super::backoff::Backoff;
use crate::{
    amqp::{Message, Publisher, Topology, headers},
    domain::chain::{
        completed,
        outgoing::{OutgoingEvent, rfc3339},
    },
    health::Health,
    postgres::{Database, outbox},
    settings::Settings,
    telemetry::chain,
};

/// Most messages of one window of confirms.
const WINDOW: usize = 500;

/// Its name in logs and health.
pub const PART: &str = "outbox-relay";

/// The one publisher of events in a process.
pub struct OutboxRelay {
    /// All settings.
    pub settings: Arc<Settings>,
    /// Where the outbox is.
    pub database: Database,
    /// What was just committed.
    pub committed: mpsc::Receiver<Vec<OutgoingEvent>>,
    /// Where the relay reports.
    pub health: Health,
}

/// Why the publisher must be rebuilt.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Connect(#[from] crate::amqp::ConnectError),
    #[error(transparent)]
    Topology(#[from] crate::amqp::TopologyError),
    #[error(transparent)]
    Publish(#[from] crate::amqp::PublishError),
}

type Keys = Vec<(String, Uuid)>;

impl OutboxRelay {
    /// Publishes until `stop` and until every worker is gone, so that nothing committed by
    /// them is left to another's sweep.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        loop {
            match self.publish(&stop, &mut backoff).await {
                Ok(()) => break,
                Err(lost) => {
                    let error = chain(&lost);
                    warn!(error, "{PART} lost the broker and reconnects");
                    self.health.failing(PART, error);
                    if !backoff.wait(&stop).await {
                        break;
                    }
                }
            }
        }
        info!("{PART} stopped");
    }

    async fn publish(&mut self, stop: &CancellationToken, backoff: &mut Backoff) -> Result<(), Lost> {
        let mut publisher = Publisher::connect(&self.settings.amqp, PART).await?;
        let mut answers = Answers::default();
        let topology = Topology::new(&self.settings.amqp.namespace);
        topology.declare_over(publisher.connection(), self.settings.amqp.connect_timeout).await?;
        let mut sweep = interval(self.settings.outbox.sweep_interval);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let window = tokio::select! {
                // The sweep first: under steady load something is always committed, and what another
                // process left would wait for ever.
                biased;
                _ = sweep.tick(), if !stop.is_cancelled() => match self.expired().await {
                    Some(expired) => expired,
                    None => continue,
                },
                messages = self.committed.recv() => match messages {
                    Some(messages) => self.fill(messages),
                    None => return Ok(()),
                },
            };
            if window.is_empty() {
                // Not before: that a broker lets us in does not mean that it lets us publish.
                self.health.ready(PART);
            } else {
                self.window(&mut publisher, &mut answers, &topology, window).await?;
                backoff.reset();
            }
        }
    }

    /// Adds what else is committed already, up to one window.
    fn fill(&mut self, mut window: Vec<OutgoingEvent>) -> Vec<OutgoingEvent> {
        while window.len() < WINDOW
            && let Ok(more) = self.committed.try_recv()
        {
            window.extend(more);
        }
        window
    }

    /// What another process left; `None` when the database cannot tell.
    async fn expired(&self) -> Option<Vec<OutgoingEvent>> {
        let (limit, lease) = (i64::try_from(WINDOW).unwrap_or(i64::MAX), self.settings.outbox.lease);
        let taken = self.unit(async |conn| outbox::take_expired(conn, limit, lease).await).await?;
        if !taken.is_empty() {
            info!(messages = taken.len(), "{PART} takes over {} messages whose lease ran out", taken.len());
        }
        Some(taken)
    }

    async fn window(
        &self,
        publisher: &mut Publisher,
        answers: &mut Answers,
        topology: &Topology,
        window: Vec<OutgoingEvent>,
    ) -> Result<(), Lost> {
        let keys: Keys = window.iter().map(|message| (message.company.clone(), message.id)).collect();
        let exchange = topology.events();
        let wanted: Vec<Message> = window.iter().filter_map(answer).collect();
        let messages: Vec<Message> = window.into_iter().map(|message| to_amqp(&exchange, message)).collect();
        let attempt = async {
            let outcome = publisher.publish(&messages).await?;
            answers.publish(&self.settings.amqp, &wanted).await?;
            Ok::<_, Lost>(outcome)
        };
        let outcome = match attempt.await {
            Ok(outcome) => outcome,
            Err(lost) => {
                // Best effort: without it the lease runs out by itself.
                self.unit(async |conn| outbox::release(conn, &keys).await).await;
                return Err(lost);
            }
        };
        let mut confirmed = Keys::with_capacity(keys.len());
        let mut unpublished = 0;
        for (key, result) in keys.into_iter().zip(outcome) {
            match result {
                Ok(()) => confirmed.push(key),
                Err(why) => {
                    unpublished += 1;
                    self.health.failing(PART, why.to_string());
                }
            }
        }
        if unpublished == 0 {
            self.health.ready(PART);
        } else {
            error!(
                messages = unpublished,
                "{unpublished} events were refused or found no queue; they stay in the outbox"
            );
        }
        // A row that cannot be deleted now is published again, with the same id.
        self.unit(async |conn| outbox::delete(conn, &confirmed).await).await;
        Ok(())
    }

    async fn unit<T>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Option<T> {
        match self.database.unit(work).await {
            Ok(done) => Some(done),
            Err(error) => {
                let error = chain(&error);
                warn!(error, "{PART} waits for the database");
                self.health.failing(PART, format!("database: {error}"));
                None
            }
        }
    }
}

fn to_amqp(exchange: &str, message: OutgoingEvent) -> Message {
    // These may find no subscriber; the webhook queue is bound for all others.
    let optional = ["contact.merged", "contact.unmerged", "contact.erased", completed::KIND];
    Message {
        exchange: exchange.to_owned(),
        mandatory: !optional.contains(&message.routing_key.as_str()),
        properties: properties(&message, Some(&message.correlation_id)),
        routing_key: message.routing_key,
        body: message.body,
    }
}

fn properties(message: &OutgoingEvent, correlation_id: Option<&str>) -> BasicProperties {
    let mut table = FieldTable::default();
    let mut header = |name: &str, value: &str| {
        table.insert(name.into(), lapin::types::AMQPValue::LongString(value.into()));
    };
    header(headers::ID, &message.id.to_string());
    header(headers::SOURCE, &message.source);
    header(headers::TYPE, &message.kind);
    header(headers::TIME, &rfc3339(message.time));
    if let Some(subject) = &message.subject {
        header(headers::SUBJECT, subject);
    }
    for (name, value) in [
        (headers::TRACEPARENT, message.trace.traceparent()),
        (headers::TRACESTATE, message.trace.tracestate()),
    ] {
        if let Some(value) = value {
            header(name, value);
        }
    }
    let properties = BasicProperties::default()
        .with_message_id(message.id.to_string().into())
        .with_type(message.kind.as_str().into())
        .with_timestamp(u64::try_from(message.time.unix_timestamp()).unwrap_or_default())
        .with_content_type("application/cloudevents+json".into())
        .with_delivery_mode(2)
        .with_headers(table);
    // A short string of at most 255 bytes; a longer event id stands in the body only.
    match correlation_id.filter(|id| id.len() <= 255) {
        Some(id) => properties.with_correlation_id(id.into()),
        None => properties,
    }
}
