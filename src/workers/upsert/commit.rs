//! Retries the transaction of a batch until it commits.
//!
//! A lost race is retried. If the database rejects the data, the batch is halved until the bad message is
//! alone and becomes a dead letter. If the database is unreachable, it waits and resumes with one message.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{
    transaction::{self, Refused},
    triage::{self, Accepted, Triaged},
    worker::UpsertWorker,
};
use crate::{
    amqp::{Received, Topology},
    domain::{
        chain::outgoing::OutgoingEvent,
        event::body_hash,
        fault::{Fault, Reason},
        trigger::cache::TriggerCache,
    },
    postgres::{dead_letters::NewDeadLetter, suspects},
    telemetry::chain,
    workers::{
        backoff::Backoff,
        consumption::Settle,
        retry::{self, DatabaseWait},
    },
};

/// Deliveries of a message after which it is processed alone. A message that ends the process takes down
/// everything that was prefetched with it; alone, it can be told apart from its neighbors.
const SUSPICIOUS_DELIVERIES: u64 = 3;

/// How often a message may be started alone before it becomes a dead letter.
const MAX_STARTS: i32 = 5;

/// Maximum time to clear a count: the worker must be able to stop while the database is unreachable.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(2);

/// Races that are retried without a pause: the winner has committed, so the next try sees its rows.
const MAX_FAST_RACES: u32 = 3;

/// Maximum number of steps in one transaction, whose memory grows with them. One event is never split.
const MAX_STEPS: usize = 2000;

/// Commits batch after batch.
pub(super) struct Committer<'a> {
    worker: &'a UpsertWorker,
    stop: &'a CancellationToken,
    topology: Topology,
    triggers: TriggerCache,
}

/// The part of a batch that one transaction applies.
struct Portion<'a> {
    accepted: Vec<Accepted<'a>>,
    rejected: Vec<NewDeadLetter>,
}

impl Settle for Committer<'_> {
    async fn settle(&mut self, messages: &[Received]) -> bool {
        let (suspects, others): (Vec<&Received>, Vec<&Received>) =
            messages.iter().partition(|message| message.delivery_count >= SUSPICIOUS_DELIVERIES);
        let mut committed = Vec::new();
        for suspect in suspects {
            let Some(events) = self.commit_alone(suspect).await else { return false };
            committed.extend(events);
        }
        if !others.is_empty() {
            let triaged = self.triage(&others);
            let Some(events) = self.commit(triaged).await else { return false };
            committed.extend(events);
        }
        // The relay is gone only when the process is ending; another relay will sweep the outbox.
        committed.is_empty() || self.worker.relay.send(committed).await.is_ok()
    }
}

impl<'a> Committer<'a> {
    pub(super) fn new(worker: &'a UpsertWorker, stop: &'a CancellationToken) -> Self {
        let topology = Topology::new(&worker.settings.amqp.namespace);
        Self { worker, stop, topology, triggers: TriggerCache::default() }
    }

