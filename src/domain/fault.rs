//! Message faults: why one message can never be done as it is. Systemic faults (broker or
//! database away) are errors of the adapters and never become a [`Fault`].

use std::fmt;

use crate::domain::event::{CompanyId, EventRef};

/// Why a message or a delivery is a dead letter. A closed list: operators filter by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Not JSON, not UTF-8, nested too deep, or a key twice in one object.
    Undecodable,
    /// A CloudEvents `specversion` other than 1.0.
    UnsupportedVersion,
    /// The body is larger than 1 MiB.
    TooLarge,
    /// The envelope or the data lacks a member or has one of the wrong type.
    EventInvalid,
    /// The trigger definition itself is wrong.
    TriggerInvalid,
    /// The arguments do not fit the trigger's parameters.
    ArgumentsInvalid,
    /// A phone or email was given, none is usable, and there is no other key.
    IdentifierInvalid,
    /// The event would merge two contacts, or give one more keys, and policy or a guard forbids it.
    ContactConflict,
    /// The same source and id came with another body.
    EventIdConflict,
    /// The webhook cannot be rendered: url, header or variable.
    WebhookInvalid,
    /// The webhook's address is not allowed.
    WebhookBlocked,
    /// The receiver refused for good (a 4xx that no retry mends, or a redirect).
    WebhookRejected,
    /// The whole retry schedule went by without a 2xx.
    WebhookExhausted,
    /// Processing this message alone ended the process, or panicked.
    CrashLoop,
    /// The broker dead-lettered it: delivery limit, overflow, expiry.
    Broker,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 15] = [
        Self::Undecodable,
        Self::UnsupportedVersion,
        Self::TooLarge,
        Self::EventInvalid,
        Self::TriggerInvalid,
        Self::ArgumentsInvalid,
        Self::IdentifierInvalid,
        Self::ContactConflict,
        Self::EventIdConflict,
        Self::WebhookInvalid,
        Self::WebhookBlocked,
        Self::WebhookRejected,
        Self::WebhookExhausted,
        Self::CrashLoop,
        Self::Broker,
    ];

    /// The name in listings, filters and the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Undecodable => "undecodable",
            Self::UnsupportedVersion => "unsupported_version",
            Self::TooLarge => "too_large",
            Self::EventInvalid => "event_invalid",
            Self::TriggerInvalid => "trigger_invalid",
            Self::ArgumentsInvalid => "arguments_invalid",
            Self::IdentifierInvalid => "identifier_invalid",
            Self::ContactConflict => "contact_conflict",
            Self::EventIdConflict => "event_id_conflict",
            Self::WebhookInvalid => "webhook_invalid",
            Self::WebhookBlocked => "webhook_blocked",
            Self::WebhookRejected => "webhook_rejected",
            Self::WebhookExhausted => "webhook_exhausted",
            Self::CrashLoop => "crash_loop",
            Self::Broker => "broker",
        }
    }

    /// The reason with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Where a message or delivery failed, and so where a replay sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The upsert worker; replays go to the `trigger-fired` queue.
    Upsert,
    /// The webhook worker; replays go to the `webhook` queue.
    Webhook,
}

impl Stage {
    /// The name in listings and the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Webhook => "webhook",
        }
    }

    /// The stage with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Upsert, Self::Webhook].into_iter().find(|stage| stage.name() == name)
    }
}

/// A message fault: a reason, a sentence for a person, and what is known of the message.
///
/// Invariant: `message` holds no personal data and no secret. It may name members, parameters,
/// fields, positions and rules, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Why.
    pub reason: Reason,
    /// What is wrong and what to do, without personal data.
    pub message: String,
    /// The company, where decoding came so far.
    pub company: Option<CompanyId>,
    /// The event, where decoding came so far.
    pub event: Option<EventRef>,
    /// The name of the (first) trigger, where decoding came so far.
    pub trigger: Option<String>,
}

impl Fault {
    /// A fault of a message of which nothing is known yet.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), company: None, event: None, trigger: None }
    }
}
