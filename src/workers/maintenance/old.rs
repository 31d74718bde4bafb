//! Rows that leave one by one, because their tables have no partitions.

use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

use crate::postgres::{Database, Failure, classify, dead_letters, idempotency, links, operations, suspects};

/// Maximum rows that one transaction deletes.
pub(super) const PORTION: i64 = 1000;

/// Rows from before a time.
pub(super) enum Old {
    Conflicts(OffsetDateTime),
    DeadLetters(OffsetDateTime),
    Operations(OffsetDateTime),
    Suspects(OffsetDateTime),
    Keys(OffsetDateTime),
}

impl Old {
    /// Deletes in portions until nothing is left, apart from what others have locked. Rows of many megabytes take long, so a
    /// portion that is too slow is halved.
    pub(super) async fn delete(
        &self,
        database: &Database,
        stop: &CancellationToken,
    ) -> Result<u64, sqlx::Error> {
        let (mut all, mut portion) = (0, PORTION);
        loop {
            match database.unit(async |conn| self.delete_some(conn, portion).await).await {
                Ok(deleted) => {
                    all += deleted;
                    if deleted == 0 || stop.is_cancelled() {
                        return Ok(all);
                    }
                    portion = (2 * portion).min(PORTION);
                }
                Err(error) if portion > 1 && classify(&error) == Failure::Slow => portion /= 2,
                Err(error) => return Err(error),
            }
        }
    }

    async fn delete_some(&self, conn: &mut PgConnection, portion: i64) -> Result<u64, sqlx::Error> {
        match *self {
            Self::Conflicts(before) => links::delete_conflicts(conn, before, portion).await,
            Self::DeadLetters(before) => dead_letters::delete_settled(conn, before, portion).await,
            Self::Operations(before) => operations::delete_old(conn, before, portion).await,
            Self::Suspects(before) => suspects::forget(conn, before, portion).await,
            Self::Keys(before) => idempotency::forget(conn, before, portion).await,
        }
    }
}
