//! "Newest only", after a load: ends the deliveries that a newer version of their contact makes obsolete.

use std::collections::BTreeSet;

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::results;
use crate::{
    domain::event::Key,
    postgres::{
        dead_letters,
        deliveries::{self, Loaded, RowKey, Yielded},
    },
};

/// Returns those of `loaded` that may be sent; the caller owns their lanes, and is sending `in_flight`. One transaction
/// ends the superseded deliveries, resolves their dead letters, and counts their chains down. `source` is the
/// CloudEvents `source` of the results.
///
/// # Errors
/// When the database fails; nothing has changed then.
pub(super) async fn supersede(
    conn: &mut PgConnection,
    mut loaded: Vec<Loaded>,
    in_flight: impl FnOnce() -> Vec<Uuid>,
    source: &str,
) -> Result<Vec<Loaded>, sqlx::Error> {
    let ordered = loaded.iter().map(|one| &one.delivery).filter(|delivery| delivery.newest_only);
    let ordered: Vec<&Key> = ordered.map(|delivery| &delivery.key).collect();
    if ordered.is_empty() {
        return Ok(loaded);
    }
    let mut transaction = conn.begin().await?;
    let yielded = deliveries::supersede(&mut transaction, &ordered, &in_flight()).await?;
    let superseded: Vec<&Yielded> = yielded.iter().filter(|one| one.is_superseded).collect();
    let replayed: Vec<_> =
        superseded.iter().filter(|one| one.is_replayed).map(|one| one.requested()).collect();
    dead_letters::resolve_deliveries(&mut transaction, &replayed).await?;
    let awaited: Vec<RowKey> =
        superseded.iter().filter(|one| one.is_awaited).map(|one| one.row.clone()).collect();
    // Any relay publishes these results: nobody waits for a delivery that a newer one made obsolete.
    results::write(&mut transaction, &awaited, source, None, None).await?;
    transaction.commit().await?;
    let unsent: BTreeSet<&Key> = yielded.iter().map(|one| &one.row.key).collect();
    loaded.retain(|one| !unsent.contains(&one.delivery.key));
    Ok(loaded)
}
