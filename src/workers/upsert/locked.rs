//! Finds the messages that need rows which others keep locked: one query instead of a wait for each of them.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::{
    outcome::{self, Outcome},
    refused::Blocked,
    set_aside::{Cause, SetAside},
    triage::Accepted,
    worker::UpsertWorker,
};
use crate::{
    domain::{event::Key, webhook::delivery::Delivery},
    postgres::{directory, endpoints},
};

/// The cause that messages to the same endpoint share.
pub(super) fn lane_cause(set_aside: &SetAside, lane: &Key) -> Cause {
    set_aside.cause((&lane.company, lane.id))
}

/// The lanes whose rows each message needs, in the order of the messages. A delivery that is sent from memory to a known
/// endpoint needs none.
pub(super) fn lanes<'a>(
    worker: &UpsertWorker,
    outcome: &Outcome<'a>,
    accepted: &'a [Accepted],
) -> Vec<Vec<Key>> {
    let lanes = outcome.with_runs(accepted).map(|(_, run)| {
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
    let set_aside = &worker.set_aside;
    let identifiers = outcome::identifiers(accepted.iter().copied());
    let people: BTreeSet<Cause> = if identifiers.is_empty() {
        BTreeSet::new()
    } else {
        let locked = directory::locked(conn, &identifiers).await?;
        locked.into_iter().map(|(company, identifier)| set_aside.cause((company, identifier))).collect()
    };
    let keys: BTreeSet<&Key> = lanes.iter().flatten().collect();
    let locked: BTreeSet<Key> = if keys.is_empty() {
        BTreeSet::new()
    } else {
        endpoints::locked(conn, keys).await?.into_iter().collect()
    };
    let blocked = accepted.iter().enumerate().filter_map(|(index, one)| {
        let company = &one.plan.event.company;
        let named = one.identifiers.iter().map(|identifier| set_aside.cause((company, identifier)));
        let mut causes: Vec<Cause> = named.filter(|cause| people.contains(cause)).collect();
        let needed = lanes.get(index).map(Vec::as_slice).unwrap_or_default();
        let lanes: Vec<Key> = needed.iter().filter(|lane| locked.contains(lane)).cloned().collect();
        causes.extend(lanes.iter().map(|lane| lane_cause(set_aside, lane)));
        (!causes.is_empty()).then_some(Blocked { index, causes, lanes })
    });
    Ok(blocked.collect())
}
