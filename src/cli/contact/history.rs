//! `contact history`: every event, merge, unmerge and conflict of a contact, oldest first.

use serde_json::Value;

use super::{
    super::{exit::Exit, output},
    One,
};
use crate::{
    domain::contact::ContactId,
    operator::{
        contacts::{self, HistoryEntry, Order},
        paging::MAX_PAGE,
        views,
    },
    postgres::Database,
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

/// Page by page: a contact may have any number of events.
pub(super) async fn run(database: &Database, args: &One) -> anyhow::Result<Exit> {
    let mut list = output::Rows::new(args.output.format, COLUMNS.map(|(name, _)| name));
    let (mut after, mut has_creation) = (None, false);
    loop {
        let (company, id, order) = (&args.company, ContactId(args.id), Order::OldestFirst);
        let (entries, next) =
            contacts::history(database, company, id, order, after.as_ref(), MAX_PAGE).await?;
        has_creation |= entries.iter().any(is_creation);
        let rows: Vec<Value> = entries.iter().map(views::contacts::entry).collect();
        list.print(&rows, |row| {
            COLUMNS.map(|(_, members)| cell(members.iter().find_map(|member| row.get(member))))
        })?;
        after = next;
        if after.is_none() {
            break;
        }
    }
    list.end()?;
    if !has_creation {
        output::note("the event that created this contact has left the history; see retention.history");
    }
    Ok(Exit::Done)
}

fn is_creation(entry: &HistoryEntry) -> bool {
    matches!(entry, HistoryEntry::Event { row, .. } if row.operation == "created")
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
