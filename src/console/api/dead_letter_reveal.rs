//! The message of a dead letter as it is, identity documents included.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::input::{Because, InPath};
use crate::{
    console::{
        body::Json,
        caller::Caller,
        idempotency::Personal,
        problem::Problem,
        reply::Reply,
        route::Route,
        shared::{Shared, on_one_thread},
    },
    operator::{
        dead_letters::{self, ResolveError},
        views,
    },
    settings::Role,
};

pub(super) fn routes() -> Vec<Route> {
    vec![Route::change("/api/v1/dead-letters/{id}/reveal", Role::Admin, reveal)]
}

async fn reveal(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    Json(because): Json<Because>,
) -> Result<Response, Problem> {
    let actor = caller.because(because.reason.as_deref())?;
    let reveal = async move || {
        let (database, id) = (&shared.database, id.to_string());
        let key = dead_letters::resolve(database, &id).await?;
        let found = dead_letters::reveal(database, &actor, &key).await?;
        Ok::<_, Problem>(found.ok_or(ResolveError::Unknown(id))?)
    };
    let dead_letter = on_one_thread(reveal).await?;
    let members: Map<String, Value> = [
        views::bytes("body", &dead_letter.body),
        ("difference".to_owned(), serde_json::json!(dead_letter.difference)),
    ]
    .into_iter()
    .collect();
    let mut response = Reply(members.into()).into_response();
    response.extensions_mut().insert(Personal);
    Ok(response)
}
