//! The entries of the ledger: proof that an event was applied, and the values that it gave.

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

/// The entry of one CRM step, or of an event without a CRM step (`effect` is then `None`).
pub struct Entry<'a> {
    /// The company.
    pub company: &'a CompanyId,
    /// The event.
    pub event: &'a EventRef,
    /// [`EventRef::key`] of the event.
    pub key: Uuid,
    /// Counts the entries of one event from 0.
    pub ordinal: u16,
    /// The step, counted from 1; 0 without a CRM step.
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
    /// Set for an event of an erased person: the entry proves that it was seen, and keeps nothing else.
    pub erased: bool,
    /// The effect of the CRM step.
    pub effect: Option<Effect<'a>>,
}

/// The effect of a CRM step on its contact.
pub struct Effect<'a> {
    /// The contact, as of then.
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
    /// An identifier that is valid and belongs to another contact.
    pub kept_apart: Option<Rejected>,
}
