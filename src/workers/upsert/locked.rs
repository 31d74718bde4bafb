//! Finds the messages that need rows which other sessions keep locked: one query instead of a wait for each of them.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::{
    apply_error::Blocked,
    give_up::{GiveUpPolicy, SharedKey},
    run::{self, BatchResult},
    triage::Accepted,
    worker::UpsertWorker,
};
use crate::{
    domain::{event::Key, webhook::delivery::Delivery},
    postgres::{directory, endpoints},
};

/// The key that messages to the same endpoint share.
pub(super) fn lane_key(policy: &GiveUpPolicy, lane: &Key) -> SharedKey {
    policy.key((&lane.company, lane.id))
}

/// The lanes whose rows each message needs, in the order of the messages. A delivery that is sent from memory to a known
/// endpoint needs none.
pub(super) fn lanes<'a>(
    worker: &UpsertWorker,
    result: &BatchResult<'a>,
    accepted: &'a [Accepted],
) -> Vec<Vec<Key>> {
    let lanes = result.with_runs(accepted).map(|(_, run)| {
        let Some(run) = run else { return Vec::new() };
        let waiting = run.deliveries.iter().filter(|delivery| !delivery.is_plain()).map(Delivery::lane);
        let unknown = worker.endpoints.unknown(&run.deliveries).into_iter().map(|endpoint| endpoint.key);
        let lanes: BTreeSet<Key> = waiting.chain(unknown).collect();
        lanes.into_iter().collect()
    });
    lanes.collect()
}

/// Those of the messages that need a contact, or one of these `lanes`, that others have locked.
pub(super) async fn find(
    worker: &UpsertWorker,
    conn: &mut PgConnection,
    accepted: &[&Accepted],
    lanes: &[Vec<Key>],
) -> Result<Vec<Blocked>, sqlx::Error> {
    let policy = &worker.give_up_policy;
    let identifiers = run::identifiers(accepted.iter().copied());
    let people: BTreeSet<SharedKey> = if identifiers.is_empty() {
        BTreeSet::new()
    } else {
        let locked = directory::locked(conn, &identifiers).await?;
        locked.into_iter().map(|(company, identifier)| policy.key((company, identifier))).collect()
    };
    let needed_lanes: BTreeSet<&Key> = lanes.iter().flatten().collect();
    let locked: BTreeSet<Key> = if needed_lanes.is_empty() {
        BTreeSet::new()
    } else {
        endpoints::locked(conn, needed_lanes).await?.into_iter().collect()
    };
    let blocked = accepted.iter().enumerate().filter_map(|(index, one)| {
        let company = &one.plan.event.company;
        let named = one.identifiers.iter().map(|identifier| policy.key((company, identifier)));
        let mut keys: Vec<SharedKey> = named.filter(|key| people.contains(key)).collect();
        let needed = lanes.get(index).map(Vec::as_slice).unwrap_or_default();
        let lanes: Vec<Key> = needed.iter().filter(|lane| locked.contains(lane)).cloned().collect();
        keys.extend(lanes.iter().map(|lane| lane_key(policy, lane)));
        (!keys.is_empty()).then_some(Blocked { index, keys, lanes })
    });
    Ok(blocked.collect())
}
