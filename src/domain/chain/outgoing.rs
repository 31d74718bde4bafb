//! The events that the service publishes: `contact.upserted`, `contact.merged`, `contact.unmerged`,
//! `contact.erased` and `webhook.requested`. [`super::completed`] builds `trigger.completed`.
//!
//! Each is one CloudEvents 1.0 JSON object. It carries no action configuration, header, secret or raw
//! argument, and the identity document only if the deployment allows it.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::domain::{
    contact::{Contact, ContactId, Rejected, directory::Applied, field::Field},
    event::{CompanyId, name_based},
    trace_context::TraceContext,
    trigger::fired::TriggerFired,
};

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
    pub max_interactions: u32,
    /// The trace of the trigger event.
    pub trace: &'a TraceContext,
}

#[derive(Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: Uuid,
    source: &'a str,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    time: String,
    datacontenttype: &'static str,
    data: Value,
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
        let mut data = Map::new();
        data.insert("operation".into(), applied.operation.name().into());
        data.insert("contact".into(), self.contact(contact));
        data.insert("changed".into(), applied.changed.iter().map(|field| field.name()).collect());
        data.insert("mergedContactIds".into(), applied.merged.iter().map(ToString::to_string).collect());
        let kept_apart = applied.kept_apart.iter().map(|(rejected, _)| rejected);
        let rejected = rejected.iter().chain(kept_apart);
        let rejected = rejected.map(|entry| json!({"field": entry.field.name(), "reason": entry.reason}));
        data.insert("rejected".into(), rejected.collect());
        origin.describe(&mut data);
        let routing_key = format!("contact.upserted.{}", applied.operation.name());
        self.event(origin, "contact.upserted", routing_key, Some(applied.id), data)
    }

    /// `contact.merged`, for subscribers that keep contact ids: the losers' ids now resolve to the contact.
    #[must_use]
    pub fn contact_merged(&self, origin: Origin<'_>, applied: &Applied, contact: &Contact) -> OutgoingEvent {
        let mut data = Map::new();
        data.insert("contact".into(), self.contact(contact));
        data.insert("mergedContactIds".into(), applied.merged.iter().map(ToString::to_string).collect());
        origin.describe(&mut data);
        self.event(origin, "contact.merged", "contact.merged".into(), Some(applied.id), data)
    }

    /// `webhook.requested`, in place of `contact.upserted` for a chain without a CRM step.
    #[must_use]
    pub fn webhook_requested(&self, origin: Origin<'_>) -> OutgoingEvent {
        let mut data = Map::new();
        data.insert("company".into(), json!({"id": origin.event.company.as_str()}));
        origin.describe(&mut data);
        self.event(origin, "webhook.requested", "webhook.requested".into(), None, data)
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
        let restored: Vec<Value> = restored.iter().map(|contact| self.contact(contact)).collect();
        let aliases = aliases
            .iter()
            .map(|(id, contact)| json!({ "id": id.to_string(), "contactId": contact.to_string() }));
        let data = json!({
            "contact": self.contact(contact),
            "restoredContacts": restored,
            "aliases": aliases.collect::<Vec<Value>>(),
        });
        let about = About { company: &contact.company, subject: Some(contact.id.to_string()) };
        self.envelope(separation, kind, kind.into(), about, separation.to_string(), data)
    }

    /// `contact.erased`, for subscribers that keep copies of contacts: these ids no longer resolve.
    #[must_use]
    pub fn contact_erased(
        &self,
        company: &CompanyId,
        contact: ContactId,
        aliases: &[ContactId],
    ) -> OutgoingEvent {
        let kind = "contact.erased";
        let contact = contact.to_string();
        let data = json!({
            "contact": {"id": contact, "companyId": company.as_str()},
            "mergedContactIds": aliases.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "erasedAt": rfc3339(self.now),
        });
        let id = name_based([kind, contact.as_str(), company.as_str()], 0);
        // No trigger event caused it, so it correlates with itself.
        self.envelope(id, kind, kind.into(), About { company, subject: Some(contact) }, id.to_string(), data)
    }

    fn contact(&self, contact: &Contact) -> Value {
        let mut map = Map::new();
        map.insert("id".into(), contact.id.to_string().into());
        map.insert("companyId".into(), contact.company.as_str().into());
        map.insert("version".into(), contact.version.into());
        for (field, stamped) in contact.values.iter() {
            if field != Field::Identity || self.include_identity {
                map.insert(field.name().into(), stamped.value.as_str().into());
            }
        }
        map.insert("createdAt".into(), rfc3339(contact.created_at).into());
        map.insert("updatedAt".into(), rfc3339(contact.updated_at).into());
        Value::Object(map)
    }

    fn event(
        &self,
        origin: Origin<'_>,
        kind: &'static str,
        routing_key: String,
        subject: Option<ContactId>,
        data: Map<String, Value>,
    ) -> OutgoingEvent {
        let TriggerFired { company, event, .. } = origin.event;
        let id = event.id_of(company, kind, origin.step);
        let about = About { company, subject: subject.map(|id| id.to_string()) };
        let event = self.envelope(id, kind, routing_key, about, event.id().to_owned(), Value::Object(data));
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
        data: Value,
    ) -> OutgoingEvent {
        let envelope = Envelope {
            specversion: "1.0",
            id,
            source: self.source,
            r#type: kind,
            subject: subject.as_deref(),
            time: rfc3339(self.now),
            datacontenttype: "application/json",
            data,
        };
        // Cannot fail: all keys are strings and all numbers are finite.
        let body = serde_json::to_vec(&envelope).unwrap_or_default();
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

impl Origin<'_> {
    fn describe(&self, data: &mut Map<String, Value>) {
        let event = &self.event.event;
        data.insert(
            "trigger".into(),
            json!({"name": self.trigger, "eventId": event.id(), "eventSource": event.source()}),
        );
        for (key, id) in [("session", &self.event.session_id), ("assistant", &self.event.assistant_id)] {
            if let Some(id) = id {
                data.insert(key.into(), json!({ "id": id }));
            }
        }
        data.insert("interaction".into(), json!({"index": self.step, "max": self.max_interactions}));
    }
}

/// RFC 3339, UTC.
#[must_use]
pub fn rfc3339(time: OffsetDateTime) -> String {
    // Fails only for years after 9999, which no accepted event has.
    time.format(&Rfc3339).unwrap_or_default()
}
