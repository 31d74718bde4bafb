//! The circuit breaker of an endpoint: when failures stop requests, and how requests resume.
//!
//! A closed breaker lets every request through. After enough consecutive failures over enough time it opens and lets
//! none through. Then one request probes the endpoint (half open). If the probe fails, the breaker opens again for
//! twice as long. If it succeeds, the breaker allows two requests at once and one more after each success (ramp up)
//! until it is closed. A few consecutive failures reopen it. A single one does not, or the breaker of a receiver that
//! fails one request in twenty would never close.
//!
//! Count alone does not open a breaker: a burst that fails within a second is retried as usual.
//!
//! A hold opens it as well, until the time that the receiver asked for, even if the rule disables breakers. So one
//! request goes first after a hold, and a receiver that answers every probe with a hold gets fewer and fewer
//! requests.

use std::time::Duration;

use strum::{EnumString, IntoStaticStr, VariantArray};
use time::OffsetDateTime;

/// Between two probes, unless [`BreakerRule::wait`] is longer.
pub const MAX_PROBE_WAIT: Duration = Duration::from_mins(5);

/// Concurrent requests after a successful probe.
const FIRST_ALLOWANCE: u32 = 2;

/// Consecutive failures that open a breaker during ramp up, unless the rule has a lower number.
const RAMP_UP_FAILURES: u32 = 3;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct BreakerRule {
    /// Consecutive failures; 0 disables the breaker.
    pub failures: u32,
    /// Minimum time from the first of these failures to the last.
    pub after: Duration,
    /// The wait before the first probe. Each failed probe doubles it, up to [`MAX_PROBE_WAIT`].
    pub wait: Duration,
}

impl BreakerRule {
    /// The wait before the next probe of a breaker that has opened this often.
    fn probe_wait(&self, openings: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(openings.saturating_sub(1).min(16));
        self.wait.saturating_mul(doubled).min(MAX_PROBE_WAIT.max(self.wait))
    }
}

/// Whether an attempt shows that the endpoint works, regardless of the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// The endpoint handled the request: it accepted or rejected it.
    Alive,
    /// The endpoint failed or did not answer.
    Failing,
    /// The endpoint asked for a hold, for this time.
    Held(Duration),
    /// Unknown: nothing was sent.
    None,
}

/// The state of a breaker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum State {
    /// All requests are sent.
    Closed,
    /// No requests are sent.
    Open,
    /// One request probes the endpoint.
    HalfOpen,
    /// A limited number of concurrent requests is sent.
    RampUp,
}

impl State {
    /// The name in `webhook_endpoints.breaker`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The breaker of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Decides which requests are sent.
    pub state: State,
    /// If open, the time of the next probe.
    pub until: OffsetDateTime,
    /// How often it opened since it was last closed.
    pub openings: u32,
    /// Concurrent requests during ramp up.
    pub allowance: u32,
    /// Consecutive failures; 0 in a breaker that a hold opened.
    pub failures: u32,
    /// Time of the first of these failures.
    pub failing_since: Option<OffsetDateTime>,
}

impl Breaker {
    /// A breaker without failures.
    #[must_use]
    pub const fn closed() -> Self {
        Self {
            state: State::Closed,
            until: OffsetDateTime::UNIX_EPOCH,
            openings: 0,
            allowance: 0,
            failures: 0,
            failing_since: None,
        }
    }

    /// Whether it is closed and has no failures.
    #[must_use]
    pub fn has_no_failures(&self) -> bool {
        self.state == State::Closed && self.failures == 0
    }

    /// The breaker after one more signal. `max_in_flight` limits the concurrent requests of a closed breaker.
    #[must_use]
    pub fn after(self, signal: Signal, now: OffsetDateTime, max_in_flight: u32, rule: &BreakerRule) -> Self {
        match signal {
            Signal::Held(hold) => self.held(hold, now, rule),
            // A request from before the hold says nothing about the time after it.
            _ if self.is_held(now) => self,
            // The probe was inconclusive, so the next one may start.
            Signal::None if self.state == State::HalfOpen => Self { until: now, ..self },
            Signal::None => self,
            Signal::Alive => self.alive(max_in_flight),
            Signal::Failing => self.failing(now, rule),
        }
    }

    fn is_held(&self, now: OffsetDateTime) -> bool {
        self.state == State::Open && self.failures == 0 && now < self.until
    }

    fn held(self, hold: Duration, now: OffsetDateTime, rule: &BreakerRule) -> Self {
        let asked = now.saturating_add(signed(hold));
        let (openings, until) = match self.state {
            // During ramp up the last probe has succeeded, so the endpoint only wants a slower pace.
            State::Closed | State::RampUp => (0, asked),
            // Another answer to a request from before it opened.
            State::Open => (self.openings, asked.max(self.until)),
            State::HalfOpen => {
                let openings = self.openings.saturating_add(1);
                (openings, asked.max(now.saturating_add(signed(rule.probe_wait(openings)))))
            }
        };
        Self { state: State::Open, until, openings, ..Self::closed() }
    }

