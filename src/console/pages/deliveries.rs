//! The listing of deliveries, and what their rows show.

use std::str::FromStr as _;

use askama::Template;
use axum::{extract::State, response::Response};
use strum::VariantArray as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    super::{body::Params, caller::Caller, problem::Problem, shared::Shared},
    explain,
    parts::{Badge, Id, Moment, object, printable},
    query::{Choice, Given, MOMENT, PAGE, choices, exact, key_text, moment},
    shell::{DONE, Shell, render},
};
use crate::{
    domain::event::Key,
    operator::{
        deliveries::{self, Filter, Listed, State as DeliveryState},
        endpoints::shortened,
        paging::Cursor,
    },
};

/// The parameters of a filter.
pub(super) const FILTERS: [&str; 7] =
    ["state", "company", "trigger", "endpoint", "since", "event", "contact"];

#[derive(Template)]
#[template(path = "deliveries.html")]
struct Page {
    shell: Shell,
    filter: Fields,
    states: Vec<Choice>,
    is_filtered: bool,
    has_more_filters: bool,
    fault: Option<String>,
    is_complete: bool,
    searched_to: Option<Moment>,
    rows: Vec<Row>,
    /// The filter, for the buttons that act on all that match; empty without a filter.
    matching: Vec<(&'static str, String)>,
    /// The address that discards, if only deliveries that wait are listed: all others have ended.
    discard: Option<&'static str>,
    first: Option<String>,
    next: Option<String>,
}

struct Fields {
    company: String,
    trigger: String,
    endpoint: String,
    since: String,
    event: String,
    contact: String,
}

/// One delivery of a listing.
pub(super) struct Row {
    pub(super) href: String,
    /// The value of its checkbox.
    pub(super) key: String,
    pub(super) whole: Uuid,
    pub(super) id: Id,
    pub(super) company: String,
    pub(super) trigger: String,
    pub(super) endpoint: String,
    pub(super) state: Badge,
    pub(super) waits: &'static str,
    pub(super) until: Option<Moment>,
    pub(super) attempts: i32,
    pub(super) answer: String,
    pub(super) error: String,
    pub(super) created: Moment,
}

impl Row {
    pub(super) fn new(listed: &Listed, now: OffsetDateTime) -> Self {
        let row = &listed.summary;
        let url = row.endpoint_url.as_deref().map(shortened).unwrap_or_default();
        let error = row.last_error.as_deref().filter(|_| row.state != DeliveryState::Delivered.name());
        Self {
            href: object("deliveries", &row.company, row.id),
            key: key_text(&Key { company: row.company.clone(), id: row.id }),
            whole: row.id,
            id: Id::new(row.id),
            company: printable(&row.company),
            trigger: printable(&row.trigger),
            endpoint: printable(&url),
            state: Badge::delivery(&row.state),
            waits: listed.waits_for().map(explain::wait).unwrap_or_default(),
            until: Moment::of(listed.waits_until(), now),
            attempts: row.attempts,
            answer: row.last_status.map(|status| format!("HTTP {status}")).unwrap_or_default(),
            error: error.map(printable).unwrap_or_default(),
            created: Moment::new(row.created_at, now),
        }
    }
}

pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    mut query: Params,
) -> Result<Response, Problem> {
    let given = Given::take(&mut query, &[&FILTERS[..], &["cursor"]].concat())?;
    let done = query.one(DONE)?;
    query.end()?;
    let now = OffsetDateTime::now_utc();
    let cursor = given.parsed("cursor", "a link of this page", |text| text.parse().ok());
    let filter =
        filter(&given, now).and_then(|filter| Ok(Filter { before: cursor?.map(Cursor::position), ..filter }));
    let (filter, fault) = match filter {
        Ok(filter) => (Some(filter), None),
        Err(fault) => (None, Some(fault)),
    };
    // Without a state, what was delivered would be sent once more.
    let has_state = filter.as_ref().filter(|filter| filter.states.is_some());
    let matching = has_state.map(|filter| fields(&given, filter)).unwrap_or_default();
    let (mut rows, mut next, mut is_complete, mut searched_to) = (Vec::new(), None, true, None);
    if let Some(filter) = filter {
        let found = deliveries::page(&shared.database, &filter, PAGE).await?;
        rows = found.page.items.iter().map(|listed| Row::new(listed, now)).collect();
        next = found.page.next.map(|cursor| given.link("/deliveries", "cursor", &cursor.to_string()));
        is_complete = found.is_complete;
        searched_to = Moment::of(found.page.searched_to(PAGE), now);
    }
    let field = |name: &str| given.get(name).to_owned();
    render(&Page {
        shell: Shell::new(&caller, "/deliveries", "Deliveries").after(done.as_deref()),
        states: choices(DeliveryState::VARIANTS.iter().map(|state| state.name()), given.get("state")),
        is_filtered: given.any(&FILTERS) || given.any(&["cursor"]),
        discard: (!matching.is_empty() && given.get("state") == DeliveryState::Pending.name())
            .then_some("/deliveries/discard/plan"),
        matching,
        has_more_filters: given.any(&["event", "contact"]),
        first: given.given("cursor").map(|_| given.link("/deliveries", "cursor", "")),
        filter: Fields {
            company: field("company"),
            trigger: field("trigger"),
            endpoint: field("endpoint"),
            since: field("since"),
            event: field("event"),
            contact: field("contact"),
        },
        fault,
        is_complete,
        searched_to,
        rows,
        next,
    })
}

/// The filter as fields of a form. Its time is exact: a plan that is made later must not select more.
fn fields(given: &Given, filter: &Filter) -> Vec<(&'static str, String)> {
    let field = |name: &'static str| {
        let value = if name == "since" { exact(filter.since) } else { given.get(name).to_owned() };
        (name, value)
    };
    FILTERS.into_iter().map(field).filter(|(_, value)| !value.is_empty()).collect()
}

/// What the parameters select.
pub(super) fn filter(given: &Given, now: OffsetDateTime) -> Result<Filter, String> {
    let uuid = |text: &str| Uuid::try_parse(text).ok();
    let state = given.parsed("state", "one of the list", |text| DeliveryState::from_str(text).ok())?;
    let since = given.parsed("since", MOMENT, |text| moment(text, now))?;
    // Pending deliveries are listed at any age; there is no index of all others by time.
    let day = || (state != Some(DeliveryState::Pending)).then_some(now - time::Duration::DAY);
    Ok(Filter {
        company: given.given("company"),
        states: state.map(|state| vec![state]),
        endpoints: given.parsed("endpoint", "the whole id of an endpoint", uuid)?.map(|id| vec![id]),
        event_id: given.given("event"),
        contact: given.parsed("contact", "the whole id of a contact", uuid)?,
        trigger: given.given("trigger"),
        since: since.or_else(day),
        ..Filter::default()
    })
}
