//! The events that the service publishes: `contact.upserted`, `contact.merged`, `contact.unmerged`,
//! `contact.erased` and `webhook.requested`. [`super::completed`] builds `trigger.completed`.
//!
//! Each is one CloudEvents 1.0 JSON object. It carries no action configuration, header, secret or raw
//! argument, and the identity document only if the deployment allows it.

mod data;

use std::fmt;

use serde::Serialize;
use time::OffsetDateTime;
use uuid::Uuid;

pub use self::data::rfc3339;
use self::data::{
    Alias, Cause, CausingTrigger, ErasedContact, ErasedData, Id, Interaction, MergedData, Published,
    RequestedData, UnmergedData, UpsertedData, as_rfc3339,
};
use crate::domain::{
    contact::{Contact, ContactId, Rejected, directory::Applied},
    event::{CompanyId, name_based},
    trace_context::TraceContext,
    trigger::fired::TriggerFired,
    webhook::requested::WEBHOOK_REQUESTED,
};

/// CloudEvents `type` of the event that follows all others about an erased person.
pub const ERASED: &str = "contact.erased";

/// An event to publish, with everything that its message carries.
#[derive(Clone)]
pub struct OutgoingEvent {
    /// The company that it concerns.
    pub company: String,
    /// CloudEvents `id`, derived from the cause, so publishing the event again uses the same id.
    pub id: Uuid,
    /// CloudEvents `type`.
    pub kind: String,
    /// AMQP routing key.
    pub routing_key: String,
    /// CloudEvents `source`.
    pub source: String,
    /// CloudEvents `subject`: the contact id.
    pub subject: Option<String>,
    /// CloudEvents `time`.
    pub time: OffsetDateTime,
    /// Id of the trigger event or, after an operator's change, this event's own id.
    pub correlation_id: String,
    /// The trace of the trigger event.
    pub trace: TraceContext,
    /// The queue that gets a copy.
    pub reply_to: Option<ReplyTo>,
    /// The exact bytes.
    pub body: Vec<u8>,
}

impl fmt::Debug for OutgoingEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body holds the contact.
        f.debug_struct("OutgoingEvent")
            .field("id", &self.id)
            .field("kind", &self.kind)
            .finish_non_exhaustive()
    }
}

/// Where the sender of a trigger event waits for the result of its chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyTo {
    /// AMQP `reply_to`.
    pub queue: String,
    /// The sender's own AMQP `correlation_id`.
    pub correlation_id: Option<String>,
}

/// What all events of a deployment have in common, and the time of the effect.
#[derive(Clone, Copy, Debug)]
pub struct Publisher<'a> {
    /// CloudEvents `source`.
    pub source: &'a str,
    /// Whether a contact's identity document is published.
    pub include_identity: bool,
    /// When the effect happens.
    pub now: OffsetDateTime,
}

/// The step that causes an event.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// The trigger event.
    pub event: &'a TriggerFired,
    /// Name of the trigger that the step belongs to.
    pub trigger: &'a str,
    /// The step, counted from 1.
    pub step: u16,
    /// How many steps of the chain may run.
    pub max_interactions: u64,
    /// The trace of the trigger event.
    pub trace: &'a TraceContext,
}

/// The size of most events, in bytes.
const BODY_SIZE: usize = 1024;

#[derive(Serialize)]
struct Envelope<'a, D> {
    specversion: &'static str,
    id: Uuid,
    source: &'a str,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(serialize_with = "as_rfc3339")]
    time: OffsetDateTime,
    datacontenttype: &'static str,
    data: &'a D,
}

