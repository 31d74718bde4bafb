//! Webhook deliveries: list, get, resend. `operations` resends and discards many.

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::input::{self, Because, Ids, InPath};
use crate::{
    console::{
        body::{Json, Params},
        caller::Caller,
        idempotency::Personal,
        problem::{Kind, Problem},
        reply::Reply,
        route::Route,
        shared::{Shared, on_one_thread},
    },
    domain::event::Key,
    operator::{
        audit::Actor,
        deliveries::{self, Filter, Found, Listed, Resent, ResolveError, State as DeliveryState},
        endpoints,
        paging::Cursor,
        selection::Selection,
        views,
        wake_worker::wake,
    },
    postgres::Database,
    settings::Role,
};

/// How far back a listing goes without `since`, unless its states are listed at any age.
const DAY: time::Duration = time::Duration::DAY;

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::read("/api/v1/deliveries", Role::Viewer, list),
        Route::read("/api/v1/deliveries/{id}", Role::Viewer, get),
        Route::change("/api/v1/deliveries/resend", Role::Operator, resend),
        Route::change("/api/v1/deliveries/{id}/reveal", Role::Admin, reveal),
    ]
}

async fn list(State(shared): State<Shared>, caller: Caller, mut query: Params) -> Result<Reply, Problem> {
    let given = Given {
        state: Some(query.all("state")),
        company: query.one("company")?,
        endpoint: query.one("endpoint")?,
        event: query.one("event")?,
        contact: query.one("contact")?,
        trigger: query.one("trigger")?,
        since: query.one("since")?,
    };
    let cursor = query.parsed("cursor", |text| text.parse().ok(), "the `next` of a page")?;
    let limit = input::limit(&mut query)?;
    query.end()?;
    let filter = given.filter(&shared.database, cursor).await?;
    let Found { page, is_complete } = deliveries::page(&shared.database, &filter, limit).await?;
    let items = page.items.iter().map(|one| views::deliveries::listed(one, input::sight(&caller)));
    let items: Vec<Value> = items.collect::<Result<_, _>>()?;
    Ok(Reply(json!({ "items": items, "next": page.next, "complete": is_complete })))
}

/// The filters as they are given: the parameters of a listing, or members of JSON with the same names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    state: Option<Vec<String>>,
    company: Option<String>,
    endpoint: Option<String>,
    event: Option<String>,
    contact: Option<String>,
    trigger: Option<String>,
    since: Option<String>,
}

impl Given {
    /// The pending deliveries that they select, the only ones that can be discarded, of one endpoint at most: a receiver may be gone
    /// for one of the companies that share its address.
    pub(super) async fn waiting(self, database: &Database) -> Result<Filter, Problem> {
        let pending = DeliveryState::Pending.name();
        if self.state.iter().flatten().any(|state| state != pending) {
            return Err(Problem::invalid("filter", "only `pending` deliveries can be discarded"));
        }
        let given = Self { state: Some(vec![pending.to_owned()]), ..self };
        let filter = given.filter(database, None).await?;
        if filter.endpoints.as_ref().is_some_and(|endpoints| endpoints.len() > 1) {
            return Err(Problem::invalid("endpoint", "several match; give the company, or more of the id"));
        }
        Ok(filter)
    }

    /// The filter, from a place on. Without `since`, it goes back a day, unless its states are found at any age.
    pub(super) async fn filter(self, database: &Database, from: Option<Cursor>) -> Result<Filter, Problem> {
        let states = self.state.unwrap_or_default();
        let states: Vec<DeliveryState> =
            states.iter().map(|name| input::named("state", name)).collect::<Result<_, _>>()?;
        let company = input::storable("company", self.company)?;
        let day = || (!deliveries::at_any_age(&states)).then(|| OffsetDateTime::now_utc() - DAY);
        let mut filter = Filter {
            event_id: input::storable("event", self.event)?,
            contact: input::read("contact", self.contact, "the id of a contact")?,
            trigger: input::storable("trigger", self.trigger)?,
            since: input::moment_in("since", self.since)?.or_else(day),
            before: from.map(Cursor::position),
            ..Filter::default()
        };
        if let Some(endpoint) = input::storable("endpoint", self.endpoint)? {
            let found = endpoints::find(database, company.as_deref(), &endpoint).await?;
            filter.endpoints = Some(found.into_iter().map(|key| key.id).collect());
        }
        filter.states = Some(states).filter(|states| !states.is_empty());
        filter.company = company;
        Ok(filter)
    }
}

