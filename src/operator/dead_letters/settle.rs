//! Replays, discards and restores one window of dead letters. `operator::operations` decides which and when.

use serde_json::json;
use sqlx::PgConnection;

use super::spans::{self, Recording};
use crate::{
    amqp::{Message, PublishError, Publisher, Topology, properties},
    domain::{event::Key, fault::Stage, webhook::requested::DeliveryMessage},
    operator::audit::{self, Actor, Change},
    postgres::{
        Database,
        dead_letters::{self as store, Replayable, State},
        deliveries,
    },
    telemetry::traces::Traces,
};

/// A dead letter whose state has changed, and the state before.
pub(in crate::operator) type Changed = (Key, String);

/// Why a replay ended early. Dead letters that were not published are open again, or still `replaying` if the
/// database failed; both can be replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The database failed.
    #[error("could not mark the dead letters")]
    Database(#[from] sqlx::Error),
    /// The broker failed.
    #[error("could not publish the dead letters")]
    Publish(#[from] PublishError),
}

/// Marks one window, and makes its deliveries due; leaves out those whose number of replays differs from `replays`. Publish it afterwards, then call [`end`].
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(in crate::operator) async fn begin(
    conn: &mut PgConnection,
    actor: &Actor,
    keys: &[Key],
    replays: &[i32],
) -> Result<Vec<Replayable>, sqlx::Error> {
    let unsettled = lock_deliveries(conn, keys, &State::UNSETTLED).await?;
    // Those that are restarted change the schedule of their lane, and lanes come before dead letters.
    deliveries::lock_lanes(conn, &unsettled).await?;
    let replayables = store::begin_replay(conn, keys, replays).await?;
    // A pending delivery keeps its schedule: it will be sent anyway.
    let due: Vec<Key> = replayables.iter().filter_map(Replayable::delivery).collect();
    deliveries::restart(conn, &due, &[deliveries::State::Dead, deliveries::State::Discarded]).await?;
    let changed: Vec<_> = replayables.iter().map(|one| (one.key.clone(), one.was.clone())).collect();
    record(conn, actor, audit::DEAD_LETTER_REPLAY, &changed, State::Replaying).await?;
    Ok(replayables)
}

/// Publishes marked dead letters. Those that depend on their message and were not published are open again; it returns
/// their keys.
pub(super) async fn send(
    database: &Database,
    publisher: &mut Publisher,
    topology: &Topology,
    replayables: &[Replayable],
) -> Result<Vec<Key>, ReplayError> {
    let recording = Recording { traces: &Traces::default(), operation: None };
    let unpublished = publish(publisher, topology, replayables, recording).await;
    let reopen: Vec<Key> = match &unpublished {
        Ok(unpublished) => unpublished.clone(),
        Err(_) => replayables.iter().filter(|one| one.is_its_message()).map(|one| one.key.clone()).collect(),
    };
    if !reopen.is_empty() || replayables.iter().any(ends_with_its_message) {
        let end = async |conn: &mut PgConnection| end(conn, replayables, &reopen).await;
        database.transact(|()| true, end).await?;
    }
    Ok(unpublished?)
}

/// Discards one window, and returns what was changed.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(in crate::operator) async fn discard_window(
    conn: &mut PgConnection,
    actor: &Actor,
    keys: &[Key],
) -> Result<Vec<Changed>, sqlx::Error> {
    lock_deliveries(conn, keys, &State::UNSETTLED).await?;
    let discarded = store::discard(conn, keys, &actor.name).await?;
    deliveries::discard(conn, &discarded.deliveries).await?;
    record(conn, actor, audit::DEAD_LETTER_DISCARD, &discarded.dead_letters, State::Discarded).await?;
    Ok(discarded.dead_letters)
}

/// Reopens one window, and returns what was changed.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(in crate::operator) async fn restore_window(
    conn: &mut PgConnection,
    actor: &Actor,
    keys: &[Key],
) -> Result<Vec<Changed>, sqlx::Error> {
    lock_deliveries(conn, keys, &[State::Discarded]).await?;
    let restored = store::restore(conn, keys).await?;
    deliveries::restore(conn, &restored.deliveries).await?;
    record(conn, actor, audit::DEAD_LETTER_RESTORE, &restored.dead_letters, State::Open).await?;
    Ok(restored.dead_letters)
}

