//! The listing of operations on many dead letters or deliveries.

use askama::Template;
use axum::{extract::State, response::Response};
use time::OffsetDateTime;

use super::{
    super::{body::Params, caller::Caller, problem::Problem, shared::Shared},
    parts::{Badge, Id, Moment, printable},
    progress::{self, Progress, selection},
    query::{Given, PAGE},
    shell::{Shell, render},
};
use crate::operator::{
    operations::{self, Operation},
    paging::Page as Listed,
};

const NAMES: [&str; 1] = ["cursor"];

#[derive(Template)]
#[template(path = "operations.html")]
struct Page {
    shell: Shell,
    fault: Option<String>,
    rows: Vec<Row>,
    first: Option<String>,
    next: Option<String>,
}

struct Row {
    href: String,
    title: String,
    selection: String,
    state: Badge,
    progress: Progress,
    operator: String,
    reason: String,
    created: Moment,
    id: Id,
}

impl Row {
    fn new(operation: &Operation, now: OffsetDateTime) -> Self {
        Self {
            href: progress::path(operation.id),
            title: progress::title(operation),
            selection: selection(&operation.selection),
            state: progress::badge(operation),
            progress: Progress::new(operation),
            operator: printable(&operation.operator),
            reason: operation.reason.as_deref().map(printable).unwrap_or_default(),
            created: Moment::new(operation.created_at, now),
            id: Id::new(operation.id),
        }
    }
}

pub(super) async fn list(
    State(shared): State<Shared>,
    caller: Caller,
    mut query: Params,
) -> Result<Response, Problem> {
    let given = Given::take(&mut query, &NAMES)?;
    query.end()?;
    let now = OffsetDateTime::now_utc();
    let (found, fault) = match given.parsed("cursor", "a link of this page", |text| text.parse().ok()) {
        Ok(before) => (operations::list(&shared.database, before, PAGE).await?, None),
        Err(fault) => (Listed { items: Vec::new(), next: None }, Some(fault)),
    };
    render(&Page {
        shell: Shell::new(&caller, "/operations", "Operations").live(),
        fault,
        rows: found.items.iter().map(|operation| Row::new(operation, now)).collect(),
        first: given.given("cursor").map(|_| given.link("/operations", "cursor", "")),
        next: found.next.map(|next| given.link("/operations", "cursor", &next.to_string())),
    })
}
