//! Splits operations on many rows into windows and limits their rate.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::{Instant, sleep_until};

/// Maximum number of rows in one transaction and one window of confirms.
const MAX_WINDOW: usize = 100;

/// Limits an operation to a number of rows per second.
pub(super) struct RateLimit {
    rate: Option<NonZeroU32>,
    due: Instant,
}

impl RateLimit {
    pub(super) fn new(rate: Option<NonZeroU32>) -> Self {
        Self { rate, due: Instant::now() }
    }

    /// Rows in one window: a tenth of a second's worth, so that the rate is even.
    pub(super) fn window(&self) -> usize {
        let Some(rate) = self.rate else { return MAX_WINDOW };
        usize::try_from(rate.get().div_ceil(10)).map_or(MAX_WINDOW, |rows| rows.min(MAX_WINDOW))
    }

    /// Waits until a window of `count` rows may begin. Later windows do not make up for a slow one.
    pub(super) async fn wait(&mut self, count: usize) {
        sleep_until(self.due).await;
        if let Some(rate) = self.rate {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            self.due = Instant::now() + Duration::from_secs(1) * count / rate.get();
        }
    }
}
