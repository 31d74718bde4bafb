//! Writes the results of chains whose last webhook has ended to the outbox.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;

use crate::{
    domain::{
        chain::outgoing::{OutgoingEvent, Publisher},
        event::Key,
    },
    postgres::{chain_results, outbox},
};

/// Counts down the chains of `ended` deliveries, in the transaction that ended them, and writes the results of
/// completed chains to the outbox. Until `lease` ends, only the caller publishes the events that this returns.
/// `source` is their CloudEvents `source`.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(super) async fn write(
    conn: &mut PgConnection,
    ended: &[Key],
    source: &str,
    lease: Duration,
) -> Result<Vec<OutgoingEvent>, sqlx::Error> {
    let chains = chain_results::count_down(conn, ended).await?;
    let publisher = Publisher { source, include_identity: false, now: OffsetDateTime::now_utc() };
    let completed = chains.iter().map(|ended| ended.chain.completed(&publisher, &ended.results));
    let events: Vec<OutgoingEvent> = completed.collect();
    outbox::insert(conn, &events, lease).await?;
    Ok(events)
}
