//! What the metrics read from worker 2's memory.

use std::sync::{Arc, Weak};

use super::{
    attempt::{Job, Sender},
    lanes::Lanes,
};
use crate::metrics::{Held, Metrics, Room, Waiting, as_f64};

/// Lets the metrics read what is in memory, until the worker stops.
pub(super) fn watch(metrics: &Metrics, sender: &Arc<Sender>, lanes: &Arc<Lanes>, queue_bytes: usize) {
    let sender = || Arc::downgrade(sender);
    let figures = |sender: &Weak<Sender>| sender.upgrade().map(|sender| sender.queue().figures());
    let (one, lanes) = (sender(), Arc::downgrade(lanes));
    metrics.in_flight.watch((), move || figures(&one).map(|all| as_f64(all.in_flight)));
    let one = sender();
    metrics.held.watch((), move || figures(&one).map(|all| as_f64(all.held)));
    let one = sender();
    metrics.lanes.watch(Held::Waiting, move || figures(&one).map(|all| as_f64(all.waiting_lanes)));
    metrics.lanes.watch(Held::Owned, move || lanes.upgrade().map(|lanes| as_f64(lanes.owned().len())));
    let one = sender();
    metrics.watch_room(Room::WebhookQueue, queue_bytes, move || figures(&one).map(|all| all.held_bytes));
    let one = sender();
    // See `Queue::next`.
    metrics
        .watch_room(Room::WebhookAnswers, queue_bytes / 2, move || figures(&one).map(|all| all.answer_bytes));
    let one = sender();
    metrics.oldest_waiting.watch(Waiting::Webhook, move || {
        let oldest = one.upgrade()?.queue().oldest(|job: &Job| job.since);
        Some(oldest.map_or(0.0, |since| since.elapsed().as_secs_f64()))
    });
}
