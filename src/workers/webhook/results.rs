//! Writes the results of chains whose last webhook has ended.

use sqlx::PgConnection;
use uuid::Uuid;

use crate::{
    postgres::{
        chain_results,
        deliveries::RowKey,
        effects::{
            self,
            events::{self, EventBatch},
        },
    },
    workers::room::{self, BatchSender, InMemory},
};

/// Counts down the chains of `ended` deliveries, in the transaction that ended them, and inserts the results of
/// completed chains. The process `owner` must give the rows that this returns to `sender`; without one any process
/// publishes them. `source` is the CloudEvents `source` of the results.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(super) async fn write(
    conn: &mut PgConnection,
    ended: &[RowKey],
    source: &str,
    owner: Option<Uuid>,
    sender: Option<&BatchSender<EventBatch>>,
) -> Result<Vec<InMemory<EventBatch>>, sqlx::Error> {
    let completed = chain_results::complete(conn, ended, source).await?;
    if completed.is_empty() {
        return Ok(Vec::new());
    }
    let completed = events::group(Uuid::now_v7(), owner, completed);
    let (in_memory, rows) = room::reserve_rows(sender, owner, completed)?;
    effects::insert(conn, &rows).await?;
    Ok(in_memory)
}
