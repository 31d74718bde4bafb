//! `contact history`: every event, merge, unmerge and conflict of a contact, oldest first.

use serde_json::{Map, Value, json};

use super::{
    super::{
        exit::Exit,
        output::{self, moment},
    },
    One,
};
use crate::{
    domain::{contact::ContactId, event::EventRef},
    operator::contacts::{self, HistoryEntry},
    postgres::{Database, contacts::HistoryRow, links::LinkRow},
};

/// The columns of the table, and the members that fill them; an entry has at most one member per column.
const COLUMNS: [(&str, &[&str]); 14] = [
    ("time", &["time"]),
    ("kind", &["kind"]),
    ("contact", &["contactId"]),
    ("other contact", &["otherContactId", "mergedContactIds"]),
    ("trigger", &["trigger"]),
    ("event", &["eventId"]),
    ("step", &["step"]),
    ("operation", &["operation"]),
    ("version", &["version"]),
    ("accepted", &["accepted"]),
    ("changed", &["changed"]),
    ("superseded", &["superseded"]),
    ("rejected", &["rejected"]),
    ("rule or operator", &["rule", "operator"]),
];

pub(super) async fn run(database: &Database, args: &One) -> anyhow::Result<Exit> {
    let entries = contacts::history(database, &args.company, ContactId(args.id)).await?;
    let is_creation =
        |entry: &HistoryEntry| matches!(entry, HistoryEntry::Event { row, .. } if row.operation == "created");
    if !entries.iter().any(is_creation) {
        output::note("the event that created this contact has left the history; see retention.history");
    }
    let rows: Vec<Value> = entries.iter().map(as_json).collect();
    output::listing(args.output.format, COLUMNS.map(|(name, _)| name), &rows, |row| {
        COLUMNS.map(|(_, members)| cell(members.iter().find_map(|member| row.get(member))))
    })?;
    Ok(Exit::Done)
}

fn as_json(entry: &HistoryEntry) -> Value {
    match entry {
        HistoryEntry::Event { row, superseded } => event(row, superseded),
        HistoryEntry::Link(row) => link(row),
    }
}

fn event(row: &HistoryRow, superseded: &[(String, EventRef)]) -> Value {
    let by = superseded.iter().map(|(field, event)| {
        (field.clone(), json!({ "eventId": event.id(), "eventSource": event.source() }))
    });
    json!({
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
    })
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

/// The text of a table cell; for an object, the texts of its members.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) => items.iter().map(|item| cell(Some(item))).collect::<Vec<_>>().join(", "),
        Some(Value::Object(members)) => {
            members.values().map(|member| cell(Some(member))).collect::<Vec<_>>().join(" ")
        }
        Some(other) => other.to_string(),
    }
}
