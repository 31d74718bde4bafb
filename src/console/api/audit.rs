//! What operators have changed.

use axum::extract::State;

use super::input;
use crate::{
    console::{body::Params, problem::Problem, reply::Reply, route::Route, shared::Shared},
    operator::audit::{self, Filter},
    settings::Role,
};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::read("/api/v1/audit", Role::Viewer, list)]
}

async fn list(State(shared): State<Shared>, mut query: Params) -> Result<Reply, Problem> {
    let filter = Filter {
        operator: input::text(&mut query, "operator")?,
        action: input::text(&mut query, "action")?,
        company: input::text(&mut query, "company")?,
        object: input::text(&mut query, "object")?,
        since: input::moment(&mut query, "since")?,
        until: input::moment(&mut query, "until")?,
        before: query.parsed("cursor", |text| text.parse().ok(), "the `next` of a page")?,
    };
    let limit = input::limit(&mut query)?;
    query.end()?;
    if let Some(action) = filter.action.as_deref().filter(|action| !audit::ACTIONS.contains(action)) {
        let detail = format!("`{action}` is not an action; expected one of {}", audit::ACTIONS.join(", "));
        return Err(Problem::invalid("action", detail));
    }
    Reply::of(&audit::list(&shared.database, &filter, limit).await?)
}
