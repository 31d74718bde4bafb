//! When a lane may send, and how much: its pause, hold, breaker and rate limit, with the time as an argument.

use std::time::Duration;

use time::OffsetDateTime;

use crate::domain::webhook::breaker::{Breaker, State};

/// How much time a rate limit may catch up on after a pause, which also limits what it sends at once.
const MAX_BURST: Duration = Duration::from_millis(100);

/// The state of a lane, as its row has it.
#[derive(Clone, Debug)]
pub struct Lane {
    /// Maximum number of concurrent requests.
    pub max_in_flight: u32,
    /// Minimum time between two requests.
    pub send_interval: Option<Duration>,
    /// An operator paused it, or its endpoint is gone.
    pub is_stopped: bool,
    /// The end of the hold that the receiver asked for; may be past.
    pub held_until: OffsetDateTime,
    /// When the rate limit allows the next request; may be past.
    pub next_slot_at: OffsetDateTime,
    /// Its breaker.
    pub breaker: Breaker,
}

/// Whether requests may be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Yes.
    Open,
    /// Not yet: the receiver asked for a hold, or the breaker is open. Deliveries that wait too long expire.
    Waiting,
    /// No, until an operator allows it. Nothing expires.
    Stopped,
}

impl Lane {
    /// Whether requests may be sent at `now`.
    #[must_use]
    pub fn gate(&self, now: OffsetDateTime) -> Gate {
        let is_open = self.breaker.state == State::Open && self.breaker.until > now;
        if self.is_stopped {
            Gate::Stopped
        } else if is_open || self.held_until > now {
            Gate::Waiting
        } else {
            Gate::Open
        }
    }

    /// Whether new deliveries may be sent directly from memory, without a row. A few failures do not matter: a receiver that fails one
    /// request in a thousand would keep its whole traffic on the way through rows.
    #[must_use]
    pub fn allows_direct_sending(&self, now: OffsetDateTime) -> bool {
        self.gate(now) == Gate::Open && self.breaker.state == State::Closed && self.send_interval.is_none()
    }

    /// How many requests may be in flight.
    #[must_use]
    pub fn cap(&self) -> u32 {
        cap(self.max_in_flight, &self.breaker)
    }

    /// Takes up to `wanted` slots of the rate limit. Returns how many it allows now.
    pub fn take_slots(&mut self, now: OffsetDateTime, wanted: usize) -> usize {
        let Some(interval) = self.send_interval.filter(|interval| !interval.is_zero()) else { return wanted };
        let burst = MAX_BURST.max(interval);
        let from = self.next_slot_at.max(now.saturating_sub(signed(burst)).saturating_add(signed(interval)));
        if from > now {
            return 0;
        }
        let ready = Duration::try_from(now - from).unwrap_or_default().as_nanos() / interval.as_nanos() + 1;
        let taken = usize::try_from(ready).unwrap_or(usize::MAX).min(wanted);
        self.next_slot_at =
            from.saturating_add(signed(interval.saturating_mul(u32::try_from(taken).unwrap_or(u32::MAX))));
        taken
    }
}

/// How many requests may be in flight with this breaker, `max_in_flight` at most.
#[must_use]
pub fn cap(max_in_flight: u32, breaker: &Breaker) -> u32 {
    let cap = match breaker.state {
        State::Open | State::HalfOpen => 1,
        State::RampUp => max_in_flight.min(breaker.allowance),
        // Each consecutive failure lowers the cap: a receiver that hangs soon ties up only one request.
        State::Closed => max_in_flight / breaker.failures.saturating_add(1),
    };
    cap.max(1)
}

fn signed(duration: Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(milliseconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::days(1) + time::Duration::milliseconds(milliseconds)
    }

    fn lane() -> Lane {
        Lane {
            max_in_flight: 64,
            send_interval: None,
            is_stopped: false,
            held_until: OffsetDateTime::UNIX_EPOCH,
            next_slot_at: OffsetDateTime::UNIX_EPOCH,
            breaker: Breaker::closed(),
        }
    }

    #[test]
    fn an_open_lane_without_a_rate_limit_allows_direct_sending() {
        assert!(lane().allows_direct_sending(at(0)));
        assert!(!Lane { is_stopped: true, ..lane() }.allows_direct_sending(at(0)));
        assert!(!Lane { held_until: at(1), ..lane() }.allows_direct_sending(at(0)));
        assert!(Lane { held_until: at(1), ..lane() }.allows_direct_sending(at(1)));
        assert!(!Lane { send_interval: Some(Duration::from_secs(1)), ..lane() }.allows_direct_sending(at(0)));
        let failing = Breaker { failures: 1, ..Breaker::closed() };
        assert!(Lane { breaker: failing, ..lane() }.allows_direct_sending(at(0)));
        for state in [State::Open, State::HalfOpen, State::RampUp] {
            let breaker = Breaker { state, ..Breaker::closed() };
            assert!(!Lane { breaker, ..lane() }.allows_direct_sending(at(0)), "{state:?}");
        }
    }

    #[test]
    fn a_stop_outranks_a_hold_and_an_open_breaker() {
        let open = Breaker { state: State::Open, until: at(5), ..Breaker::closed() };
        assert_eq!(Lane { breaker: open, ..lane() }.gate(at(4)), Gate::Waiting);
        assert_eq!(Lane { breaker: open, ..lane() }.gate(at(5)), Gate::Open);
        assert_eq!(Lane { breaker: open, is_stopped: true, ..lane() }.gate(at(4)), Gate::Stopped);
    }

    #[test]
    fn failures_and_probes_lower_the_cap() {
        let with = |breaker| Lane { breaker, ..lane() }.cap();
        assert_eq!(with(Breaker::closed()), 64);
        assert_eq!(with(Breaker { failures: 3, ..Breaker::closed() }), 16);
        assert_eq!(with(Breaker { failures: 1000, ..Breaker::closed() }), 1);
        assert_eq!(with(Breaker { state: State::HalfOpen, ..Breaker::closed() }), 1);
        assert_eq!(with(Breaker { state: State::RampUp, allowance: 3, ..Breaker::closed() }), 3);
    }

    #[test]
    fn a_slow_rate_allows_one_request_per_interval() {
        let mut limited = Lane { send_interval: Some(Duration::from_secs(1)), ..lane() };
        assert_eq!(limited.take_slots(at(0), 10), 1);
        assert_eq!((limited.take_slots(at(999), 10), limited.next_slot_at), (0, at(1000)));
        assert_eq!(limited.take_slots(at(1000), 10), 1);
        assert_eq!(limited.take_slots(at(60_000), 10), 1, "a pause is not caught up on");
    }

    #[test]
    fn a_fast_rate_catches_up_on_a_tenth_of_a_second() {
        let mut limited = Lane { send_interval: Some(Duration::from_millis(1)), ..lane() };
        assert_eq!(limited.take_slots(at(0), 1000), 100);
        assert_eq!(limited.take_slots(at(0), 1000), 0);
        assert_eq!(limited.take_slots(at(10), 3), 3);
        assert_eq!(limited.take_slots(at(10), 1000), 7);
    }
}
