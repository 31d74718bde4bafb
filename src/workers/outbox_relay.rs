//! Publishes committed events: those of this process at once, and in a sweep those that no process owns. The latter were
//! committed by commands, left by dead processes, found no room in memory, or could not be published before.
//!
//! A row is deleted only after the broker has confirmed its events, so each event is published at least once, and always
//! with the same id. Each message is settled by itself. One that a queue refuses or does not confirm is put back alone
//! and tried ever more rarely, so it costs the other subscribers few duplicates, and nobody waits for it.

mod answers;
mod broker;
mod flight;
mod lost;
mod measures;
mod messages;
mod retries;
mod sending;
mod settlement;
mod spans;
mod sweeping;
mod troubles;

use std::{collections::VecDeque, sync::Arc};

use sqlx::PgConnection;
use tokio::{
    sync::mpsc,
    time::{Instant, MissedTickBehavior, interval, interval_at},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{
    answers::Answers,
    broker::{Broker, Trouble},
    flight::{End, Flight, Name, Unsent},
    lost::Lost,
    measures::Measures,
    retries::Retries,
    settlement::Settlement,
    troubles::Troubles,
};
use super::{
    backoff::Backoff,
    component::OUTBOX_RELAY,
    presence::Presence,
    retry,
    room::{InMemory, Room},
};
use crate::{
    amqp::{Outcomes, Unpublished},
    health::Health,
    metrics::Metrics,
    postgres::{Database, effects::events::EventBatch},
    settings::Settings,
    telemetry::{chain, traces::Traces},
};

/// Maximum number of messages that are taken and sent at once. One row always fits.
const PORTION: usize = 500;

/// What `/readyz` reports while the broker confirms nothing because it blocks publishers.
const BLOCKED: &str =
    "the broker did not confirm in time: it blocks publishers, being short of memory or disk";

/// The one publisher of events in a process.
pub struct OutboxRelay {
    settings: Arc<Settings>,
    database: Database,
    event_batches: mpsc::UnboundedReceiver<InMemory<EventBatch>>,
    /// What has arrived and is not sent.
    waiting: VecDeque<InMemory<EventBatch>>,
    /// Shared with those who send.
    room: Room,
    presence: Presence,
    health: Health,
    flight: Flight,
    unsent: VecDeque<Unsent>,
    retries: Retries,
    trouble: Trouble,
    answers: Answers,
    /// The outcomes of rows that are not stored yet.
    settlement: Settlement,
    troubles: Troubles,
    measures: Measures,
    traces: Traces,
}

impl OutboxRelay {
    /// Prepares the relay. `event_batches` are those that the workers of this process have committed, in `room`.
    #[must_use]
    pub fn new(
        settings: Arc<Settings>,
        database: Database,
        event_batches: mpsc::UnboundedReceiver<InMemory<EventBatch>>,
        room: Room,
        presence: Presence,
        health: Health,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self {
            answers: Answers::start(settings.amqp.clone(), &metrics),
            measures: Measures::new(metrics),
            settings,
            database,
            event_batches,
            waiting: VecDeque::new(),
            room,
            presence,
            health,
            flight: Flight::default(),
            unsent: VecDeque::new(),
            retries: Retries::default(),
            trouble: Trouble::default(),
            settlement: Settlement::default(),
            troubles: Troubles::default(),
            traces: Traces::default(),
        }
    }

    /// Records spans there.
    #[must_use]
    pub fn traced(self, traces: Traces) -> Self {
        Self { traces, ..self }
    }

    /// Publishes until every worker has stopped, so that none of their events is left to another process. `stop`
    /// only ends the sweep and the reconnects.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut backoff = Backoff::default();
        while let Err(lost) = self.publish(&stop, &mut backoff).await {
            self.take_arrived();
            self.measures.lost(self.waiting.front());
            let error = chain(&lost);
            warn!(component = OUTBOX_RELAY, error, "{OUTBOX_RELAY} lost the broker and reconnects");
            self.health.failing(OUTBOX_RELAY, error);
            if !backoff.wait(&stop).await {
                break;
            }
        }
        self.answers.finish().await;
        info!(component = OUTBOX_RELAY, "{OUTBOX_RELAY} stopped");
    }

    async fn publish(&mut self, stop: &CancellationToken, backoff: &mut Backoff) -> Result<(), Lost> {
        let mut broker = Broker::connect(&self.settings.amqp, self.trouble).await?;
        let published = self.work(&mut broker, stop, backoff).await;
        if let Err(lost) = &published {
            self.lose(broker, lost);
        }
        self.settle().await;
        published
    }

    /// Ends everything in flight, because a connection is lost.
    fn lose(&mut self, broker: Broker, lost: &Lost) {
        let (given_up, open, trouble) = broker.end(lost);
        self.trouble = trouble;
        self.end(given_up);
        if lost.is_refusal() {
            self.flight.suspect();
        }
        self.end(open);
        for Unsent { name, .. } in std::mem::take(&mut self.unsent) {
            self.finish(name, End::Unsent);
        }
    }

    async fn work(
        &mut self,
        broker: &mut Broker,
        stop: &CancellationToken,
        backoff: &mut Backoff,
    ) -> Result<(), Lost> {
        let mut sweep = interval(self.settings.outbox.sweep_interval);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // What waited for this connection has arrived by the first tick.
        let lease = self.settings.outbox.lease;
        let mut recollection = interval_at(Instant::now() + lease, lease);
        let mut workers_ended = false;
        // What workers have sent meanwhile goes before what was left.
        let mut held_up = self.waiting.len() + self.event_batches.len();
        while !(workers_ended && self.flight.is_empty()) {
            let given_up = broker.tend();
            if !given_up.is_empty() {
                self.note(given_up, backoff).await;
            }
            self.make_room(broker, backoff).await;
            self.send(broker).await?;
            if self.retries.has_succeeded() {
                sweep.reset_immediately();
            }
            self.measures.note(&mut self.flight, self.waiting.front());
            let has_room = self.unsent.is_empty() && self.flight.free() > 0 && broker.allowance() > 0;
            let may_sweep = has_room && held_up == 0 && !stop.is_cancelled();
            // In no order: none of them can keep the others waiting.
            tokio::select! {
                outcomes = broker.settled() => match outcomes? {
                    nothing if nothing.is_empty() && broker.is_blocked() => {
                        self.health.failing(OUTBOX_RELAY, BLOCKED);
                    }
                    outcomes => self.note(outcomes, backoff).await,
                },
                committed = next(&mut self.waiting, &mut self.event_batches), if has_room && !workers_ended => match committed {
                    Some(committed) => {
                        let rows = self.prepare_committed(broker, committed);
                        held_up = held_up.saturating_sub(rows);
                    }
                    None => workers_ended = true,
                },
                _ = sweep.tick(), if may_sweep => self.sweep(&broker.exchange, &mut sweep).await,
                _ = recollection.tick(), if !stop.is_cancelled() => self.release_forgotten().await,
            }
        }
        Ok(())
    }

    /// Puts messages back that a queue holds up, if they take so much of the room that others might find none.
    async fn make_room(&mut self, broker: &mut Broker, backoff: &mut Backoff) {
        if self.room.is_crowded() {
            let overtaken = broker.give_up_overtaken();
            if !overtaken.is_empty() {
                self.note(overtaken, backoff).await;
            }
        }
    }

    /// Prepares committed rows, and further ones up to one portion. Returns how many.
    fn prepare_committed(&mut self, broker: &Broker, first: InMemory<EventBatch>) -> usize {
        let mut messages = first.item.events.len();
        let mut rows = vec![first];
        while messages < PORTION
            && rows.len() < self.flight.free()
            && let Some(more) = self.waiting.pop_front().or_else(|| self.event_batches.try_recv().ok())
        {
            messages += more.item.events.len();
            rows.push(more);
        }
        let taken = rows.len();
        // If the process was suspended, another one may have taken them over, and an erasure may have removed them.
        let owner = self.presence.owner();
        let (own, others): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|InMemory { item: row, .. }| owner.is_some() && row.owner == owner);
        for InMemory { item: row, .. } in others {
            self.settlement.unsent(row.key);
        }
        self.prepare(&broker.exchange, owner, own, false);
        taken
    }

    /// Notes the outcome of messages, and settles the rows whose last message this was.
    async fn note(&mut self, outcomes: Outcomes<Name>, backoff: &mut Backoff) {
        let has = |what| outcomes.iter().any(|(_, outcome)| *outcome == what);
        let (has_published, has_unroutable) = (has(Ok(())), has(Err(Unpublished::Unroutable)));
        let is_answered = outcomes.iter().any(|(_, outcome)| *outcome != Err(Unpublished::Unread));
        self.end(outcomes);
        if has_published {
            backoff.reset();
        }
        self.troubles.report(self.settings.outbox.retry_interval);
        let is_settled = self.settle().await;
        // A subscriber's queue that does not take its messages is its owner's problem; a missing queue of the service is
        // ours.
        if has_unroutable {
            self.health.failing(OUTBOX_RELAY, Unpublished::Unroutable.to_string());
        } else if is_answered && is_settled {
            self.health.ready(OUTBOX_RELAY);
        }
    }

    /// Counts the outcomes of messages, and ends their events.
    fn end(&mut self, outcomes: Outcomes<Name>) {
        self.measures.known(&outcomes);
        for (mut name, outcome) in outcomes {
            spans::end(name.span.take(), outcome);
            let end = match outcome {
                Ok(()) => End::Published,
                Err(Unpublished::Unread) => End::Unsent,
                Err(why) => {
                    self.troubles.count(why);
                    End::Failed
                }
            };
            self.finish(name, end);
        }
    }

    /// Stores what has been published. `false`: the database did not accept it, and it is stored before the next sweep.
    async fn settle(&mut self) -> bool {
        let (owner, retry_interval) = (self.presence.id(), self.settings.outbox.retry_interval);
        while let Some(portion) = self.settlement.portion() {
            let write = async |conn: &mut PgConnection| portion.write(conn, owner, retry_interval).await;
            let Some(locked) = self.unit(write).await else { return false };
            let rows = portion.rows();
            self.settlement.written(rows, &locked);
        }
        true
    }

    /// Takes what workers have sent.
    fn take_arrived(&mut self) {
        while let Ok(arrived) = self.event_batches.try_recv() {
            self.waiting.push_back(arrived);
        }
    }

    /// Runs a unit of work in the database. A failure is reported, and returns `None`.
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

/// The next batch that a worker has sent; `None` once all workers have stopped.
async fn next(
    waiting: &mut VecDeque<InMemory<EventBatch>>,
    event_batches: &mut mpsc::UnboundedReceiver<InMemory<EventBatch>>,
) -> Option<InMemory<EventBatch>> {
    match waiting.pop_front() {
        Some(row) => Some(row),
        None => event_batches.recv().await,
    }
}
