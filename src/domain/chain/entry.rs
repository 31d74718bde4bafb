//! The entries of a contact's history: what each CRM step of an applied event gave and changed.

use time::OffsetDateTime;

use crate::domain::{
    contact::{
        ContactId, Operation, Rejected,
        field::{Field, FieldMap},
    },
    event::{CompanyId, EventRef},
};

/// The entry of one CRM step.
pub struct Entry<'a> {
    /// The company.
    pub company: &'a CompanyId,
    /// The event.
    pub event: &'a EventRef,
    /// CloudEvents `time`.
    pub time: OffsetDateTime,
    /// The step within the chain, counted from 1.
    pub step: u16,
    /// Name of the trigger that the step belongs to.
    pub trigger: &'a str,
    /// The contact at the time of the step, before any later merge.
    pub contact: ContactId,
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
    /// The webhook steps of the event. Only the entry of the first CRM step has them.
    pub webhooks: Vec<u16>,
    /// The id of the trace that the event belongs to.
    pub trace: Option<u128>,
}
