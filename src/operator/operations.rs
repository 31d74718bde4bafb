//! Acts on many dead letters or deliveries: planned with a count, run at a rate, watched, paused, resumed and
//! canceled.
//!
//! A plan freezes its set when it is made. So a run covers exactly what was counted, even if more arrives, and the
//! set survives a crash. [`executor`] does the work.

mod canary;
mod choice;
mod delivery;
pub mod executor;
mod replay;

use std::num::NonZeroU32;

use serde_json::{Value, json};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    audit::{self, Actor, Change},
    dead_letters, deliveries, ids,
    paging::{Cursor, Page},
    selection::Selection,
};
pub use crate::postgres::operations::{
    Action, ItemFilter, ItemResult, ItemState, ListedItem, Object, Operation, State,
};
use crate::postgres::{
    Database,
    operations::{self as store, New},
};

/// Skipped: its state does not allow it, or its contents were not kept.
const WRONG_STATE: &str = "wrong_state";

/// Skipped: its delivery has left, so nothing can be sent again.
const DELIVERY_GONE: &str = "delivery_gone";

/// The first step of a canary.
const FIRST_CANARY: i32 = 1;

/// What an operation is about. Matching items are worked on from the oldest to the newest.
#[derive(Clone, Debug)]
pub enum Chosen {
    /// Dead letters, to be replayed, discarded or restored.
    DeadLetters(Selection<dead_letters::Filter>),
    /// Deliveries, to be resent, or to be discarded if they wait.
    Deliveries(Selection<deliveries::Filter>),
}

impl Chosen {
    /// The selection for people, without personal data.
    fn shown(&self) -> Value {
        match self {
            Self::DeadLetters(selection) => selection.shown(dead_letters::shown),
            Self::Deliveries(selection) => selection.shown(deliveries::shown),
        }
    }
}

/// How an operation runs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Maximum items per second.
    pub rate: Option<NonZeroU32>,
    /// Whether 1, 10 and 100 replays or resends have to succeed before the next ones follow.
    pub canary: bool,
}

fn stored(rate: NonZeroU32) -> i32 {
    i32::try_from(rate.get()).unwrap_or(i32::MAX)
}

/// How an operation runs from now on. What is `None` stays as it is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Changes {
    /// Its maximum of items per second.
    pub rate: Option<Rate>,
    /// Whether it has a canary. Only before its first item.
    pub canary: Option<bool>,
}

/// A maximum of items per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rate {
    /// As many as possible.
    Unlimited,
    /// At most so many.
    PerSecond(NonZeroU32),
}

impl Rate {
    /// The word for no maximum, on the command line and over the API.
    pub const UNLIMITED: &'static str = "unlimited";
}

impl Changes {
    /// The rate of an operation that has this one.
    fn rate(self, now: Option<i32>) -> Option<i32> {
        match self.rate {
            None => now,
            Some(Rate::Unlimited) => None,
            Some(Rate::PerSecond(rate)) => Some(stored(rate)),
        }
    }
}

/// Why an operation cannot be changed as asked.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// No operation has this id.
    #[error("there is no operation `{0}`")]
    Unknown(String),
    /// Not hexadecimal, too short or too long.
    #[error(
        "`{0}` is not an id of an operation; give the whole id, or at least its first 8 hexadecimal digits"
    )]
    NotAnId(String),
    /// Several ids begin with the text.
    #[error("`{0}` matches several operations; give more of the id")]
    Ambiguous(String),
    /// Its state does not allow it.
    #[error("the operation is {state}; {verb} needs one that is {}", needs.join(" or "))]
    WrongState {
        /// The state that it has.
        state: String,
        /// What was asked.
        verb: &'static str,
        /// The states that allow it.
        needs: Vec<&'static str>,
    },
    /// It has nothing that a canary could find out.
    #[error("a discard or restore has no canary")]
    NoCanary,
    /// The database failed.
    #[error("could not read or change the operation")]
    Database(#[from] sqlx::Error),
}

