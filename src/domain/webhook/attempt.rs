//! What one HTTP request to a receiver came to, and the one function that decides what happens next.

use std::time::Duration;

use crate::domain::{fault::Reason, webhook::breaker::Signal};

/// How an attempt ended. What the receiver does wrong is data, never an error of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    /// A 2xx.
    Delivered,
    /// The name did not resolve.
    Dns,
    /// No TCP connection.
    Connect,
    /// No TLS session: certificate, version or handshake.
    Tls,
    /// The deadline over the whole attempt passed.
    Timeout,
    /// The connection broke, or what came was not HTTP.
    Protocol,
    /// A status that asks to try later: 408, 425, 429 or 5xx.
    HttpStatus,
    /// Any other status: the request as it is will never be accepted.
    Rejected,
    /// 410, or what means the same to this receiver: nothing will ever be accepted at this address.
    Gone,
    /// It waited longer than the oldest age for an endpoint that was not to be reached. Nothing was sent.
    Expired,
    /// The address is one that the service does not call. Nothing was sent.
    Blocked,
    /// The request could not be made. Nothing was sent.
    Invalid,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 12] = [
        Self::Delivered,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Protocol,
        Self::HttpStatus,
        Self::Rejected,
        Self::Gone,
        Self::Expired,
        Self::Blocked,
        Self::Invalid,
    ];

    /// The name in listings and in `webhook_attempts.outcome`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::Protocol => "protocol",
            Self::HttpStatus => "http_status",
            Self::Rejected => "rejected",
            Self::Gone => "gone",
            Self::Expired => "expired",
            Self::Blocked => "blocked",
            Self::Invalid => "invalid",
        }
    }

    /// The class with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|class| class.name() == name)
    }

    /// The class of an answer with this status. Redirects are not followed, so 3xx is a refusal.
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

/// When an attempt got how far, each counted from its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Timing {
    /// Until a new connection stood, TLS included. `None` on a kept connection, or where none came about.
    pub connect: Option<Duration>,
    /// Until the head of the answer was there.
    pub answer: Option<Duration>,
}

/// One finished attempt.
#[derive(Clone, PartialEq, Eq)]
pub struct Outcome {
    /// How it ended.
    pub class: Class,
    /// The HTTP status, where one came.
    pub status: Option<u16>,
    /// What the receiver asked for with `Retry-After`, counted from the answer.
    pub retry_after: Option<Duration>,
    /// The beginning of the answer's body, at most 64 KiB. May be personal data.
    pub response_body: Vec<u8>,
    /// How it took its time.
    pub timing: Timing,
    /// From the start of name resolution to the end of the body.
    pub duration: Duration,
    /// What went wrong, for a person. No address, no secret, nothing that the receiver sent.
    pub error: Option<String>,
}

impl Outcome {
    /// An attempt that ended without an answer.
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

/// When to try again.
#[derive(Clone, Debug)]
pub struct RetryRule {
    /// The wait after the first attempt of a round, after the second, and so on.
    pub schedule: Vec<Duration>,
    /// The most that chance adds to a wait, as a share of it. 0 to 1.
    pub jitter: f64,
    /// A round older than this ends with its next failure.
    pub max_age: Duration,
    /// Statuses that are tried again although they would not be.
    pub retry_statuses: Vec<u16>,
    /// Statuses that end a round although they would be tried again.
    pub dead_statuses: Vec<u16>,
}

impl RetryRule {
    /// The class of an outcome for an endpoint with this rule.
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

/// What happens to a delivery after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Done.
    Delivered,
    /// Another attempt.
    Retry {
        /// The wait before it.
        after: Duration,
        /// Whether this attempt took a place of the schedule.
        counted: bool,
    },
    /// A dead letter, with a message for a person.
    Dead(Reason, String),
}

/// The longest `Retry-After` that is obeyed. A receiver may ask for patience, not for silence for ever;
/// also keeps the sum within what Postgres counts.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(7 * 24);

/// Where a delivery stands when its attempt ends.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Attempts since the delivery was made or replayed, this one included, without those that did not count.
    pub attempts: u32,
    /// Time since then.
    pub age: Duration,
}

