//! The contracts: of this API, of the events, and their schemas.

use axum::{http::header, response::IntoResponse};

use super::input::InPath;
use crate::{
    console::{
        problem::{Kind, Problem},
        route::Route,
    },
    settings::Role,
};

/// The description of the API (`OpenAPI` 3.1).
pub(super) const OPENAPI: &str = include_str!("../../../docs/contracts/openapi.json");

/// The description of the events (`AsyncAPI` 3.0).
const ASYNCAPI: &str = include_str!("../../../docs/contracts/asyncapi.json");

/// Files that the two refer to.
const SCHEMAS: [(&str, &str); 9] = [
    ("common.json", include_str!("../../../docs/contracts/common.json")),
    ("contact-erased.json", include_str!("../../../docs/contracts/contact-erased.json")),
    ("contact-merged.json", include_str!("../../../docs/contracts/contact-merged.json")),
    ("contact-unmerged.json", include_str!("../../../docs/contracts/contact-unmerged.json")),
    ("contact-upserted.json", include_str!("../../../docs/contracts/contact-upserted.json")),
    ("trigger-completed.json", include_str!("../../../docs/contracts/trigger-completed.json")),
    ("trigger-definition.json", include_str!("../../../docs/contracts/trigger-definition.json")),
    ("trigger-fired.json", include_str!("../../../docs/contracts/trigger-fired.json")),
    ("webhook-requested.json", include_str!("../../../docs/contracts/webhook-requested.json")),
];

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::read("/api/v1/openapi.json", Role::Viewer, async || json(OPENAPI)),
        Route::read("/api/v1/asyncapi.json", Role::Viewer, async || json(ASYNCAPI)),
        Route::read("/api/v1/{schema}", Role::Viewer, schema),
    ]
}

/// Beside the documents, so that their relative references lead here.
async fn schema(InPath(name): InPath<String>) -> Result<impl IntoResponse, Problem> {
    let found = SCHEMAS.iter().find(|(known, _)| *known == name);
    let (_, text) = found.ok_or_else(|| Problem::new(Kind::NotFound, "there is no such schema"))?;
    Ok(json(text))
}

fn json(text: &'static str) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text)
}
