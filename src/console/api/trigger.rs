//! What a firing of a trigger would do. Nothing is published, stored or sent.

use std::sync::Arc;

use axum::extract::State;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    console::{body::Json, problem::Problem, reply::Reply, route::Route, shared::Shared},
    operator::preview,
    settings::Role,
};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::query("/api/v1/trigger/preview", Role::Viewer, preview)]
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Preview {
    /// A definition, an object with `trigger` and `next`, or a whole event; as JSON, or as its text.
    definition: Box<RawValue>,
    arguments: Box<RawValue>,
    client_data: Option<Box<RawValue>>,
    company: Option<String>,
}

async fn preview(State(shared): State<Shared>, Json(asked): Json<Preview>) -> Result<Reply, Problem> {
    let empty = || serde_json::value::to_raw_value(&serde_json::json!({}));
    let client_data = asked.client_data.map_or_else(empty, Ok)?;
    for (name, value) in [("arguments", &asked.arguments), ("clientData", &client_data)] {
        if !value.get().starts_with('{') {
            return Err(Problem::invalid(name, "must be an object"));
        }
    }
    let text = serde_json::from_str::<String>(asked.definition.get());
    let text = text.unwrap_or_else(|_| asked.definition.get().to_owned());
    let settings = Arc::clone(&shared.settings);
    let fire = move || {
        let company = asked.company.as_deref();
        preview::fire(&text, &asked.arguments, &client_data, company, &settings)
    };
    Ok(Reply(shared.preview(fire).await??))
}
