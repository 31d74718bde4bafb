//! The outcome of an attempt, and the one function that decides what happens to the delivery next.

use std::time::Duration;

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::domain::{fault::Reason, webhook::breaker::Signal};

/// How an attempt ended. A receiver's failure is data, not an error of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Class {
    /// 2xx.
    Delivered,
    /// The host name did not resolve, or not in time.
    Dns,
    /// The TCP connection failed.
    Connect,
    /// The TLS handshake failed: certificate, version or protocol.
    Tls,
    /// The deadline for the whole attempt passed.
    Timeout,
    /// The connection broke, or the response was not HTTP.
    Protocol,
    /// A status that is retried: 408, 425, 429 or 5xx.
    HttpStatus,
    /// Any other status, such as 400 or a redirect. A retry would get the same answer.
    Rejected,
    /// 410, or an answer of the receiver with the same meaning: the endpoint accepts no requests any more.
    Gone,
    /// The delivery exceeded its maximum age while the endpoint was on hold or its breaker open. Nothing was
    /// sent.
    Expired,
    /// The settings do not allow the address. Nothing was sent.
    Blocked,
    /// The request could not be rendered or read. Nothing was sent.
    Invalid,
    /// The service failed because of a bug. The receiver may have got the request.
    Panicked,
}

impl Class {
    /// The name in listings and in `webhook_attempts.outcome`.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// The class of a response with this status. Redirects are not followed, so 3xx is a rejection.
    #[must_use]
    pub const fn of_status(status: u16) -> Self {
        match status {
            200..=299 => Self::Delivered,
            408 | 425 | 429 | 500..=599 => Self::HttpStatus,
            410 => Self::Gone,
            300..=499 => Self::Rejected,
            _ => Self::Protocol,
        }
    }
}

/// Milestones of an attempt, each measured from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Until a new connection was ready, TLS included. `None` if a connection was reused or none was made.
    pub connect: Option<Duration>,
    /// Until the head of the response arrived.
    pub answer: Option<Duration>,
}

/// The result of an attempt.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How the attempt ended.
    pub class: Class,
    /// The HTTP status, if the receiver responded.
    pub status: Option<u16>,
    /// `Retry-After`, counted from the response.
    pub retry_after: Option<Duration>,
    /// The first 64 KiB of the response body. May be personal data.
    pub response_body: Vec<u8>,
    /// When its milestones were reached.
    pub timing: Timing,
    /// From name resolution to the end of the response body.
    pub duration: Duration,
    /// What went wrong, for the operator. Contains no address, no secret and nothing that the receiver sent. Of a success,
    /// that its answer is incomplete.
    pub error: Option<String>,
}

impl Outcome {
    /// The outcome of an attempt without a response.
    pub fn without_answer(class: Class, duration: Duration, error: impl Into<String>) -> Self {
        let error = Some(error.into());
        let (response_body, timing) = (Vec::new(), Timing::default());
        Self { class, status: None, retry_after: None, response_body, timing, duration, error }
    }
}

impl std::fmt::Debug for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Outcome")
            .field("class", &self.class)
            .field("status", &self.status)
            .field("error", &self.error)
            .finish_non_exhaustive()
    }
}

/// When a delivery is attempted again.
#[derive(Clone, Debug)]
pub struct RetryRule {
    /// The wait after the first attempt of a round, after the second, and so on.
    pub schedule: Vec<Duration>,
    /// Maximum random extension of a wait, as a fraction of it: 0 to 1.
    pub jitter: f64,
    /// A round older than this ends with the next failure.
    pub max_age: Duration,
    /// Statuses that are retried, although their class is not.
    pub retry_statuses: Vec<u16>,
    /// Statuses that are not retried, although their class is.
    pub dead_statuses: Vec<u16>,
}

impl RetryRule {
    /// The class of an outcome, with this rule's exceptions for statuses.
    #[must_use]
    pub fn class(&self, outcome: &Outcome) -> Class {
        match (outcome.class, outcome.status) {
            (Class::HttpStatus, Some(status)) if self.dead_statuses.contains(&status) => Class::Rejected,
            (Class::Rejected | Class::Gone, Some(status)) if self.retry_statuses.contains(&status) => {
                Class::HttpStatus
            }
            (class, _) => class,
        }
    }
}

/// What happens to the delivery after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// The delivery ends.
    Delivered,
    /// The delivery is attempted again.
    Retry {
        /// The wait before the next attempt.
        after: Duration,
        /// Whether this attempt used up a wait of the schedule.
        counted: bool,
    },
    /// The delivery becomes a dead letter with this message.
    Dead(Reason, String),
}

/// A longer `Retry-After` is reduced to this. The limit keeps a receiver from silencing an endpoint forever,
/// and keeps due times within the range of Postgres.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(7 * 24);

/// The attempts of a delivery since it was created, replayed or resent.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Counted attempts, including the current one.
    pub attempts: u32,
    /// Time since the round began.
    pub age: Duration,
}

