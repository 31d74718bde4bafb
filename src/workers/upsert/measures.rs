//! What worker 1 measures: figures per transaction, and what it holds in memory.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use super::{
    run::{BatchResult, Messages},
    window::Window,
};
use crate::{
    amqp::Receipt,
    domain::fault::{Reason, Stage},
    metrics::{Ending, Metrics, Replayed, Room, Since, Step, Waiting, as_f64},
    postgres::ledger::End,
};

/// What a transaction did with its messages.
pub(super) struct Measures {
    /// How many it had.
    messages: usize,
    /// When the messages of applied events were taken.
    applied: Vec<Instant>,
    erased: usize,
    /// How many replays failed again, and how many ended well.
    replays: [(Replayed, usize); 2],
}

impl Measures {
    /// Before the result is written.
    pub(super) fn of<'a>(result: &BatchResult<'a>, messages: Messages<'a>) -> Self {
        let applied = result.with_runs(messages.accepted).filter(|(_, run)| run.is_some());
        let applied = applied.map(|(one, _)| one.message.taken_at).collect();
        let erased = result.proofs.iter().filter(|proof| matches!(proof.end, End::Erased)).count();
        let failed = result.dead.iter().filter(|dead| dead.replay_of.is_some()).count();
        let resolved = messages.replays().len().saturating_sub(failed);
        Self {
            messages: messages.accepted.len() + messages.rejected.len(),
            applied,
            erased,
            replays: [(Replayed::Failed, failed), (Replayed::Resolved, resolved)],
        }
    }

    /// After the commit of a transaction that `began` then and made these dead letters; `left_out` others were not counted.
    pub(super) fn record(&self, metrics: &Metrics, began: Instant, dead: &[Reason], left_out: usize) {
        let Self { messages, applied, erased, replays } = self;
        let refused = dead.len() + left_out;
        let now = Instant::now();
        metrics.events.add(Ending::Applied, applied.len());
        metrics.events.add(Ending::Erased, *erased);
        metrics.events.add(Ending::Refused, refused);
        metrics.events.add(Ending::Duplicate, messages.saturating_sub(applied.len() + erased + refused));
        metrics.batch_sizes.observe(Step::Upsert, as_f64(*messages));
        metrics.batch_durations.observe(Step::Upsert, (now - began).as_secs_f64());
        let waits = applied.iter().map(|taken_at| now.saturating_duration_since(*taken_at).as_secs_f64());
        metrics.trigger_to_contact.observe_all((), waits);
        for reason in dead {
            metrics.dead_letters.add((Stage::Upsert, *reason), 1);
        }
        for (ended, count) in replays {
            metrics.replays.add((Stage::Upsert, *ended), *count);
        }
    }
}

/// What the metrics read of one consumer.
pub(super) struct Watched {
    oldest: Arc<Since>,
    decoded: Arc<AtomicUsize>,
}

impl Watched {
    pub(super) fn new(metrics: &Metrics, decoded_bytes: usize) -> Self {
        let watched = Self { oldest: Arc::default(), decoded: Arc::default() };
        let oldest = Arc::downgrade(&watched.oldest);
        metrics.oldest_waiting.watch(Waiting::Upsert, move || oldest.upgrade().map(|oldest| oldest.age()));
        let decoded = Arc::downgrade(&watched.decoded);
        let used = move || decoded.upgrade().map(|bytes| bytes.load(Ordering::Relaxed));
        metrics.watch_room(Room::Decoded, decoded_bytes, used);
        watched
    }

    pub(super) fn note<T>(&self, window: &Window<T, Receipt>) {
        self.oldest.set(window.oldest().map(Receipt::taken_at));
        self.decoded.store(window.decoded(), Ordering::Relaxed);
    }
}
