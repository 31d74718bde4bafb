//! Operations on many dead letters or deliveries: plan, run, pause, resume, cancel, list, get, items.
//!
//! A process with the role dead-letter does the work. A request only plans it or changes its state.

use std::num::NonZeroU32;

use axum::{extract::State, http::StatusCode};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::json;
use uuid::Uuid;

use super::{
    dead_letters, deliveries,
    input::{self, Because, InPath, NewKey, selection},
};
use crate::{
    console::{
        body::{Json, Params},
        caller::Caller,
        decision::Decision,
        problem::Problem,
        reply::Reply,
        route::Route,
        shared::{Shared, on_one_thread},
    },
    operator::{
        audit::Actor,
        operations::{
            self, Action, ChangeError, Changes, Chosen, ItemFilter, ItemResult, ItemState, Object, Operation,
            Options, Rate,
        },
        selection::Selection,
    },
    postgres::Database,
    settings::Role,
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::read("/api/v1/operations", Role::Viewer, list),
        Route::change("/api/v1/operations", Role::Operator, plan),
        Route::read("/api/v1/operations/{id}", Role::Viewer, get),
        Route::read("/api/v1/operations/{id}/items", Role::Viewer, items),
        Route::change("/api/v1/deliveries/resend/plan", Role::Operator, plan_resend),
        Route::change("/api/v1/deliveries/discard/plan", Role::Operator, plan_discard),
        decision::<Run>("/api/v1/operations/{id}/run", Decision::Run),
        decision::<Because>("/api/v1/operations/{id}/pause", Decision::Pause),
        decision::<Resume>("/api/v1/operations/{id}/resume", Decision::Resume),
        decision::<Because>("/api/v1/operations/{id}/cancel", Decision::Cancel),
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
        state: state
            .map(|name| ItemState::parse(&name).map_err(|why| Problem::invalid("state", why)))
            .transpose()?,
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
    filter: Option<dead_letters::Given>,
    #[serde(default, deserialize_with = "input::whole")]
    rate: Option<u32>,
    #[serde(default)]
    canary: bool,
    reason: Option<String>,
}

async fn plan(
    State(shared): State<Shared>,
    caller: Caller,
    Json(new): Json<NewOperation>,
) -> Result<(StatusCode, Reply), Problem> {
    let actor = caller.because(new.reason.as_deref())?;
    let action = input::named::<Action>("action", &new.action)?;
    if action.object() != Object::DeadLetter {
        let why =
            "plan it with `POST /api/v1/deliveries/resend/plan` or `POST /api/v1/deliveries/discard/plan`";
        return Err(Problem::invalid("action", why));
    }
    let options = options(new.rate, new.canary)?;
    if new.canary && !action.may_fail() {
        return Err(Problem::invalid("canary", "a discard or restore has no canary"));
    }
    let filter = new.filter.map(|given| given.filter(action.default_states())).transpose()?;
    let selection = selection("deadLetters", new.dead_letters, filter)?;
    on_one_thread(move || async move {
        dead_letters::all_exist(&shared.database, &selection).await?;
        plan_one(&shared.database, &actor, action, Chosen::DeadLetters(selection), options).await
    })
    .await
}

/// Which deliveries to resend.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewResend {
    deliveries: Option<Vec<NewKey>>,
    filter: Option<deliveries::Given>,
    #[serde(default, deserialize_with = "input::whole")]
    rate: Option<u32>,
    #[serde(default)]
    canary: bool,
    reason: Option<String>,
}

async fn plan_resend(
    State(shared): State<Shared>,
    caller: Caller,
    Json(new): Json<NewResend>,
) -> Result<(StatusCode, Reply), Problem> {
    let actor = caller.because(new.reason.as_deref())?;
    let options = options(new.rate, new.canary)?;
    let filter = match new.filter {
        Some(given) => Some(given.filter(&shared.database, None).await?),
        None => None,
    };
    let selection = selection("deliveries", new.deliveries, filter)?;
    // Without a state, what was delivered would be sent once more.
    if matches!(&selection, Selection::Matching(filter) if filter.states.is_none()) {
        return Err(Problem::invalid("filter", "name a state as well, such as `dead`"));
    }
    on_one_thread(move || async move {
        deliveries::all_exist(&shared.database, &selection).await?;
        plan_one(&shared.database, &actor, Action::Resend, Chosen::Deliveries(selection), options).await
    })
    .await
}

