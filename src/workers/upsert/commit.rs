//! Retries the transaction of a batch until it commits.
//!
//! If a batch fails because of what it contains or needs, the messages at fault leave it: they are found by their locks, or
//! the batch is halved until one is alone. Such a message becomes a dead letter, or is parked and tried again later, alone; its
//! neighbors go on (`portion`). If the database is unreachable, the batch waits and resumes with one message.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Instant, SystemTime},
};

use sqlx::PgConnection;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info};

use super::{
    apply_error::ApplyError,
    give_up::Permission,
    locked,
    portion::{self, Decision, Portion, Verdict},
    round::Round,
    spans,
    transaction::{self, Applied, Patience, Written},
    triage::Triaged,
    worker::UpsertWorker,
};
use crate::{
    amqp::Received,
    domain::fault::Reason,
    metrics,
    postgres::dead_letters::SearchBudget,
    telemetry::chain,
    workers::retry::{self, DatabaseWait},
};

/// How a health report about a message that was given up begins.
const GAVE_UP: &str = "gave up on a message: ";

/// A message that a transaction takes.
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every message is new; a box would cost each an allocation"
)]
pub(super) enum Job {
    /// It was not tried yet.
    New(Triaged),
    /// It may end the process, so it is not decoded before it is alone.
    Suspect(Received),
    /// It was parked.
    Parked(Portion),
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
    /// A failure was reported.
    is_reported: bool,
}

impl Committer {
    /// Commits an outcome for every message, apart from those that it returns, which are parked. `None`: the process is
    /// stopping, and the messages go back to the queue.
    pub(super) async fn run(self, jobs: Vec<(u64, Job)>) -> Option<Vec<Portion>> {
        let mut new = Portion { accepted: Vec::with_capacity(jobs.len()), ..Portion::default() };
        let (mut suspects, mut parked, mut parked_suspects) = (Vec::new(), Vec::new(), Vec::new());
        for (number, job) in jobs {
            match job {
                Job::New(triaged) => new.add(number, triaged),
                Job::Suspect(message) => suspects.push((number, message)),
                Job::Parked(portion) => match portion.suspect {
                    Some(hash) => parked_suspects.push((hash, portion)),
                    None => parked.push(portion),
                },
            }
        }
        let mut still_parked = Vec::new();
        if !new.is_empty() {
            still_parked.extend(self.commit(Round::of(new), self.patience_with_new(), Vec::new()).await?);
        }
        // The window leaves a suspect alone in its batch.
        for (number, message) in suspects {
            still_parked.extend(self.commit_suspect(number, message).await?);
        }
        for (hash, portion) in parked_suspects {
            still_parked.extend(self.commit_parked_suspect(&hash, portion).await?);
        }
        if !parked.is_empty() {
            still_parked.extend(self.commit_parked(parked).await?);
        }
        Some(still_parked)
    }

    /// How long a transaction with new messages waits for locks.
    pub(super) fn patience_with_new(&self) -> Patience {
        if self.worker.experience.is_wary(Instant::now()) { Patience::Wary } else { Patience::Patient }
    }

