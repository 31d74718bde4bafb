//! Webhook deliveries: list, get, resend.

use axum::extract::State;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::input::{self, Ids, InPath};
use crate::{
    console::{
        body::{Json, Params},
        caller::Caller,
        problem::{Kind, Problem},
        reply::Reply,
        route::Route,
        shared::{Shared, on_one_thread},
    },
    operator::{
        audit::Actor,
        deliveries::{self, Filter, Found, Resent, ResolveError, State as DeliveryState},
        endpoints,
        paging::Cursor,
        views,
        wake_up::{WakeUp, WakeUpError},
    },
    settings::{Amqp, Role},
    telemetry::chain,
};

/// How far back a listing goes without `since`. Pending deliveries are listed at any age.
const DAY: time::Duration = time::Duration::DAY;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::read("/api/v1/deliveries", Role::Viewer, list),
        Route::read("/api/v1/deliveries/{id}", Role::Viewer, get),
        Route::change("/api/v1/deliveries/resend", Role::Operator, resend),
    ]
}

async fn list(State(shared): State<Shared>, caller: Caller, mut query: Params) -> Result<Reply, Problem> {
    let states: Vec<DeliveryState> =
        query.all("state").iter().map(|name| input::named("state", name)).collect::<Result<_, _>>()?;
    let company = input::text(&mut query, "company")?;
    let endpoint = input::text(&mut query, "endpoint")?;
    let since = input::moment(&mut query, "since")?;
    let cursor = query.parsed("cursor", |text| text.parse().ok(), "the `next` of a page")?;
    let day = || (states != [DeliveryState::Pending]).then(|| OffsetDateTime::now_utc() - DAY);
    let mut filter = Filter {
        event_id: input::text(&mut query, "event")?,
        contact: query.parsed("contact", |text| text.parse().ok(), "the id of a contact")?,
        trigger: input::text(&mut query, "trigger")?,
        since: since.or_else(day),
        before: cursor.map(Cursor::position),
        states: Some(states).filter(|states| !states.is_empty()),
        ..Filter::default()
    };
    let limit = input::limit(&mut query)?;
    query.end()?;
    if let Some(endpoint) = endpoint {
        let found = endpoints::find(&shared.database, company.as_deref(), &endpoint).await?;
        filter.endpoints = Some(found.into_iter().map(|key| key.id).collect());
    }
    filter.company = company;
    let Found { page, is_complete } = deliveries::page(&shared.database, &filter, limit).await?;
    let items = page.items.iter().map(|one| views::deliveries::listed(one, input::sight(&caller)));
    let items: Vec<Value> = items.collect::<Result<_, _>>()?;
    Ok(Reply(json!({ "items": items, "next": page.next, "complete": is_complete })))
}

async fn get(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    mut query: Params,
) -> Result<Reply, Problem> {
    let company = input::text(&mut query, "company")?;
    query.end()?;
    let id = id.to_string();
    let key = deliveries::resolve(&shared.database, company.as_deref(), &id).await?;
    let delivery = deliveries::get(&shared.database, &key).await?;
    let delivery = delivery.ok_or(ResolveError::Unknown(id))?;
    Ok(Reply(views::deliveries::delivery(&delivery, input::sight(&caller))?))
}

async fn resend(
    State(shared): State<Shared>,
    caller: Caller,
    Json(ids): Json<Ids>,
) -> Result<Reply, Problem> {
    let actor = input::actor(&caller, ids.reason.as_deref())?;
    let ids = ids.distinct()?;
    on_one_thread(move || resend_all(shared, actor, ids)).await
}

/// Each id by itself, so that what was done is known whatever happens to the next one.
async fn resend_all(shared: Shared, actor: Actor, ids: Vec<Uuid>) -> Result<Reply, Problem> {
    let (mut total, mut results) = (Resent::default(), Vec::with_capacity(ids.len()));
    let (mut failed, mut ended) = (0_u64, None);
    for id in ids {
        let resent = match &ended {
            // Nor would it answer for the others.
            Some(problem) => Err(Problem::clone(problem)),
            None => resend_one(&shared, &actor, id).await,
        };
        results.push(match resent {
            Ok(Ok(resent)) => {
                total.add(&resent);
                told(id, &resent)
            }
            Ok(Err(unknown)) => json!({ "id": id, "outcome": "unknown", "detail": unknown }),
            Err(problem) if total.done == 0 && results.is_empty() => return Err(problem),
            Err(problem) => {
                failed += 1;
                let failure = json!({ "id": id, "outcome": "failed", "detail": problem.detail });
                ended = Some(problem).filter(|problem| problem.kind == Kind::Unavailable);
                failure
            }
        });
    }
    if total.done > 0
        && let Err(error) = wake(&shared.settings.amqp).await
    {
        // Only a hint: the worker polls as well.
        tracing::warn!(error = chain(&error), "could not wake the worker after a resend");
    }
    let reasons: Map<String, Value> =
        total.refused.iter().map(|(refusal, count)| (refusal.name().to_owned(), (*count).into())).collect();
    Ok(Reply(json!({
        "resent": total.done, "skipped": total.skipped(), "failed": failed, "reasons": reasons, "results": results,
    })))
}

/// Resends one delivery, or says why there is none.
async fn resend_one(shared: &Shared, actor: &Actor, id: Uuid) -> Result<Result<Resent, String>, Problem> {
    let key = match deliveries::resolve(&shared.database, None, &id.to_string()).await {
        Ok(key) => key,
        Err(ResolveError::Database(error)) => return Err(error.into()),
        Err(error) => return Ok(Err(error.to_string())),
    };
    let (resent, _) = deliveries::resend(&shared.database, actor, None, &[key], None, |_| ()).await?;
    Ok(Ok(resent))
}

fn told(id: Uuid, resent: &Resent) -> Value {
    match resent.refused.keys().next() {
        None => json!({ "id": id, "outcome": "resent" }),
        Some(refusal) => {
            json!({ "id": id, "outcome": "skipped", "reason": refusal.name(), "detail": refusal.text() })
        }
    }
}

async fn wake(settings: &Amqp) -> Result<(), WakeUpError> {
    WakeUp::connect(settings).await?.send().await
}
