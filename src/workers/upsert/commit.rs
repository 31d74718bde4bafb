//! Retries the transaction of a batch until it commits.
//!
//! If the database refuses a batch because of what it contains or needs, the messages in question leave it: they are found by
//! their locks, or the batch is halved until one is alone. Such a message becomes a dead letter, or is parked and tried again later,
//! alone; its neighbors go on (`portion`). If the database is unreachable, the batch waits and resumes with one message.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::{
    locked,
    portion::{self, Portion, Step, Verdict},
    refused::Refused,
    round::Round,
    spans,
    transaction::{self, Effects, Patience},
    triage::Triaged,
    worker::UpsertWorker,
};
use crate::{
    domain::fault::Reason,
    metrics,
    postgres::dead_letters::SearchBudget,
    telemetry::chain,
    workers::retry::{self, DatabaseWait},
};

/// How a health report about a message that was set aside begins.
const SET_ASIDE: &str = "set aside a message: ";

/// A message that a transaction takes.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every message is new; a box would cost each an allocation"
)]
pub(super) enum Job {
    /// It was not tried yet.
    New(Triaged),
    /// It was parked.
    Again(Portion),
}

/// Commits one batch.
pub(super) struct Committer {
    pub(super) worker: Arc<UpsertWorker>,
    pub(super) stop: CancellationToken,
}

/// The state of a batch.
struct Progress<'a> {
    round: Round,
    wait: DatabaseWait<'a>,
    budget: SearchBudget,
    patience: Patience,
    /// A message has had the usual lock timeout for its last try. One such wait is enough for a batch.
    has_waited: bool,
    /// A refusal was reported.
    is_reported: bool,
}

impl Committer {
    /// Commits an outcome for every message, apart from those that it returns, which are parked. `None`: the process is
    /// stopping, and the messages go back to the queue.
    pub(super) async fn settle(self, jobs: Vec<(u64, Job)>) -> Option<Vec<Portion>> {
        let mut portion = Portion { accepted: Vec::with_capacity(jobs.len()), ..Portion::default() };
        let mut again = Vec::new();
        for (number, job) in jobs {
            match job {
                Job::New(Triaged::Suspect(suspect)) => return self.commit_suspect(number, suspect).await,
                Job::New(triaged) => portion.add(number, triaged),
                Job::Again(parked) => again.push(parked),
            }
        }
        if again.is_empty() {
            return self.commit(Round::of(portion), self.patience_with_new(), Vec::new()).await;
        }
        match again.iter().find_map(|parked| parked.suspect) {
            Some(hash) => self.commit_suspect_again(&hash, again).await,
            None => self.commit_again(again).await,
        }
    }

    /// Sends what is committed to the tasks of this process that work on it.
    fn send(&self, Effects { events, requests, .. }: Effects) {
        // Webhooks first: somebody is waiting for them.
        if let Some(sender) = &self.worker.request_batches {
            sender.send(requests);
        }
        self.worker.event_batches.send(events);
    }

    /// How long a transaction with new messages waits for locks.
    pub(super) fn patience_with_new(&self) -> Patience {
        if self.worker.experience.is_wary(Instant::now()) { Patience::Wary } else { Patience::Patient }
    }

    /// Commits the messages of a batch, sends their effects on, and returns those that are parked. `None` if stopped before
    /// that. The `blocked` ones need a row that is known to be locked.
    pub(super) async fn commit(
        &self,
        round: Round,
        patience: Patience,
        blocked: Vec<Portion>,
    ) -> Option<Vec<Portion>> {
        let UpsertWorker { name, health, set_aside, .. } = self.worker.as_ref();
        let wait = DatabaseWait::new(name, health);
        let budget = SearchBudget::default();
        let mut progress = Progress { round, wait, budget, patience, has_waited: false, is_reported: false };
        for portion in blocked {
            self.blocked(&mut progress, portion);
        }
        while let Some((portion, has_known_cause)) = progress.round.next(set_aside) {
            if !self.attempt(&mut progress, portion, has_known_cause).await {
                return None;
            }
        }
        Some(progress.round.into_parked())
    }

    /// Tries a portion once. `false` if stopped while it waited for the database.
    async fn attempt(&self, progress: &mut Progress<'_>, portion: Portion, has_known_cause: bool) -> bool {
        let patience = if has_known_cause {
            Patience::Least
        } else if portion.is_at_last_try(false) && !std::mem::replace(&mut progress.has_waited, true) {
            Patience::Patient
        } else {
            progress.patience
        };
        let (lookups, began) = (progress.budget.left(), SystemTime::now());
        let applied = transaction::apply(&self.worker, portion.messages(), patience, &progress.budget);
        let refused = match applied.await {
            Ok(effects) => {
                progress.wait.recovered();
                self.committed(&portion, effects.dead_letters);
                spans::end(&self.worker.traces, portion, &effects, began);
                self.send(effects);
                return true;
            }
            Err(refused) => refused,
        };
        self.worker.metrics.failed_batches.add(metrics::Step::Upsert, 1);
        let portions = self.refused(progress, portion, refused, has_known_cause);
        let Some((portions, refused)) = portions else { return true };
        progress.budget.restore(lookups);
        progress.round.extend(portions);
        progress.wait.failed(&chain(&refused), &self.stop).await
    }