    /// Tries parked messages again. One query finds those whose rows are still locked. Before a message is given up, it waits
    /// for them: it may only have met others who kept them for a short time.
    async fn commit_parked(&self, parked: Vec<Portion>) -> Option<Vec<Portion>> {
        let UpsertWorker { give_up_policy: policy, database, .. } = self.worker.as_ref();
        let now = Instant::now();
        let is_asked = |one: &Portion| {
            !one.accepted.is_empty() && !one.is_at_last_try(one.shares_used_up_key(policy, now))
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
        let (mut still_blocked, mut blocked) = (Vec::new(), blocked.into_iter().peekable());
        for (index, mut portion) in asked.into_iter().enumerate() {
            match blocked.next_if(|one| one.index == index) {
                Some(found) => {
                    portion.set_blocked_by(found);
                    still_blocked.push(portion);
                }
                None => tried.push(portion),
            }
        }
        tried.sort_unstable_by_key(Portion::number);
        self.commit(Round::again(tried), Patience::Brief, still_blocked).await
    }

    /// Commits the messages of a batch, sends on what they leave to this process, and returns those that are parked. `None` if stopped before
    /// that. The `blocked` ones need a row that is known to be locked.
    pub(super) async fn commit(
        &self,
        round: Round,
        patience: Patience,
        blocked: Vec<Portion>,
    ) -> Option<Vec<Portion>> {
        let UpsertWorker { name, health, give_up_policy: policy, .. } = self.worker.as_ref();
        let wait = DatabaseWait::new(name, health);
        let budget = SearchBudget::default();
        let mut progress = Progress { round, wait, budget, patience, has_waited: false, is_reported: false };
        for portion in blocked {
            self.park_or_give_up(&mut progress, portion);
        }
        while let Some((portion, shares_used_up_key)) = progress.round.next(policy) {
            self.attempt(&mut progress, portion, shares_used_up_key).await?;
        }
        Some(progress.round.into_parked())
    }

    /// Tries a portion once. `None` if stopped while it waited for the database.
    async fn attempt(
        &self,
        progress: &mut Progress<'_>,
        portion: Portion,
        shares_used_up_key: bool,
    ) -> Option<()> {
        let patience = if shares_used_up_key {
            Patience::Least
        } else if portion.is_at_last_try(false) && !std::mem::replace(&mut progress.has_waited, true) {
            Patience::Patient
        } else {
            progress.patience
        };
        let (lookups, began) = (progress.budget.left(), SystemTime::now());
        let applied = transaction::apply(&self.worker, portion.messages(), patience, &progress.budget);
        let error = match applied.await {
            Ok(Applied { written, dead_letters, .. }) => {
                progress.wait.recovered();
                self.note_commit(&portion, dead_letters.count());
                spans::end(&self.worker.traces, portion, &dead_letters, began);
                self.send(written);
                return Some(());
            }
            Err(error) => error,
        };
        self.worker.metrics.failed_batches.add(metrics::Step::Upsert, 1);
        let ControlFlow::Break(outage) = self.handle(progress, portion, error, shares_used_up_key) else {
            return Some(());
        };
        progress.budget.restore(lookups);
        progress.wait.failed(&chain(&outage), &self.stop).await.then_some(())
    }

    /// Sends what is committed to the tasks of this process that work on it.
    fn send(&self, Written { events, requests, .. }: Written) {
        // Webhooks first: somebody is waiting for them.
        if let Some(sender) = &self.worker.request_batches {
            sender.send(requests);
        }
        self.worker.event_batches.send(events);
    }

    /// Handles a portion that could not be applied. Breaks if it waits for the database.
    fn handle(
        &self,
        progress: &mut Progress<'_>,
        mut portion: Portion,
        mut error: ApplyError,
        shares_used_up_key: bool,
    ) -> ControlFlow<ApplyError> {
        let UpsertWorker { name, give_up_policy: policy, experience, .. } = self.worker.as_ref();
        if error.waits_for_repair() {
            self.report_once(progress, &error);
        }
        portion.record(&mut error);
        let is_locked = matches!(error, ApplyError::Locked { .. });
        let is_patient = progress.patience == Patience::Patient && !shares_used_up_key;
        if is_locked {
            experience.met_lock(Instant::now());
            progress.patience = Patience::Brief;
        }
        let round = &mut progress.round;
        match self.decide(&error, &portion, shares_used_up_key, is_patient) {
            Decision::Retry => round.push(portion),
            Decision::SplitOffBlocked => {
                let parts = portion.split_off_blocked(error.into_blocked());
                round.push(portion);
                for part in parts {
                    self.park_or_give_up(progress, part);
                }
            }
            Decision::DeadLetterPanicked(index) => {
                error!(
                    component = name,
                    "{name} panicked while it applied a message, which becomes a dead letter"
                );
                let panicked = portion.take_panicked(index);
                // It is next. No earlier body of its event has been applied, or it would not have been run.
                round.extend([portion, panicked]);
            }
            Decision::Halve => round.extend(portion.halve()),
            Decision::Park => {
                if is_locked && !shares_used_up_key {
                    round.park_others(portion.suspected_keys(policy));
                }
                round.park(portion);
            }
            Decision::DeadLetterBad => {
                round.push(portion.into_dead_letter(Reason::EventInvalid, &error.to_string()));
            }
            Decision::DropContext => round.push(portion.without_context()),
            Decision::GiveUp(permission) => round.push(self.give_up(portion, &error, permission)),
            Decision::WaitForDatabase => {
                round.extend(portion.with_probe());
                return ControlFlow::Break(error);
            }
        }
        ControlFlow::Continue(())
    }

    /// Handles a single message that needs a row which is known to be locked.
    fn park_or_give_up(&self, progress: &mut Progress<'_>, mut portion: Portion) {
        let UpsertWorker { give_up_policy: policy, experience, .. } = self.worker.as_ref();
        let now = Instant::now();
        experience.met_lock(now);
        let mut error = ApplyError::locked();
        self.report_once(progress, &error);
        portion.record(&mut error);
        let shares_used_up_key = portion.shares_used_up_key(policy, now);
        match self.decide(&error, &portion, shares_used_up_key, false) {
            Decision::GiveUp(permission) => {
                progress.round.push(self.give_up(portion, &error, permission));
            }
            _ => progress.round.park(portion),
        }
    }

    /// Reports the first failure of a batch.
    fn report_once(&self, progress: &mut Progress<'_>, error: &ApplyError) {
        if !std::mem::replace(&mut progress.is_reported, true) {
            retry::report_refusal(&self.worker.name, &self.worker.health, &chain(error));
        }
    }

    /// The message as a dead letter. Others that share a key get fewer tries from now on.
    fn give_up(&self, portion: Portion, error: &ApplyError, permission: Permission) -> Portion {
        let policy = &self.worker.give_up_policy;
        let keys = portion.suspected_keys(policy);
        policy.note_used_up(&keys, Instant::now());
        portion.give_up(error, keys, permission)
    }

    /// What happens to a portion that could not be applied.
    fn decide(
        &self,
        error: &ApplyError,
        portion: &Portion,
        shares_used_up_key: bool,
        is_patient: bool,
    ) -> Decision {
        let (UpsertWorker { name, give_up_policy: policy, .. }, now) = (self.worker.as_ref(), Instant::now());
        let is_proven = || portion.tried_since.is_some_and(|since| policy.is_proven(since));
        let may_give_up = || match error {
            _ if is_proven() => Some(Permission::Proven),
            // If the database is slow for everybody, giving up messages one by one does not help.
            ApplyError::Slow(_) => None,
            _ if portion.keys(policy).any(|key| policy.was_given_up(key, now)) => Some(Permission::Proven),
            _ => policy.admit_unproven(now).map(Permission::Unproven),
        };
        let decision = portion::decide(error, &portion.facts(shares_used_up_key, is_patient), may_give_up);
        debug!(component = name, error = chain(error), ?decision, "the database refused a portion");
        decision
    }

    /// Notes what the commit of a portion says about messages that were given up.
    fn note_commit(&self, portion: &Portion, dead_letters: usize) {
        let UpsertWorker { name, health, give_up_policy: policy, .. } = self.worker.as_ref();
        let now = Instant::now();
        match &portion.verdict {
            None => {}
            Some(Verdict { permission, .. }) if dead_letters == 0 => {
                info!(
                    component = name,
                    "{name} acknowledged a message that it cannot apply: its event has already ended"
                );
                if let Permission::Unproven(admission) = permission {
                    policy.withdraw(admission);
                }
            }
            Some(Verdict { why, keys, .. }) => {
                let company = portion.rejected.first().map(|one| one.dead.company.as_str());
                error!(
                    component = name,
                    company.id = company,
                    why,
                    "{name} gave up on a message: {why}; repair that, then replay its dead letter (crash_loop)"
                );
                policy.note_given_up(why, keys, now);
            }
        }
        if !portion.accepted.is_empty() {
            policy.note_commit(portion.keys(policy));
        }
        if let Some(why) = policy.reported(now) {
            health.failing(name, format!("{GAVE_UP}{why}"));
        } else if health.recovered(name, GAVE_UP) {
            info!(component = name, "{name} has applied messages since it gave up on one");
        }
    }
}
