//! Operations on many dead letters: plan, run, pause, resume, cancel, list, get, items.
//!
//! A process with the role dead-letter does the work. A request only plans and decides.

use std::{collections::HashSet, num::NonZeroU32};

use axum::{extract::State, http::StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    dead_letters::Given,
    input::{self, Because, InPath},
};
use crate::{
    console::{
        body::{Json, Params},
        caller::Caller,
        problem::{Kind, Problem},
        reply::Reply,
        route::Route,
        shared::{Shared, on_one_thread},
    },
    domain::event::Key,
    operator::{
        audit::Actor,
        dead_letters::{self, State as Letter},
        operations::{self, Action, ChangeError, ItemFilter, ItemResult, Operation, Options, Selection},
    },
    postgres::Database,
    settings::Role,
};

/// Maximum number of dead letters that a request names.
const MAX_NAMED: usize = 10_000;

/// Dead letters that one statement looks up.
const PORTION: usize = 500;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::read("/api/v1/operations", Role::Viewer, list),
        Route::change("/api/v1/operations", Role::Operator, plan),
        Route::read("/api/v1/operations/{id}", Role::Viewer, get),
        Route::read("/api/v1/operations/{id}/items", Role::Viewer, items),
        Route::change("/api/v1/operations/{id}/run", Role::Operator, run),
        Route::change("/api/v1/operations/{id}/pause", Role::Operator, pause),
        Route::change("/api/v1/operations/{id}/resume", Role::Operator, resume),
        Route::change("/api/v1/operations/{id}/cancel", Role::Operator, cancel),
    ]
}

async fn list(State(shared): State<Shared>, mut query: Params) -> Result<Reply, Problem> {
    let before = query.parsed("cursor", |text| text.parse().ok(), "the `next` of a page")?;
    let limit = input::limit(&mut query)?;
    query.end()?;
    Reply::of(&operations::list(&shared.database, before, limit).await?)
}

async fn get(State(shared): State<Shared>, InPath(id): InPath<Uuid>) -> Result<Reply, Problem> {
    Reply::of(&found(&shared.database, id).await?)
}

async fn found(database: &Database, id: Uuid) -> Result<Operation, Problem> {
    let found = operations::get(database, id).await?;
    found.ok_or_else(|| ChangeError::Unknown(id.to_string()).into())
}

async fn items(
    State(shared): State<Shared>,
    InPath(id): InPath<Uuid>,
    mut query: Params,
) -> Result<Reply, Problem> {
    let outcome = query.one("outcome")?;
    let state = query.one("state")?;
    let filter = ItemFilter {
        result: outcome.map(|name| input::named::<ItemResult>("outcome", &name)).transpose()?,
        state: state.map(|name| input::named::<Letter>("state", &name)).transpose()?,
    };
    let after = query.parsed("cursor", |text| text.parse().ok(), "the `next` of a page")?.unwrap_or_default();
    let limit = input::limit(&mut query)?;
    query.end()?;
    let operation = found(&shared.database, id).await?;
    let found = operations::items(&shared.database, &operation, filter, after, limit).await?;
    let next = found.next.map(|next| next.to_string());
    Ok(Reply(json!({ "items": serde_json::to_value(found.items)?, "next": next })))
}

/// What to do, and to which dead letters.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct NewOperation {
    action: String,
    dead_letters: Option<Vec<NewKey>>,
    filter: Option<Given>,
    rate: Option<NonZeroU32>,
    #[serde(default)]
    canary: bool,
    reason: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    company: String,
    id: Uuid,
}

async fn plan(
    State(shared): State<Shared>,
    caller: Caller,
    Json(new): Json<NewOperation>,
) -> Result<(StatusCode, Reply), Problem> {
    let actor = input::actor(&caller, new.reason.as_deref())?;
    let action = input::named::<Action>("action", &new.action)?;
    let options = Options { rate: new.rate, canary: new.canary };
    if new.canary && action != Action::Replay {
        return Err(Problem::invalid("canary", "only a replay has a canary"));
    }
    let (selection, shown) = match (new.dead_letters, new.filter) {
        (Some(named), None) => {
            let keys = distinct(named)?;
            let shown = json!({ "ids": keys.len() });
            (Selection::Keys(keys), shown)
        }
        (None, Some(given)) => {
            let filter = given.filter(action.default_states())?;
            let shown = operations::shown(&filter);
            (Selection::Matching(Box::new(filter)), shown)
        }
        _ => return Err(Problem::invalid("filter", "give either `deadLetters` or `filter`")),
    };
    let planned = on_one_thread(move || plan_one(shared, actor, action, selection, shown, options)).await?;
    Ok((StatusCode::CREATED, Reply::of(&planned)?))
}

async fn plan_one(
    shared: Shared,
    actor: Actor,
    action: Action,
    selection: Selection,
    shown: Value,
    options: Options,
) -> Result<Operation, Problem> {
    if let Selection::Keys(keys) = &selection {
        all_exist(&shared.database, keys).await?;
    }
    Ok(operations::plan(&shared.database, &actor, action, &selection, &shown, options).await?)
}

/// The keys, each once, in their order.
fn distinct(named: Vec<NewKey>) -> Result<Vec<Key>, Problem> {
    if !(1..=MAX_NAMED).contains(&named.len()) {
        let detail = format!("give 1 to {MAX_NAMED}; a filter selects more");
        return Err(Problem::invalid("deadLetters", detail));
    }
    let mut seen = HashSet::new();
    let keys = named.into_iter().map(|named| Key { company: named.company, id: named.id });
    Ok(keys.filter(|key| seen.insert(key.clone())).collect())
}

/// A typing error must not become an operation on the rest.
async fn all_exist(database: &Database, keys: &[Key]) -> Result<(), Problem> {
    for portion in keys.chunks(PORTION) {
        let found = dead_letters::summaries(database, portion).await?;
        let found: HashSet<(&str, Uuid)> = found.iter().map(|row| (row.company.as_str(), row.id)).collect();
        let missing = portion.iter().find(|key| !found.contains(&(key.company.as_str(), key.id)));
        if let Some(key) = missing {
            let detail = format!("there is no dead letter `{}` of this company; nothing was planned", key.id);
            return Err(Problem::new(Kind::NotFound, detail));
        }
    }
    Ok(())
}

async fn run(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    Json(because): Json<Because>,
) -> Result<Reply, Problem> {
    let actor = input::actor(&caller, because.reason.as_deref())?;
    on_one_thread(
        move || async move { Reply::of(&operations::run(&shared.database, &actor, id, None).await?) },
    )
    .await
}

async fn pause(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    Json(because): Json<Because>,
) -> Result<Reply, Problem> {
    let actor = input::actor(&caller, because.reason.as_deref())?;
    on_one_thread(move || async move { Reply::of(&operations::pause(&shared.database, &actor, id).await?) })
        .await
}

async fn resume(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    Json(because): Json<Because>,
) -> Result<Reply, Problem> {
    let actor = input::actor(&caller, because.reason.as_deref())?;
    on_one_thread(move || async move { Reply::of(&operations::resume(&shared.database, &actor, id).await?) })
        .await
}

async fn cancel(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    Json(because): Json<Because>,
) -> Result<Reply, Problem> {
    let actor = input::actor(&caller, because.reason.as_deref())?;
    on_one_thread(move || async move { Reply::of(&operations::cancel(&shared.database, &actor, id).await?) })
        .await
}
