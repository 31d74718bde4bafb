//! Publishes committed events: those of this process at once, and in a sweep those that no process owns. These are
//! what commands committed, what ended processes left, and what could not be published before.
//!
//! A row goes only after the broker has confirmed its events, so each event is published at least once, and always
//! with the same id. Events are settled one by one: one that is refused is put back alone and waits for
//! `outbox.lease`, so a queue that refuses everything gets at most one window in each `outbox.sweep_interval`, and
//! new events go out between.

mod answers;
mod lost;
mod messages;
mod settlement;

use std::{collections::HashSet, sync::Arc, time::Duration};

use sqlx::PgConnection;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, interval_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::{
    answers::Answers,
    lost::Lost,
    messages::{answer, to_amqp},
    settlement::Settlement,
};
use super::{backoff::Backoff, component::OUTBOX_RELAY, presence::Presence, retry};
use crate::{
    amqp::{Publisher, Topology, Unpublished},
    domain::chain::outgoing::OutgoingEvent,
    health::Health,
    postgres::{
        Database,
        effects::{self, Kind, Part as _, events::Committed, unowned},
    },
    settings::Settings,
    telemetry::chain,
};

/// Maximum number of messages in one window of confirms. One row always fits.
const MAX_WINDOW: usize = 500;

/// Wait for the registration of the process, without which the relay may not take rows.
const REGISTRATION_POLL: Duration = Duration::from_millis(200);

/// The one publisher of events in a process.
pub struct OutboxRelay {
    settings: Arc<Settings>,
    database: Database,
    committed: mpsc::Receiver<Vec<Committed>>,
    presence: Presence,
    health: Health,
    /// What the database has not been told yet.
    settlement: Settlement,
    /// Maximum number of messages that a sweep takes. Halved by each lost window, so that an event at which the broker
    /// closes the connection is soon alone with those of its row.
    sweep_size: usize,
}

/// What publishes, until its connection is lost.
struct Broker {
    publisher: Publisher,
    answers: Answers,
    exchange: String,
}

