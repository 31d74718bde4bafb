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
        problem::Problem,
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

async fn resend_all(shared: Shared, actor: Actor, ids: Vec<Uuid>) -> Result<Reply, Problem> {
    let (mut total, mut results) = (Resent::default(), Vec::new());
    for id in ids {
        let key = match deliveries::resolve(&shared.database, None, &id.to_string()).await {
            Ok(key) => key,
            Err(ResolveError::Database(error)) if results.is_empty() => return Err(error.into()),
            Err(error) => {
                let (outcome, detail) = unresolved(&error);
                results.push(json!({ "id": id, "outcome": outcome, "detail": detail }));
                continue;
            }
        };
        let (resent, _) = deliveries::resend(&shared.database, &actor, None, &[key], None, |_| ()).await?;
        let refusal = resent.refused.keys().next().copied();
        results.push(match refusal {
            None => json!({ "id": id, "outcome": "resent" }),
            Some(refusal) => {
                json!({ "id": id, "outcome": "skipped", "reason": refusal.name(), "detail": refusal.text() })
            }
        });
        total.add(&resent);
    }
    if total.done > 0
        && let Err(error) = wake(&shared.settings.amqp).await
    {
        // Only a hint: the worker polls as well.
        tracing::warn!(error = chain(&error), "could not wake the worker after a resend");
    }
    let reasons: Map<String, Value> =
        total.refused.iter().map(|(refusal, count)| (refusal.name().to_owned(), (*count).into())).collect();
    let counts = (total.done, total.skipped());
    Ok(Reply(json!({ "resent": counts.0, "skipped": counts.1, "reasons": reasons, "results": results })))
}

fn unresolved(error: &ResolveError) -> (&'static str, String) {
    match error {
        ResolveError::Database(_) => ("failed", "the database failed".to_owned()),
        other => ("unknown", other.to_string()),
    }
}

async fn wake(settings: &Amqp) -> Result<(), WakeUpError> {
    WakeUp::connect(settings).await?.send().await
}
