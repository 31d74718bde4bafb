//! Delays between retries of something that will recover, such as a connection to the broker.

use std::time::{Duration, Instant};

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio_util::sync::CancellationToken;

/// The first delay, before jitter.
const MIN_DELAY: Duration = Duration::from_millis(100);

/// The longest delay before jitter, which at most doubles it. It is short, because work resumes that much
/// later after an outage, and a retry every few seconds adds no load worth saving.
const MAX_DELAY: Duration = Duration::from_millis(2500);

/// A failure this long after the previous retry belongs to a new outage and starts with the first delay.
const RESET_INTERVAL: Duration = Duration::from_secs(30);

/// The delay after so many failures, for what keeps count of them itself. `chance` is between 0 and 1.
pub(super) fn delay(failures: u32, chance: f64) -> Duration {
    let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
    let delay = MIN_DELAY.saturating_mul(2_u32.saturating_pow(doublings)).min(MAX_DELAY);
    delay + delay.mul_f64(chance)
}

/// Sleeps until then; for ever if there is no time.
pub(super) async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Exponential delays with jitter, from 100 ms to 5 s, without a limit on their number.
#[derive(Debug)]
pub struct Backoff {
    delays: ExponentialBackoff,
    /// When the last delay ended.
    waited_at: Option<Instant>,
}

impl Default for Backoff {
    fn default() -> Self {
        let delays = ExponentialBuilder::default()
            .with_min_delay(MIN_DELAY)
            .with_max_delay(MAX_DELAY)
            .with_jitter()
            .without_max_times()
            .build();
        Self { delays, waited_at: None }
    }
}

impl Backoff {
    /// Makes the next delay the first one again.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Sleeps for the next delay. `false` when `stop` was canceled first.
    pub async fn wait(&mut self, stop: &CancellationToken) -> bool {
        if self.waited_at.is_some_and(|waited_at| waited_at.elapsed() > RESET_INTERVAL) {
            self.reset();
        }
        let delay = self.delays.next().unwrap_or(MAX_DELAY);
        let elapsed = stop.run_until_cancelled(tokio::time::sleep(delay)).await.is_some();
        self.waited_at = Some(Instant::now());
        elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twelve_tries_take_about_half_a_minute() {
        let total = |chance| (1..12).map(|failures| delay(failures, chance)).sum::<Duration>();
        assert_eq!((total(0.0).as_secs(), total(1.0).as_secs()), (18, 36));
        assert_eq!((delay(0, 1.0), delay(u32::MAX, 0.0)), (Duration::ZERO, MAX_DELAY));
    }
}
