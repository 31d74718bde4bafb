//! The partitions of tables that are partitioned by time: created ahead, and dropped when all of their rows are old.
//!
//! A partition is named after its first day: `webhook_attempts_20261128`, `trigger_events_202611`. Rows without a
//! partition go to `<table>_default`. All times are UTC.
//!
//! A change of partitions needs a lock that keeps workers waiting: of the whole table to drop one, of the default
//! partition to create one. It waits a fraction of a second for the lock, and holds it for less time than workers wait
//! for a lock. If that is not enough, it gives up and the caller tries again later. One process at a time does this work.

mod calendar;
mod deletion;
mod making;
mod removal;
mod tables;

use std::borrow::Cow;

use sqlx::{PgConnection, error::DatabaseError};
use time::{Date, Duration, OffsetDateTime};

pub use calendar::Period;
pub use deletion::Deletion;
pub use making::{AWAITS_PARTITION, create, open_default};
pub use removal::{Unfinished, drop};
pub use tables::{TABLES, Table};

/// The key of the advisory lock: "parts".
const LOCK: i64 = 0x70_6172_7473;

/// How long a change waits for its lock, and keeps workers waiting behind it.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '200ms'";

/// How long one statement of a change may take while it has the lock.
const HELD_TIMEOUT: &str = "SET LOCAL statement_timeout = '800ms'";

/// The outcome of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is done.
    Done,
    /// Another process was faster.
    Gone,
    /// Another process works on partitions, or the lock was not available in time. Try again later.
    Busy,
    /// It took too long, with or without a lock. Try again much later.
    Slow,
    /// The default partition already has rows of that time. They stay there.
    Occupied,
    /// The default partition is too large to create a partition for the next days. Their rows go to the default one.
    Crowded,
    /// More than a few rows are unfinished.
    Unfinished,
}

impl Change {
    /// Whether it may have kept workers waiting in vain, so that the next one should not follow at once.
    #[must_use]
    pub const fn is_refused(self) -> bool {
        matches!(self, Self::Busy | Self::Slow)
    }
}

/// The partitions of a table, by their first day. Leaves out the default partition.
///
/// # Errors
/// When the database fails.
pub async fn list(conn: &mut PgConnection, table: &Table) -> Result<Vec<Date>, sqlx::Error> {
    let names = sqlx::query_scalar!(
        r#"SELECT c.relname::text AS "name!" FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent = to_regclass($1)"#,
        table.name,
    )
    .fetch_all(conn)
    .await?;
    let suffix = |name: &str| name.strip_prefix(table.name)?.strip_prefix('_').map(str::to_owned);
    let mut days: Vec<Date> = names.iter().filter_map(|name| table.period.parse(&suffix(name)?)).collect();
    days.sort_unstable();
    Ok(days)
}

/// The time before which no request waits in `effects` to be sent. Whether a killed process had sent it is decided by
/// the row of its delivery, which must not be removed first.
///
/// # Errors
/// When the database fails.
pub async fn settled_before(
    conn: &mut PgConnection,
    now: OffsetDateTime,
) -> Result<OffsetDateTime, sqlx::Error> {
    let oldest = sqlx::query_scalar!("SELECT min(created_at) FROM effects WHERE kind = 'send'")
        .fetch_one(conn)
        .await?;
    // Deliveries have the time of a process, effects that of the database.
    Ok(oldest.unwrap_or(now) - Duration::DAY)
}

/// Takes the advisory lock until the transaction ends, and limits its waits.
async fn begin(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    for limit in [LOCK_TIMEOUT, HELD_TIMEOUT] {
        sqlx::query(limit).execute(&mut *conn).await?;
    }
    sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "locked!""#, LOCK).fetch_one(conn).await
}

async fn abandon(
    transaction: sqlx::Transaction<'_, sqlx::Postgres>,
    change: Change,
) -> Result<Change, sqlx::Error> {
    transaction.rollback().await?;
    Ok(change)
}

/// The meaning of an expected error of a change (PostgreSQL, appendix A).
pub(super) fn given_up(error: sqlx::Error) -> Result<Change, sqlx::Error> {
    let code = error.as_database_error().and_then(DatabaseError::code).map(Cow::into_owned);
    match code.as_deref() {
        // Lock not available, deadlock detected.
        Some("55P03" | "40P01") => Ok(Change::Busy),
        // Query canceled, by a timeout.
        Some("57014") => Ok(Change::Slow),
        // Undefined table, duplicate table.
        Some("42P01" | "42P07") => Ok(Change::Gone),
        // Check violation.
        Some("23514") => Ok(Change::Occupied),
        _ => Err(error),
    }
}

/// After a portion that ended with `change`: makes the next one smaller if it took too long and that is possible.
fn halve(portion: &mut i64, change: Change) -> Result<(), Change> {
    if change != Change::Slow || *portion <= 1 {
        return Err(change);
    }
    *portion /= 2;
    Ok(())
}

const fn midnight(day: Date) -> OffsetDateTime {
    day.midnight().assume_utc()
}
