//! How fast a lane completes attempts, and so how many deliveries are worth claiming ahead.

use std::time::{Duration, Instant};

/// As many deliveries as a lane completes in this time may be claimed ahead. That makes a claim worth its query,
/// and leaves little claimed of a lane that hangs.
const AHEAD: Duration = Duration::from_millis(100);

/// A shorter interval measures nothing, because attempts are recorded in batches.
const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// Counts the attempts of one lane.
#[derive(Clone, Copy, Default)]
pub(super) struct Throughput {
    /// Attempts that have ended since `since`.
    ended: u32,
    since: Option<Instant>,
    /// The previous result.
    ahead: u32,
}

impl Throughput {
    /// Counts an attempt that has ended.
    pub(super) const fn count(&mut self) {
        self.ended = self.ended.saturating_add(1);
    }

    /// How many attempts the lane completes within [`AHEAD`], measured since the previous call. A result is at
    /// least half the previous one, because one interval may miss a whole batch.
    pub(super) fn ahead(&mut self, now: Instant) -> u32 {
        let Some(since) = self.since else {
            *self = Self { since: Some(now), ..Self::default() };
            return 0;
        };
        let time = now.saturating_duration_since(since);
        if time >= MIN_INTERVAL {
            let ended = u128::from(self.ended) * AHEAD.as_micros() / time.as_micros();
            let ahead = u32::try_from(ended).unwrap_or(u32::MAX).max(self.ahead / 2);
            *self = Self { ended: 0, since: Some(now), ahead };
        }
        self.ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ahead_after(throughput: &mut Throughput, ended: u32, now: &mut Instant, time: Duration) -> u32 {
        (0..ended).for_each(|_| throughput.count());
        *now += time;
        throughput.ahead(*now)
    }

    #[test]
    fn lane_may_claim_a_tenth_of_a_second_ahead() {
        let (mut throughput, mut now) = (Throughput::default(), Instant::now());
        assert_eq!(
            ahead_after(&mut throughput, 1_000, &mut now, Duration::from_secs(1)),
            0,
            "no time has been measured yet"
        );
        assert_eq!(ahead_after(&mut throughput, 1_000, &mut now, Duration::from_millis(200)), 500);
        assert_eq!(ahead_after(&mut throughput, 4_000, &mut now, Duration::from_secs(1)), 400);
        assert_eq!(ahead_after(&mut throughput, 0, &mut now, Duration::from_mins(1)), 200);
        assert_eq!(ahead_after(&mut throughput, 0, &mut now, Duration::from_mins(1)), 100);
    }

    #[test]
    fn interval_that_is_too_short_changes_nothing() {
        let (mut throughput, mut now) = (Throughput::default(), Instant::now());
        assert_eq!(throughput.ahead(now), 0);
        assert_eq!(ahead_after(&mut throughput, 100, &mut now, Duration::from_millis(49)), 0);
        assert_eq!(ahead_after(&mut throughput, 100, &mut now, Duration::from_millis(51)), 200);
        assert_eq!(ahead_after(&mut throughput, 100, &mut now, Duration::ZERO), 200);
    }
}
