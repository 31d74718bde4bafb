//! What is wrong with a trigger, and what a firing of it would do. Nothing is published, stored or sent.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use serde_json::{json, value::RawValue};

use crate::{
    console::{body::Json, problem::Problem, reply::Reply, route::Route, shared::Shared},
    operator::{check, preview},
    settings::Role,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::query("/api/v1/trigger/check", Role::Viewer, check),
        Route::query("/api/v1/trigger/preview", Role::Viewer, preview),
    ]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Check {
    definition: Definition,
}

async fn check(
    State(shared): State<Shared>,
    Json(Check { definition }): Json<Check>,
) -> Result<Reply, Problem> {
    let settings = Arc::clone(&shared.settings);
    let findings = shared.preview(move || check::check(&definition.text(), &settings)).await?;
    Ok(Reply(json!({ "isAccepted": check::is_accepted(&findings), "findings": findings })))
}

/// A definition, an object with `trigger` and `next`, or a whole event; as JSON, or as its text.
#[derive(Deserialize)]
#[serde(transparent)]
struct Definition(Box<RawValue>);

impl Definition {
    /// As it was written.
    fn text(&self) -> String {
        serde_json::from_str(self.0.get()).unwrap_or_else(|_| self.0.get().to_owned())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Preview {
    definition: Definition,
    arguments: Box<RawValue>,
    client_data: Option<Box<RawValue>>,
    company: Option<String>,
}

async fn preview(State(shared): State<Shared>, Json(asked): Json<Preview>) -> Result<Reply, Problem> {
    let empty = || serde_json::value::to_raw_value(&json!({}));
    let client_data = asked.client_data.map_or_else(empty, Ok)?;
    for (name, value) in [("arguments", &asked.arguments), ("clientData", &client_data)] {
        if !value.get().starts_with('{') {
            return Err(Problem::invalid(name, "must be an object"));
        }
    }
    let text = asked.definition.text();
    let settings = Arc::clone(&shared.settings);
    let fire = move || {
        let company = asked.company.as_deref();
        preview::fire(&text, &asked.arguments, &client_data, company, &settings)
    };
    Ok(Reply(shared.preview(fire).await??))
}
