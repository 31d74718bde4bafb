//! Lists, replays and discards dead letters.
//!
//! A replay is published to the queue of the stage that failed, through the default exchange, so that no subscriber
//! of the topic exchange receives it twice.

use std::num::NonZeroU32;

use serde_json::json;
use sqlx::PgConnection;

use super::{
    audit::{self, Actor, Change},
    ids,
    rate_limit::RateLimit,
};
use crate::{
    amqp::{Message, PublishError, Publisher, Topology, properties},
    domain::{event::Key, fault::Stage},
    postgres::{
        Database,
        dead_letters::{self as store, DeadLetter, Filter, Replayable, Summary},
        deliveries::{self, State},
    },
};

/// Counts of an operation on many dead letters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Progress {
    /// Replayed or discarded.
    pub done: u64,
    /// Left alone: settled or delivered already, or deleted.
    pub skipped: u64,
    /// Not published, and open again.
    pub failed: u64,
}

/// Why a text does not identify one dead letter.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// Not hexadecimal, too short or too long.
    #[error(
        "`{0}` is not an id of a dead letter; give the whole id, or at least its first 8 hexadecimal digits"
    )]
    NotAnId(String),
    /// No dead letter has this id.
    #[error("there is no dead letter `{0}`")]
    Unknown(String),
    /// Several ids begin with the text.
    #[error("`{0}` matches several dead letters; give more of the id")]
    Ambiguous(String),
    /// The database failed.
    #[error("could not look up the dead letter")]
    Database(#[from] sqlx::Error),
}

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

/// The dead letters that match, newest first.
///
/// # Errors
/// When the database fails.
pub async fn list(database: &Database, filter: &Filter) -> Result<Vec<Summary>, sqlx::Error> {
    database.unit(async |conn| store::list(conn, filter).await).await
}

/// The keys of the dead letters that match, oldest first.
///
/// # Errors
/// When the database fails.
pub async fn keys(database: &Database, filter: &Filter) -> Result<Vec<Key>, sqlx::Error> {
    database.unit(async |conn| store::keys(conn, filter).await).await
}

/// One dead letter with all details.
///
/// # Errors
/// When the database fails.
pub async fn get(database: &Database, key: &Key) -> Result<Option<DeadLetter>, sqlx::Error> {
    database.unit(async |conn| store::get(conn, key).await).await
}

/// The dead letter whose id begins with `text`.
///
/// # Errors
/// When none or more than one matches, or the database fails.
pub async fn resolve(database: &Database, text: &str) -> Result<Key, ResolveError> {
    let range = ids::range(text, ids::MIN_DIGITS).ok_or_else(|| ResolveError::NotAnId(text.to_owned()))?;
    let mut found = database.unit(async |conn| store::matching(conn, range, 2).await).await?;
    match (found.pop(), found.is_empty()) {
        (Some(key), true) => Ok(key),
        (Some(_), false) => Err(ResolveError::Ambiguous(text.to_owned())),
        (None, _) => Err(ResolveError::Unknown(text.to_owned())),
    }
}

/// Sends dead letters through the stage that failed, in the order of `keys`, at most `rate` per second. Calls
/// `progress` after each window.
///
/// Each one is marked, and its delivery made due, before it is published. So a crash loses nothing, and a message
/// that is replayed twice takes effect once.
///
/// # Errors
/// When the database or the broker fails; the last `progress` is accurate.
pub async fn replay(
    database: &Database,
    actor: &Actor,
    publisher: &mut Publisher,
    topology: &Topology,
    keys: &[Key],
    rate: Option<NonZeroU32>,
    mut progress: impl FnMut(Progress),
) -> Result<Progress, ReplayError> {
    let mut rate_limit = RateLimit::new(rate);
    let mut total = Progress::default();
    for keys in keys.chunks(rate_limit.window()) {
        rate_limit.wait(keys.len()).await;
        let begin = async |conn: &mut PgConnection| {
            lock_deliveries(conn, keys).await?;
            let replayables = store::begin_replay(conn, keys).await?;
            // A pending delivery keeps its schedule: it will be sent anyway.
            let due: Vec<Key> = replayables.iter().filter_map(Replayable::delivery).collect();
            deliveries::restart(conn, &due, &[State::Dead, State::Discarded]).await?;
            let changes = replayables
                .iter()
                .map(|one| settled(audit::DEAD_LETTER_REPLAY, &one.key, &one.was, store::State::Replaying));
            audit::record_all(conn, actor, &changes.collect::<Vec<_>>()).await?;
            Ok(replayables)
        };
        let replayables = database.transact(|_| true, begin).await?;
        let (marked, asked) = (replayables.len(), keys.len());
        let unpublished = publish(publisher, topology, &replayables).await;
        let reopen: Vec<Key> = match &unpublished {
            Ok(unpublished) => unpublished.clone(),
            Err(_) => {
                replayables.iter().filter(|one| one.is_its_message()).map(|one| one.key.clone()).collect()
            }
        };
        settle(database, &replayables, &reopen).await?;
        unpublished?;
        total.done += (marked - reopen.len()) as u64;
        total.skipped += (asked - marked) as u64;
        total.failed += reopen.len() as u64;
        progress(total);
    }
    Ok(total)
}

