//! What one HTTP request to a receiver came to, and the one function that decides what happens next.

use std::time::Duration;

use super::fault::Reason;

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
    /// The address is one that the service does not call. Nothing was sent.
    Blocked,
    /// The request could not be made. Nothing was sent.
    Invalid,
}

impl Class {
    /// All classes.
    pub const ALL: [Self; 10] = [
        Self::Delivered,
        Self::Dns,
        Self::Connect,
        Self::Tls,
        Self::Timeout,
        Self::Protocol,
        Self::HttpStatus,
        Self::Rejected,
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
}

/// What happens to a delivery after an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// Done.
    Delivered,
    /// Another attempt after this wait.
    RetryAfter(Duration),
    /// A dead letter, with a message for a person.
    Dead(Reason, String),
}

/// The longest `Retry-After` that is obeyed. A receiver may ask for patience, not for silence for ever;
/// also keeps the sum within what Postgres counts.
const LONGEST_RETRY_AFTER: Duration = Duration::from_hours(7 * 24);

/// Decides what follows an attempt.
///
/// `attempts_in_round` counts the attempts since the delivery was made or replayed, this one included.
/// `chance` is drawn evenly from 0 to 1 and only ever lengthens a wait. `Retry-After` is a floor.
#[must_use]
pub fn after_attempt(outcome: &Outcome, attempts_in_round: u32, rule: &RetryRule, chance: f64) -> Next {
    match outcome.class {
        Class::Delivered => Next::Delivered,
        Class::Rejected => Next::Dead(Reason::WebhookRejected, rejected(outcome)),
        Class::Blocked => Next::Dead(Reason::WebhookBlocked, describe(outcome)),
        Class::Invalid => Next::Dead(Reason::WebhookInvalid, describe(outcome)),
        Class::Dns | Class::Connect | Class::Tls | Class::Timeout | Class::Protocol | Class::HttpStatus => {
            let attempts_before = usize::try_from(attempts_in_round.saturating_sub(1)).unwrap_or(usize::MAX);
            match rule.schedule.get(attempts_before) {
                Some(wait) => Next::RetryAfter(lengthened(*wait, outcome.retry_after, rule.jitter, chance)),
                None => Next::Dead(Reason::WebhookExhausted, exhausted(outcome, attempts_in_round)),
            }
        }
    }
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
        Some(status) => format!("the receiver answered {status}, which no retry mends"),
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
