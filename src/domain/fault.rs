//! Faults of a message: why it can never be processed as it is. An unreachable broker or database is an error of its
//! adapter, never a [`Fault`].

mod signature;

pub use signature::{BadSignature, Signature};

use strum::{EnumString, IntoStaticStr, VariantArray};

use crate::domain::event::{CompanyId, EventRef};

/// Why a message or a delivery is a dead letter. A closed list: operators filter by it.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    strum::Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// Not JSON, not UTF-8, nested too deeply, or with a duplicate key in an object.
    Undecodable,
    /// A CloudEvents `specversion` other than 1.0.
    UnsupportedVersion,
    /// The body is larger than 1 MiB.
    TooLarge,
    /// The envelope or its data lacks a member or has one of the wrong type.
    EventInvalid,
    /// The trigger definition is invalid.
    TriggerInvalid,
    /// The arguments do not match the trigger's parameters.
    ArgumentsInvalid,
    /// The event has a phone or email but no usable identifier.
    IdentifierInvalid,
    /// The policy or a guard forbids the merge or the identifier that the event would add.
    ContactConflict,
    /// The ledger has this source and id with another meaning.
    EventIdConflict,
    /// The webhook cannot be rendered because of its URL, a header, a variable or its body.
    WebhookInvalid,
    /// The settings do not allow the webhook's address.
    WebhookBlocked,
    /// The receiver rejected the request permanently (a redirect, or a 4xx that is not retried).
    WebhookRejected,
    /// The retry schedule or the maximum age ran out without a 2xx.
    WebhookExhausted,
    /// The process crashed each time it handled this message alone, or something that is stored keeps it from being applied.
    CrashLoop,
    /// The broker dead-lettered the message: delivery limit, overflow or expiry.
    Broker,
}

impl Reason {
    /// The name in listings, filters and the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Where a message or delivery failed. A replay goes there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumString, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Stage {
    /// The upsert worker; replays go to the `trigger-fired` queue.
    Upsert,
    /// The webhook worker; replays go to the `webhook` queue.
    Webhook,
}

impl Stage {
    /// The name in listings and the database.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A reason, a sentence for the operator, and the origin of the message as far as it is known.
///
/// Invariant: `message` contains no personal data and no secret. It may name members, parameters,
/// fields, positions and rules, never values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The category that operators filter by.
    pub reason: Reason,
    /// What is wrong and how to fix it.
    pub message: String,
    /// `None` if decoding failed before the company was known.
    pub company: Option<CompanyId>,
    /// `None` if decoding failed before the event was known.
    pub event: Option<EventRef>,
    /// Name of the first trigger; `None` if decoding failed before it was known.
    pub trigger: Option<String>,
}

impl Fault {
    /// A fault without origin: company, event and trigger are unknown.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into(), company: None, event: None, trigger: None }
    }
}
