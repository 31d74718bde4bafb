//! Writes the results of chains whose last webhook has ended.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    domain::{
        chain::outgoing::{OutgoingEvent, Publisher},
        event::Key,
    },
    postgres::{
        chain_results, clock,
        effects::events::{self, Committed},
    },
};

/// Counts down the chains of `ended` deliveries, in the transaction that ended them, and inserts the results of
/// completed chains. The process `owner` publishes the rows that this returns; without an owner any process does.
/// `source` is the CloudEvents `source` of the results.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(super) async fn write(
    conn: &mut PgConnection,
    ended: &[Key],
    source: &str,
    owner: Option<Uuid>,
) -> Result<Vec<Committed>, sqlx::Error> {
    let chains = chain_results::count_down(conn, ended).await?;
    if chains.is_empty() {
        return Ok(Vec::new());
    }
    let publisher = Publisher { source, include_identity: false, now: clock::now(conn).await? };
    let completed = chains.iter().map(|ended| ended.chain.completed(&publisher, &ended.results));
    let completed: Vec<OutgoingEvent> = completed.collect();
    events::insert(conn, Uuid::now_v7(), owner, completed).await
}
