//! The events that the service publishes: `contact.upserted`, `contact.merged`, `contact.unmerged`,
//! `contact.erased`, `webhook.requested`; `trigger.completed` is made in `completed`.
//!
//! One CloudEvents 1.0 JSON object each. No action configuration, header, secret or raw argument
//! rides on them, and the identity document only where the deployment allows it.

use std::fmt;

use serde::Serialize;
use serde_json::{Map, Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::domain::{
    contact::{Contact, ContactId, Rejected, directory::Applied, field::Field},
    event::{CompanyId, name_based},
    trigger::fired::TriggerFired,
};

/// A published event, ready to send.
#[derive(Clone)]
pub struct Outgoing {
    /// CloudEvents `id`: derived from what caused it, so a repetition publishes the same.
    pub id: Uuid,
    /// CloudEvents `type`.
    pub kind: &'static str,
    /// AMQP routing key.
    pub routing_key: String,
    /// CloudEvents `subject`: the contact id.
    pub subject: Option<String>,
    /// The exact bytes.
    pub body: Vec<u8>,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body holds the contact.
        f.debug_struct("Outgoing").field("id", &self.id).field("kind", &self.kind).finish_non_exhaustive()
    }
}

/// What the events of one deployment have in common, and when they happen.
#[derive(Clone, Copy, Debug)]
pub struct Publisher<'a> {
    /// CloudEvents `source`.
    pub source: &'a str,
    /// Whether a contact's identity document is published.
    pub include_identity: bool,
    /// When the effect happens.
    pub now: OffsetDateTime,
}

/// Where in which chain an event arises.
#[derive(Clone, Copy)]
pub struct Origin<'a> {
    /// The trigger event.
    pub event: &'a TriggerFired,
    /// Name of the trigger whose step it is.
    pub trigger: &'a str,
    /// The step, counted from 1.
    pub step: u16,
    /// The most steps that the chain may have.
    pub max_interactions: u32,
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
    ) -> Outgoing {
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

    /// `contact.merged`, for subscribers that keep contact ids: the losers now resolve to the contact.
    #[must_use]
    pub fn contact_merged(&self, origin: Origin<'_>, applied: &Applied, contact: &Contact) -> Outgoing {
        let mut data = Map::new();
        data.insert("contact".into(), self.contact(contact));
        data.insert("mergedContactIds".into(), applied.merged.iter().map(ToString::to_string).collect());
        origin.describe(&mut data);
        self.event(origin, "contact.merged", "contact.merged".into(), Some(applied.id), data)
    }

    /// `webhook.requested`, which stands for `contact.upserted` in a chain without a CRM step.
    #[must_use]
    pub fn webhook_requested(&self, origin: Origin<'_>) -> Outgoing {
        let mut data = Map::new();
        data.insert("company".into(), json!({"id": origin.event.company.as_str()}));
        origin.describe(&mut data);
        self.event(origin, "webhook.requested", "webhook.requested".into(), None, data)
    }

    /// `contact.unmerged`: `contact` is what lives on under the id of the merged one, `restored` what was
    /// in it too. All of them have changed. `aliases` are the ids that lead to one of them, and which.
    /// `separation` becomes the event's id.
    #[must_use]
    pub fn contact_unmerged(
        &self,
        separation: Uuid,
        contact: &Contact,
        restored: &[&Contact],
        aliases: &[(ContactId, ContactId)],
    ) -> Outgoing {
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
        self.envelope(separation, kind, kind.into(), Some(contact.id.to_string()), data)
    }

    /// `contact.erased`, for subscribers that keep copies of contacts: these ids belong to nobody now.
    #[must_use]
    pub fn contact_erased(&self, company: &CompanyId, contact: ContactId, aliases: &[ContactId]) -> Outgoing {
        let kind = "contact.erased";
        let contact = contact.to_string();
        let data = json!({
            "contact": {"id": contact, "companyId": company.as_str()},
            "mergedContactIds": aliases.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "erasedAt": rfc3339(self.now),
        });
        let id = name_based([kind, contact.as_str(), company.as_str()], 0);
        self.envelope(id, kind, kind.into(), Some(contact), data)
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
    ) -> Outgoing {
        let id = origin.event.event.id_of(&origin.event.company, kind, origin.step);
        self.envelope(id, kind, routing_key, subject.map(|id| id.to_string()), Value::Object(data))
    }

    pub(super) fn envelope(
        &self,
        id: Uuid,
        kind: &'static str,
        routing_key: String,
        subject: Option<String>,
        data: Value,
    ) -> Outgoing {
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
        // Text keys and finite numbers only: this serialization has no way to fail.
        let body = serde_json::to_vec(&envelope).unwrap_or_default();
        Outgoing { id, kind, routing_key, subject, body }
    }
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
    // Fails only for years beyond 9999, which no accepted event has.
    time.format(&Rfc3339).unwrap_or_default()
}
