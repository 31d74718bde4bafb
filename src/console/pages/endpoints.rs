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
    endpoints::{self, Endpoint, shortened},
    lane::LaneState,
};

const NAMES: [&str; 3] = ["company", "state", "cursor"];

#[derive(Template)]
#[template(path = "endpoints.html")]
struct Page {
    shell: Shell,
    filter: Fields,
    states: Vec<Choice>,
    /// Why the state is not applied.
    fault: Option<String>,
    is_filtered: bool,
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
}

struct Fields {
    company: String,
}

struct Row {
    href: String,
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
    fn new(row: &Endpoint, now: OffsetDateTime) -> Self {
        let is_calm = row.state == LaneState::Open.name();
        Self {
            href: object("endpoints", &row.company, row.id),
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
    let given = Given::take(&mut query, &NAMES)?;
    let done = query.one(DONE)?;
    query.end()?;
    let now = OffsetDateTime::now_utc();
    let cursor = given.get("cursor");
    let after = Some(cursor).filter(|cursor| !cursor.is_empty()).map(str::parse).transpose();
    let after = after.map_err(|_| Problem::invalid("cursor", "follow a link of the listing"))?;
    let company = given.given("company");
    let state = given.parsed("state", "one of the list", |text| LaneState::from_str(text).ok());
    let (state, fault) = state.map_or_else(|fault| (None, Some(fault)), |state| (state, None));
    let states: Vec<LaneState> = state.into_iter().collect();
    let (found, next) =
        endpoints::page(&shared.database, company.as_deref(), &states, after.as_ref(), PAGE).await?;
    render(&Page {
        shell: Shell::new(&caller, "/endpoints", "Endpoints").live().after(done.as_deref()),
        states: choices(LaneState::VARIANTS.iter().map(|state| state.name()), given.get("state")),
        fault,
        is_filtered: given.any(&["company", "state"]),
        rows: found.iter().map(|row| Row::new(row, now)).collect(),
        first: given.given("cursor").map(|_| given.link("/endpoints", "cursor", "")),
        next: next.map(|next| given.link("/endpoints", "cursor", &next.to_string())),
        filter: Fields { company: company.unwrap_or_default() },
    })
}
