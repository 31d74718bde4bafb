//! Endpoints: list, get, pause, resume, enable, test.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::input::{self, Because, InPath};
use crate::{
    console::{
        body::{Json, Params},
        caller::Caller,
        idempotency::Personal,
        problem::Problem,
        reply::Reply,
        route::Route,
        shared::{Shared, on_one_thread},
    },
    operator::{
        endpoints::{self, Change, Filter},
        lane::LaneState,
        views,
    },
    settings::Role,
    workers::webhook::endpoint_test,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::read("/api/v1/endpoints", Role::Viewer, list),
        Route::read("/api/v1/endpoints/{id}", Role::Viewer, get),
        Route::change("/api/v1/endpoints/{id}/pause", Role::Operator, pause),
        Route::change("/api/v1/endpoints/{id}/resume", Role::Operator, resume),
        Route::change("/api/v1/endpoints/{id}/enable", Role::Operator, enable),
        Route::change("/api/v1/endpoints/test", Role::Operator, test),
    ]
}

async fn list(State(shared): State<Shared>, caller: Caller, mut query: Params) -> Result<Reply, Problem> {
    let (company, address) = (input::text(&mut query, "company")?, input::text(&mut query, "address")?);
    let states: Vec<LaneState> =
        query.all("state").iter().map(|name| input::named("state", name)).collect::<Result<_, _>>()?;
    let after = query.parsed("cursor", |text| text.parse().ok(), "the `next` of a page")?;
    let limit = input::limit(&mut query)?;
    query.end()?;
    let filter = Filter { company, states, address };
    let (page, next) = endpoints::page(&shared.database, &filter, after.as_ref(), limit).await?;
    let items = page.iter().map(|one| views::endpoints::listed(one, input::sight(&caller)));
    let items: Vec<Value> = items.collect::<Result<_, _>>()?;
    Ok(Reply(json!({ "items": items, "next": next.map(|next| next.to_string()) })))
}

async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
) -> Result<Reply, Problem> {
    let key = endpoints::resolve(&shared.database, None, &id.to_string()).await?;
    let shown = endpoints::show(&shared.database, &shared.settings.webhook, &key).await?;
    Ok(Reply(views::endpoints::shown(&shown, input::sight(&caller))?))
}

async fn pause(
    state: State<Shared>,
    caller: Caller,
    id: InPath<Uuid>,
    because: Json<Because>,
) -> Result<Reply, Problem> {
    change(state, caller, id, because, Change::Pause).await
}

async fn resume(
    state: State<Shared>,
    caller: Caller,
    id: InPath<Uuid>,
    because: Json<Because>,
) -> Result<Reply, Problem> {
    change(state, caller, id, because, Change::Resume).await
}

async fn enable(
    state: State<Shared>,
    caller: Caller,
    id: InPath<Uuid>,
    because: Json<Because>,
) -> Result<Reply, Problem> {
    change(state, caller, id, because, Change::Enable).await
}

async fn change(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    Json(because): Json<Because>,
    change: Change,
) -> Result<Reply, Problem> {
    let actor = caller.because(because.reason.as_deref())?;
    on_one_thread(move || async move {
        let key = endpoints::resolve(&shared.database, None, &id.to_string()).await?;
        let changed =
            endpoints::change(&shared.database, &shared.settings.amqp, &actor, &key, change).await?;
        Ok(Reply(views::endpoints::changed(&changed, input::sight(&caller))?))
    })
    .await
}

/// An endpoint by its URL or id, or a URL without an endpoint.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Test {
    endpoint: String,
    company: Option<String>,
    reason: Option<String>,
}

async fn test(
    State(shared): State<Shared>,
    caller: Caller,
    Json(test): Json<Test>,
) -> Result<Response, Problem> {
    let actor = caller.because(test.reason.as_deref())?;
    let reply = on_one_thread(move || async move {
        let database = &shared.database;
        let target = endpoints::test_target(database, test.company.as_deref(), &test.endpoint).await?;
        let started_at = endpoints::begin_test(database, &actor, &target).await?;
        let sent = endpoint_test::run(&shared.settings, &target.company, &target.url, started_at).await;
        let sent = sent.map_err(|error| Problem::internal(&error))?;
        Ok(Reply(views::endpoints::test(&sent.request, &sent.attempt(), input::sight(&caller))))
    });
    let mut response = reply.await?.into_response();
    // The whole address, a signature, and the receiver's answer.
    response.extensions_mut().insert(Personal);
    Ok(response)
}
