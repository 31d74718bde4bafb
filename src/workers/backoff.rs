//! Waiting between tries of something that must work again sooner or later.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio_util::sync::CancellationToken;

/// The longest delay before jitter, which makes it up to twice as long. Short, because an outage lasts
/// that much longer for whoever waits; a try every few seconds burdens nobody.
const LONGEST: Duration = Duration::from_millis(2500);

/// After so long without a failure the next one is the first of another outage.
const CALM: Duration = Duration::from_secs(30);

/// Exponential delays with jitter, from 100 ms to 5 s, without end.
#[derive(Debug)]
pub struct Backoff {
    delays: ExponentialBackoff,
    /// When the last delay was over.
    waited: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_delay(LONGEST)
            .with_jitter()
            .without_max_times()
            .build();
        Self { delays, waited: None }
    }
}

impl Backoff {
    /// The next delay starts from the shortest again.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Waits for the next delay, or for `stop`. `false` when stopped.
    pub async fn wait(&mut self, stop: &CancellationToken) -> bool {
        if self.waited.is_some_and(|waited| waited.elapsed() > CALM) {
            self.reset();
        }
        let delay = self.delays.next().unwrap_or(LONGEST);
        let waited = stop.run_until_cancelled(tokio::time::sleep(delay)).await.is_some();
        self.waited = Some(Instant::now());
        waited
    }
}
