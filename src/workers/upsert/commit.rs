//! Retries the transaction of a batch until it commits.
//!
//! If the database refuses a batch because of what it contains or needs, the batch is halved until the message at
//! fault is alone. In the end, that message becomes a dead letter, and its neighbors go on (`portion`). If the
//! database is unreachable, the batch waits and resumes with one message.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::{
    portion::{self, Portion, Step},
    refused::Refused,
    round::Round,
    spans,
    transaction::{self, Effects, Patience},
    triage::{self, Triage, Triaged},
    worker::UpsertWorker,
};
use crate::{
    amqp::Received,
    domain::{
        event::body_hash,
        fault::{Fault, Reason},
    },
    metrics,
    postgres::{dead_letters::SearchBudget, suspects},
    telemetry::chain,
    workers::{
        backoff::Backoff,
        retry::{self, DatabaseWait},
    },
};

/// How often a message may be started alone before it becomes a dead letter.
const MAX_STARTS: i32 = 5;

/// How a health report about a message that was set aside begins.
const SET_ASIDE: &str = "set aside a message: ";

/// Maximum time to clear a count while the worker stops, because it must stop even if the database is unreachable.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(2);

/// Commits one batch.
pub(super) struct Committer {
    pub(super) worker: Arc<UpsertWorker>,
    pub(super) stop: CancellationToken,
}

impl Committer {
    /// Commits an outcome for every message. `false`: the process is stopping, and the messages are requeued.
    pub(super) async fn settle(self, messages: Vec<Triaged>) -> bool {
        let mut portion = Portion { accepted: Vec::with_capacity(messages.len()), ..Portion::default() };
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

    /// Hands over what is committed. If its takers are gone, because the process is ending, another process takes
    /// it.
    fn hand_over(&self, Effects { events, requests, .. }: Effects) {
        // Webhooks first: somebody is waiting for them.
        if let Some(sender) = &self.worker.requests {
            sender.hand_over(requests);
        }
        self.worker.relay.hand_over(events);
    }

    /// Commits every message of the batch, and hands over the resulting effects. `false` if stopped before that.
    async fn commit(&self, portion: Portion) -> bool {
        let UpsertWorker { name, health, set_aside, .. } = self.worker.as_ref();
        let mut wait = DatabaseWait::new(name, health);
        let (mut round, mut rounds) = (Round::of(portion), Backoff::default());
        // Many rows may be locked, and each try waits for the first of them.
        let mut is_patient = true;
        let budget = SearchBudget::default();
        loop {
            let Some((mut portion, is_known)) = round.next(set_aside) else {
                if round.is_over() {
                    return true;
                }
                if !rounds.wait(&self.stop).await {
                    return false;
                }
                round.begin();
                continue;
            };
            let patience = Patience::of(is_patient, is_known);
            let (lookups, began) = (budget.left(), SystemTime::now());
            let refused = match transaction::apply(&self.worker, portion.messages(), patience, &budget).await
            {
                Ok(effects) => {
                    wait.recovered();
                    self.committed(&portion, effects.dead_letters);
                    spans::end(&self.worker.traces, portion, &effects, began);
                    self.hand_over(effects);
                    continue;
                }
                Err(refused) => refused,
            };
            self.worker.metrics.failed_batches.add(metrics::Step::Upsert, 1);
            if refused.waits_for_repair() && !std::mem::replace(&mut round.is_reported, true) {
                retry::report_refusal(name, health, &chain(&refused));
            }
            let is_locked = matches!(refused, Refused::Locked(_));
            is_patient &= !is_locked;
            match self.next(&refused, &mut portion, is_known) {
                Step::Again => round.push(portion),
                Step::Halve => round.extend(portion.halved()),
                Step::PutOff => {
                    if is_locked && !is_known {
                        round.put_off_others(portion.causes(set_aside));
                    }
                    round.put_off(portion);
                }
                Step::Reject => round.push(portion.rejected(Reason::EventInvalid, &refused.to_string())),
                Step::SetAside => round.push(self.given_up(portion, &refused)),
                Step::Wait => {
                    budget.restore(lookups);
                    round.extend(portion.with_probe());
                    if !wait.failed(&chain(&refused), &self.stop).await {
                        return false;
                    }
                }
            }
        }
    }

    /// The message as a dead letter. Others that name the same need less patience from now on.
    fn given_up(&self, portion: Portion, refused: &Refused) -> Portion {
        let set_aside = &self.worker.set_aside;
        let causes: Vec<_> = portion.causes(set_aside).collect();
        set_aside.give_up(&causes, Instant::now());
        portion.set_aside(refused, causes)
    }

    /// What happens to a portion that was refused.
    fn next(&self, refused: &Refused, portion: &mut Portion, is_known: bool) -> Step {
        let (UpsertWorker { name, set_aside, .. }, now) = (self.worker.as_ref(), Instant::now());
        portion.refusals += u32::from(refused.concerns_messages());
        if let Refused::Discarded(replays) = refused {
            portion.leave_out(replays);
        }
        let since = portion.tried_since;
        let is_proven = || since.is_some_and(|since| set_aside.is_proven(since));
        let mut admission = None;
        let may_set_aside = || match refused {
            // If the database is slow for everybody, giving up messages one by one does not help.
            Refused::Slow(_) => is_proven(),
            _ => {
                is_proven() || portion.causes(set_aside).any(|cause| set_aside.has_set_aside(cause, now)) || {
                    admission = set_aside.admit_unproven(now);
                    admission.is_some()
                }
            }
        };
        let step = portion::next(refused, &portion.facts(is_known), may_set_aside);
        portion.admission = admission.or(portion.admission);
        debug!(component = name, error = chain(refused), ?step, "the database refused a portion");
        step
    }

    fn committed(&self, portion: &Portion, dead_letters: usize) {
        let UpsertWorker { name, health, set_aside, .. } = self.worker.as_ref();
        let now = Instant::now();
        if portion.set_aside.is_some() && dead_letters == 0 {
            info!(
                component = name,
                "{name} acknowledged a message that it cannot apply: its event has already ended"
            );
            if let Some(admission) = &portion.admission {
                set_aside.withdraw(admission);
            }
        } else if let Some(why) = &portion.set_aside {
            let company = portion.rejected.first().map(|dead| dead.company.as_str());
            error!(
                component = name,
                company.id = company,
                why,
                "{name} set aside a message: {why}; repair that, then replay its dead letter (crash_loop)"
            );
            set_aside.note(why, &portion.causes, now);
        }
        if !portion.accepted.is_empty() {
            set_aside.committed(portion.causes(set_aside));
        }
        if let Some(why) = set_aside.report(now) {
            health.failing(name, format!("{SET_ASIDE}{why}"));
        } else if health.recovered(name, SET_ASIDE) {
            info!(component = name, "{name} has applied messages since it set one aside");
        }
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
            let mut triage = Triage::of(&self.worker);
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

    async fn clear_starts(&self, hash: &[u8]) {
        let UpsertWorker { database, health, name, .. } = self.worker.as_ref();
        let clear = || database.unit(async move |conn| suspects::clear(conn, hash).await);
        let cleared = match retry::until_judged(name, health, &self.stop, clear).await {
            Some(cleared) => cleared,
            // Best effort: a leftover count matters only if the same message is redelivered.
            None => tokio::time::timeout(CLEAR_TIMEOUT, clear()).await.unwrap_or_else(|_| {
                warn!(
                    component = name,
                    "{name} stops without clearing the count of a message that it has processed"
                );
                Ok(())
            }),
        };
        if let Err(error) = cleared {
            retry::report_failure(name, health, &chain(&error));
        }
    }
}
