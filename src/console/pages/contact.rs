//! One contact: its values and their origin, its history, and the changes an operator can make.

use askama::Template;
use axum::{
    extract::{Path, State},
    response::Response,
};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    super::{body::Params, caller::Caller, problem::Problem, shared::Shared},
    contacts::{nameless, sight},
    parts::{Id, Moment, link, object, printable, words},
    query,
    shell::{DONE, Shell, render},
};
use crate::{
    domain::{
        contact::{ContactId, field::Field},
        event::CompanyId,
    },
    operator::{
        contacts::{self, HistoryEntry, Order, Position, Profile},
        views::{self, HIDDEN, Sight},
    },
    postgres::{contacts::HistoryRow, links::LinkRow},
};

/// Entries of the history on the page.
const HISTORY: u32 = 50;

#[derive(Template)]
#[template(path = "contact.html")]
struct Page {
    shell: Shell,
    id: Id,
    company: String,
    name: String,
    version: i64,
    created: Moment,
    updated: Moment,
    is_masked: bool,
    fault: Option<String>,
    merged_into: Option<Id>,
    values: Vec<Held>,
    keys: Vec<Key>,
    merged: Vec<Merged>,
    separations: Vec<Separated>,
    deliveries: String,
    reveal: String,
    erase: String,
    confirmation: String,
    history: Vec<Entry>,
    /// The page with the newest entries, if this is another one.
    newest: Option<String>,
    older: Option<String>,
}

struct Held {
    field: String,
    value: String,
    is_unverified: bool,
    can_reveal: bool,
    trigger: String,
    event: Id,
    at: Moment,
}

struct Key {
    kind: &'static str,
    value: String,
    is_former: bool,
}

struct Merged {
    id: Id,
    at: Moment,
    unmerge: String,
}

struct Separated {
    id: Id,
    at: Moment,
    by: String,
}

struct Entry {
    title: String,
    tone: &'static str,
    at: Moment,
    trigger: String,
    event: Option<Id>,
    remarks: Vec<String>,
}

/// The contact of a path.
pub(super) struct Target {
    pub(super) company: CompanyId,
    pub(super) id: ContactId,
}

impl Target {
    pub(super) fn read(id: &str, company: Option<String>) -> Result<Self, Problem> {
        let company = CompanyId::new(&company.unwrap_or_default());
        let company = company.map_err(|_| Problem::invalid("company", "give the id of a company"))?;
        Ok(Self { company, id: ContactId(query::id(id)?) })
    }

    /// Its page.
    pub(super) fn page(&self) -> String {
        object("contacts", self.company.as_str(), self.id.0)
    }

    fn action(&self, verb: &str) -> String {
        self.page().replacen('?', &format!("/{verb}?"), 1)
    }
}

/// What the page shows besides the contact.
#[derive(Default)]
pub(super) struct Extra {
    /// Why the last change was refused.
    pub(super) fault: Option<String>,
    /// Whether the identity is shown.
    pub(super) is_revealed: bool,
    /// The entry after which the history is shown.
    pub(super) after: Option<Position>,
}

pub(super) async fn show(
    State(shared): State<Shared>,
    caller: Caller,
    Path(id): Path<String>,
    mut params: Params,
) -> Result<Response, Problem> {
    let (company, done) = (params.one("company")?, params.one(DONE)?);
    let after = params.parsed("history", |text| text.parse().ok(), "what a link of the page has")?;
    params.end()?;
    let target = Target::read(&id, company)?;
    let shell = Shell::new(&caller, "/contacts", "Contact").after(done.as_deref());
    respond(&shared, shell, &target, Extra { after, ..Extra::default() }).await
}

/// The page of a contact.
pub(super) async fn respond(
    shared: &Shared,
    shell: Shell,
    target: &Target,
    extra: Extra,
) -> Result<Response, Problem> {
    let profile = contacts::show(&shared.database, &target.company, target.id).await?;
    let (database, order, after) = (&shared.database, Order::NewestFirst, extra.after.as_ref());
    let history = contacts::history(database, &target.company, target.id, order, after, HISTORY).await?;
    render(&page(shell, target, &profile, &history, extra))
}

fn page(
    shell: Shell,
    target: &Target,
    profile: &Profile,
    (history, older): &(Vec<HistoryEntry>, Option<Position>),
    extra: Extra,
) -> Page {
    let now = OffsetDateTime::now_utc();
    let contact = &profile.contact;
    let company = target.company.as_str();
    let sight = sight(&shell);
    let of = |id: ContactId| Target { company: target.company.clone(), id };
    let name = printable(&views::contacts::value(contact, Field::Name, sight));
    let whole = contact.id.to_string();
    Page {
        id: Id::new(contact.id.0),
        company: printable(company),
        name: if name.is_empty() { nameless() } else { name },
        version: contact.version,
        created: Moment::new(contact.created_at, now),
        updated: Moment::new(contact.updated_at, now),
        is_masked: sight == Sight::Masked,
        fault: extra.fault,
        merged_into: (target.id != contact.id).then(|| Id::new(target.id.0)),
        values: values(profile, &shell, extra.is_revealed, now),
        keys: keys(profile, sight),
        merged: profile
            .aliases
            .iter()
            .map(|alias| Merged {
                id: Id::new(alias.id),
                at: Moment::new(alias.merged_at, now),
                unmerge: of(ContactId(alias.id)).action("unmerge"),
            })
            .collect(),
        separations: profile
            .separations
            .iter()
            .map(|one| Separated {
                id: Id::new(one.other),
                at: Moment::new(one.since, now),
                by: one.operator.as_deref().map(printable).unwrap_or_default(),
            })
            .collect(),
        deliveries: link("/deliveries", [("company", company), ("contact", whole.as_str())]),
        reveal: of(contact.id).action("reveal"),
        erase: of(contact.id).action("erase"),
        confirmation: ending(contact.id.0),
        history: history.iter().map(|entry| line(entry, now)).collect(),
        newest: extra.after.map(|_| target.page()),
        older: older.as_ref().map(|older| format!("{}&history={older}", target.page())),
        shell: shell.titled(format!("Contact {}", Id::new(contact.id.0).short())),
    }
}