impl Publisher<'_> {
    /// `contact.upserted`, the effect of one CRM step.
    #[must_use]
    pub fn contact_upserted(
        &self,
        origin: Origin<'_>,
        applied: &Applied,
        contact: &Contact,
        rejected: &[Rejected],
    ) -> OutgoingEvent {
        let kept_apart = applied.kept_apart.iter().map(|(rejected, _)| rejected);
        let data = UpsertedData {
            operation: applied.operation.name(),
            contact: self.published(contact),
            changed: &applied.changed,
            merged_contact_ids: &applied.merged,
            rejected: rejected.iter().chain(kept_apart).collect(),
            cause: origin.cause(),
        };
        let routing_key = format!("contact.upserted.{}", applied.operation.name());
        self.event(origin, "contact.upserted", routing_key, Some(applied.id), &data)
    }

    /// `contact.merged`, for subscribers that keep contact ids: the losers' ids now resolve to the contact.
    #[must_use]
    pub fn contact_merged(&self, origin: Origin<'_>, applied: &Applied, contact: &Contact) -> OutgoingEvent {
        let cause = origin.cause();
        let data =
            MergedData { contact: self.published(contact), merged_contact_ids: &applied.merged, cause };
        self.event(origin, "contact.merged", "contact.merged".into(), Some(applied.id), &data)
    }

    /// `webhook.requested`, in place of `contact.upserted` for a chain without a CRM step.
    #[must_use]
    pub fn webhook_requested(&self, origin: Origin<'_>) -> OutgoingEvent {
        let data = RequestedData { company: Id { id: origin.event.company.as_str() }, cause: origin.cause() };
        self.event(origin, WEBHOOK_REQUESTED, WEBHOOK_REQUESTED.into(), None, &data)
    }

    /// `contact.unmerged`: `contact` keeps the id of the merged contact; `restored` are the others that had
    /// been merged into it. All of them have a new version. `aliases` are older ids, each with the contact
    /// that it now resolves to. `separation` becomes the event's id.
    #[must_use]
    pub fn contact_unmerged(
        &self,
        separation: Uuid,
        contact: &Contact,
        restored: &[&Contact],
        aliases: &[(ContactId, ContactId)],
    ) -> OutgoingEvent {
        let kind = "contact.unmerged";
        let alias = |(id, contact): &(ContactId, ContactId)| Alias { id: id.0, contact_id: contact.0 };
        let data = UnmergedData {
            contact: self.published(contact),
            restored_contacts: restored.iter().map(|contact| self.published(contact)).collect(),
            aliases: aliases.iter().map(alias).collect(),
        };
        let about = About { company: &contact.company, subject: Some(contact.id.to_string()) };
        self.envelope(separation, kind, kind.into(), about, separation.to_string(), &data)
    }

    /// `contact.erased`, for subscribers that keep copies of contacts: these ids no longer resolve.
    #[must_use]
    pub fn contact_erased(
        &self,
        company: &CompanyId,
        contact: ContactId,
        aliases: &[ContactId],
    ) -> OutgoingEvent {
        let kind = ERASED;
        let data = ErasedData {
            contact: ErasedContact { id: contact.0, company_id: company.as_str() },
            merged_contact_ids: aliases,
            erased_at: self.now,
        };
        let contact = contact.to_string();
        let id = name_based([kind, contact.as_str(), company.as_str()], 0);
        // No trigger event caused it, so it correlates with itself.
        self.envelope(id, kind, kind.into(), About { company, subject: Some(contact) }, id.to_string(), &data)
    }

    const fn published<'a>(&self, contact: &'a Contact) -> Published<'a> {
        Published { contact, include_identity: self.include_identity }
    }

    fn event(
        &self,
        origin: Origin<'_>,
        kind: &'static str,
        routing_key: String,
        subject: Option<ContactId>,
        data: &impl Serialize,
    ) -> OutgoingEvent {
        let TriggerFired { company, event, .. } = origin.event;
        let id = event.id_of(company, kind, origin.step);
        let about = About { company, subject: subject.map(|id| id.to_string()) };
        let event = self.envelope(id, kind, routing_key, about, event.id().to_owned(), data);
        OutgoingEvent { trace: origin.trace.clone(), ..event }
    }

    /// The event without a trace and without a `reply_to`.
    pub(super) fn envelope(
        &self,
        id: Uuid,
        kind: &'static str,
        routing_key: String,
        About { company, subject }: About<'_>,
        correlation_id: String,
        data: &impl Serialize,
    ) -> OutgoingEvent {
        let envelope = Envelope {
            specversion: "1.0",
            id,
            source: self.source,
            r#type: kind,
            subject: subject.as_deref(),
            time: self.now,
            datacontenttype: "application/json",
            data,
        };
        let mut body = Vec::with_capacity(BODY_SIZE);
        // Cannot fail: all keys are strings, all numbers are finite, and memory is not a device.
        let _ = serde_json::to_writer(&mut body, &envelope);
        OutgoingEvent {
            company: company.to_string(),
            id,
            kind: kind.to_owned(),
            routing_key,
            source: self.source.to_owned(),
            subject,
            time: self.now,
            correlation_id,
            trace: TraceContext::default(),
            reply_to: None,
            body,
        }
    }
}

/// The company and the contact that an event is about.
pub(super) struct About<'a> {
    pub(super) company: &'a CompanyId,
    pub(super) subject: Option<String>,
}

impl<'a> Origin<'a> {
    fn cause(&self) -> Cause<'a> {
        let TriggerFired { event, session_id, assistant_id, .. } = self.event;
        let id = |id: &'a Option<String>| id.as_deref().map(|id| Id { id });
        Cause {
            trigger: CausingTrigger {
                name: self.trigger,
                event_id: event.id(),
                event_source: event.source(),
            },
            session: id(session_id),
            assistant: id(assistant_id),
            interaction: Interaction { index: self.step, max: self.max_interactions },
        }
    }
}

#[cfg(test)]
mod tests;
