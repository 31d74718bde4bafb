//! The outcomes that one transaction records.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};

use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    domain::{
        event::Key,
        webhook::{
            attempt::{Class, Next, Outcome, Round, after_attempt, hold, signal},
            breaker::Signal,
        },
    },
    postgres::{
        deliveries::{Attempted, First, NewDelivery, RowKey},
        effects::EffectsKey,
    },
    workers::webhook::job::{Batch, Finished, Job},
};

/// An attempt and its consequence.
pub(super) struct Recorded {
    pub(super) job: Job,
    started_at: OffsetDateTime,
    pub(super) outcome: Outcome,
    pub(super) next: Next,
    /// It says something about its endpoint.
    is_report: bool,
}

/// What one transaction writes.
#[derive(Default)]
pub(super) struct Outcomes {
    pub(super) attempted: Vec<Recorded>,
    /// Without an attempt.
    pub(super) skipped: Vec<Job>,
}

/// What one attempt says about its endpoint.
pub(super) struct Report<'a> {
    pub(super) signal: Signal,
    /// It was delivered. A refusal shows that the endpoint works, too, but is no success.
    pub(super) is_success: bool,
    pub(super) hold: Option<Duration>,
    pub(super) is_gone: bool,
    pub(super) error: Option<&'a String>,
}

impl Outcomes {
    /// Whether its batches, and that of this job, were taken under the same id of this process. Under a new id it may have
    /// taken a batch again that it still works on; such copies of a delivery are recorded one after the other.
    pub(super) fn is_of_one_owner_with(&self, job: &Job) -> bool {
        let Some(batch) = job.batch() else { return true };
        self.jobs().find_map(Job::batch).is_none_or(|other| other.owner == batch.owner)
    }

    pub(super) fn of(finished: Finished) -> Self {
        let mut outcomes = Self::default();
        outcomes.add(finished);
        outcomes
    }

    pub(super) fn add(&mut self, Finished { job, attempt }: Finished) {
        let Some((started_at, outcome)) = attempt else {
            self.skipped.push(job);
            return;
        };
        let attempts = job.progress.attempts_in_round().saturating_add(1);
        let round = Round { attempts, age: job.progress.age };
        let next = after_attempt(&outcome, round, &job.handle.route.rule, rand::random());
        let is_report =
            !job.had_no_failures || outcome.class != Class::Delivered || job.handle.takes_success();
        self.attempted.push(Recorded { job, started_at, outcome, next, is_report });
    }

    pub(super) fn len(&self) -> usize {
        self.attempted.len() + self.skipped.len()
    }

    /// Its jobs.
    pub(super) fn jobs(&self) -> impl Iterator<Item = &Job> {
        self.attempted.iter().map(|one| &one.job).chain(&self.skipped)
    }

    /// Both halves.
    pub(super) fn halved(mut self) -> [Self; 2] {
        let (attempted, skipped) = halves(self.attempted.len(), self.skipped.len());
        let rest =
            Self { attempted: self.attempted.split_off(attempted), skipped: self.skipped.split_off(skipped) };
        [rest, self]
    }

    /// The jobs that stay, and those to be set apart.
    pub(super) fn divided(self, is_apart: impl Fn(&Job) -> bool) -> [Self; 2] {
        let (apart, attempted) = self.attempted.into_iter().partition(|one| is_apart(&one.job));
        let (skipped_apart, skipped) = self.skipped.into_iter().partition(is_apart);
        [Self { attempted, skipped }, Self { attempted: apart, skipped: skipped_apart }]
    }

    /// Each job alone.
    pub(super) fn singles(self) -> impl Iterator<Item = Self> {
        let attempted =
            self.attempted.into_iter().map(|one| Self { attempted: vec![one], ..Self::default() });
        attempted.chain(self.skipped.into_iter().map(|job| Self { skipped: vec![job], ..Self::default() }))
    }

