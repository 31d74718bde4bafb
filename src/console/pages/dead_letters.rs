//! The listing of dead letters, and what its rows show.

use askama::Template;
use axum::{extract::State, response::Response};
use strum::VariantArray as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    super::{body::Params, caller::Caller, problem::Problem, shared::Shared},
    parts::{Badge, Id, Moment, object, printable, words},
    query::{Choice, Given, MOMENT, PAGE, choices, exact, key_text, moment},
    shell::{Shell, render},
};
use crate::{
    domain::{
        event::Key,
        fault::{Reason, Stage},
    },
    operator::dead_letters::{self, Filter, State as Letter, Summary},
};

/// The parameters of a filter.
pub(super) const FILTERS: [&str; 11] = [
    "state",
    "reason",
    "stage",
    "company",
    "text",
    "trigger",
    "event",
    "endpoint",
    "since",
    "until",
    "signature",
];

/// The choice of every state, beside the states themselves.
const ANY: &str = "any";

#[derive(Template)]
#[template(path = "dead_letters.html")]
struct Page {
    shell: Shell,
    filter: Fields,
    states: Vec<Choice>,
    reasons: Vec<Choice>,
    stages: Vec<Choice>,
    is_filtered: bool,
    has_more_filters: bool,
    fault: Option<String>,
    actions: Vec<(&'static str, &'static str)>,
    rows: Vec<Row>,
    /// The filter, for the buttons that act on all that match.
    matching: Vec<(&'static str, String)>,
    first: Option<String>,
    next: Option<String>,
    searched_to: Option<Moment>,
}

struct Fields {
    company: String,
    text: String,
    trigger: String,
    event: String,
    endpoint: String,
    since: String,
    until: String,
    signature: String,
}

/// One dead letter of a listing.
struct Row {
    href: String,
    /// The listing of its company.
    of_company: String,
    /// The listing of its trigger.
    of_trigger: String,
    /// The value of its checkbox.
    key: String,
    whole: Uuid,
    id: Id,
    reason: String,
    stage: String,
    company: String,
    message: String,
    trigger: String,
    state: Badge,
    attempts: i32,
    last: Moment,
}

impl Row {
    fn new(row: &Summary, given: &Given, now: OffsetDateTime) -> Self {
        let narrowed = |name: &str, value: &str| given.narrowed("/dead-letters", name, value);
        Self {
            href: object("dead-letters", &row.company, row.id),
            of_company: narrowed("company", &row.company),
            of_trigger: row.trigger.as_deref().map(|name| narrowed("trigger", name)).unwrap_or_default(),
            key: key_text(&Key { company: row.company.clone(), id: row.id }),
            whole: row.id,
            id: Id::new(row.id),
            reason: words(&row.reason),
            stage: words(&row.stage),
            company: printable(&row.company),
            message: printable(&row.message),
            trigger: row.trigger.as_deref().map(printable).unwrap_or_default(),
            state: Badge::dead_letter(&row.state),
            attempts: row.attempts,
            last: Moment::new(row.last_seen_at, now),
        }
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
    let cursor = given.parsed("cursor", "a link of this page", |text| text.parse().ok());
    let (found, matching, fault) = match filter(&given, now).and_then(|filter| Ok((filter, cursor?))) {
        Ok((filter, after)) => {
            let found = dead_letters::list(&shared.database, &filter, after, PAGE).await?;
            (Some(found), fields(&given, &filter), None)
        }
        Err(fault) => (None, Vec::new(), Some(fault)),
    };
    let next = found.as_ref().and_then(|found| found.next);
    let rows = found.iter().flat_map(|found| &found.items);
    let field = |name: &str| given.get(name).to_owned();
    render(&Page {
        shell: Shell::new(&caller, "/dead-letters", "Dead letters").live(),
        states: states(given.get("state")),
        reasons: choices(Reason::VARIANTS.iter().map(|reason| reason.name()), given.get("reason")),
        stages: choices(Stage::VARIANTS.iter().map(|stage| stage.name()), given.get("stage")),
        is_filtered: given.any(&FILTERS),
        has_more_filters: given.any(&["trigger", "event", "endpoint", "since", "until", "signature"]),
        fault,
        actions: actions(given.get("state")),
        rows: rows.map(|row| Row::new(row, &given, now)).collect(),
        matching,
        first: given.given("cursor").map(|_| given.link("/dead-letters", "cursor", "")),
        next: next.map(|next| given.link("/dead-letters", "cursor", &next.to_string())),
        searched_to: Moment::of(found.as_ref().and_then(|found| found.searched_to(PAGE)), now),
        filter: Fields {
            company: field("company"),
            text: field("text"),
            trigger: field("trigger"),
            event: field("event"),
            endpoint: field("endpoint"),
            since: field("since"),
            until: field("until"),
            signature: field("signature"),
        },
    })
}

/// The actions for dead letters in the chosen states.
fn actions(state: &str) -> Vec<(&'static str, &'static str)> {
    let mut actions = Vec::new();
    if matches!(state, "" | "open" | "replaying" | ANY) {
        actions.extend([("replay", "Replay"), ("discard", "Discard")]);
    }
    if matches!(state, "discarded" | ANY) {
        actions.push(("restore", "Restore"));
    }
    actions
}

/// Without a choice, those that an operator can still settle.
fn states(chosen: &str) -> Vec<Choice> {
    let unsettled =
        Choice { value: String::new(), name: "open or replaying".to_owned(), is_chosen: chosen.is_empty() };
    let each = choices(Letter::VARIANTS.iter().map(|state| state.name()).chain([ANY]), chosen);
    std::iter::once(unsettled).chain(each).collect()
}

/// The filter as fields of a form. Times are exact: a plan that is made later must not select more.
pub(super) fn fields(given: &Given, filter: &Filter) -> Vec<(&'static str, String)> {
    let field = |name: &'static str| {
        let value = match name {
            "since" => exact(filter.since),
            "until" => exact(filter.until),
            _ => given.get(name).to_owned(),
        };
        (name, value)
    };
    FILTERS.into_iter().map(field).filter(|(_, value)| !value.is_empty()).collect()
}

/// What the parameters select.
pub(super) fn filter(given: &Given, now: OffsetDateTime) -> Result<Filter, String> {
    let states = given.parsed("state", "one of the list", |text| match text {
        ANY => Some(Letter::VARIANTS.to_vec()),
        _ => text.parse().ok().map(|state| vec![state]),
    })?;
    let filter = Filter::default();
    Ok(Filter {
        reason: given.parsed("reason", "one of the list", |text| text.parse().ok())?,
        stage: given.parsed("stage", "one of the list", |text| text.parse().ok())?,
        company: given.given("company"),
        trigger: given.given("trigger"),
        endpoint: given
            .parsed("endpoint", "the whole id of an endpoint", |text| Uuid::try_parse(text).ok())?,
        event_id: given.given("event"),
        signature: given.parsed("signature", "a link of the failures", |text| text.parse().ok())?,
        text: given
            .parsed("text", "1 to 200 characters, without control characters", |text| text.parse().ok())?,
        since: given.parsed("since", MOMENT, |text| moment(text, now))?,
        until: given.parsed("until", MOMENT, |text| moment(text, now))?,
        states: states.unwrap_or_else(|| filter.states.clone()),
        ..filter
    })
}