    /// Decides about a portion that was refused. Returns it if it waits for the database.
    fn refused(
        &self,
        progress: &mut Progress<'_>,
        mut portion: Portion,
        mut refused: Refused,
        has_known_cause: bool,
    ) -> Option<(Vec<Portion>, Refused)> {
        let UpsertWorker { name, set_aside, experience, .. } = self.worker.as_ref();
        if refused.waits_for_repair() {
            self.report(progress, &refused);
        }
        portion.note_culprits(&mut refused);
        let is_locked = matches!(refused, Refused::Locked { .. });
        let is_patient = progress.patience == Patience::Patient && !has_known_cause;
        if is_locked {
            experience.met_lock(Instant::now());
            progress.patience = Patience::Brief;
        }
        let round = &mut progress.round;
        match self.next(&refused, &mut portion, has_known_cause, is_patient) {
            Step::Again => round.push(portion),
            Step::Part => {
                let parts = portion.part(refused.into_blocked());
                round.push(portion);
                for part in parts {
                    self.blocked(progress, part);
                }
            }
            Step::Expel(index) => {
                error!(
                    component = name,
                    "{name} panicked while it applied a message, which becomes a dead letter"
                );
                let expelled = portion.expel(index);
                round.extend([expelled, portion]);
            }
            Step::Halve => round.extend(portion.halved()),
            Step::PutOff => {
                if is_locked && !has_known_cause {
                    round.park_others(portion.blamed(set_aside));
                }
                round.park(portion);
            }
            Step::Reject => round.push(portion.rejected(Reason::EventInvalid, &refused.to_string())),
            Step::SetAside => round.push(self.given_up(portion, &refused)),
            Step::Wait => return Some((portion.with_probe(), refused)),
        }
        None
    }

    /// Decides about a single message that needs a row which is known to be locked.
    fn blocked(&self, progress: &mut Progress<'_>, mut portion: Portion) {
        let UpsertWorker { set_aside, experience, .. } = self.worker.as_ref();
        let now = Instant::now();
        experience.met_lock(now);
        let refused = Refused::locked();
        self.report(progress, &refused);
        let has_known_cause = portion.has_known_cause(set_aside, now);
        match self.next(&refused, &mut portion, has_known_cause, false) {
            Step::SetAside => progress.round.push(self.given_up(portion, &refused)),
            _ => progress.round.park(portion),
        }
    }

    /// Reports the first refusal of a batch.
    fn report(&self, progress: &mut Progress<'_>, refused: &Refused) {
        if !std::mem::replace(&mut progress.is_reported, true) {
            retry::report_refusal(&self.worker.name, &self.worker.health, &chain(refused));
        }
    }

    /// Tries parked messages again. One query finds those whose rows are still locked. Before a message is set aside, it waits
    /// for them: it may only have met others who kept them for a short time.
    pub(super) async fn commit_again(&self, parked: Vec<Portion>) -> Option<Vec<Portion>> {
        let UpsertWorker { set_aside, database, .. } = self.worker.as_ref();
        let now = Instant::now();
        let is_asked = |one: &Portion| {
            !one.accepted.is_empty() && !one.is_at_last_try(one.has_known_cause(set_aside, now))
        };
        let (asked, mut tried): (Vec<_>, Vec<_>) = parked.into_iter().partition(is_asked);
        let mut blocked = Vec::new();
        if asked.len() > 1 {
            let accepted: Vec<_> = asked.iter().flat_map(|one| &one.accepted).collect();
            let lanes: Vec<_> = asked.iter().map(|one| one.lanes.clone()).collect();
            let find =
                async |conn: &mut PgConnection| locked::find(&self.worker, conn, &accepted, &lanes).await;
            // If the database does not answer, they are tried.
            blocked = database.unit(find).await.unwrap_or_default();
        }
        let (mut still, mut blocked) = (Vec::new(), blocked.into_iter().peekable());
        for (index, mut portion) in asked.into_iter().enumerate() {
            match blocked.next_if(|one| one.index == index) {
                Some(found) => {
                    portion.blame(found);
                    still.push(portion);
                }
                None => tried.push(portion),
            }
        }
        tried.sort_unstable_by_key(Portion::number);
        self.commit(Round::again(tried), Patience::Brief, still).await
    }

    /// The message as a dead letter. Others that name the same need less patience from now on.
    fn given_up(&self, portion: Portion, refused: &Refused) -> Portion {
        let set_aside = &self.worker.set_aside;
        let causes = portion.blamed(set_aside);
        set_aside.give_up(&causes, Instant::now());
        portion.set_aside(refused, causes)
    }

    /// What happens to a portion that was refused.
    fn next(
        &self,
        refused: &Refused,
        portion: &mut Portion,
        has_known_cause: bool,
        is_patient: bool,
    ) -> Step {
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
        let step = portion::next(refused, &portion.facts(has_known_cause, is_patient), may_set_aside);
        portion.admission = admission.or(portion.admission);
        debug!(component = name, error = chain(refused), ?step, "the database refused a portion");
        step
    }

    /// Notes what the commit of a portion says about messages that were set aside.
    fn committed(&self, portion: &Portion, dead_letters: usize) {
        let UpsertWorker { name, health, set_aside, .. } = self.worker.as_ref();
        let now = Instant::now();
        match &portion.verdict {
            None => {}
            Some(_) if dead_letters == 0 => {
                info!(
                    component = name,
                    "{name} acknowledged a message that it cannot apply: its event has already ended"
                );
                if let Some(admission) = &portion.admission {
                    set_aside.withdraw(admission);
                }
            }
            Some(Verdict { why, causes }) => {
                let company = portion.rejected.first().map(|one| one.dead.company.as_str());
                error!(
                    component = name,
                    company.id = company,
                    why,
                    "{name} set aside a message: {why}; repair that, then replay its dead letter (crash_loop)"
                );
                set_aside.note(why, causes, now);
            }
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
}
