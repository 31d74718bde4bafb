//! Explains why deliveries wait: the state of a lane, and what one delivery waits for. Pure.

use time::OffsetDateTime;

use crate::postgres::{
    deliveries::{State, Summary},
    endpoints::Lane,
};

/// The state of a lane in one word. If several apply, those that an operator ends come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumString, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum LaneState {
    /// Nothing keeps deliveries from being sent.
    Open,
    /// Paused by an operator.
    Paused,
    /// The endpoint is gone.
    Disabled,
    /// The endpoint asked for a hold (`Retry-After`).
    Held,
    /// The endpoint has failed too often, so only probes are sent.
    BreakerOpen,
    /// The last attempt failed; deliveries are sent.
    Failing,
}

impl LaneState {
    /// The name in listings and filters.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The state of this lane at `now`.
    #[must_use]
    pub fn of(lane: &Lane, now: OffsetDateTime) -> Self {
        if lane.paused_at.is_some() {
            Self::Paused
        } else if lane.disabled_at.is_some() {
            Self::Disabled
        } else if lane.held_until.is_some_and(|until| until > now) {
            Self::Held
        } else if matches!(lane.breaker.as_str(), "open" | "half_open") {
            // A hold opens the breaker too, and leaves no failures.
            if lane.failures == 0 { Self::Held } else { Self::BreakerOpen }
        } else if lane.failures > 0 {
            Self::Failing
        } else {
            Self::Open
        }
    }

    /// When this state began, if known; for an open breaker, when the failures began.
    #[must_use]
    pub fn since(self, lane: &Lane) -> Option<OffsetDateTime> {
        match self {
            Self::Paused => lane.paused_at,
            Self::Disabled => lane.disabled_at,
            Self::BreakerOpen | Self::Failing => lane.failing_since,
            Self::Held | Self::Open => None,
        }
    }

    /// When this state ends by itself, if known.
    #[must_use]
    pub fn until(self, lane: &Lane) -> Option<OffsetDateTime> {
        match self {
            Self::Held => lane.held_until.max(lane.breaker_until),
            Self::BreakerOpen => lane.breaker_until,
            Self::Paused | Self::Disabled | Self::Failing | Self::Open => None,
        }
    }
}

/// What a pending delivery waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waits {
    /// The receiver's response: a process is sending it, or those before it in its lane.
    Answer,
    /// Its lane, which is closed.
    Endpoint(LaneState, Option<OffsetDateTime>),
    /// Its next attempt after a failed one.
    Retry(OffsetDateTime),
    /// The end of its digest window.
    Digest(OffsetDateTime),
    /// The time of its first attempt.
    Due(OffsetDateTime),
    /// The rate limit of its endpoint.
    Rate(OffsetDateTime),
    /// A worker.
    Worker,
}

impl Waits {
    /// What this delivery waits for; `None` if it has ended.
    #[must_use]
    pub fn of(delivery: &Summary) -> Option<Self> {
        if delivery.state != State::Pending.name() {
            return None;
        }
        let now = delivery.now;
        let state = delivery.lane.as_ref().map(|lane| (LaneState::of(lane, now), lane));
        let later = delivery.next_attempt_at.filter(|at| *at > now);
        Some(match (state, later) {
            _ if delivery.in_flight => Self::Answer,
            (Some((state, lane)), _) if !matches!(state, LaneState::Open | LaneState::Failing) => {
                Self::Endpoint(state, state.until(lane))
            }
            (_, Some(at)) if delivery.attempts > delivery.schedule_from => Self::Retry(at),
            (_, Some(at)) if delivery.digest => Self::Digest(at),
            (_, Some(at)) => Self::Due(at),
            (Some((_, lane)), None) => match lane.next_slot_at.filter(|at| *at > now) {
                Some(at) => Self::Rate(at),
                None => Self::Worker,
            },
            (None, None) => Self::Worker,
        })
    }

    /// The name in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Answer => "in_flight",
            Self::Endpoint(LaneState::Paused, _) => "endpoint_paused",
            Self::Endpoint(LaneState::Disabled, _) => "endpoint_disabled",
            Self::Endpoint(LaneState::BreakerOpen, _) => "breaker_open",
            Self::Endpoint(LaneState::Held, _) => "endpoint_held",
            Self::Endpoint(LaneState::Failing | LaneState::Open, _) | Self::Worker => "worker",
            Self::Retry(_) => "retry",
            Self::Digest(_) => "digest",
            Self::Due(_) => "due",
            Self::Rate(_) => "rate",
        }
    }

    /// The end of the wait, if known.
    #[must_use]
    pub const fn until(self) -> Option<OffsetDateTime> {
        match self {
            Self::Answer | Self::Worker => None,
            Self::Endpoint(_, until) => until,
            Self::Retry(at) | Self::Digest(at) | Self::Due(at) | Self::Rate(at) => Some(at),
        }
    }
}

#[cfg(test)]
mod tests;