    /// Changes to the rows of endpoints, in the lock order of all processes.
    pub(super) fn reports(&self) -> BTreeMap<&Key, Vec<Report<'_>>> {
        let mut reports: BTreeMap<&Key, Vec<Report<'_>>> = BTreeMap::new();
        for Recorded { job, outcome, .. } in self.attempted.iter().filter(|one| one.is_report) {
            reports.entry(&job.lane).or_default().push(Report::of(outcome));
        }
        reports
    }

    /// Deliveries with a row that were not attempted stay as they are.
    pub(super) fn is_nothing(&self) -> bool {
        self.attempted.is_empty() && self.skipped.iter().all(|job| job.batch().is_none())
    }

    /// The lanes with a report, and those of deliveries that will wait, in the lock order of all processes.
    pub(super) fn changing_lanes(&self) -> Vec<&Key> {
        let retried = self.attempted.iter().filter(|one| matches!(one.next, Next::Retry { .. }));
        let waiting = retried.map(|one| &one.job).chain(&self.skipped);
        let waiting = waiting.filter(|job| job.batch().is_some()).map(|job| &job.lane);
        let reporting = self.attempted.iter().filter(|one| one.is_report).map(|one| &one.job.lane);
        let lanes: BTreeSet<&Key> = reporting.chain(waiting).collect();
        lanes.into_iter().collect()
    }

    /// The attempts of deliveries that have a row.
    pub(super) fn pending(&self) -> Vec<Attempted<'_>> {
        let pending = self.attempted.iter().filter(|one| one.job.batch().is_none());
        let pending = pending.map(|Recorded { job, started_at, outcome, next, .. }| Attempted {
            delivery: &job.delivery,
            progress: job.progress,
            started_at: *started_at,
            outcome,
            next,
        });
        pending.collect()
    }

    /// The deliveries that get a row now.
    pub(super) fn without_row(&self) -> Vec<NewDelivery<'_>> {
        let attempted = self.attempted.iter().filter(|one| one.job.batch().is_some());
        let attempted = attempted.map(|Recorded { job, started_at, outcome, next, .. }| NewDelivery {
            delivery: &job.delivery,
            first: Some(First { started_at: *started_at, outcome, next }),
        });
        let skipped = self.skipped.iter().filter(|job| job.batch().is_some());
        let skipped = skipped.map(|job| NewDelivery { delivery: &job.delivery, first: None });
        attempted.chain(skipped).collect()
    }

    /// The deliveries of batches.
    pub(super) fn of_batches(&self) -> impl Iterator<Item = (&EffectsKey, Uuid)> {
        self.jobs().filter_map(|job| Some((&job.batch()?.key, job.delivery.key.id)))
    }

    /// How many deliveries of each batch get a row now.
    pub(super) fn batches(&self) -> impl Iterator<Item = (&Batch, usize)> {
        let mut batches: HashMap<*const Batch, (&Batch, usize)> = HashMap::new();
        for batch in self.jobs().filter_map(Job::batch) {
            batches.entry(Arc::as_ptr(batch)).or_insert((batch, 0)).1 += 1;
        }
        batches.into_values()
    }

    /// The batches all of whose deliveries have a row now.
    pub(super) fn completed(&self) -> Vec<(&EffectsKey, Uuid)> {
        let completed = self.batches().filter(|(batch, recorded)| batch.completes_with(*recorded));
        completed.map(|(batch, _)| (&batch.key, batch.owner)).collect()
    }
}

impl<'a> Report<'a> {
    fn of(outcome: &'a Outcome) -> Self {
        Self {
            signal: signal(outcome),
            is_success: outcome.class == Class::Delivered,
            hold: hold(outcome),
            is_gone: outcome.class == Class::Gone,
            // An answer that broke off is not a failure of the endpoint.
            error: outcome.error.as_ref().filter(|_| outcome.class != Class::Delivered),
        }
    }
}

/// How many of the `attempted` and `skipped` jobs are in the first half. Two or more are never all in one half.
const fn halves(attempted: usize, skipped: usize) -> (usize, usize) {
    (attempted.div_ceil(2), skipped / 2)
}

/// The deliveries that have ended and whose chain has a result to publish.
pub(super) fn awaited_ends(recorded: &[&Recorded]) -> Vec<RowKey> {
    let ended = recorded.iter().filter(|one| !matches!(one.next, Next::Retry { .. }));
    let deliveries = ended.map(|one| &one.job.delivery).filter(|delivery| delivery.awaited);
    deliveries.map(|delivery| RowKey { key: delivery.key.clone(), created_at: delivery.created_at }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn incomplete_answer_is_no_failure_of_the_endpoint() {
        for (class, is_failure) in [(Class::Delivered, false), (Class::Rejected, true)] {
            let outcome = Outcome::without_answer(class, Duration::ZERO, "broke off");
            assert_eq!(Report::of(&outcome).error.is_some(), is_failure, "{}", class.name());
        }
    }

    #[test]
    fn only_a_delivery_is_a_success_of_the_endpoint() {
        for class in [Class::Delivered, Class::Rejected, Class::Gone, Class::HttpStatus, Class::Timeout] {
            let outcome = Outcome::without_answer(class, Duration::ZERO, "x");
            assert_eq!(Report::of(&outcome).is_success, class == Class::Delivered, "{}", class.name());
        }
    }

    #[test]
    fn several_jobs_are_never_all_in_one_half() {
        for (attempted, skipped) in
            (0..6).flat_map(|attempted| (0..6).map(move |skipped| (attempted, skipped)))
        {
            let (first, second) = halves(attempted, skipped);
            let half = first + second;
            assert!(
                attempted + skipped < 2 || (half > 0 && half < attempted + skipped),
                "{attempted} {skipped}"
            );
        }
    }
}