    fn triage<'m>(&mut self, messages: &[&'m Received]) -> Triaged<'m> {
        triage::triage(messages, &mut self.triggers, &self.worker.rules, &self.topology)
    }

    /// Commits every message of the batch and returns the events to publish; `None` if stopped before that.
    async fn commit(&self, triaged: Triaged<'_>) -> Option<Vec<OutgoingEvent>> {
        let mut committed = Vec::new();
        let mut wait = DatabaseWait::new(&self.worker.name, &self.worker.health);
        let mut backoff = Backoff::default();
        let mut races = 0;
        let mut portions = Portion::of(triaged);
        while let Some(portion) = portions.pop() {
            match transaction::apply(self.worker, &portion.accepted, &portion.rejected).await {
                Ok(events) => {
                    wait.recovered();
                    backoff.reset();
                    committed.extend(events);
                }
                Err(Refused::Race) => {
                    portions.push(portion);
                    races += 1;
                    if races > MAX_FAST_RACES && !backoff.wait(self.stop).await {
                        return None;
                    }
                }
                Err(Refused::Data(rule)) if !portion.accepted.is_empty() => {
                    portions.extend(portion.halved(&rule));
                }
                // The database accepts every dead letter, unless this program has a bug.
                Err(Refused::Data(rule)) => {
                    portions.push(portion);
                    if !wait.failed(&format!("it rejects a dead letter ({rule})"), self.stop).await {
                        return None;
                    }
                }
                Err(Refused::Systemic(error)) => {
                    portions.extend(portion.with_probe());
                    if !wait.failed(&chain(&error), self.stop).await {
                        return None;
                    }
                }
            }
        }
        Some(committed)
    }

    /// Commits a message that has been delivered too often. Each start is counted before it begins, so the count
    /// of a message that ends the process grows.
    async fn commit_alone(&mut self, message: &Received) -> Option<Vec<OutgoingEvent>> {
        let hash = body_hash(&message.body);
        let starts = self.count_start(&hash).await?;
        let triaged = if starts > MAX_STARTS {
            let text = format!("the process ended {MAX_STARTS} times while it worked on this message alone");
            let dead = triage::undecoded(message, Fault::new(Reason::CrashLoop, text));
            Triaged { rejected: vec![dead], ..Triaged::default() }
        } else {
            self.triage(&[message])
        };
        let committed = self.commit(triaged).await;
        // Even if stopped before the commit: this start did not end the process.
        self.clear_starts(&hash).await;
        committed
    }

    async fn count_start(&self, hash: &[u8]) -> Option<i32> {
        let UpsertWorker { database, health, name, .. } = self.worker;
        let count = || database.unit(async move |conn| suspects::begin(conn, hash).await);
        retry::until_answered(name, health, self.stop, count).await
    }

    /// Best effort: a leftover count matters only if the same message comes again.
    async fn clear_starts(&self, hash: &[u8]) {
        let clear = self.worker.database.unit(async |conn| suspects::clear(conn, hash).await);
        if let Ok(Err(error)) = tokio::time::timeout(CLEAR_TIMEOUT, clear).await {
            retry::report_failure(&self.worker.name, &self.worker.health, &chain(&error));
        }
    }
}

impl<'a> Portion<'a> {
    /// Splits a batch whose chains have more than [`MAX_STEPS`] steps. The first portion is last in the list.
    fn of(triaged: Triaged<'a>) -> Vec<Self> {
        let mut portions = vec![Self { accepted: Vec::new(), rejected: triaged.rejected }];
        let mut steps = 0;
        for one in triaged.accepted {
            steps += one.plan.steps.len();
            if steps > MAX_STEPS && portions.last().is_some_and(|last| !last.accepted.is_empty()) {
                portions.push(Self { accepted: Vec::new(), rejected: Vec::new() });
                steps = one.plan.steps.len();
            }
            if let Some(last) = portions.last_mut() {
                last.accepted.push(one);
            }
        }
        portions.reverse();
        portions
    }

    /// Two smaller portions, to find the message that the database rejects; or that message as a dead letter.
    fn halved(mut self, rule: &str) -> Vec<Self> {
        if !self.rejected.is_empty() {
            let rejected = std::mem::take(&mut self.rejected);
            return vec![Self { accepted: Vec::new(), rejected }, self];
        }
        if self.accepted.len() <= 1 {
            for refused in self.accepted.drain(..) {
                let message = format!("the database rejects its values ({rule})");
                let fault = refused.plan.event.fault(Reason::EventInvalid, message);
                self.rejected.push(triage::dead_letter(refused.message, fault));
            }
            return vec![self];
        }
        let second = self.accepted.split_off(self.accepted.len() / 2);
        vec![Self { accepted: second, rejected: Vec::new() }, self]
    }

    /// The same messages, with the first one alone: the first transaction after an outage is small.
    fn with_probe(mut self) -> Vec<Self> {
        if self.accepted.len() <= 1 {
            return vec![self];
        }
        let rest = self.accepted.split_off(1);
        vec![
            Self { accepted: rest, rejected: self.rejected },
            Self { accepted: self.accepted, rejected: Vec::new() },
        ]
    }
}