/// What somebody types to confirm an erasure.
pub(super) fn ending(id: Uuid) -> String {
    let whole = id.to_string();
    whole.chars().skip(30).collect()
}

fn values(profile: &Profile, shell: &Shell, is_revealed: bool, now: OffsetDateTime) -> Vec<Held> {
    let value = |(field, stamped): (Field, &crate::domain::contact::Stamped)| {
        let is_identity = field == Field::Identity;
        Held {
            field: words(&spaced(field.name())),
            value: if is_identity && is_revealed {
                printable(&stamped.value)
            } else {
                printable(&views::contacts::value(&profile.contact, field, sight(shell)))
            },
            is_unverified: profile.is_unverified(field),
            can_reveal: is_identity && !is_revealed && shell.is_admin(),
            trigger: profile.triggers.get(field).map(|name| printable(name)).unwrap_or_default(),
            event: Id::text(stamped.stamp.event.id()),
            at: Moment::new(stamped.stamp.time, now),
        }
    };
    profile.contact.values.iter().map(value).collect()
}

/// `zipCode` as `zip code`.
fn spaced(name: &str) -> String {
    let letter =
        |c: char| if c.is_ascii_uppercase() { format!(" {}", c.to_ascii_lowercase()) } else { c.into() };
    name.chars().map(letter).collect()
}

fn keys(profile: &Profile, sight: Sight) -> Vec<Key> {
    let key = |key: &crate::domain::contact::Identifier| Key {
        kind: key.kind(),
        value: printable(if sight == Sight::Full { key.value() } else { HIDDEN }),
        is_former: profile.is_former(key),
    };
    profile.contact.keys.iter().map(key).collect()
}

fn line(entry: &HistoryEntry, now: OffsetDateTime) -> Entry {
    match entry {
        HistoryEntry::Event { row, superseded } => {
            let superseded: Vec<String> = superseded.iter().map(|(field, _)| field.clone()).collect();
            event(row, &superseded, now)
        }
        HistoryEntry::Link(row) => linked(row, now),
    }
}

fn event(row: &HistoryRow, superseded: &[String], now: OffsetDateTime) -> Entry {
    let list = |title: &str, names: &[String]| {
        let names: Vec<&str> = names.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
        (!names.is_empty()).then(|| printable(&format!("{title}: {}", names.join(", "))))
    };
    let rejected = row.rejected.as_ref().and_then(serde_json::Value::as_array).into_iter().flatten();
    let text = |value: &serde_json::Value, name: &str| {
        value.get(name).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
    };
    let rejected = rejected.map(|one| format!("{} ({})", text(one, "field"), words(&text(one, "reason"))));
    let rejected: Vec<String> = rejected.collect();
    let remarks = [
        list("Changed", &row.changed),
        list("Replaced since", superseded),
        list("Not understood", &rejected),
    ];
    Entry {
        title: match row.operation.as_str() {
            "created" => "Created".to_owned(),
            "updated" => format!("Updated to version {}", row.version),
            _ => "Nothing new".to_owned(),
        },
        tone: match row.operation.as_str() {
            "created" | "updated" => "done",
            _ => "quiet",
        },
        at: Moment::new(row.event_time, now),
        trigger: printable(&row.trigger),
        event: Some(Id::text(&row.event_id)),
        remarks: remarks.into_iter().flatten().collect(),
    }
}

fn linked(row: &LinkRow, now: OffsetDateTime) -> Entry {
    let other = format!("{} and {}", row.contact_id, row.other_id);
    let (title, tone, remark) = match row.kind.as_str() {
        "merged" => ("Merged", "waiting", other),
        "unmerged" => ("Unmerged", "waiting", other),
        _ => (
            "Kept apart",
            "failed",
            format!("{other}: {}", row.rule.as_deref().map(words).unwrap_or_default()),
        ),
    };
    let by = row.operator.as_deref().map(|operator| format!("by {}", printable(operator)));
    Entry {
        title: title.to_owned(),
        tone,
        at: Moment::new(row.happened_at, now),
        trigger: String::new(),
        event: row.event_id.as_deref().map(Id::text),
        remarks: [Some(remark), by].into_iter().flatten().collect(),
    }
}
