//! What the relay measures.

use std::{sync::Arc, time::Instant};

use super::flight::{Flight, Name};
use crate::{
    amqp::{Outcomes, Unpublished},
    metrics::{Ending, Metrics, Since, Step, Waiting, as_f64},
    postgres::effects::events::EventBatch,
    workers::room::InMemory,
};

pub(super) struct Measures {
    metrics: Arc<Metrics>,
    /// Since when the oldest row has waited.
    oldest: Arc<Since>,
}

impl Measures {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        let oldest = Arc::<Since>::default();
        let watched = Arc::downgrade(&oldest);
        metrics.oldest_waiting.watch(Waiting::Publish, move || watched.upgrade().map(|oldest| oldest.age()));
        Self { metrics, oldest }
    }

    /// The first row that is not sent, beside those in flight.
    pub(super) fn note(&self, flight: &mut Flight, waiting: Option<&InMemory<EventBatch>>) {
        let waiting = waiting.map(|InMemory { item: row, .. }| row.since);
        self.oldest.set(flight.oldest().into_iter().chain(waiting).min());
    }

    /// The connection is lost, and nothing is in flight any more.
    pub(super) fn lost(&self, waiting: Option<&InMemory<EventBatch>>) {
        self.metrics.failed_batches.add(Step::Publish, 1);
        self.oldest.set(waiting.map(|InMemory { item: row, .. }| row.since));
    }

    /// This many events were sent together.
    pub(super) fn sent(&self, events: usize, began: Instant) {
        if events > 0 {
            self.metrics.batch_sizes.observe(Step::Publish, as_f64(events));
            self.metrics.batch_durations.observe(Step::Publish, began.elapsed().as_secs_f64());
        }
    }

    /// What the broker said about events.
    pub(super) fn known(&self, outcomes: &Outcomes<Name>) {
        let count = |what| outcomes.iter().filter(|(_, outcome)| *outcome == what).count();
        let events = &self.metrics.events;
        events.add(Ending::Published, count(Ok(())));
        events.add(Ending::PublishRefused, count(Err(Unpublished::Refused)));
        events.add(Ending::PublishUnconfirmed, count(Err(Unpublished::Late)));
        events.add(Ending::PublishUnroutable, count(Err(Unpublished::Unroutable)));
        let now = Instant::now();
        let published = outcomes.iter().filter(|(_, outcome)| outcome.is_ok());
        let waits = published.map(|(name, _)| now.saturating_duration_since(name.sent_at).as_secs_f64());
        self.metrics.confirms.observe_all((), waits);
    }
}
