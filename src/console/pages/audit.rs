//! What operators changed.

use askama::Template;
use axum::{extract::State, response::Response};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    super::{body::Params, caller::Caller, problem::Problem, shared::Shared},
    parts::{Id, Moment, link, object, printable, words},
    progress::{path, selection},
    query::{Choice, Given, MOMENT, PAGE, choices, moment},
    shell::{Shell, render},
};
use crate::operator::{
    audit::{self, ACTIONS, DEAD_LETTER_NOTE, Entry, Filter},
    paging::Page as Listed,
};

/// The parameters of a filter.
const FILTERS: [&str; 6] = ["operator", "action", "company", "object", "since", "until"];

#[derive(Template)]
#[template(path = "audit.html")]
struct Page {
    shell: Shell,
    filter: Fields,
    actions: Vec<Choice>,
    is_filtered: bool,
    fault: Option<String>,
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
}

struct Fields {
    operator: String,
    company: String,
    object: String,
    since: String,
    until: String,
}

struct Row {
    at: Moment,
    operator: String,
    via: String,
    action: String,
    href: Option<String>,
    what: Id,
    company: String,
    before: String,
    after: String,
    reason: String,
}

impl Row {
    fn new(entry: &Entry, now: OffsetDateTime) -> Self {
        let kind = match entry.action.split_once('.') {
            Some(("dead_letter", _)) => Some("dead-letters"),
            Some(("delivery", _)) => Some("deliveries"),
            Some(("endpoint", _)) => Some("endpoints"),
            Some(("contact", _)) => Some("contacts"),
            Some(("operation", _)) => Some("operations"),
            _ => None,
        };
        let id = Uuid::try_parse(&entry.object).ok();
        Self {
            at: Moment::new(entry.at, now),
            operator: printable(&entry.operator),
            via: words(&entry.via),
            action: words(&entry.action.replace('.', ": ")),
            href: match (kind, id) {
                // Operations are of every company.
                (Some("operations"), Some(id)) => Some(path(id)),
                (Some(kind), Some(id)) => Some(object(kind, &entry.company, id)),
                // A note is on a cause.
                _ if entry.action == DEAD_LETTER_NOTE => {
                    Some(link("/dead-letters", [("signature", entry.object.as_str())]))
                }
                _ => None,
            },
            what: Id::text(&entry.object),
            company: printable(&entry.company),
            before: state(entry.before.as_ref()),
            after: state(entry.after.as_ref()),
            reason: entry.reason.as_deref().map(printable).unwrap_or_default(),
        }
    }
}

/// `{"state": "open", "replays": 1}` as `state open, replays 1`.
fn state(value: Option<&Value>) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => words(text),
        other => printable(&other.to_string()),
    };
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::Object(members)) => {
            let members = members.iter().filter(|(_, value)| !value.is_null());
            let member = |(name, value): (&String, &Value)| match name.as_str() {
                "selection" => format!("selection ({})", selection(value)),
                _ => format!("{} {}", words(name), text(value)),
            };
            let members = members.map(member);
            members.collect::<Vec<_>>().join(", ")
        }
        Some(other) => text(other),
    }
}

pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    mut query: Params,
) -> Result<Response, Problem> {
    let given = Given::take(&mut query, &[&FILTERS[..], &["cursor"]].concat())?;
    query.end()?;
    let now = OffsetDateTime::now_utc();
    let (found, fault) = match filter(&given, now) {
        Ok(filter) => (audit::list(&shared.database, &filter, PAGE).await?, None),
        Err(fault) => (Listed { items: Vec::new(), next: None }, Some(fault)),
    };
    let field = |name: &str| given.get(name).to_owned();
    render(&Page {
        shell: Shell::new(&caller, "/audit", "Audit").live(),
        actions: choices(ACTIONS, given.get("action")),
        is_filtered: given.any(&FILTERS),
        fault,
        rows: found.items.iter().map(|entry| Row::new(entry, now)).collect(),
        first: given.given("cursor").map(|_| given.link("/audit", "cursor", "")),
        next: found.next.map(|next| given.link("/audit", "cursor", &next.to_string())),
        filter: Fields {
            operator: field("operator"),
            company: field("company"),
            object: field("object"),
            since: field("since"),
            until: field("until"),
        },
    })
}

/// What the parameters select.
fn filter(given: &Given, now: OffsetDateTime) -> Result<Filter, String> {
    Ok(Filter {
        operator: given.given("operator"),
        action: given
            .parsed("action", "one of the list", |text| ACTIONS.contains(&text).then(|| text.to_owned()))?,
        company: given.given("company"),
        object: given.given("object"),
        since: given.parsed("since", MOMENT, |text| moment(text, now))?,
        until: given.parsed("until", MOMENT, |text| moment(text, now))?,
        before: given.parsed("cursor", "a link of this page", |text| text.parse().ok())?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn state_is_a_sentence() {
        let filter = json!({ "company": "acme", "states": ["pending"] });
        let plan = json!({ "total": 4, "action": "discard_deliveries", "canary": null, "selection": filter });
        let text = "total 4, action discard deliveries, selection (company acme, states pending)";
        assert_eq!(state(Some(&plan)), text);
        assert_eq!(state(Some(&json!({ "state": "open" }))), "state open");
        assert_eq!((state(None), state(Some(&Value::Null))), (String::new(), String::new()));
    }
}
