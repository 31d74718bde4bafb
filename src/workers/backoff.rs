//! Waiting between tries of something that must work again sooner or later.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio_util::sync::CancellationToken;

/// Exponential delays with jitter, from 100 ms to 10 s, without end.
#[derive(Debug)]
pub struct Backoff(ExponentialBackoff);

impl Default for Backoff {
    fn default() -> Self {
        Self(
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(100))
                .with_max_delay(Duration::from_secs(10))
                .with_jitter()
                .without_max_times()
                .build(),
        )
    }
}

impl Backoff {
    /// The next delay starts from the shortest again.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Waits for the next delay, or for `stop`. `false` when stopped.
    pub async fn wait(&mut self, stop: &CancellationToken) -> bool {
        let delay = self.0.next().unwrap_or(Duration::from_secs(10));
        stop.run_until_cancelled(tokio::time::sleep(delay)).await.is_some()
    }
}
