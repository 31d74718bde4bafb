//! Operations over many things, in windows and held to a rate.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::{Instant, sleep_until};

/// Most things in one transaction and one window of confirms.
const WINDOW: usize = 100;

/// Holds an operation to so many things a second.
pub(super) struct RateLimit {
    rate: Option<NonZeroU32>,
    due: Instant,
}

impl RateLimit {
    pub(super) fn new(rate: Option<NonZeroU32>) -> Self {
        Self { rate, due: Instant::now() }
    }

    /// How many make one window: a tenth of a second's worth, so that the rate is even.
    pub(super) fn window(&self) -> usize {
        self.rate
            .map_or(WINDOW, |rate| usize::try_from(rate.get().div_ceil(10)).map_or(WINDOW, |n| n.min(WINDOW)))
    }

    /// Waits until a window of `count` may begin. There is no catching up after a slow one.
    pub(super) async fn wait(&mut self, count: usize) {
        sleep_until(self.due).await;
        if let Some(rate) = self.rate {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.due = Instant::now() + Duration::from_secs(1) * count / rate.get();
        }
    }
}
