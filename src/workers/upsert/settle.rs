//! Brings a triaged batch to a commit, whatever the database does meanwhile.
//!
//! A lost race is tried again. Data that the database refuses is halved until the bad message stands
//! alone and becomes a dead letter. A database in trouble is waited for, then probed with one message.

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    UpsertWorker,
    transaction::{self, Refused},
    triage::{self, Accepted, Triaged},
};
use crate::{
    amqp::{Received, Topology},
    domain::{
        fault::{Fault, Reason},
        trigger::cache::TriggerCache,
    },
    postgres::{dead_letters::NewDeadLetter, outbox::OutboxMessage, suspects},
    telemetry::chain,
    workers::backoff::Backoff,
};

/// How many tries of a message alone may begin without coming to an end.
const MOST_TRIES: i32 = 5;

/// How long forgetting a count may take: it must not hold up the end of the process.
const CLEARING: Duration = Duration::from_secs(2);

/// How many lost races are tried again without a pause: whoever won has committed, so the next try sees
/// the result. More than a few in a row are a crowd, or a fault of ours.
const RACES_AT_ONCE: u32 = 3;

pub(super) struct Settler<'a> {
    worker: &'a UpsertWorker,
    stop: &'a CancellationToken,
}

/// Most steps of all chains of one transaction; one event is never cut.
const MOST_STEPS: usize = 2000;

/// One transaction's worth.
struct Portion<'a> {
    accepted: Vec<Accepted<'a>>,
    rejected: Vec<NewDeadLetter>,
}

impl<'a> Settler<'a> {
    pub(super) fn new(worker: &'a UpsertWorker, stop: &'a CancellationToken) -> Self {
        Self { worker, stop }
    }

    /// Commits an outcome for each message; `None` when stopped before that.
    pub(super) async fn together(
        &self,
        messages: &[&Received],
        triggers: &mut TriggerCache,
    ) -> Option<Vec<OutboxMessage>> {
        self.commit(self.triage(messages, triggers)).await
    }

    fn triage<'m>(&self, messages: &[&'m Received], triggers: &mut TriggerCache) -> Triaged<'m> {
        let topology = Topology::new(&self.worker.settings.amqp.namespace);
        triage::triage(messages, triggers, &self.worker.rules, &topology)
    }

    async fn commit(&self, triaged: Triaged<'_>) -> Option<Vec<OutboxMessage>> {
        let mut committed = Vec::new();
        let mut backoff = Backoff::default();
        let mut races = 0;
        let mut portions = Portion::of(triaged);
        while let Some(portion) = portions.pop() {
            match transaction::apply(self.worker, &portion.accepted, &portion.rejected).await {
                Ok(messages) => {
                    self.recovered(&mut backoff);
                    committed.extend(messages);
                }
                Err(Refused::Race) => {
                    portions.push(portion);
                    races += 1;
                    if races > RACES_AT_ONCE && !backoff.wait(self.stop).await {
                        return None;
                    }
                }
                Err(Refused::Data(rule)) if !portion.accepted.is_empty() => {
                    portions.extend(portion.halved(&rule));
                }
                // Dead letters alone are never refused, unless by a fault of this program.
                Err(Refused::Data(rule)) => {
                    self.waits(&format!("it refuses to keep a dead letter ({rule})"));
                    portions.push(portion);
                    if !backoff.wait(self.stop).await {
                        return None;
                    }
                }
                Err(Refused::Systemic(error)) => {
                    self.waits(&chain(&error));
                    portions.extend(portion.with_probe());
                    if !backoff.wait(self.stop).await {
                        return None;
                    }
                }
            }
        }
        Some(committed)
    }

    /// Commits a message that came back too often. The try is counted before it begins, so one that
    /// ends the process is found out by its count.
    pub(super) async fn alone(
        &self,
        message: &Received,
        triggers: &mut TriggerCache,
    ) -> Option<Vec<OutboxMessage>> {
        let digest = transaction::digest(&message.body);
        let tries = self.count_try(&digest).await?;
        let triaged = if tries > MOST_TRIES {
            let text = format!("the process ended {MOST_TRIES} times while it worked on this message alone");
            let dead = triage::undecoded(message, Fault::new(Reason::CrashLoop, text));
            Triaged { rejected: vec![dead], ..Triaged::default() }
        } else {
            self.triage(&[message], triggers)
        };
        let committed = self.commit(triaged).await;
        // Stopped before the commit, too: what was counted is the try that never comes to an end.
        self.clear_tries(&digest).await;
        committed
    }

    async fn count_try(&self, digest: &[u8]) -> Option<i32> {
        let mut backoff = Backoff::default();
        loop {
            match self.worker.database.unit(async |conn| suspects::begin(conn, digest).await).await {
                Ok(tries) => return Some(tries),
                Err(error) => self.waits(&chain(&error)),
            }
            if !backoff.wait(self.stop).await {
                return None;
            }
        }
    }

    /// Best effort: a count that stays is no harm, for it is taken up only if the message comes again.
    async fn clear_tries(&self, digest: &[u8]) {
        let clear = self.worker.database.unit(async |conn| suspects::clear(conn, digest).await);
        if let Ok(Err(error)) = tokio::time::timeout(CLEARING, clear).await {
            self.waits(&chain(&error));
        }
    }

    fn waits(&self, error: &str) {
        warn!(worker = self.worker.name, error, "{} waits for the database", self.worker.name);
        self.worker.health.failing(&self.worker.name, format!("database: {error}"));
    }

    fn recovered(&self, backoff: &mut Backoff) {
        if self.worker.health.report().get(&self.worker.name).is_some_and(Option::is_some) {
            info!(worker = self.worker.name, "{} has its database back", self.worker.name);
            self.worker.health.ready(&self.worker.name);
        }
        backoff.reset();
    }
}

impl<'a> Portion<'a> {
    /// The batch as it came, cut where its chains have very many steps: what a transaction holds in
    /// memory grows with them.
    fn of(triaged: Triaged<'a>) -> Vec<Self> {
        let mut portions = vec![Self { accepted: Vec::new(), rejected: triaged.rejected }];
        let mut steps = 0;
        for one in triaged.accepted {
            steps += one.plan.steps.len();
            if steps > MOST_STEPS && portions.last().is_some_and(|last| !last.accepted.is_empty()) {
                portions.push(Self { accepted: Vec::new(), rejected: Vec::new() });
                steps = one.plan.steps.len();
            }
            if let Some(last) = portions.last_mut() {
                last.accepted.push(one);
            }
        }
        // Taken from the end.
        portions.reverse();
        portions
    }

    /// Two halves, to find the message that the database refuses; or that message as a dead letter.
    fn halved(mut self, rule: &str) -> Vec<Self> {
        if !self.rejected.is_empty() {
            let rejected = std::mem::take(&mut self.rejected);
            return vec![Self { accepted: Vec::new(), rejected }, self];
        }
        if self.accepted.len() <= 1 {
            for refused in self.accepted.drain(..) {
                let mut fault =
                    Fault::new(Reason::EventInvalid, format!("the database refuses its values ({rule})"));
                fault.company = Some(refused.plan.event.company.clone());
                fault.event = Some(refused.plan.event.event.clone());
                fault.trigger = refused.plan.event.triggers.first().map(|trigger| trigger.name().to_owned());
                self.rejected.push(triage::dead_letter(refused.message, fault));
            }
            return vec![self];
        }
        let second = self.accepted.split_off(self.accepted.len() / 2);
        vec![Self { accepted: second, rejected: Vec::new() }, self]
    }

    /// The same work with its first message in front, alone: what is tried first (popped last in,
    /// first out) after an outage is small.
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
