//! Retries the transaction of a batch until it commits.
//!
//! A lost race is retried. If the database rejects the data, the batch is halved until the bad message is
//! alone and becomes a dead letter. If the database is unreachable, it waits and resumes with one message.

use std::{collections::HashSet, sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::debug;
use uuid::Uuid;

use super::{
    outcome::Messages,
    transaction::{self, Effects, Refused},
    triage::{self, Accepted, Triage, Triaged},
    worker::UpsertWorker,
};
use crate::{
    amqp::Received,
    domain::{
        event::body_hash,
        fault::{Fault, Reason},
    },
    postgres::{
        dead_letters::{NewDeadLetter, Replay},
        suspects,
    },
    telemetry::chain,
    workers::{
        backoff::Backoff,
        retry::{self, DatabaseWait, MAX_FAST_RACES},
    },
};

/// How often a message may be started alone before it becomes a dead letter.
const MAX_STARTS: i32 = 5;

/// Maximum time to clear a count: the worker must be able to stop while the database is unreachable.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(2);

/// Commits one batch.
pub(super) struct Committer {
    pub(super) worker: Arc<UpsertWorker>,
    pub(super) stop: CancellationToken,
}

/// The part of a batch that one transaction applies.
#[derive(Default)]
struct Portion {
    accepted: Vec<Accepted>,
    rejected: Vec<NewDeadLetter>,
}

impl Committer {
    /// Commits an outcome for every message. `false`: the process is stopping, and the messages go back to the queue.
    pub(super) async fn settle(self, messages: Vec<Triaged>) -> bool {
        let mut portion = Portion { accepted: Vec::with_capacity(messages.len()), rejected: Vec::new() };
        for message in messages {
            match message {
                Triaged::Accepted(accepted) => portion.accepted.push(accepted),
                Triaged::Rejected(dead) => portion.rejected.push(dead),
                Triaged::Suspect(suspect) => {
                    if !self.commit_alone(suspect).await {
                        return false;
                    }
                }
            }
        }
        self.commit(portion).await
    }

    /// Hands over what is committed. If those who take it are gone, because the process is ending, another process takes
    /// it.
    fn hand_over(&self, Effects { events, requests }: Effects) {
        // Webhooks first: somebody is waiting for them.
        if let Some(sender) = &self.worker.requests {
            sender.hand_over(requests);
        }
        self.worker.relay.hand_over(events);
    }

    /// Commits every message of the batch, and hands over what that leaves to do. `false` if stopped before that.
    async fn commit(&self, portion: Portion) -> bool {
        let mut wait = DatabaseWait::new(&self.worker.name, &self.worker.health);
        let mut backoff = Backoff::default();
        let mut races = 0;
        let mut portions = Vec::new();
        if !(portion.accepted.is_empty() && portion.rejected.is_empty()) {
            portions.push(portion);
        }
        while let Some(portion) = portions.pop() {
            let messages = Messages { accepted: &portion.accepted, rejected: &portion.rejected };
            match transaction::apply(&self.worker, messages).await {
                Ok(effects) => {
                    wait.recovered();
                    backoff.reset();
                    self.hand_over(effects);
                }
                Err(Refused::Race) => {
                    portions.push(portion);
                    races += 1;
                    debug!(component = self.worker.name, races, "lost a race against another transaction");
                    if races > MAX_FAST_RACES && !backoff.wait(&self.stop).await {
                        return false;
                    }
                }
                Err(Refused::Discarded(replays)) => portions.push(portion.without(&replays)),
                Err(Refused::Data(rule)) if !portion.accepted.is_empty() => {
                    portions.extend(portion.halved(&rule));
                }
                // The database accepts every dead letter, unless this program has a bug.
                Err(Refused::Data(rule)) => {
                    portions.push(portion);
                    if !wait.failed(&format!("it rejects a dead letter ({rule})"), &self.stop).await {
                        return false;
                    }
                }
                Err(Refused::Systemic(error)) => {
                    portions.extend(portion.with_probe());
                    if !wait.failed(&chain(&error), &self.stop).await {
                        return false;
                    }
                }
            }
        }
        true
    }

    /// Commits a message that has been delivered too often. Each start is counted before it begins, so the count
    /// of a message that ends the process grows.
    async fn commit_alone(&self, message: Received) -> bool {
        let hash = body_hash(&message.body);
        let Some(starts) = self.count_start(&hash).await else { return false };
        let triaged = if starts > MAX_STARTS {
            let text = format!("the process ended {MAX_STARTS} times while it worked on this message alone");
            Triaged::Rejected(triage::undecoded(&message, Fault::new(Reason::CrashLoop, text)))
        } else {
            let mut triage = Triage::new(self.worker.rules.clone(), &self.worker.settings);
            let triaged = triage.decide(message, self.worker.presence.now());
            triage.report();
            triaged
        };
        let mut portion = Portion::default();
        match triaged {
            Triaged::Accepted(accepted) => portion.accepted.push(accepted),
            Triaged::Rejected(dead) => portion.rejected.push(dead),
            Triaged::Suspect(_) => {}
        }
        let committed = self.commit(portion).await;
        // Even if stopped before the commit: this start did not end the process.
        self.clear_starts(&hash).await;
        committed
    }

    async fn count_start(&self, hash: &[u8]) -> Option<i32> {
        let UpsertWorker { database, health, name, .. } = self.worker.as_ref();
        let count = || database.unit(async move |conn| suspects::begin(conn, hash).await);
        retry::until_answered(name, health, &self.stop, count).await
    }

    /// Best effort: a leftover count matters only if the same message comes again.
    async fn clear_starts(&self, hash: &[u8]) {
        let clear = self.worker.database.unit(async |conn| suspects::clear(conn, hash).await);
        if let Ok(Err(error)) = tokio::time::timeout(CLEAR_TIMEOUT, clear).await {
            retry::report_failure(&self.worker.name, &self.worker.health, &chain(&error));
        }
    }
}

impl Portion {
    /// The other messages: discarding a dead letter cancels its replay.
    fn without(mut self, replays: &HashSet<Replay>) -> Self {
        let is_cancelled = |id: Option<Uuid>, meaning| id.is_some_and(|id| replays.contains(&(id, meaning)));
        self.accepted.retain(|one| !is_cancelled(one.replay_of, one.meaning));
        self.rejected.retain(|one| !is_cancelled(one.replay_of, one.meaning));
        self
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
                self.rejected.push(triage::dead_letter(&refused.message, fault));
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