    fn alive(self, max_in_flight: u32) -> Self {
        let without_failures = Self { failures: 0, failing_since: None, ..self };
        let allowance = match self.state {
            State::Closed => return without_failures,
            // A late success of a request from before the opening counts as a probe.
            State::Open | State::HalfOpen => FIRST_ALLOWANCE,
            State::RampUp => self.allowance.saturating_add(1),
        };
        if allowance >= max_in_flight {
            return Self { until: self.until, ..Self::closed() };
        }
        Self { state: State::RampUp, allowance, ..without_failures }
    }

    fn failing(self, now: OffsetDateTime, rule: &BreakerRule) -> Self {
        let failures = self.failures.saturating_add(1);
        let since = self.failing_since.unwrap_or(now);
        let failing = Self { failures, failing_since: Some(since), ..self };
        let opens = match self.state {
            State::Closed => failures >= rule.failures && now - since >= rule.after,
            State::Open => false,
            State::HalfOpen => true,
            State::RampUp => failures >= RAMP_UP_FAILURES.min(rule.failures),
        };
        if rule.failures == 0 {
            return Self { failures, failing_since: Some(since), ..Self::closed() };
        }
        if !opens {
            return failing;
        }
        let openings = self.openings.saturating_add(1);
        Self {
            state: State::Open,
            until: now.saturating_add(signed(rule.probe_wait(openings))),
            openings,
            allowance: 0,
            ..failing
        }
    }
}

