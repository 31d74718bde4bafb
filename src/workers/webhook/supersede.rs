//! "Newest only", after a load: ends the deliveries that a newer version of their contact makes obsolete.

use std::collections::BTreeSet;

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::results;
use crate::{
    domain::event::Key,
    postgres::{
        Failure, classify, dead_letters,
        deliveries::{self, Loaded, RowKey, Yielded},
    },
};

/// Returns those of `loaded` that may be sent; the caller owns their lanes, and is sending `in_flight`. One transaction
/// ends the superseded deliveries, resolves their dead letters, and counts their chains down. `source` is the
/// CloudEvents `source` of the results. If a row of any of them is locked, none of "newest only" is returned, but their
/// lanes are.
///
/// # Errors
/// When the database fails; nothing has changed then.
pub(super) async fn supersede(
    conn: &mut PgConnection,
    mut loaded: Vec<Loaded>,
    in_flight: impl FnOnce() -> Vec<Uuid>,
    source: &str,
) -> Result<(Vec<Loaded>, BTreeSet<Key>), sqlx::Error> {
    let ordered = loaded.iter().map(|one| &one.delivery).filter(|delivery| delivery.newest_only);
    let ordered: Vec<&Key> = ordered.map(|delivery| &delivery.key).collect();
    if ordered.is_empty() {
        return Ok((loaded, BTreeSet::new()));
    }
    match unsent(conn, &ordered, &in_flight(), source).await {
        Ok(unsent) => {
            loaded.retain(|one| !unsent.contains(&one.delivery.key));
            Ok((loaded, BTreeSet::new()))
        }
        Err(error) if classify(&error) == Failure::Locked => {
            let (locked, others): (Vec<_>, Vec<_>) =
                loaded.into_iter().partition(|one| one.delivery.newest_only);
            Ok((others, locked.iter().map(|one| one.delivery.lane()).collect()))
        }
        Err(error) => Err(error),
    }
}

/// Ends those that are superseded, and returns them with those that have to wait for others.
async fn unsent(
    conn: &mut PgConnection,
    ordered: &[&Key],
    in_flight: &[Uuid],
    source: &str,
) -> Result<BTreeSet<Key>, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let yielded = deliveries::supersede(&mut transaction, ordered, in_flight).await?;
    let superseded: Vec<&Yielded> = yielded.iter().filter(|one| one.is_superseded).collect();
    let replayed: Vec<_> = superseded.iter().filter(|one| one.is_replayed).map(|one| one.message()).collect();
    dead_letters::resolve_deliveries(&mut transaction, &replayed).await?;
    let awaited: Vec<RowKey> =
        superseded.iter().filter(|one| one.is_awaited).map(|one| one.row.clone()).collect();
    // Any relay publishes these results: nobody waits for a delivery that a newer one made obsolete.
    results::write(&mut transaction, &awaited, source, None, None).await?;
    transaction.commit().await?;
    Ok(yielded.into_iter().map(|one| one.row.key).collect())
}
