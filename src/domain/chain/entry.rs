//! The entries of the ledger: the proof that an event was applied, and the values that it gave.

use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{
    contact::{
        ContactId, Operation, Rejected,
        field::{Field, FieldMap},
    },
    event::{CompanyId, EventRef},
    trace_context::TraceContext,
};

/// The entry of one CRM step, or of a whole event without a CRM step or about an erased person. Only a step's
/// entry has an `effect`.
pub struct Entry<'a> {
    /// The company.
    pub company: &'a CompanyId,
    /// The event.
    pub event: &'a EventRef,
    /// [`EventRef::key`] of the event.
    pub key: Uuid,
    /// Counts the entries of one event from 0.
    pub ordinal: u16,
    /// The CRM step, counted from 1; 0 without an `effect`.
    pub step: u16,
    /// CloudEvents `time`.
    pub time: OffsetDateTime,
    /// SHA-256 of the message body.
    pub body_hash: [u8; 32],
    /// Name of the trigger.
    pub trigger: &'a str,
    /// Id of the assistant.
    pub assistant: Option<&'a str>,
    /// Id of the session.
    pub session: Option<&'a str>,
    /// The trace of the event; `None` once the person is erased.
    pub trace: Option<&'a TraceContext>,
    /// Steps beyond `maxInteractions`.
    pub skipped: u16,
    /// Set for an event about an erased person: the entry proves that it was seen, and keeps nothing else.
    pub erased: bool,
    /// The effect of the CRM step.
    pub effect: Option<Effect<'a>>,
}

/// The effect of a CRM step on its contact.
pub struct Effect<'a> {
    /// The contact at the time of the step, before any later merge.
    pub id: ContactId,
    /// Created, updated or unchanged.
    pub operation: Operation,
    /// The contact's version afterwards.
    pub version: i64,
    /// The fields whose value changed.
    pub changed: &'a [Field],
    /// The contacts merged into this one.
    pub merged: &'a [ContactId],
    /// The accepted values.
    pub values: &'a FieldMap<String>,
    /// The values that were not accepted.
    pub rejected: &'a [Rejected],
    /// A valid identifier that was not accepted because it belongs to another contact.
    pub kept_apart: Option<Rejected>,
}