fn signed(duration: Duration) -> time::Duration {
    time::Duration::try_from(duration).unwrap_or(time::Duration::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: BreakerRule =
        BreakerRule { failures: 3, after: Duration::from_secs(30), wait: Duration::from_secs(10) };

    fn at(seconds: i64) -> OffsetDateTime {
        OffsetDateTime::UNIX_EPOCH + time::Duration::seconds(seconds)
    }

    fn after(breaker: Breaker, signals: &[(Signal, i64)]) -> Breaker {
        signals
            .iter()
            .fold(breaker, |breaker, (signal, seconds)| breaker.after(*signal, at(*seconds), 8, &RULE))
    }

    use Signal::{Alive, Failing};

    fn hold(seconds: u64) -> Signal {
        Signal::Held(Duration::from_secs(seconds))
    }

    #[test]
    fn it_opens_after_enough_consecutive_failures_over_enough_time() {
        let many = after(Breaker::closed(), &[(Failing, 0), (Failing, 1), (Failing, 2), (Failing, 29)]);
        assert_eq!((many.state, many.failures), (State::Closed, 4));
        let few = after(Breaker::closed(), &[(Failing, 0), (Failing, 100)]);
        assert_eq!(few.state, State::Closed);
        let open = after(many, &[(Failing, 30)]);
        assert_eq!((open.state, open.until, open.openings), (State::Open, at(40), 1));
        let interrupted =
            after(Breaker::closed(), &[(Failing, 0), (Failing, 1), (Alive, 2), (Failing, 40), (Failing, 50)]);
        assert_eq!((interrupted.state, interrupted.failures), (State::Closed, 2));
    }

    #[test]
    fn failed_probes_double_the_wait_up_to_the_maximum() {
        let mut breaker = after(Breaker::closed(), &[(Failing, 0), (Failing, 1), (Failing, 30)]);
        let mut waits = Vec::new();
        for _ in 0..40 {
            let now = breaker.until;
            breaker = Breaker { state: State::HalfOpen, ..breaker }.after(Failing, now, 8, &RULE);
            waits.push((breaker.until - now).whole_seconds());
        }
        assert_eq!(waits.get(..6).unwrap(), [20, 40, 80, 160, 300, 300]);
        assert_eq!(waits.last(), Some(&300));
    }

    #[test]
    fn a_successful_probe_starts_the_ramp_up() {
        let open = after(Breaker::closed(), &[(Failing, 0), (Failing, 1), (Failing, 30)]);
        let mut breaker = after(Breaker { state: State::HalfOpen, ..open }, &[(Alive, 40)]);
        assert_eq!((breaker.state, breaker.allowance, breaker.openings), (State::RampUp, 2, 1));
        for expected in 3..8 {
            breaker = after(breaker, &[(Alive, 41)]);
            assert_eq!((breaker.state, breaker.allowance), (State::RampUp, expected));
        }
        let closed = after(breaker, &[(Alive, 42)]);
        assert_eq!((closed.state, closed.openings, closed.has_no_failures()), (State::Closed, 0, true));
        let again = after(breaker, &[(Failing, 43), (Failing, 43), (Failing, 43)]);
        assert_eq!((again.state, again.until), (State::Open, at(63)));
    }

    #[test]
    fn occasional_failures_do_not_stop_the_ramp_up() {
        let open = after(Breaker::closed(), &[(Failing, 0), (Failing, 1), (Failing, 30)]);
        let ramp_up = after(Breaker { state: State::HalfOpen, ..open }, &[(Alive, 40)]);
        let mut breaker = after(ramp_up, &[(Failing, 41), (Failing, 42)]);
        assert_eq!((breaker.state, breaker.allowance), (State::RampUp, 2));
        for _ in 0..6 {
            breaker = after(breaker, &[(Alive, 43), (Failing, 44)]);
        }
        assert_eq!((breaker.state, breaker.failures), (State::Closed, 1));
        let open = after(ramp_up, &[(Failing, 41), (Failing, 42), (Failing, 43)]);
        assert_eq!((open.state, open.until, open.openings), (State::Open, at(63), 2));
    }

    #[test]
    fn an_inconclusive_probe_allows_the_next_one() {
        let probe = Breaker { state: State::HalfOpen, until: at(100), ..Breaker::closed() };
        assert_eq!(probe.after(Signal::None, at(40), 8, &RULE), Breaker { until: at(40), ..probe });
    }

    #[test]
    fn late_failures_are_ignored_and_late_successes_count_as_probes() {
        let open = after(Breaker::closed(), &[(Failing, 0), (Failing, 1), (Failing, 30)]);
        assert_eq!(after(open, &[(Failing, 31)]).until, open.until);
        assert_eq!(after(open, &[(Alive, 31)]).state, State::RampUp);
        assert_eq!(open.after(Signal::None, at(31), 8, &RULE), open);
        let probing = Breaker { state: State::HalfOpen, ..open };
        let again = probing.after(Signal::None, at(41), 8, &RULE);
        assert_eq!((again.state, again.until, again.openings), (State::HalfOpen, at(41), 1));
    }

    #[test]
    fn a_rule_of_zero_failures_disables_the_breaker() {
        let off = BreakerRule { failures: 0, ..RULE };
        let breaker =
            (0..1000).fold(Breaker::closed(), |breaker, second| breaker.after(Failing, at(second), 8, &off));
        assert_eq!((breaker.state, breaker.failures), (State::Closed, 1000));
        let open = after(Breaker::closed(), &[(Failing, 0), (Failing, 1), (Failing, 30)]);
        assert_eq!(open.after(Failing, at(40), 8, &off).state, State::Closed, "an open breaker closes");
    }

    #[test]
    fn a_hold_opens_the_breaker_for_the_time_asked_for() {
        let off = BreakerRule { failures: 0, ..RULE };
        let failing = after(Breaker::closed(), &[(Failing, 0), (Failing, 1)]);
        let ramp_up = Breaker { state: State::RampUp, allowance: 5, openings: 4, ..Breaker::closed() };
        for before in [Breaker::closed(), failing, ramp_up] {
            for rule in [RULE, off] {
                let held = before.after(hold(7), at(10), 8, &rule);
                assert_eq!((held.state, held.until, held.openings), (State::Open, at(17), 0), "{before:?}");
            }
        }
    }

    /// Of one burst, some requests succeed and some fail while others were answered with a hold.
    #[test]
    fn nothing_but_a_longer_hold_changes_a_hold() {
        let off = BreakerRule { failures: 0, ..RULE };
        let held = after(Breaker::closed(), &[(hold(7), 0), (hold(3), 1)]);
        assert_eq!(held.until, at(7));
        for signal in [Alive, Failing, Signal::None] {
            for rule in [RULE, off] {
                assert_eq!(held.after(signal, at(6), 8, &rule), held, "{signal:?}");
            }
        }
        assert_eq!(after(held, &[(hold(7), 1)]).until, at(8));
        let over = after(held, &[(Alive, 7)]);
        assert_eq!((over.state, over.allowance), (State::RampUp, 2), "a late success after its end");
    }

    #[test]
    fn a_hold_opens_a_failing_breaker_for_as_long_as_it_was_open() {
        let open = after(Breaker::closed(), &[(Failing, 0), (Failing, 1), (Failing, 30)]);
        assert_eq!(after(open, &[(hold(2), 31)]).until, open.until);
        assert_eq!(after(open, &[(hold(60), 31)]).until, at(91));
    }

    #[test]
    fn probes_that_are_held_double_the_wait_up_to_the_maximum() {
        let mut breaker = after(Breaker::closed(), &[(hold(1), 0)]);
        let mut waits = Vec::new();
        for asked in [1, 1, 1, 1000, 1, 1, 1, 1] {
            let now = breaker.until;
            breaker = Breaker { state: State::HalfOpen, ..breaker }.after(hold(asked), now, 8, &RULE);
            waits.push((breaker.until - now).whole_seconds());
        }
        assert_eq!(waits, [10, 20, 40, 1000, 160, 300, 300, 300]);
        let probed = Breaker { state: State::HalfOpen, ..breaker };
        assert_eq!(after(probed, &[(Alive, 9_000)]).state, State::RampUp);
        let failed = probed.after(Failing, at(9_000), 8, &RULE);
        assert_eq!((failed.state, failed.until), (State::Open, at(9_300)));
    }

    #[test]
    fn a_successful_probe_closes_the_breaker_of_a_sequential_endpoint() {
        let open = after(Breaker::closed(), &[(Failing, 0), (Failing, 1), (Failing, 30)]);
        assert!(open.after(Alive, at(40), 1, &RULE).has_no_failures());
    }
}
