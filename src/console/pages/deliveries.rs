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
    query::{Choice, Given, MOMENT, PAGE, choices, moment},
    shell::{DONE, Shell, render},
};
use crate::operator::{
    deliveries::{self, Filter, Listed, State as DeliveryState},
    endpoints::shortened,
    paging::Cursor,
};

const NAMES: [&str; 8] = ["state", "company", "trigger", "endpoint", "since", "event", "contact", "cursor"];

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
    let given = Given::take(&mut query, &NAMES)?;
    let done = query.one(DONE)?;
    query.end()?;
    let now = OffsetDateTime::now_utc();
    let (filter, fault) = match filter(&given, now) {
        Ok(filter) => (Some(filter), None),
        Err(fault) => (None, Some(fault)),
    };
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
        is_filtered: given.any(&NAMES),
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

fn filter(given: &Given, now: OffsetDateTime) -> Result<Filter, String> {
    let uuid = |text: &str| Uuid::try_parse(text).ok();
    let state = given.parsed("state", "one of the list", |text| DeliveryState::from_str(text).ok())?;
    let since = given.parsed("since", MOMENT, |text| moment(text, now))?;
    let cursor = given.parsed("cursor", "a link of this page", |text| text.parse().ok())?;
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
        before: cursor.map(Cursor::position),
        ..Filter::default()
    })
}
