//! Whether a whole table is locked.

use sqlx::{Connection as _, PgConnection};

use super::{Failure, classify};

/// What events change, and what is only read for them.
const NEEDED: [&str; 2] = [
    "LOCK TABLE contacts, contact_identifiers, contact_aliases, contact_links, applied_events, trigger_events, effects,
         webhook_deliveries, webhook_pending, webhook_endpoints, dead_letters, chain_results
     IN ROW EXCLUSIVE MODE NOWAIT",
    "LOCK TABLE suppressions, suppression_keys IN ACCESS SHARE MODE NOWAIT",
];

/// Whether a migration or a person has locked one of the tables that are needed to apply an event.
///
/// # Errors
/// When the database fails.
pub async fn any(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    let mut refused = None;
    for lock in NEEDED {
        if refused.is_none() {
            refused = sqlx::query(lock).execute(&mut *transaction).await.err();
        }
    }
    transaction.rollback().await?;
    // A role that may not lock tables cannot find out.
    Ok(refused.is_some_and(|error| classify(&error) == Failure::Locked))
}
