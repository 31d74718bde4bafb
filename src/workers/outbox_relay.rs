//! Publishes committed events: those of this process at once, and in a sweep those that a crash or an outage
//! left in the outbox.
//!
//! A row is deleted only after the broker has confirmed its message, so each event is published at least once, and
//! always with the same id.

mod answers;
mod lost;
mod messages;

use std::sync::Arc;

use sqlx::PgConnection;
use tokio::{
    sync::mpsc,
    time::{MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::{
    answers::Answers,
    lost::Lost,
    messages::{answer, to_amqp},
};
use super::{backoff::Backoff, component::OUTBOX_RELAY, retry};
use crate::{
    amqp::{Message, Publisher, Topology},
    domain::{chain::outgoing::OutgoingEvent, event::Key},
    health::Health,
    postgres::{Database, outbox},
    settings::Settings,
    telemetry::chain,
};

/// Maximum number of messages in one window of confirms.
const MAX_WINDOW: usize = 500;

/// The one publisher of events in a process.
pub struct OutboxRelay {
    /// All settings.
    pub settings: Arc<Settings>,
    /// Holds the outbox.
    pub database: Database,
    /// Events that the workers of this process have just committed.
    pub committed: mpsc::Receiver<Vec<OutgoingEvent>>,
    /// Receives the state of this component.
    pub health: Health,
}

impl OutboxRelay {
    /// Publishes until every worker has stopped, so that none of their events is left to another process. `stop`
    /// only ends the sweep and the reconnects.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        loop {
            match self.publish(&stop, &mut backoff).await {
                Ok(()) => break,
                Err(lost) => {
                    let error = chain(&lost);
                    warn!(component = OUTBOX_RELAY, error, "{OUTBOX_RELAY} lost the broker and reconnects");
                    self.health.failing(OUTBOX_RELAY, error);
                    if !backoff.wait(&stop).await {
                        break;
                    }
                }
            }
        }
        info!(component = OUTBOX_RELAY, "{OUTBOX_RELAY} stopped");
    }

    async fn publish(&mut self, stop: &CancellationToken, backoff: &mut Backoff) -> Result<(), Lost> {
        let mut publisher = Publisher::connect(&self.settings.amqp, OUTBOX_RELAY).await?;
        let mut answers = Answers::default();
        let topology = Topology::new(&self.settings.amqp.namespace);
        topology.declare_over(publisher.connection(), self.settings.amqp.connect_timeout).await?;
        let mut sweep = interval(self.settings.outbox.sweep_interval);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let window = tokio::select! {
                // The sweep first: under steady load a committed event is always ready, and those of other
                // processes would wait forever.
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
                // Not before the first sweep: a broker that accepts connections may still block publishing.
                self.health.ready(OUTBOX_RELAY);
            } else {
                self.window(&mut publisher, &mut answers, &topology, window).await?;
                backoff.reset();
            }
        }
    }

    /// Adds further committed events, up to one window.
    fn fill(&mut self, mut window: Vec<OutgoingEvent>) -> Vec<OutgoingEvent> {
        while window.len() < MAX_WINDOW
            && let Ok(more) = self.committed.try_recv()
        {
            window.extend(more);
        }
        window
    }

    /// Takes over events whose lease has expired; `None` when the database failed.
    async fn expired(&self) -> Option<Vec<OutgoingEvent>> {
        let (limit, lease) = (i64::try_from(MAX_WINDOW).unwrap_or(i64::MAX), self.settings.outbox.lease);
        let taken = self.unit(async |conn| outbox::take_expired(conn, limit, lease).await).await?;
        if !taken.is_empty() {
            let messages = taken.len();
            info!(
                component = OUTBOX_RELAY,
                messages, "{OUTBOX_RELAY} took over {messages} messages whose lease had expired"
            );
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
        let key = |event: &OutgoingEvent| Key { company: event.company.clone(), id: event.id };
        let keys: Vec<Key> = window.iter().map(key).collect();
        let exchange = topology.events();
        let wanted: Vec<Message> = window.iter().filter_map(answer).collect();
        let messages: Vec<Message> = window.into_iter().map(|message| to_amqp(&exchange, message)).collect();
        let publishing = async {
            let outcome = publisher.publish(&messages).await?;
            answers.publish(&self.settings.amqp, &wanted).await?;
            Ok::<_, Lost>(outcome)
        };
        let outcome = match publishing.await {
            Ok(outcome) => outcome,
            Err(lost) => {
                // Best effort: otherwise the lease expires.
                self.unit(async |conn| outbox::release(conn, &keys).await).await;
                return Err(lost);
            }
        };
        let mut confirmed = Vec::with_capacity(keys.len());
        let mut unpublished = 0;
        for (key, result) in keys.into_iter().zip(outcome) {
            match result {
                Ok(()) => confirmed.push(key),
                Err(why) => {
                    unpublished += 1;
                    self.health.failing(OUTBOX_RELAY, why.to_string());
                }
            }
        }
        if unpublished == 0 {
            self.health.ready(OUTBOX_RELAY);
        } else {
            error!(
                component = OUTBOX_RELAY,
                messages = unpublished,
                "the broker refused or could not route {unpublished} events; they stay in the outbox"
            );
        }
        // An event whose row cannot be deleted now is published again, with the same id.
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
                retry::report_failure(OUTBOX_RELAY, &self.health, &chain(&error));
                None
            }
        }
    }
}