/// Which deliveries to discard.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewDiscard {
    deliveries: Option<Vec<NewKey>>,
    filter: Option<deliveries::Given>,
    #[serde(default, deserialize_with = "input::whole")]
    rate: Option<u32>,
    reason: Option<String>,
}

async fn plan_discard(
    State(shared): State<Shared>,
    caller: Caller,
    Json(new): Json<NewDiscard>,
) -> Result<(StatusCode, Reply), Problem> {
    let actor = caller.because(new.reason.as_deref())?;
    let options = options(new.rate, false)?;
    let filter = match new.filter {
        Some(given) => Some(given.waiting(&shared.database).await?),
        None => None,
    };
    let selection = selection("deliveries", new.deliveries, filter)?;
    on_one_thread(move || async move {
        deliveries::all_exist(&shared.database, &selection).await?;
        let chosen = Chosen::Deliveries(selection);
        plan_one(&shared.database, &actor, Action::DiscardDeliveries, chosen, options).await
    })
    .await
}

async fn plan_one(
    database: &Database,
    actor: &Actor,
    action: Action,
    chosen: Chosen,
    options: Options,
) -> Result<(StatusCode, Reply), Problem> {
    let planned = operations::plan(database, actor, action, &chosen, options).await?;
    Ok((StatusCode::CREATED, Reply::of(&planned)?))
}

fn options(rate: Option<u32>, canary: bool) -> Result<Options, Problem> {
    Ok(Options { rate: positive(rate)?, canary })
}

fn positive(rate: Option<u32>) -> Result<Option<NonZeroU32>, Problem> {
    let positive = |rate| NonZeroU32::new(rate).ok_or_else(|| Problem::invalid("rate", "expected 1 or more"));
    rate.map(positive).transpose()
}

/// The body of a decision: its reason, and what it changes of how the operation runs.
trait Terms: DeserializeOwned + Send + 'static {
    fn read(self) -> Result<(Option<String>, Changes), Problem>;
}

impl Terms for Because {
    fn read(self) -> Result<(Option<String>, Changes), Problem> {
        Ok((self.reason, Changes::default()))
    }
}

/// How to run it, if otherwise than planned.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Run {
    rate: Option<NewRate>,
    canary: Option<bool>,
    reason: Option<String>,
}

impl Terms for Run {
    fn read(self) -> Result<(Option<String>, Changes), Problem> {
        let rate = self.rate.map(NewRate::read).transpose()?;
        Ok((self.reason, Changes { rate, canary: self.canary }))
    }
}

/// The new rate, if it changes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume {
    rate: Option<NewRate>,
    reason: Option<String>,
}

impl Terms for Resume {
    fn read(self) -> Result<(Option<String>, Changes), Problem> {
        let rate = self.rate.map(NewRate::read).transpose()?;
        Ok((self.reason, Changes { rate, canary: None }))
    }
}

/// A number, or the word for none.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum NewRate {
    Number(f64),
    Word(String),
}

impl NewRate {
    fn read(self) -> Result<Rate, Problem> {
        let text = match self {
            // It prints a whole number without a fraction, and all digits of it.
            Self::Number(number) => number.to_string(),
            Self::Word(word) if word == Rate::UNLIMITED => return Ok(Rate::Unlimited),
            Self::Word(_) => String::new(),
        };
        let rate = text.parse().map(Rate::PerSecond);
        rate.map_err(|_| Problem::invalid("rate", "expected a whole number from 1 on, or `unlimited`"))
    }
}

/// The route of a decision.
fn decision<T: Terms>(path: &'static str, decision: Decision) -> Route {
    let handler = move |State(shared): State<Shared>,
                        caller: Caller,
                        InPath(id): InPath<Uuid>,
                        Json(terms): Json<T>| async move {
        let (reason, changes) = terms.read()?;
        let actor = caller.because(reason.as_deref())?;
        Reply::of(&decision.carry_out(shared, actor, id, changes).await?)
    };
    Route::change(path, Role::Operator, handler)
}
