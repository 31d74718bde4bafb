//! What the recorder measures, once for each transaction.

use std::time::Instant;

use time::OffsetDateTime;

use super::outcomes::Recorded;
use crate::{
    domain::{
        event::Key,
        fault::Stage,
        webhook::attempt::{Class, Next},
    },
    metrics::{Ending, Metrics, Replayed, Status, Step, as_f64},
    postgres::endpoints::Change,
};

/// Outcomes were recorded at `now` in a transaction that began then, but for those of `lost` deliveries, which had changed.
pub(super) fn recorded(
    metrics: &Metrics,
    began: Instant,
    now: OffsetDateTime,
    attempted: &[Recorded],
    lost: &[Key],
) {
    metrics.batch_sizes.observe(Step::Webhook, as_f64(attempted.len()));
    metrics.batch_durations.observe(Step::Webhook, began.elapsed().as_secs_f64());
    let sent = attempted.iter().map(|one| &one.outcome);
    for outcome in sent.clone() {
        metrics.attempts.add((outcome.class, Status::of(outcome.status)), 1);
    }
    // Of the others nothing was sent.
    let sent = sent.filter(|outcome| {
        !matches!(outcome.class, Class::Expired | Class::Blocked | Class::Invalid | Class::Panicked)
    });
    metrics.attempt_durations.observe_all((), sent.map(|outcome| outcome.duration.as_secs_f64()));
    let mut waits = Vec::with_capacity(attempted.len());
    for Recorded { job, next, .. } in attempted {
        if !lost.is_empty() && lost.contains(&job.delivery.key) {
            continue;
        }
        // Replayed or sent again by an operator.
        let is_again = job.progress.schedule_from > 0;
        let (ending, replayed) = match next {
            Next::Retry { .. } => (Ending::Retried, None),
            &Next::Dead(reason, _) => {
                metrics.dead_letters.add((Stage::Webhook, reason), 1);
                (Ending::DeliveryRefused, Some(Replayed::Failed))
            }
            Next::Delivered => {
                let wait: time::Duration = now - job.delivery.created_at;
                waits.extend((!is_again).then(|| wait.as_seconds_f64()));
                (Ending::Delivered, Some(Replayed::Resolved))
            }
        };
        metrics.events.add(ending, 1);
        if let Some(replayed) = replayed.filter(|_| is_again) {
            metrics.replays.add((Stage::Webhook, replayed), 1);
        }
    }
    metrics.trigger_to_delivered.observe_all((), waits);
}

/// Breakers that a transaction has changed.
pub(super) fn changed(metrics: &Metrics, changes: &[Change]) {
    for change in changes.iter().filter(|change| change.breaker.state != change.was) {
        metrics.breaker_changes.add(change.breaker.state, 1);
    }
}
