//! The circuit breaker of an endpoint: when failures stop the sending, and how it begins again.
//!
//! Closed, everything is sent. After enough failures in a row, over enough time, it opens and nothing is
//! sent. Then one request probes the endpoint (half open): a failure opens it again for twice as long, a
//! success lets one more request through with each further success (ramp up), until it is closed. A few
//! failures in a row open it once more; single ones do not, for a receiver that refuses one request in twenty
//! would never be closed again.
//!
//! A number of failures alone opens nothing: a burst that fails within a second has its retries.

use std::time::Duration;

use time::OffsetDateTime;

/// The longest wait between two probes.
pub const LONGEST_WAIT: Duration = Duration::from_mins(5);

/// Requests at once after a probe that succeeded.
const FIRST_ALLOWANCE: u32 = 2;

/// Failures in a row that open a breaker again while it ramps up, where the rule does not ask for fewer.
const RAMP_UP_FAILURES: u32 = 3;

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct BreakerRule {
    /// Failures in a row; 0 switches breakers off.
    pub failures: u32,
    /// How long they must have lasted.
    pub after: Duration,
    /// The wait before the first probe; it doubles up to [`LONGEST_WAIT`].
    pub wait: Duration,
}

/// What an attempt says about the endpoint, whatever it means for the delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    /// It answered, and that it takes requests: success, or a refusal of this one.
    Alive,
    /// It did not.
    Failing,
    /// Nothing: nothing was sent, or it asked for a pause.
    None,
}

/// Where a breaker stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Everything is sent.
    Closed,
    /// Nothing is sent.
    Open,
    /// One request is on its way to find out.
    HalfOpen,
    /// Some requests at once are sent.
    RampUp,
}

impl State {
    /// The name in `webhook_endpoints.breaker`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::RampUp => "ramp_up",
        }
    }

    /// The state with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Closed, Self::Open, Self::HalfOpen, Self::RampUp]
            .into_iter()
            .find(|state| state.name() == name)
    }
}

/// The breaker of one endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Breaker {
    /// Where it stands.
    pub state: State,
    /// Open: until then. Half open: until then the probe is waited for.
    pub until: OffsetDateTime,
    /// How often it opened without having closed.
    pub openings: u32,
    /// Ramp up: requests at once.
    pub allowance: u32,
    /// Failures in a row.
    pub failures: u32,
    /// Since when.
    pub failing_since: Option<OffsetDateTime>,
}

impl Breaker {
    /// One that has never seen a failure.
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

    /// Whether it is as if there had never been a failure.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.state == State::Closed && self.failures == 0
    }

    /// The breaker after one more signal. `most` is the number of requests at once of a closed one.
    #[must_use]
    pub fn after(self, signal: Signal, now: OffsetDateTime, most: u32, rule: &BreakerRule) -> Self {
        match signal {
            // A probe that found nothing out is over: the next may begin.
            Signal::None if self.state == State::HalfOpen => Self { until: now, ..self },
            Signal::None => self,
            Signal::Alive => self.alive(most),
            Signal::Failing => self.failing(now, rule),
        }
    }

    fn alive(self, most: u32) -> Self {
        let calm = Self { failures: 0, failing_since: None, ..self };
        let allowance = match self.state {
            State::Closed => return calm,
            // A request from before the opening that succeeds late is as good a probe as any.
            State::Open | State::HalfOpen => FIRST_ALLOWANCE,
            State::RampUp => self.allowance.saturating_add(1),
        };
        if allowance >= most {
            return Self { until: self.until, ..Self::closed() };
        }
        Self { state: State::RampUp, allowance, ..calm }
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
        let doubled = 2_u32.saturating_pow(openings.saturating_sub(1).min(16));
        let wait = rule.wait.saturating_mul(doubled).min(LONGEST_WAIT.max(rule.wait));
        Self {
            state: State::Open,
            until: now.saturating_add(signed(wait)),
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

    #[test]
    fn it_opens_after_enough_failures_that_last() {
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
    fn failed_probes_double_the_wait_up_to_a_bound() {
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
    fn a_probe_that_succeeds_begins_slowly() {
        let open = after(Breaker::closed(), &[(Failing, 0), (Failing, 1), (Failing, 30)]);
        let mut breaker = after(Breaker { state: State::HalfOpen, ..open }, &[(Alive, 40)]);
        assert_eq!((breaker.state, breaker.allowance, breaker.openings), (State::RampUp, 2, 1));
        for expected in 3..8 {
            breaker = after(breaker, &[(Alive, 41)]);
            assert_eq!((breaker.state, breaker.allowance), (State::RampUp, expected));
        }
        let closed = after(breaker, &[(Alive, 42)]);
        assert_eq!((closed.state, closed.openings, closed.is_calm()), (State::Closed, 0, true));
        let again = after(breaker, &[(Failing, 43), (Failing, 43), (Failing, 43)]);
        assert_eq!((again.state, again.until), (State::Open, at(63)));
    }

    #[test]
    fn a_receiver_that_refuses_now_and_then_is_closed_again() {
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
    fn a_probe_that_finds_nothing_out_makes_room_for_the_next() {
        let probe = Breaker { state: State::HalfOpen, until: at(100), ..Breaker::closed() };
        assert_eq!(probe.after(Signal::None, at(40), 8, &RULE), Breaker { until: at(40), ..probe });
    }

    #[test]
    fn late_answers_of_before_the_opening() {
        let open = after(Breaker::closed(), &[(Failing, 0), (Failing, 1), (Failing, 30)]);
        assert_eq!(after(open, &[(Failing, 31)]).until, open.until);
        assert_eq!(after(open, &[(Alive, 31)]).state, State::RampUp);
        assert_eq!(open.after(Signal::None, at(31), 8, &RULE), open);
        let probing = Breaker { state: State::HalfOpen, ..open };
        let again = probing.after(Signal::None, at(41), 8, &RULE);
        assert_eq!((again.state, again.until, again.openings), (State::HalfOpen, at(41), 1));
    }

    #[test]
    fn a_breaker_can_be_switched_off() {
        let off = BreakerRule { failures: 0, ..RULE };
        let breaker =
            (0..1000).fold(Breaker::closed(), |breaker, second| breaker.after(Failing, at(second), 8, &off));
        assert_eq!((breaker.state, breaker.failures), (State::Closed, 1000));
        let open = after(Breaker::closed(), &[(Failing, 0), (Failing, 1), (Failing, 30)]);
        assert_eq!(open.after(Failing, at(40), 8, &off).state, State::Closed, "one that was open");
    }

    #[test]
    fn an_endpoint_of_one_request_at_once_closes_with_the_probe() {
        let open = after(Breaker::closed(), &[(Failing, 0), (Failing, 1), (Failing, 30)]);
        assert!(open.after(Alive, at(40), 1, &RULE).is_calm());
    }
}
