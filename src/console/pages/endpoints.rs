//! The listing of endpoints.

use std::str::FromStr as _;

use askama::Template;
use axum::{extract::State, response::Response};
use strum::VariantArray as _;
use time::OffsetDateTime;

use super::{
    super::{body::Params, caller::Caller, problem::Problem, shared::Shared},
    parts::{Badge, Moment, count, object, printable},
    query::{Choice, Given, PAGE, choices},
    shell::{DONE, Shell, render},
};
use crate::operator::{
    endpoints::{self, Endpoint, Filter, shortened},
    lane::LaneState,
};

/// The parameters of a filter.
const FILTERS: [&str; 3] = ["company", "address", "state"];

/// The choice of every state but `open`.
pub(super) const TROUBLE: &str = "trouble";

/// The states of a choice.
fn states(chosen: &str) -> Option<Vec<LaneState>> {
    match chosen {
        TROUBLE => {
            Some(LaneState::VARIANTS.iter().copied().filter(|state| *state != LaneState::Open).collect())
        }
        one => LaneState::from_str(one).ok().map(|state| vec![state]),
    }
}

#[derive(Template)]
#[template(path = "endpoints.html")]
struct Page {
    shell: Shell,
    filter: Fields,
    states: Vec<Choice>,
    /// Why nothing is listed.
    fault: Option<String>,
    is_filtered: bool,
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
}

struct Fields {
    company: String,
    address: String,
}

struct Row {
    href: String,
    /// The listing of its company.
    of_company: String,
    address: String,
    company: String,
    state: Badge,
    until: Option<Moment>,
    waiting: String,
    due: String,
    success: Option<Moment>,
    failure: Option<Moment>,
    error: String,
}

impl Row {
    fn new(row: &Endpoint, given: &Given, now: OffsetDateTime) -> Self {
        let is_calm = row.state == LaneState::Open.name();
        Self {
            href: object("endpoints", &row.company, row.id),
            of_company: given.narrowed("/endpoints", "company", &row.company),
            address: printable(&shortened(&row.url)),
            company: printable(&row.company),
            state: Badge::endpoint(row.state),
            until: Moment::of(row.until, now),
            waiting: count(row.waiting),
            due: count(row.due),
            success: Moment::of(row.last_success_at, now),
            failure: Moment::of(row.last_failure_at, now),
            error: row.last_error.as_deref().filter(|_| !is_calm).map(printable).unwrap_or_default(),
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
    let states = given.parsed("state", "one of the list", states);
    let after = given.parsed("cursor", "a link of this page", |text| text.parse().ok());
    let (found, next, fault) = match states.and_then(|states| Ok((states.unwrap_or_default(), after?))) {
        Ok((states, after)) => {
            let filter = Filter { company: given.given("company"), address: given.given("address"), states };
            let (found, next) = endpoints::page(&shared.database, &filter, after.as_ref(), PAGE).await?;
            (found, next, None)
        }
        Err(fault) => (Vec::new(), None, Some(fault)),
    };
    render(&Page {
        shell: Shell::new(&caller, "/endpoints", "Endpoints").live().after(done.as_deref()),
        states: choices(
            LaneState::VARIANTS.iter().map(|state| state.name()).chain([TROUBLE]),
            given.get("state"),
        ),
        fault,
        is_filtered: given.any(&FILTERS),
        rows: found.iter().map(|row| Row::new(row, &given, now)).collect(),
        first: given.given("cursor").map(|_| given.link("/endpoints", "cursor", "")),
        next: next.map(|next| given.link("/endpoints", "cursor", &next.to_string())),
        filter: Fields { company: given.get("company").to_owned(), address: given.get("address").to_owned() },
    })
}
