//! How fast a lane gets its deliveries done, and so how many are worth holding claimed.

use std::time::{Duration, Instant};

/// What a lane gets done in this time may be claimed ahead: a claim is worth its query then, and a lane that
/// hangs holds little.
const AHEAD: Duration = Duration::from_millis(100);

/// No throughput is reckoned from less: attempts are recorded in batches.
const SHORTEST_LOOK: Duration = Duration::from_millis(50);

/// The attempts of one lane, counted.
#[derive(Clone, Copy, Default)]
pub(super) struct Throughput {
    /// Since `since`.
    ended: u32,
    since: Option<Instant>,
    ahead: u32,
}

impl Throughput {
    /// One more has ended.
    pub(super) const fn count(&mut self) {
        self.ended = self.ended.saturating_add(1);
    }

    /// What the lane gets done within [`AHEAD`], from what it did since it was asked before. It falls to half with
    /// each question at most, for one look may miss a whole batch.
    pub(super) fn ahead(&mut self, now: Instant) -> u32 {
        let Some(since) = self.since else {
            *self = Self { since: Some(now), ..Self::default() };
            return 0;
        };
        let time = now.saturating_duration_since(since);
        if time >= SHORTEST_LOOK {
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

    fn after(throughput: &mut Throughput, ended: u32, now: &mut Instant, time: Duration) -> u32 {
        (0..ended).for_each(|_| throughput.count());
        *now += time;
        throughput.ahead(*now)
    }

    #[test]
    fn a_tenth_of_a_second_of_what_it_did() {
        let (mut throughput, mut now) = (Throughput::default(), Instant::now());
        assert_eq!(
            after(&mut throughput, 1_000, &mut now, Duration::from_secs(1)),
            0,
            "nobody knows how long these took"
        );
        assert_eq!(after(&mut throughput, 1_000, &mut now, Duration::from_millis(200)), 500);
        assert_eq!(after(&mut throughput, 4_000, &mut now, Duration::from_secs(1)), 400);
        assert_eq!(after(&mut throughput, 0, &mut now, Duration::from_mins(1)), 200);
        assert_eq!(after(&mut throughput, 0, &mut now, Duration::from_mins(1)), 100);
    }

    #[test]
    fn a_look_that_is_too_short_is_none() {
        let (mut throughput, mut now) = (Throughput::default(), Instant::now());
        assert_eq!(throughput.ahead(now), 0);
        assert_eq!(after(&mut throughput, 100, &mut now, Duration::from_millis(49)), 0);
        assert_eq!(after(&mut throughput, 100, &mut now, Duration::from_millis(51)), 200);
        assert_eq!(after(&mut throughput, 100, &mut now, Duration::ZERO), 200);
    }
}
