//! The listing of deliveries, and what their rows show.

use std::str::FromStr as _;

use askama::Template;
use axum::{extract::State, response::Response};
use strum::VariantArray as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    super::{body::Params, caller::Caller, problem::Problem, shared::Shared},
    contacts::sentence,
    explain,
    parts::{Badge, Id, Moment, object, printable},
    query::{Choice, Given, MOMENT, PAGE, choices, exact, key_text, moment},
    shell::{DONE, Shell, render},
};
use crate::{
    domain::event::Key,
    operator::{
        deliveries::{self, Filter, Listed, State as DeliveryState},
        endpoints::{self, ResolveError, shortened},
        paging::Cursor,
    },
};

/// The parameters of a filter.
pub(super) const FILTERS: [&str; 7] =
    ["state", "company", "trigger", "endpoint", "since", "event", "contact"];

/// Endpoints of one filter. An address may be one of several companies.
const MAX_ENDPOINTS: usize = 50;

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
struct Row {
    href: String,
    /// The listing of its company.
    of_company: String,
    endpoint_href: Option<String>,
    /// The value of its checkbox.
    key: String,
    whole: Uuid,
    id: Id,
    company: String,
    trigger: String,
    endpoint: String,
    state: Badge,
    waits: &'static str,
    until: Option<Moment>,
    attempts: i32,
    answer: String,
    error: String,
    created: Moment,
}

impl Row {
    fn new(listed: &Listed, given: &Given, now: OffsetDateTime) -> Self {
        let row = &listed.summary;
        let url = row.endpoint_url.as_deref().map(shortened).unwrap_or_default();
        let error = row.last_error.as_deref().filter(|_| row.state != DeliveryState::Delivered.name());
        Self {
            href: object("deliveries", &row.company, row.id),
            of_company: given.narrowed("/deliveries", "company", &row.company),
            endpoint_href: row.endpoint_id.map(|id| object("endpoints", &row.company, id)),
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
    let resolved = resolved(&shared, &given).await?;
    let cursor = given.parsed("cursor", "a link of this page", |text| text.parse().ok());
    let filter = resolved.and_then(|resolved| {
        Ok((Filter { before: cursor?.map(Cursor::position), ..filter(&resolved, now)? }, resolved))
    });
    let (filter, fault) = match filter {
        Ok(filter) => (Some(filter), None),
        Err(fault) => (None, Some(fault)),
    };
    // Without a state, what was delivered would be sent once more.
    let has_state = filter.as_ref().filter(|(filter, _)| filter.states.is_some());
    let matching = has_state.map(|(filter, resolved)| fields(resolved, filter)).unwrap_or_default();
    let (mut rows, mut next, mut is_complete, mut searched_to) = (Vec::new(), None, true, None);
    if let Some((filter, _)) = filter {
        let found = deliveries::page(&shared.database, &filter, PAGE).await?;
        rows = found.page.items.iter().map(|listed| Row::new(listed, &given, now)).collect();
        next = found.page.next.map(|cursor| given.link("/deliveries", "cursor", &cursor.to_string()));
        is_complete = found.is_complete;
        searched_to = Moment::of(found.page.searched_to(PAGE), now);
    }
    let field = |name: &str| given.get(name).to_owned();
    render(&Page {
        shell: Shell::new(&caller, "/deliveries", "Deliveries").live().after(done.as_deref()),
        states: choices(DeliveryState::VARIANTS.iter().map(|state| state.name()), given.get("state")),
        is_filtered: given.any(&FILTERS),
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

/// The parameters with the whole ids of the endpoints that are given by an address or the beginning of an id.
async fn resolved(shared: &Shared, given: &Given) -> Result<Result<Given, String>, Problem> {
    let (text, company) = (given.get("endpoint"), given.given("company"));
    if text.is_empty() || endpoint_ids(text).is_some() {
        return Ok(Ok(given.with("endpoint", text)));
    }
    match endpoints::find(&shared.database, company.as_deref(), text.trim()).await {
        Ok(found) if found.len() > MAX_ENDPOINTS => Ok(Err(format!(
            "Endpoint: more than {MAX_ENDPOINTS} companies use this address; enter the company, too."
        ))),
        Ok(found) => {
            let ids: Vec<String> = found.iter().map(|key| key.id.to_string()).collect();
            Ok(Ok(given.with("endpoint", &ids.join(","))))
        }
        Err(ResolveError::Database(error)) => Err(error.into()),
        Err(other) => Ok(Err(sentence(&other))),
    }
}

/// Whole ids, with commas between them.
fn endpoint_ids(text: &str) -> Option<Vec<Uuid>> {
    let ids = text.split(',').map(|id| Uuid::try_parse(id.trim()).ok());
    ids.collect::<Option<Vec<Uuid>>>().filter(|ids| ids.len() <= MAX_ENDPOINTS)
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
    let states: Vec<DeliveryState> = state.into_iter().collect();
    let day = || (!deliveries::at_any_age(&states)).then_some(now - time::Duration::DAY);
    let since = since.or_else(day);
    Ok(Filter {
        company: given.given("company"),
        states: Some(states).filter(|states| !states.is_empty()),
        endpoints: given.parsed("endpoint", "the whole id of an endpoint", endpoint_ids)?,
        event_id: given.given("event"),
        contact: given.parsed("contact", "the whole id of a contact", uuid)?,
        trigger: given.given("trigger"),
        since,
        ..Filter::default()
    })
}