/// Decides what happens to the delivery after an attempt.
///
/// `chance` is uniform from 0 to 1 and only lengthens a wait. `Retry-After` is a minimum. With 429 or 503 it
/// also keeps the attempt from counting, because the receiver said that the request came too early. Waits of such
/// attempts grow with the age of the round, and the last one ends when the round does.
#[must_use]
pub fn after_attempt(outcome: &Outcome, round: Round, rule: &RetryRule, chance: f64) -> Next {
    match outcome.class {
        Class::Delivered => Next::Delivered,
        Class::Rejected => Next::Dead(Reason::WebhookRejected, rejected(outcome)),
        Class::Gone => {
            let text =
                format!("{}; the endpoint is disabled until an operator enables it", describe(outcome));
            Next::Dead(Reason::WebhookRejected, text)
        }
        Class::Blocked => Next::Dead(Reason::WebhookBlocked, describe(outcome)),
        Class::Invalid => Next::Dead(Reason::WebhookInvalid, describe(outcome)),
        Class::Expired => Next::Dead(Reason::WebhookExhausted, describe(outcome)),
        Class::Dns
        | Class::Connect
        | Class::Tls
        | Class::Timeout
        | Class::Protocol
        | Class::HttpStatus
        | Class::Panicked => retried(outcome, round, rule, chance),
    }
}

fn retried(outcome: &Outcome, round: Round, rule: &RetryRule, chance: f64) -> Next {
    if round.age >= rule.max_age {
        let text = format!("exceeded the maximum age; last error: {}", describe(outcome));
        return Next::Dead(Reason::WebhookExhausted, text);
    }
    let attempts_before = usize::try_from(round.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
    let scheduled = rule.schedule.get(attempts_before).copied();
    let floor = outcome.retry_after.unwrap_or_default().min(MAX_RETRY_AFTER);
    let counted = !(requests_hold(outcome) && matches!(outcome.status, Some(429 | 503)));
    match scheduled {
        None if counted => Next::Dead(Reason::WebhookExhausted, exhausted(outcome, round.attempts)),
        Some(wait) if counted => {
            Next::Retry { after: lengthened(wait.max(floor), rule.jitter, chance), counted }
        }
        // An attempt that does not count cannot exhaust the schedule.
        _ => {
            let longest = rule.schedule.iter().max().copied().unwrap_or_default();
            let wait = scheduled.unwrap_or_default().max(longest.min(round.age / 2)).max(floor);
            let left = rule.max_age.saturating_sub(round.age);
            Next::Retry { after: lengthened(wait, rule.jitter, chance).min(left).max(floor), counted }
        }
    }
}

/// How long the receiver's `Retry-After` holds its endpoint.
#[must_use]
pub fn hold(outcome: &Outcome) -> Option<Duration> {
    let asked = outcome.retry_after.filter(|_| requests_hold(outcome))?;
    Some(asked.min(MAX_RETRY_AFTER))
}

/// Whether an attempt shows that the endpoint works.
#[must_use]
pub fn signal(outcome: &Outcome) -> Signal {
    match outcome.class {
        Class::Delivered | Class::Rejected | Class::Gone => Signal::Alive,
        Class::Blocked | Class::Invalid | Class::Expired | Class::Panicked => Signal::None,
        Class::HttpStatus => hold(outcome).map_or(Signal::Failing, Signal::Held),
        Class::Dns | Class::Connect | Class::Tls | Class::Timeout | Class::Protocol => Signal::Failing,
    }
}

/// Whether `Retry-After` applies. It does not if its time is over.
fn requests_hold(outcome: &Outcome) -> bool {
    outcome.class == Class::HttpStatus && outcome.retry_after.is_some_and(|wait| !wait.is_zero())
}

fn lengthened(wait: Duration, jitter: f64, chance: f64) -> Duration {
    let share = (jitter * chance).clamp(0.0, 1.0);
    // NaN and values that are not a duration add nothing.
    let added = Duration::try_from_secs_f64(wait.as_secs_f64() * share).unwrap_or_default();
    wait.saturating_add(added)
}

fn rejected(outcome: &Outcome) -> String {
    match outcome.status {
        Some(status @ 300..=399) => {
            format!("the receiver answered {status}; redirects are not followed, so give the final URL")
        }
        Some(_) => format!("{}; this status is not retried", describe(outcome)),
        None => describe(outcome),
    }
}

fn exhausted(outcome: &Outcome, attempts: u32) -> String {
    let noun = if attempts == 1 { "attempt" } else { "attempts" };
    format!("gave up after {attempts} {noun}; last error: {}", describe(outcome))
}

fn describe(outcome: &Outcome) -> String {
    match (outcome.status, &outcome.error) {
        (_, Some(error)) => error.clone(),
        (Some(status), None) => format!("the receiver answered {status}"),
        (None, None) => outcome.class.name().to_owned(),
    }
}

#[cfg(test)]
mod tests;