impl OutboxRelay {
    /// Prepares the relay. `committed` are the rows that the workers of this process have committed.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        database: Database,
        committed: mpsc::Receiver<Vec<Committed>>,
        presence: Presence,
        health: Health,
    ) -> Self {
        let (settlement, sweep_size) = (Settlement::default(), MAX_WINDOW);
        Self { settings, database, committed, presence, health, settlement, sweep_size }
    }

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
        let mut broker = self.connect().await?;
        let mut sweep = interval(self.settings.outbox.sweep_interval);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What waited for this connection has arrived by the first tick.
        let lease = self.settings.outbox.lease;
        let mut recollection = interval_at(Instant::now() + lease, lease);
        loop {
            tokio::select! {
                // The sweep first: under steady load a committed event is always ready, and those of other
                // processes would wait forever.
                biased;
                _ = sweep.tick(), if !stop.is_cancelled() => {
                    if !self.presence.is_alive() {
                        sweep.reset_after(REGISTRATION_POLL);
                    } else if self.sweep(&mut broker, backoff).await? {
                        sweep.reset_immediately();
                    }
                    if let Ok(committed) = self.committed.try_recv() {
                        self.hand_over(&mut broker, backoff, committed).await?;
                    }
                }
                _ = recollection.tick(), if !stop.is_cancelled() => self.release_forgotten().await,
                committed = self.committed.recv() => match committed {
                    Some(committed) => self.hand_over(&mut broker, backoff, committed).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    async fn connect(&self) -> Result<Broker, Lost> {
        let publisher = Publisher::connect(&self.settings.amqp, OUTBOX_RELAY).await?;
        let topology = Topology::new(&self.settings.amqp.namespace);
        topology.declare_over(publisher.connection(), self.settings.amqp.connect_timeout).await?;
        Ok(Broker { publisher, answers: Answers::default(), exchange: topology.events() })
    }

    /// Publishes committed rows, and further ones up to one window.
    async fn hand_over(
        &mut self,
        broker: &mut Broker,
        backoff: &mut Backoff,
        mut window: Vec<Committed>,
    ) -> Result<(), Lost> {
        while messages(&window) < MAX_WINDOW
            && let Ok(more) = self.committed.try_recv()
        {
            window.extend(more);
        }
        self.window(broker, window).await?;
        backoff.reset();
        Ok(())
    }

    /// Publishes a window of rows that no process owns. Returns whether more of them should follow at once: there are
    /// more, and the broker refused none.
    async fn sweep(&mut self, broker: &mut Broker, backoff: &mut Backoff) -> Result<bool, Lost> {
        // What the database did not accept before.
        self.settle().await;
        let Some(window) = self.take().await else { return Ok(false) };
        if window.is_empty() {
            // Not before the first sweep: a broker that accepts connections may still block publishing.
            self.health.ready(OUTBOX_RELAY);
            return Ok(false);
        }
        let is_full = messages(&window) >= self.sweep_size || window.len() >= unowned::MAX_TAKEN;
        let all_published = self.window(broker, window).await?;
        backoff.reset();
        self.sweep_size = (2 * self.sweep_size).min(MAX_WINDOW);
        Ok(is_full && all_published)
    }

    /// Takes rows that no process owns; `None` when the database failed.
    async fn take(&mut self) -> Option<Vec<Committed>> {
        let (owner, limit) = (self.presence.id(), self.sweep_size);
        let rows =
            self.unit(async |conn| unowned::take(conn, Kind::Publish, owner, limit, &[]).await).await?;
        let mut taken = Vec::with_capacity(rows.len());
        for row in rows {
            match OutgoingEvent::unpack(&row.key.company, &row.body) {
                Ok(events) => taken.push(Committed { key: row.key, events }),
                Err(error) => {
                    let (batch, messages, error) = (row.key.batch, row.items, chain(&error));
                    error!(
                        component = OUTBOX_RELAY,
                        %batch, messages, error,
                        "could not read batch {batch}; a process of a newer version may be able to publish it"
                    );
                    self.settlement.later(row.key);
                }
            }
        }
        if !self.settlement.is_empty() {
            self.settle().await;
        }
        let messages = messages(&taken);
        if messages > 0 {
            info!(component = OUTBOX_RELAY, messages, "{OUTBOX_RELAY} took over {messages} messages");
        }
        Some(taken)
    }

    /// Publishes rows and settles their events. Returns whether all are published.
    async fn window(&mut self, broker: &mut Broker, window: Vec<Committed>) -> Result<bool, Lost> {
        let (mut rows, mut wanted, mut messages) = (Vec::with_capacity(window.len()), Vec::new(), Vec::new());
        for Committed { key, events } in window {
            rows.push((key, events.iter().map(|event| event.id).collect::<Vec<_>>()));
            wanted.extend(events.iter().filter_map(answer));
            messages.extend(events.into_iter().map(|event| to_amqp(&broker.exchange, event)));
        }
        let publishing = async {
            let outcome = broker.publisher.publish(&messages).await?;
            broker.answers.publish(&self.settings.amqp, &wanted).await?;
            Ok::<_, Lost>(outcome)
        };
        let outcome = match publishing.await {
            Ok(outcome) => outcome,
            Err(lost) => {
                for (key, _) in rows {
                    if lost.is_refusal() { self.settlement.later(key) } else { self.settlement.now(key) }
                }
                self.sweep_size = (self.sweep_size / 2).max(1);
                self.settle().await;
                return Err(lost);
            }
        };
        let refused = self.sort(rows, outcome);
        if refused == 0 {
            self.health.ready(OUTBOX_RELAY);
        } else {
            let delay_ms = self.settings.outbox.lease.as_millis();
            error!(
                component = OUTBOX_RELAY,
                messages = refused,
                delay_ms,
                "the broker refused or could not route {refused} events; they are published again in {delay_ms} ms"
            );
        }
        self.settle().await;
        Ok(refused == 0)
    }

    /// Notes what became of each event, and returns how many are not published.
    fn sort(
        &mut self,
        rows: Vec<(effects::EffectsKey, Vec<uuid::Uuid>)>,
        outcome: Vec<Result<(), Unpublished>>,
    ) -> usize {
        let mut outcome = outcome.into_iter();
        let mut refused = 0;
        for (key, ids) in rows {
            let mut unpublished = HashSet::new();
            let all = ids.len();
            for (id, result) in ids.into_iter().zip(outcome.by_ref()) {
                if let Err(why) = result {
                    self.health.failing(OUTBOX_RELAY, why.to_string());
                    unpublished.insert(id);
                }
            }
            refused += unpublished.len();
            if unpublished.is_empty() {
                self.settlement.published(key);
            } else {
                self.settlement.unpublished(key, unpublished, all);
            }
        }
        refused
    }

    /// Tells the database what has been published. What it does not accept now is told again before the next sweep.
    async fn settle(&mut self) {
        if self.settlement.is_empty() {
            return;
        }
        let (owner, lease) = (self.presence.id(), self.settings.outbox.lease);
        let settlement = &self.settlement;
        if self.unit(async |conn| settlement.write(conn, owner, lease).await).await.is_some() {
            self.settlement = Settlement::default();
        }
    }

    /// Releases rows of this process that never arrived here: the commit succeeded, but its answer was lost, or the
    /// relay was too busy to take them.
    async fn release_forgotten(&mut self) {
        let Some(owner) = self.presence.owner() else { return };
        let (lease, known) = (self.settings.outbox.lease, self.settlement.keys());
        let released = self
            .unit(async |conn| effects::release_forgotten(conn, Kind::Publish, owner, lease, &known).await)
            .await;
        if let Some(batches @ 1..) = released {
            info!(
                component = OUTBOX_RELAY,
                batches, "{OUTBOX_RELAY} released {batches} batches that it had not received"
            );
        }
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

/// The number of messages of these rows.
fn messages(rows: &[Committed]) -> usize {
    rows.iter().map(|row| row.events.len()).sum()
}
