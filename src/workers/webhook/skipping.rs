//! How much of what was skipped waits for the recorder.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::sync::Notify;

/// Maximum number of skipped jobs before the hand-over waits for the recorder.
const MAX_JOBS: usize = 2_000;

/// Maximum size of skipped jobs before the hand-over waits for the recorder, in bytes.
const MAX_BYTES: usize = 16 << 20;

/// Counts skipped jobs.
#[derive(Default)]
pub(super) struct Skipping {
    jobs: AtomicUsize,
    bytes: AtomicUsize,
    /// Notified when there are fewer of them.
    freed: Notify,
}

/// The place of one skipped job. It is free again when this is dropped.
pub(super) struct Place {
    skipping: Arc<Skipping>,
    bytes: usize,
}

impl Skipping {
    /// Counts a job of this size.
    pub(super) fn take(self: &Arc<Self>, bytes: usize) -> Place {
        self.jobs.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Place { skipping: Arc::clone(self), bytes }
    }

    /// Waits until the recorder keeps up.
    pub(super) async fn has_room(&self) {
        while self.jobs.load(Ordering::Relaxed) >= MAX_JOBS || self.bytes.load(Ordering::Relaxed) >= MAX_BYTES
        {
            self.freed.notified().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.skipping.jobs.fetch_sub(1, Ordering::Relaxed);
        self.skipping.bytes.fetch_sub(self.bytes, Ordering::Relaxed);
        self.skipping.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;

    #[test]
    fn hand_over_waits_for_many_jobs_and_for_large_ones() {
        for (jobs, bytes) in [(MAX_JOBS, 0), (1, MAX_BYTES)] {
            let skipping = Arc::new(Skipping::default());
            let mut places: Vec<Place> = (0..jobs).map(|_| skipping.take(bytes)).collect();
            assert!(skipping.has_room().now_or_never().is_none(), "{jobs}, {bytes}");
            places.pop();
            assert!(skipping.has_room().now_or_never().is_some(), "{jobs}, {bytes}");
        }
    }
}
