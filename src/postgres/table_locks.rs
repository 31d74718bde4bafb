//! Whether a whole table is locked.

use sqlx::{Connection as _, PgConnection};

use super::{Failure, classify};

/// Whether one of the tables that events are applied to is locked against changes, by a migration or a person.
///
/// # Errors
/// When the database fails.
pub async fn any(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let lock = sqlx::query(
        "LOCK TABLE contacts, contact_identifiers, contact_aliases, contact_links, applied_events, trigger_events, effects,
             webhook_deliveries, webhook_pending, webhook_endpoints, dead_letters, chain_results
         IN ROW EXCLUSIVE MODE NOWAIT",
    );
    let refused = lock.execute(&mut *transaction).await.err();
    transaction.rollback().await?;
    // A role that may not lock tables cannot tell.
    Ok(refused.is_some_and(|error| classify(&error) == Failure::Slow))
}
