//! Combines claimed deliveries whose digest window has ended into digests.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use sqlx::{Connection as _, PgConnection};
use tracing::warn;

use super::lanes::Lanes;
use crate::{
    domain::event::Key,
    postgres::{
        Database,
        deliveries::{self, Claim, ClaimedDelivery},
        endpoints,
    },
    telemetry::chain,
    workers::component::WEBHOOK_WORKER,
};

/// Maximum number of lanes whose digests one transaction makes.
const MAX_LANES: usize = 4;

/// After this time no further lane is folded until the next claim: other due deliveries are waiting.
const MAX_FOLD_TIME: Duration = Duration::from_millis(500);

/// Folds `members` into digests, which are due with the next claim. Where that fails, the members stay leased
/// until `claim.lease` expires; those that are not reached in time are released.
pub(super) async fn fold(
    database: &Database,
    lanes: &Lanes,
    claim: &Claim<'_>,
    members: Vec<ClaimedDelivery>,
) {
    let profile = |one: &ClaimedDelivery| (one.lane.clone(), lanes.profile(&one.lane, &one.endpoint_url));
    let profiles: Vec<_> = members.iter().map(profile).collect::<BTreeMap<_, _>>().into_iter().collect();
    let mut waiting = profiles.chunks(MAX_LANES);
    let began = Instant::now();
    // Windows of one length that began together end together, possibly in many lanes at once.
    while began.elapsed() < MAX_FOLD_TIME
        && let Some(profiles) = waiting.next()
    {
        let profiles = profiles.iter().cloned().collect();
        let unit = async |conn: &mut PgConnection| {
            let mut transaction = conn.begin().await?;
            deliveries::make_digests(&mut transaction, &profiles, claim.token, claim.lease).await?;
            transaction.commit().await
        };
        if let Err(error) = database.unit(unit).await {
            let (error, endpoints) = (chain(&error), profiles.len());
            warn!(
                component = WEBHOOK_WORKER,
                error,
                endpoints,
                "could not make the digests of {endpoints} endpoints; retrying when their leases expire"
            );
        }
    }
    let left: BTreeSet<Key> = waiting.flatten().map(|(lane, _)| lane.clone()).collect();
    release(database, &left, members).await;
}

/// Releases the members of lanes that were not reached, and the probes among all members.
async fn release(database: &Database, left: &BTreeSet<Key>, members: Vec<ClaimedDelivery>) {
    let (released, folded): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|member| left.contains(&member.lane));
    let unit = async |conn: &mut PgConnection| {
        deliveries::release(conn, &released).await?;
        // The digest itself is the next probe.
        let probes = released.iter().chain(&folded).filter(|delivery| delivery.is_probe);
        endpoints::release_probes(conn, probes.map(|delivery| &delivery.lane)).await
    };
    if let Err(error) = database.unit(unit).await {
        let (error, count) = (chain(&error), released.len());
        warn!(
            component = WEBHOOK_WORKER,
            error,
            deliveries = count,
            "could not release {count} deliveries left out of a digest; their leases will expire"
        );
    }
}
