//! Gives up deliveries that wait.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;
use sqlx::PgConnection;
use uuid::Uuid;

use super::{Refusal, State};
use crate::{
    domain::event::Key,
    operator::audit::{self, Actor, Change},
    postgres::{
        chain_results, dead_letters,
        deliveries::{self as store, Locked, RowKey},
        effects::events,
    },
};

/// Longer than a discard takes. A delivery whose lane has an owner and that is due by then is left alone.
const SOON: Duration = Duration::from_secs(5);

/// Discards those that have a row, wait, and were not attempted more often than is known of them; with each its dead letter, if
/// it was replayed. Chains that waited only for these end, and any process publishes their results; `source` is the CloudEvents
/// `source` of those. Returns the state that each delivery had, or why it was left alone.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(in crate::operator) async fn discard_window(
    conn: &mut PgConnection,
    actor: &Actor,
    chosen: &[(Key, i32)],
    source: &str,
) -> Result<Vec<(Key, Result<State, Refusal>)>, sqlx::Error> {
    let keys: Vec<Key> = chosen.iter().map(|(key, _)| key.clone()).collect();
    let attempts: BTreeMap<&Key, i32> = chosen.iter().map(|(key, attempts)| (key, *attempts)).collect();
    store::lock_rows(conn, &keys).await?;
    // Nobody claims a lane meanwhile. The owner of one may load what becomes due before this is committed.
    store::lock_lanes(conn, &keys).await?;
    let locked = store::lock(conn, &keys, SOON).await?;
    let judged: Vec<(&Locked, Result<State, Refusal>)> =
        locked.iter().map(|one| (one, judge(one, attempts.get(&one.key).copied()))).collect();
    let waiting: Vec<&Locked> =
        judged.iter().filter(|(_, judgment)| judgment.is_ok()).map(|(one, _)| *one).collect();
    if !waiting.is_empty() {
        discard(conn, actor, &waiting, source).await?;
    }
    Ok(judged.into_iter().map(|(one, judgment)| (one.key.clone(), judgment)).collect())
}

async fn discard(
    conn: &mut PgConnection,
    actor: &Actor,
    waiting: &[&Locked],
    source: &str,
) -> Result<(), sqlx::Error> {
    let rows: Vec<RowKey> = waiting.iter().map(|one| one.row()).collect();
    let keys: Vec<Key> = rows.iter().map(|row| row.key.clone()).collect();
    store::discard(conn, &keys).await?;
    let messages: Vec<_> = waiting.iter().map(|one| one.message()).collect();
    dead_letters::discard_with_deliveries(conn, &messages, &actor.name).await?;
    let results = chain_results::complete(conn, &rows, source).await?;
    events::insert(conn, Uuid::now_v7(), None, results).await?;
    let changes: Vec<Change<'_>> = waiting.iter().map(|one| discarded(one)).collect();
    audit::record_all(conn, actor, &changes).await
}

fn discarded(one: &Locked) -> Change<'_> {
    Change {
        action: audit::DELIVERY_DISCARD,
        company: &one.key.company,
        object: one.key.id.to_string(),
        before: Some(json!({ "state": State::Pending.name() })),
        after: Some(json!({ "state": State::Discarded.name() })),
    }
}

/// The state from which the delivery can be discarded, or why it cannot. `attempts` are those that it had when it was chosen.
fn judge(locked: &Locked, attempts: Option<i32>) -> Result<State, Refusal> {
    match locked.state {
        None => Err(Refusal::Unknown),
        Some(State::Pending) if locked.in_flight => Err(Refusal::InFlight),
        Some(State::Pending) if attempts.is_some_and(|attempts| attempts != locked.attempts) => {
            Err(Refusal::AttemptedSince)
        }
        Some(State::Pending) => Ok(State::Pending),
        Some(_) => Err(Refusal::WrongState),
    }
}