/// Discards dead letters, and the deliveries behind them, at most `rate` per second.
/// Calls `progress` after each window.
///
/// # Errors
/// When the database fails; the last `progress` is accurate.
pub async fn discard(
    database: &Database,
    actor: &Actor,
    keys: &[Key],
    rate: Option<NonZeroU32>,
    mut progress: impl FnMut(Progress),
) -> Result<Progress, sqlx::Error> {
    let mut total = Progress::default();
    let mut rate_limit = RateLimit::new(rate);
    for keys in keys.chunks(rate_limit.window()) {
        rate_limit.wait(keys.len()).await;
        let discard = async |conn: &mut PgConnection| {
            lock_deliveries(conn, keys).await?;
            let discarded = store::discard(conn, keys, &actor.name).await?;
            deliveries::discard(conn, &discarded.deliveries).await?;
            let changes = discarded
                .dead_letters
                .iter()
                .map(|(key, was)| settled(audit::DEAD_LETTER_DISCARD, key, was, store::State::Discarded));
            audit::record_all(conn, actor, &changes.collect::<Vec<_>>()).await?;
            Ok(discarded.dead_letters.len() as u64)
        };
        let discarded = database.transact(|_| true, discard).await?;
        total.done += discarded;
        total.skipped += (keys.len() as u64).saturating_sub(discarded);
        progress(total);
    }
    Ok(total)
}

/// The record of a dead letter whose state has changed.
fn settled<'a>(action: &'static str, key: &'a Key, was: &str, is: store::State) -> Change<'a> {
    Change {
        action,
        company: &key.company,
        object: key.id.to_string(),
        before: Some(json!({ "state": was })),
        after: Some(json!({ "state": is.name() })),
    }
}

/// Locks the deliveries of these dead letters, which come first in the lock order of all processes.
async fn lock_deliveries(conn: &mut PgConnection, keys: &[Key]) -> Result<(), sqlx::Error> {
    let keys = store::unsettled_deliveries(conn, keys).await?;
    deliveries::lock_rows(conn, &keys).await
}

/// Reopens those that were not published, and resolves those of stage webhook that have no delivery: their
/// message only wakes the worker, and no event or delivery will resolve them later.
async fn settle(database: &Database, replayables: &[Replayable], reopen: &[Key]) -> Result<(), sqlx::Error> {
    let done: Vec<Key> = replayables
        .iter()
        .filter(|one| one.stage == Stage::Webhook && one.is_its_message() && !reopen.contains(&one.key))
        .map(|one| one.key.clone())
        .collect();
    if reopen.is_empty() && done.is_empty() {
        return Ok(());
    }
    let settle = async |conn: &mut PgConnection| {
        store::reopen(conn, reopen).await?;
        store::end_replay(conn, &done).await
    };
    database.transact(|()| true, settle).await
}

/// Publishes one window. Returns the keys of the dead letters that depend on their message and were not published.
///
/// A dead letter with a delivery does not: the row of its delivery is due already, and the message only makes the
/// worker claim it sooner.
async fn publish(
    publisher: &mut Publisher,
    topology: &Topology,
    replayables: &[Replayable],
) -> Result<Vec<Key>, PublishError> {
    let messages: Vec<Message> = replayables
        .iter()
        .map(|one| Message {
            exchange: String::new(),
            routing_key: match one.stage {
                Stage::Upsert => topology.trigger_fired(),
                Stage::Webhook => topology.webhook(),
            },
            mandatory: true,
            body: one.body.clone(),
            properties: properties::for_replay(&one.properties, one.key.id),
        })
        .collect();
    let outcomes = publisher.publish(&messages).await?;
    let missing =
        replayables.iter().zip(outcomes).filter(|(one, outcome)| outcome.is_err() && one.is_its_message());
    Ok(missing.map(|(one, _)| one.key.clone()).collect())
}