/// Decides what follows an attempt.
///
/// `chance` is drawn evenly from 0 to 1 and only ever lengthens a wait. `Retry-After` is a floor; with 429
/// and 503 the attempt does not count, for the receiver said that it was too early.
#[must_use]
pub fn after_attempt(outcome: &Outcome, round: Round, rule: &RetryRule, chance: f64) -> Next {
    match outcome.class {
        Class::Delivered => Next::Delivered,
        Class::Rejected => Next::Dead(Reason::WebhookRejected, rejected(outcome)),
        Class::Gone => {
            let text =
                format!("{}; its endpoint is disabled until an operator enables it", describe(outcome));
            Next::Dead(Reason::WebhookRejected, text)
        }
        Class::Blocked => Next::Dead(Reason::WebhookBlocked, describe(outcome)),
        Class::Invalid => Next::Dead(Reason::WebhookInvalid, describe(outcome)),
        Class::Expired => Next::Dead(Reason::WebhookExhausted, describe(outcome)),
        Class::Dns | Class::Connect | Class::Tls | Class::Timeout | Class::Protocol | Class::HttpStatus => {
            let attempts_before = usize::try_from(round.attempts.saturating_sub(1)).unwrap_or(usize::MAX);
            let counted = !(asks_for_patience(outcome) && matches!(outcome.status, Some(429 | 503)));
            match rule.schedule.get(attempts_before) {
                _ if round.age >= rule.max_age => {
                    let text = format!("too old for another attempt; at last: {}", describe(outcome));
                    Next::Dead(Reason::WebhookExhausted, text)
                }
                None if counted => Next::Dead(Reason::WebhookExhausted, exhausted(outcome, round.attempts)),
                // After the last wait of the schedule, too: what does not count ends nothing.
                wait => Next::Retry {
                    after: lengthened(
                        wait.copied().unwrap_or_default(),
                        outcome.retry_after,
                        rule.jitter,
                        chance,
                    ),
                    counted,
                },
            }
        }
    }
}

/// How long nothing is to be sent to the endpoint, because the receiver said so.
#[must_use]
pub fn hold(outcome: &Outcome) -> Option<Duration> {
    let asked = outcome.retry_after.filter(|_| asks_for_patience(outcome))?;
    Some(asked.min(LONGEST_RETRY_AFTER))
}

/// What an attempt says about the endpoint.
#[must_use]
pub fn signal(outcome: &Outcome) -> Signal {
    match outcome.class {
        Class::Delivered | Class::Rejected | Class::Gone => Signal::Alive,
        Class::Blocked | Class::Invalid | Class::Expired => Signal::None,
        Class::HttpStatus if asks_for_patience(outcome) => Signal::None,
        Class::Dns | Class::Connect | Class::Tls | Class::Timeout | Class::Protocol | Class::HttpStatus => {
            Signal::Failing
        }
    }
}

/// Whether a `Retry-After` is to be obeyed. One that is over asks for nothing.
fn asks_for_patience(outcome: &Outcome) -> bool {
    outcome.class == Class::HttpStatus && outcome.retry_after.is_some_and(|wait| !wait.is_zero())
}

fn lengthened(wait: Duration, retry_after: Option<Duration>, jitter: f64, chance: f64) -> Duration {
    let floor = retry_after.unwrap_or_default().min(LONGEST_RETRY_AFTER);
    let wait = wait.max(floor);
    let share = (jitter * chance).clamp(0.0, 1.0);
    // What is not a number, or no duration, adds nothing.
    let added = Duration::try_from_secs_f64(wait.as_secs_f64() * share).unwrap_or_default();
    wait.saturating_add(added)
}

fn rejected(outcome: &Outcome) -> String {
    match outcome.status {
        Some(status @ 300..=399) => {
            format!(
                "the receiver answered {status}, a redirect; redirects are not followed: write the final address"
            )
        }
        Some(_) => format!("{}, which no retry mends", describe(outcome)),
        None => describe(outcome),
    }
}

fn exhausted(outcome: &Outcome, attempts: u32) -> String {
    let times = if attempts == 1 { "attempt" } else { "attempts" };
    format!("no success in {attempts} {times}; at last: {}", describe(outcome))
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