/// Refuses a selection with an unknown key.
pub(super) async fn all_exist(database: &Database, selection: &Selection<Filter>) -> Result<(), Problem> {
    input::all_exist("delivery", selection, async |keys: &[Key]| {
        let rows = deliveries::summaries(database, keys).await?;
        let key = |row: Listed| Key { company: row.summary.company, id: row.summary.id };
        Ok(rows.into_iter().map(key).collect())
    })
    .await
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

async fn reveal(
    State(shared): State<Shared>,
    caller: Caller,
    InPath(id): InPath<Uuid>,
    mut query: Params,
    Json(because): Json<Because>,
) -> Result<Response, Problem> {
    let company = input::text(&mut query, "company")?;
    query.end()?;
    let actor = caller.because(because.reason.as_deref())?;
    let reveal = move || async move {
        let id = id.to_string();
        let key = deliveries::resolve(&shared.database, company.as_deref(), &id).await?;
        let found = deliveries::reveal(&shared.database, &actor, &key).await?;
        Ok::<_, Problem>(found.ok_or(ResolveError::Unknown(id))?)
    };
    let delivery = on_one_thread(reveal).await?;
    let mut response = Reply(views::deliveries::delivery(&delivery, input::sight(&caller))?).into_response();
    response.extensions_mut().insert(Personal);
    Ok(response)
}

async fn resend(
    State(shared): State<Shared>,
    caller: Caller,
    Json(ids): Json<Ids>,
) -> Result<Reply, Problem> {
    let actor = caller.because(ids.reason.as_deref())?;
    let ids = ids.distinct()?;
    on_one_thread(move || resend_all(shared, actor, ids)).await
}

/// Each id by itself, so that its outcome is known even if the next one fails.
async fn resend_all(shared: Shared, actor: Actor, ids: Vec<Uuid>) -> Result<Reply, Problem> {
    let (mut total, mut results) = (Resent::default(), Vec::with_capacity(ids.len()));
    let (mut failed, mut ended) = (0_u64, None);
    for id in ids {
        let resent = match &ended {
            // It would fail for the others, too.
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
    if total.done > 0 {
        wake(&shared.settings.amqp).await;
    }
    let reasons: Map<String, Value> =
        total.refused.iter().map(|(refusal, count)| (refusal.name().to_owned(), (*count).into())).collect();
    Ok(Reply(json!({
        "resent": total.done, "skipped": total.skipped(), "failed": failed, "reasons": reasons, "results": results,
    })))
}

/// Resends one delivery, or says why not.
async fn resend_one(shared: &Shared, actor: &Actor, id: Uuid) -> Result<Result<Resent, String>, Problem> {
    let key = match deliveries::resolve(&shared.database, None, &id.to_string()).await {
        Ok(key) => key,
        Err(ResolveError::Database(error)) => return Err(error.into()),
        Err(error) => return Ok(Err(error.to_string())),
    };
    Ok(Ok(deliveries::resend(&shared.database, actor, &[key]).await?))
}

fn told(id: Uuid, resent: &Resent) -> Value {
    match resent.refused.keys().next() {
        None => json!({ "id": id, "outcome": "resent" }),
        Some(refusal) => {
            json!({ "id": id, "outcome": "skipped", "reason": refusal.name(), "detail": refusal.text() })
        }
    }
}
