//! How long a transaction of a worker waits for each lock.

use sqlx::{Executor as _, PgConnection};

/// How long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LockWait {
    /// As long as other transactions do.
    Default,
    /// A tenth of a second: others met a lock a short time ago, or there is other work.
    Short,
    /// As long as others may need to commit: a longer wait has just failed.
    Shortest,
}

impl LockWait {
    /// Sets the limit for the transaction that the connection is in.
    ///
    /// # Errors
    /// When the database fails.
    pub(super) async fn set(self, transaction: &mut PgConnection) -> Result<(), sqlx::Error> {
        let limit = match self {
            Self::Default => return Ok(()),
            Self::Short => "SET LOCAL lock_timeout = '100ms'",
            Self::Shortest => "SET LOCAL lock_timeout = '50ms'",
        };
        transaction.execute(limit).await.map(|_| ())
    }
}
