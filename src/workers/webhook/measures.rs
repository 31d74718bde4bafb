//! What the metrics read from worker 2's memory.

use std::sync::{Arc, Weak};

use super::{job::Job, lanes::Lanes, sender::Sender};
use crate::metrics::{Held, Metrics, Room, Waiting, as_f64};

/// Lets the metrics read what is in memory, until the worker stops.
pub(super) fn watch(metrics: &Metrics, sender: &Arc<Sender>, lanes: &Arc<Lanes>, queue_bytes: usize) {
    let (sender, lanes) = (Arc::downgrade(sender), Arc::downgrade(lanes));
    let figure = |of: fn(_) -> usize| {
        let sender = Weak::clone(&sender);
        move || Some(of(sender.upgrade()?.queue().figures()))
    };
    let count = |of| {
        let figure = figure(of);
        move || figure().map(as_f64)
    };
    metrics.in_flight.watch((), count(|all| all.in_flight));
    metrics.held.watch((), count(|all| all.held));
    metrics.lanes.watch(Held::Waiting, count(|all| all.waiting_lanes));
    metrics.lanes.watch(Held::Owned, move || lanes.upgrade().map(|lanes| as_f64(lanes.owned().len())));
    metrics.watch_room(Room::WebhookQueue, queue_bytes, figure(|all| all.held_bytes));
    // See `Queue::next`.
    metrics.watch_room(Room::WebhookAnswers, queue_bytes / 2, figure(|all| all.answer_bytes));
    metrics.oldest_waiting.watch(Waiting::Webhook, move || {
        let oldest = sender.upgrade()?.queue().oldest(|job: &Job| job.since);
        Some(oldest.map_or(0.0, |since| since.elapsed().as_secs_f64()))
    });
}
