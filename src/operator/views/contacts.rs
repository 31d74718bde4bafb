//! Contacts and their history. The identity document is masked for everybody; [`crate::operator::contacts`] reveals it.

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;

use super::{HIDDEN, Sight, moment};
use crate::{
    domain::{
        contact::{Contact, field::Field},
        event::EventRef,
        value::identity::masked,
    },
    operator::contacts::{HistoryEntry, Profile},
    postgres::{contacts::HistoryRow, links::LinkRow},
};

/// A contact with its values.
#[must_use]
pub fn contact(contact: &Contact, sight: Sight) -> Value {
    let mut object = Map::new();
    object.insert("id".to_owned(), contact.id.to_string().into());
    object.insert("companyId".to_owned(), contact.company.as_str().into());
    object.insert("version".to_owned(), contact.version.into());
    for (field, _) in contact.values.iter() {
        object.insert(field.name().to_owned(), value(contact, field, sight).into());
    }
    object.insert("createdAt".to_owned(), moment(contact.created_at).into());
    object.insert("updatedAt".to_owned(), moment(contact.updated_at).into());
    Value::Object(object)
}

/// The value of a field as it may be shown; empty without a value.
#[must_use]
pub fn value(contact: &Contact, field: Field, sight: Sight) -> String {
    match (sight, field, contact.values.get(field)) {
        (_, _, None) => String::new(),
        (Sight::Masked, _, Some(_)) => HIDDEN.to_owned(),
        (Sight::Full, Field::Identity, Some(stamped)) => masked(&stamped.value),
        (Sight::Full, _, Some(stamped)) => stamped.value.clone(),
    }
}

/// A contact with the origin of its values.
#[must_use]
pub fn profile(profile: &Profile, sight: Sight) -> Value {
    let Profile { contact: of, aliases, separations, .. } = profile;
    let identifiers = of.keys.iter().map(|key| {
        let value = if sight == Sight::Full { key.value() } else { HIDDEN };
        json!({ "kind": key.kind(), "value": value, "former": profile.is_former(key) })
    });
    let merged =
        aliases.iter().map(|alias| json!({ "contactId": alias.id, "mergedAt": moment(alias.merged_at) }));
    let separations = separations
        .iter()
        .map(|one| json!({ "contactId": one.other, "since": moment(one.since), "operator": one.operator }));
    json!({
        "contact": contact(of, sight),
        "provenance": provenance(profile),
        "identifiers": identifiers.collect::<Vec<_>>(),
        "mergedContactIds": aliases.iter().map(|alias| alias.id).collect::<Vec<_>>(),
        "merged": merged.collect::<Vec<_>>(),
        "separations": separations.collect::<Vec<_>>(),
    })
}

fn provenance(profile: &Profile) -> Value {
    let entries = profile.contact.values.iter().map(|(field, value)| {
        let stamp = &value.stamp;
        let event = json!({
            "time": stamp.time.format(&Rfc3339).unwrap_or_default(),
            "trigger": profile.triggers.get(field),
            "eventId": stamp.event.id(),
            "eventSource": stamp.event.source(),
            "step": stamp.step,
            "unverified": profile.is_unverified(field),
        });
        (field.name().to_owned(), event)
    });
    Value::Object(entries.collect())
}

/// An entry of a contact's history: names of fields, never values.
#[must_use]
pub fn entry(entry: &HistoryEntry) -> Value {
    match entry {
        HistoryEntry::Event { row, superseded } => event(row, superseded),
        HistoryEntry::Link(row) => link(row),
    }
}

fn event(row: &HistoryRow, superseded: &[(String, EventRef)]) -> Value {
    let by = superseded.iter().map(|(field, event)| {
        (field.clone(), json!({ "eventId": event.id(), "eventSource": event.source() }))
    });
    let mut entry = json!({
        "kind": "event",
        "time": moment(row.event_time),
        "appliedAt": moment(row.applied_at),
        "trigger": row.trigger,
        "eventId": row.event_id,
        "eventSource": row.source,
        "step": row.step,
        "contactId": row.contact_id,
        "operation": row.operation,
        "version": row.version,
        "accepted": row.accepted,
        "changed": row.changed,
        "superseded": superseded.iter().map(|(field, _)| field).collect::<Vec<_>>(),
        "supersededBy": by.collect::<Map<_, _>>(),
        "rejected": row.rejected.clone().unwrap_or_else(|| json!([])),
        "mergedContactIds": row.merged,
    });
    if let (Some(trace), Some(members)) = (row.trace_id, entry.as_object_mut()) {
        members.insert("traceId".to_owned(), trace.simple().to_string().into());
    }
    entry
}

/// Only the members that the kind has: an unmerge has no event, and only a conflict has a rule.
fn link(row: &LinkRow) -> Value {
    let mut entry = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() {
            entry.insert(name.to_owned(), value);
        }
    };
    put("kind", json!(row.kind));
    put("time", json!(moment(row.happened_at)));
    put("contactId", json!(row.contact_id));
    put("otherContactId", json!(row.other_id));
    put("rule", json!(row.rule));
    put("eventId", json!(row.event_id));
    put("eventSource", json!(row.source));
    put("step", json!(row.step));
    put("operator", json!(row.operator));
    Value::Object(entry)
}
