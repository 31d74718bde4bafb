//! "Newest only", after a claim: ends the deliveries that a newer version of their contact makes obsolete.
//!
//! The leases are committed by then, so of two workers that claim two versions at once, at least one sees the other.

use std::{collections::BTreeSet, time::Duration};

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::results;
use crate::{
    domain::event::Key,
    postgres::{
        dead_letters,
        deliveries::{self, ClaimedDelivery, Yielded},
        endpoints,
    },
};

/// Returns those of `claimed` that may be sent. One transaction ends the superseded deliveries, resolves their dead
/// letters, counts their chains down, and releases their probes. `source` is the CloudEvents `source` of the results.
///
/// # Errors
/// When the database fails. Claimed deliveries then become due when their lease expires.
pub(super) async fn supersede(
    conn: &mut PgConnection,
    mut claimed: Vec<ClaimedDelivery>,
    token: Uuid,
    source: &str,
) -> Result<Vec<ClaimedDelivery>, sqlx::Error> {
    let ordered: Vec<&Key> = claimed.iter().filter(|one| one.newest_only).map(|one| &one.key).collect();
    if ordered.is_empty() {
        return Ok(claimed);
    }
    let mut transaction = conn.begin().await?;
    let yielded = deliveries::supersede(&mut transaction, &ordered, token).await?;
    let superseded: Vec<&Yielded> = yielded.iter().filter(|one| one.is_superseded).collect();
    let replayed: Vec<_> =
        superseded.iter().filter(|one| one.is_replayed).map(|one| one.requested()).collect();
    dead_letters::resolve_deliveries(&mut transaction, &replayed).await?;
    let awaited: Vec<Key> =
        superseded.iter().filter(|one| one.is_awaited).map(|one| one.key.clone()).collect();
    // A relay's sweep publishes these results: nobody waits for a delivery that a newer one made obsolete.
    results::write(&mut transaction, &awaited, source, Duration::ZERO).await?;
    let unsent: BTreeSet<&Key> = yielded.iter().map(|one| &one.key).collect();
    let probes = claimed.iter().filter(|one| one.is_probe && unsent.contains(&one.key));
    endpoints::release_probes(&mut transaction, probes.map(|one| &one.lane)).await?;
    transaction.commit().await?;
    claimed.retain(|one| !unsent.contains(&one.key));
    Ok(claimed)
}