/// Chooses the items of an operation and stores them. Nothing happens to them until [`run`].
///
/// # Errors
/// When the database fails.
pub async fn plan(
    database: &Database,
    actor: &Actor,
    action: Action,
    chosen: &Chosen,
    options: Options,
) -> Result<Operation, sqlx::Error> {
    let (id, shown) = (Uuid::now_v7(), chosen.shown());
    let rate = options.rate.map(stored);
    let canary = (options.canary && action.may_fail()).then_some(FIRST_CANARY);
    let new = New {
        id,
        action,
        selection: &shown,
        rate,
        canary,
        operator: &actor.name,
        via: actor.via.name(),
        reason: actor.reason.as_deref(),
    };
    database.transact(|()| true, async |conn| store::create(conn, &new).await).await?;
    let total = choice::add(database, id, chosen).await?;
    let end = async |conn: &mut PgConnection| {
        store::planned(conn, id, total).await?;
        // The operation leaves some day, its record does not.
        let planned = json!({
            "action": action.name(), "total": total, "rate": rate, "canary": canary, "selection": shown,
        });
        record(conn, actor, audit::OPERATION_PLAN, id, None, planned).await?;
        store::get(conn, id).await?.ok_or(sqlx::Error::RowNotFound)
    };
    database.transact(|_| true, end).await
}

/// Starts a planned operation, as it was planned but for `changes`. A running process takes it up within seconds.
///
/// # Errors
/// When it was started before, is unknown or cannot have the canary that it is to have, or the database fails.
pub async fn run(
    database: &Database,
    actor: &Actor,
    id: Uuid,
    changes: Changes,
) -> Result<Operation, ChangeError> {
    if changes.canary == Some(true) {
        let planned = get(database, id).await?.ok_or_else(|| ChangeError::Unknown(id.to_string()))?;
        if planned.action.parse().is_ok_and(|action: Action| !action.may_fail()) {
            return Err(ChangeError::NoCanary);
        }
    }
    let begin = async |conn: &mut PgConnection, planned: &Operation| {
        let canary = match changes.canary {
            None => planned.canary,
            Some(is_wanted) => is_wanted.then_some(FIRST_CANARY),
        };
        let terms = store::Terms {
            rate: changes.rate(planned.rate),
            canary,
            operator: &actor.name,
            via: actor.via.name(),
            reason: actor.reason.as_deref().or(planned.reason.as_deref()),
        };
        store::set_terms(conn, id, &terms).await
    };
    change(database, actor, id, (audit::OPERATION_RUN, "run"), &[State::Planned], State::Running, begin).await
}

/// Stops a running operation after the items that it is working on.
///
/// # Errors
/// When it is not running, is unknown, or the database fails.
pub async fn pause(database: &Database, actor: &Actor, id: Uuid) -> Result<Operation, ChangeError> {
    change(database, actor, id, (audit::OPERATION_PAUSE, "pause"), &[State::Running], State::Paused, nothing)
        .await
}

/// Continues a paused operation, at another rate if given. If failures had paused it, with its next step.
///
/// # Errors
/// When it is not paused, is unknown, or the database fails.
pub async fn resume(
    database: &Database,
    actor: &Actor,
    id: Uuid,
    rate: Option<Rate>,
) -> Result<Operation, ChangeError> {
    let begin = async |conn: &mut PgConnection, paused: &Operation| {
        if rate.is_none() {
            return Ok(());
        }
        let terms = store::Terms {
            rate: Changes { rate, canary: None }.rate(paused.rate),
            canary: paused.canary,
            operator: &actor.name,
            via: actor.via.name(),
            reason: actor.reason.as_deref().or(paused.reason.as_deref()),
        };
        store::set_terms(conn, id, &terms).await
    };
    change(database, actor, id, (audit::OPERATION_RESUME, "resume"), &[State::Paused], State::Running, begin)
        .await
}

/// Ends an operation. The items that have no outcome stay as they are.
///
/// # Errors
/// When it has ended, is unknown, or the database fails.
pub async fn cancel(database: &Database, actor: &Actor, id: Uuid) -> Result<Operation, ChangeError> {
    let open = [State::Planning, State::Planned, State::Running, State::Paused];
    change(
        database,
        actor,
        id,
        (audit::OPERATION_CANCEL, "cancel"),
        &open,
        State::Canceled,
        async |conn, operation| reopen_started(conn, actor, operation).await,
    )
    .await
}

async fn nothing(_: &mut PgConnection, _: &Operation) -> Result<(), sqlx::Error> {
    Ok(())
}

