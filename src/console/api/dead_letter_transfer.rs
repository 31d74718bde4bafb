//! Exports and imports complete dead letters.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    dead_letters,
    input::{self, NewKey},
};
use crate::{
    console::{
        body::{Json, Params},
        caller::Caller,
        problem::Problem,
        reply::Reply,
        route::Route,
        shared::{Shared, on_one_thread},
        transfer::{self, File},
    },
    operator::dead_letters::{
        State as Letter,
        transfer::{Export, Outcome},
    },
    settings::Role,
};

/// Identity documents are not masked in a file, and a file may have the events of any company.
pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::change("/api/v1/dead-letters/export", Role::Admin, export),
        Route::change("/api/v1/dead-letters/import", Role::Admin, import),
    ]
}

/// Which dead letters to export.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NewExport {
    dead_letters: Option<Vec<NewKey>>,
    filter: Option<dead_letters::Given>,
    reason: Option<String>,
}

async fn export(
    State(shared): State<Shared>,
    caller: Caller,
    Json(new): Json<NewExport>,
) -> Result<Response, Problem> {
    let actor = caller.because(new.reason.as_deref())?;
    let filter = new.filter.map(|given| given.filter(&Letter::UNSETTLED)).transpose()?;
    let selection = input::selection("deadLetters", new.dead_letters, filter)?;
    let begin = move || async move {
        dead_letters::all_exist(&shared.database, &selection).await?;
        Ok(Export::begin(&shared.database, &actor, selection).await?)
    };
    Ok(transfer::download(on_one_thread(begin).await?))
}

async fn import(
    State(shared): State<Shared>,
    caller: Caller,
    mut query: Params,
    file: File,
) -> Result<Response, Problem> {
    let is_dry = query.parsed("dryRun", |text| text.parse().ok(), "true or false")?.unwrap_or_default();
    let actor = caller.because(query.one("reason")?.as_deref())?;
    query.end()?;
    let import = move || async move { transfer::import(&shared, &actor, file, is_dry).await };
    let tally = on_one_thread(import).await?;
    let mut answer = tally.json();
    let bad = |(line, outcome): &(u64, Outcome)| json!({ "line": line, "outcome": outcome.name() });
    if let Value::Object(members) = &mut answer {
        members.insert("dryRun".to_owned(), is_dry.into());
        members.insert("lines".to_owned(), tally.named().iter().map(bad).collect());
    }
    Ok(Reply(answer).into_response())
}
