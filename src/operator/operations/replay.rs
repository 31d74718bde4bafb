//! A window of replays: which items are marked and published, which are skipped, and the outcome of each.

use std::collections::HashSet;

use sqlx::PgConnection;
use uuid::Uuid;

use super::{
    super::{audit::Actor, dead_letters},
    DELIVERY_GONE, WRONG_STATE,
};
use crate::{
    domain::event::Key,
    postgres::{
        dead_letters::{self as letters, Replayable},
        operations::{self as store, Item, Outcome, Settled},
    },
};

/// Skipped: somebody else has replayed it since it was chosen.
const REPLAYED_SINCE: &str = "replayed_since";

/// Skipped: it was replayed `dead_letter.max_replays` times.
const LOOP_GUARD: &str = "loop_guard";

/// A window of replays that is marked.
pub(super) struct Window {
    pub(super) items: Vec<Item>,
    /// Those that are published.
    pub(super) replayables: Vec<Replayable>,
    /// Those that were skipped, and why.
    pub(super) skipped: Vec<(i64, &'static str)>,
}

/// Marks the items that may be replayed.
pub(super) async fn begin(
    conn: &mut PgConnection,
    actor: &Actor,
    operation: Uuid,
    items: Vec<Item>,
    max_replays: u32,
) -> Result<Window, sqlx::Error> {
    let mut fresh: Vec<&Item> = items.iter().filter(|item| !item.is_started).collect();
    let started: Vec<Key> =
        items.iter().filter(|item| item.is_started).map(|item| item.key.clone()).collect();
    let looping = match i32::try_from(max_replays) {
        Ok(limit @ 1..) => letters::looping(conn, &keys_of(&fresh), limit).await?,
        _ => Vec::new(),
    };
    fresh.retain(|item| !looping.contains(&item.key));
    let mut replayables = dead_letters::begin(conn, actor, &keys_of(&fresh), &tries_of(&fresh)).await?;
    let marked: HashSet<Key> = replayables.iter().map(|one| one.key.clone()).collect();
    let positions: Vec<i64> =
        fresh.iter().filter(|item| marked.contains(&item.key)).map(|item| item.position).collect();
    store::start(conn, operation, &positions).await?;
    fresh.retain(|item| !marked.contains(&item.key));
    let left = keys_of(&fresh);
    let replayed = letters::replayed_since(conn, &left, &tries_of(&fresh)).await?;
    let gone = letters::without_delivery(conn, &left).await?;
    let why = |item: &Item| {
        if looping.contains(&item.key) {
            LOOP_GUARD
        } else if replayed.contains(&item.key) {
            REPLAYED_SINCE
        } else if gone.contains(&item.key) {
            DELIVERY_GONE
        } else {
            WRONG_STATE
        }
    };
    let left_alone = items.iter().filter(|item| !item.is_started && !marked.contains(&item.key));
    let skipped = left_alone.map(|item| (item.position, why(item))).collect();
    replayables.extend(letters::replaying(conn, &started).await?);
    Ok(Window { items, replayables, skipped })
}

fn keys_of(items: &[&Item]) -> Vec<Key> {
    items.iter().map(|item| item.key.clone()).collect()
}

fn tries_of(items: &[&Item]) -> Vec<i32> {
    items.iter().map(|item| item.tries).collect()
}

/// `reopen`: those that were not published.
pub(super) fn outcomes(window: &Window, reopen: &[Key]) -> Vec<Settled> {
    let outcome = |item: &Item| {
        let skipped = window.skipped.iter().find(|(position, _)| *position == item.position);
        match skipped {
            Some((_, why)) => Outcome::Skipped(why),
            None if reopen.contains(&item.key) => Outcome::Failed,
            None => Outcome::Done(None),
        }
    };
    window.items.iter().map(|item| Settled { position: item.position, outcome: outcome(item) }).collect()
}