/// Changes the state, if it is one of `from`, and makes the accompanying changes in the same transaction.
async fn change(
    database: &Database,
    actor: &Actor,
    id: Uuid,
    (action, verb): (&'static str, &'static str),
    from: &[State],
    to: State,
    also: impl AsyncFn(&mut PgConnection, &Operation) -> Result<(), sqlx::Error>,
) -> Result<Operation, ChangeError> {
    let change = async |conn: &mut PgConnection| {
        let Some(was) = store::change(conn, id, from, to).await? else { return Ok(None) };
        let may = from.iter().any(|state| state.name() == was);
        let Some(operation) = store::get(conn, id).await? else { return Ok(None) };
        if !may {
            return Ok(Some((operation, false)));
        }
        also(conn, &operation).await?;
        let Some(changed) = store::get(conn, id).await? else { return Ok(None) };
        let before = terms(&was, &operation);
        record(conn, actor, action, id, Some(before), terms(&changed.state, &changed)).await?;
        Ok(Some((changed, true)))
    };
    match database.transact(|_| true, change).await? {
        Some((operation, true)) => Ok(operation),
        Some((operation, false)) => Err(ChangeError::WrongState {
            state: operation.state,
            verb,
            needs: from.iter().map(|state| state.name()).collect(),
        }),
        None => Err(ChangeError::Unknown(id.to_string())),
    }
}

/// What the record of a change says of an operation in this state.
fn terms(state: &str, operation: &Operation) -> Value {
    json!({ "state": state, "rate": operation.rate, "canary": operation.canary })
}

/// Nobody publishes what is left of a canceled operation.
async fn reopen_started(
    conn: &mut PgConnection,
    actor: &Actor,
    operation: &Operation,
) -> Result<(), sqlx::Error> {
    let left = operation.total - operation.done - operation.skipped - operation.failed;
    let window = i64::try_from(executor::WINDOW).unwrap_or(i64::MAX);
    let reopened = store::reopen_started(conn, operation.id, left, window).await?;
    dead_letters::record_reopened(conn, actor, &reopened).await
}

async fn record(
    conn: &mut PgConnection,
    actor: &Actor,
    action: &'static str,
    id: Uuid,
    before: Option<Value>,
    after: Value,
) -> Result<(), sqlx::Error> {
    let change = Change { action, company: "", object: id.to_string(), before, after: Some(after) };
    audit::record(conn, actor, &change).await
}

/// One operation.
///
/// # Errors
/// When the database fails.
pub async fn get(database: &Database, id: Uuid) -> Result<Option<Operation>, sqlx::Error> {
    database.unit(async |conn| store::get(conn, id).await).await
}

/// The operation whose id begins with `text`.
///
/// # Errors
/// When none or more than one matches, or the database fails.
pub async fn resolve(database: &Database, text: &str) -> Result<Operation, ChangeError> {
    let range = ids::range(text, ids::MIN_DIGITS).ok_or_else(|| ChangeError::NotAnId(text.to_owned()))?;
    let mut found = database.unit(async |conn| store::matching(conn, range, 2).await).await?;
    let id = match (found.pop(), found.is_empty()) {
        (Some(id), true) => id,
        (Some(_), false) => return Err(ChangeError::Ambiguous(text.to_owned())),
        (None, _) => return Err(ChangeError::Unknown(text.to_owned())),
    };
    get(database, id).await?.ok_or_else(|| ChangeError::Unknown(text.to_owned()))
}

/// At most `limit` operations, newest first, after the page that ended at `before`.
///
/// # Errors
/// When the database fails.
pub async fn list(
    database: &Database,
    before: Option<Cursor>,
    limit: u32,
) -> Result<Page<Operation>, sqlx::Error> {
    let (before, more) = (before.map(Cursor::position), i64::from(limit) + 1);
    let rows = database.unit(async |conn| store::list(conn, before, more).await).await?;
    Ok(Page::of(rows, limit, |row| Cursor::new(row.created_at, row.id)))
}

/// Items of an operation, and the place after which the next page begins.
#[derive(Clone, Debug)]
pub struct Items {
    /// In the order in which the operation works on them.
    pub items: Vec<ListedItem>,
    /// The position of the last one; `None` if no others follow.
    pub next: Option<i64>,
}

/// At most `limit` items of an operation that match, after the one at position `after`.
///
/// # Errors
/// When the database fails.
pub async fn items(
    database: &Database,
    operation: &Operation,
    filter: ItemFilter,
    after: u32,
    limit: u32,
) -> Result<Items, sqlx::Error> {
    let (after, more) = (i64::from(after), i64::from(limit) + 1);
    let mut items =
        database.unit(async |conn| store::items(conn, operation, filter, after, more).await).await?;
    let has_more = items.len() > usize::try_from(limit).unwrap_or(usize::MAX);
    items.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let next = items.last().filter(|_| has_more).map(|item| item.position);
    Ok(Items { items, next })
}
