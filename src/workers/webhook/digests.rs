//! Combines deliveries whose digest window has ended into digests.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use sqlx::{Connection as _, PgConnection};
use tracing::warn;

use crate::{
    domain::{event::Key, webhook::endpoint::Profile},
    postgres::{Database, deliveries},
    telemetry::chain,
    workers::component::WEBHOOK_WORKER,
};

/// Maximum number of lanes whose digests one transaction makes.
const MAX_LANES: usize = 4;

/// After this time no further lane is folded until the next load: other due deliveries are waiting.
const MAX_FOLD_TIME: Duration = Duration::from_millis(500);

/// Combines the due deliveries of these lanes, which this process owns, into digests that are due. `false` if that
/// failed.
pub(super) async fn fold(database: &Database, lanes: Vec<(Key, Profile)>) -> bool {
    let (began, mut succeeded) = (Instant::now(), true);
    // Windows of one length that began together end together, possibly in many lanes at once.
    for profiles in lanes.chunks(MAX_LANES) {
        if began.elapsed() >= MAX_FOLD_TIME {
            break;
        }
        let profiles: BTreeMap<Key, Profile> = profiles.iter().cloned().collect();
        let unit = async |conn: &mut PgConnection| {
            let mut transaction = conn.begin().await?;
            deliveries::make_digests(&mut transaction, &profiles).await?;
            transaction.commit().await
        };
        if let Err(error) = database.unit(unit).await {
            succeeded = false;
            let (error, endpoints) = (chain(&error), profiles.len());
            warn!(
                component = WEBHOOK_WORKER,
                error, endpoints, "could not make the digests of {endpoints} endpoints; retrying"
            );
        }
    }
    succeeded
}