/// Replays the dead letters of deliveries that are resent, discarded ones included.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(in crate::operator) async fn replay_with_deliveries(
    conn: &mut PgConnection,
    actor: &Actor,
    messages: &[DeliveryMessage<'_>],
) -> Result<(), sqlx::Error> {
    let replayed = store::begin_replay_of_deliveries(conn, messages).await?;
    record(conn, actor, audit::DEAD_LETTER_REPLAY, &replayed, State::Replaying).await
}

/// Discards the unsettled dead letters of deliveries that are discarded.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(in crate::operator) async fn discard_with_deliveries(
    conn: &mut PgConnection,
    actor: &Actor,
    messages: &[DeliveryMessage<'_>],
) -> Result<(), sqlx::Error> {
    let discarded = store::discard_with_deliveries(conn, messages, &actor.name).await?;
    record(conn, actor, audit::DEAD_LETTER_DISCARD, &discarded, State::Discarded).await
}

/// Records dead letters that are open again, because their replay was canceled before it was sent.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(in crate::operator) async fn record_reopened(
    conn: &mut PgConnection,
    actor: &Actor,
    keys: &[Key],
) -> Result<(), sqlx::Error> {
    let was = State::Replaying.name();
    let changed: Vec<Changed> = keys.iter().map(|key| (key.clone(), was.to_owned())).collect();
    record(conn, actor, audit::DEAD_LETTER_REOPEN, &changed, State::Open).await
}

/// Records dead letters whose state has changed.
async fn record(
    conn: &mut PgConnection,
    actor: &Actor,
    action: &'static str,
    changed: &[Changed],
    state: State,
) -> Result<(), sqlx::Error> {
    let entries = changed.iter().map(|(key, was)| Change {
        action,
        company: &key.company,
        object: key.id.to_string(),
        before: Some(json!({ "state": was })),
        after: Some(json!({ "state": state.name() })),
    });
    audit::record_all(conn, actor, &entries.collect::<Vec<_>>()).await
}

/// Locks the deliveries of those of these dead letters that are in one of these states, and returns their keys. They come
/// first in the lock order of all processes.
async fn lock_deliveries(
    conn: &mut PgConnection,
    keys: &[Key],
    states: &[State],
) -> Result<Vec<Key>, sqlx::Error> {
    let keys = store::deliveries_in(conn, keys, states).await?;
    deliveries::lock_rows(conn, &keys).await?;
    Ok(keys)
}

/// Reopens those that were not published, and resolves those of stage webhook that have no delivery: their
/// message only wakes the worker, and no event or delivery will resolve them later.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(in crate::operator) async fn end(
    conn: &mut PgConnection,
    replayables: &[Replayable],
    reopen: &[Key],
) -> Result<(), sqlx::Error> {
    let done: Vec<Key> = replayables
        .iter()
        .filter(|one| ends_with_its_message(one) && !reopen.contains(&one.key))
        .map(|one| one.key.clone())
        .collect();
    if !reopen.is_empty() {
        store::reopen(conn, reopen).await?;
    }
    store::end_replay(conn, &done).await
}

fn ends_with_its_message(replayable: &Replayable) -> bool {
    replayable.stage == Stage::Webhook && replayable.is_its_message()
}

/// Publishes one window. Returns the keys of the dead letters that depend on their message and were not published.
///
/// A dead letter with a delivery does not: the row of its delivery is due already, and the message only makes the
/// worker claim it sooner.
///
/// # Errors
/// When the broker fails; any of them may have been published.
pub(in crate::operator) async fn publish(
    publisher: &mut Publisher,
    topology: &Topology,
    replayables: &[Replayable],
    recording: Recording<'_>,
) -> Result<Vec<Key>, PublishError> {
    let (spans, traces): (Vec<_>, Vec<_>) =
        replayables.iter().map(|one| spans::begin(recording, one).unzip()).unzip();
    let messages: Vec<Message> = replayables
        .iter()
        .zip(&traces)
        .map(|(one, trace)| Message {
            exchange: String::new(),
            routing_key: match one.stage {
                Stage::Upsert => topology.trigger_fired(),
                Stage::Webhook => topology.webhook(),
            },
            mandatory: true,
            body: one.body.clone(),
            properties: properties::for_replay(&one.properties, one.key.id, trace.as_ref()),
        })
        .collect();
    let outcomes = publisher.publish(&messages).await?;
    for (span, outcome) in spans.into_iter().zip(&outcomes) {
        if let Some(span) = span {
            spans::end(span, *outcome);
        }
    }
    let missing =
        replayables.iter().zip(outcomes).filter(|(one, outcome)| outcome.is_err() && one.is_its_message());
    Ok(missing.map(|(one, _)| one.key.clone()).collect())
}
