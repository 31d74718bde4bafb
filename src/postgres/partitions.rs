//! The partitions of the tables that are partitioned by time: made ahead, and dropped when all of their rows are old.
//!
//! A partition is named after its first day: `webhook_attempts_20261128`, `trigger_events_202611`. Rows without a
//! partition go to `<table>_default`. All times are UTC.
//!
//! A change of partitions locks the whole table. It waits for the lock, and holds it, for a fraction of a second at
//! most. If that is not enough it gives up, and the caller tries again later. One process at a time does this work.

mod calendar;
mod tables;

use std::borrow::Cow;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, error::DatabaseError};
use time::{Date, Duration, OffsetDateTime};
use uuid::Uuid;

pub use calendar::Period;
pub use tables::{TABLES, Table};

use super::columns::key_columns;
use crate::domain::event::Key;

/// Maximum unfinished rows that outlive their partition. One with more of them stays, because moving the rows would hold
/// up the workers for too long.
const MAX_MOVED: usize = 5_000;

/// The key of the advisory lock: "parts".
const LOCK: i64 = 0x70_6172_7473;

/// How long a change waits for its lock, and keeps workers waiting behind it.
const LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '200ms'";

/// How long one statement of a change may take while it has the lock.
const HELD_TIMEOUT: &str = "SET LOCAL statement_timeout = '800ms'";

/// Pages of a partition that one statement reads: about a second.
const PAGES: i64 = 20_000;

/// Rows of old partitions are found by reading them once: no index is worth its cost for that.
const SCAN: &str = "SET LOCAL enable_seqscan = on; SET LOCAL enable_hashjoin = on";

/// What became of a change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It is done.
    Done,
    /// Another process was faster.
    Gone,
    /// Another process works on partitions, or the lock was not to be had in time. Try again later.
    Busy,
    /// It would have held the lock for too long. Try again much later.
    Slow,
    /// The default partition already has rows of that time. They stay there.
    Occupied,
    /// More than a few rows are unfinished.
    Unfinished,
}

impl Change {
    /// Whether it kept workers waiting in vain, so that the next one should not follow at once.
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

/// Makes the partition that begins on `first`.
///
/// # Errors
/// When the database fails.
pub async fn create(conn: &mut PgConnection, table: &Table, first: Date) -> Result<Change, sqlx::Error> {
    let (partition, next) = (table.partition(first), table.period.next(first));
    let ddl = format!(
        "CREATE TABLE IF NOT EXISTS {partition} PARTITION OF {} FOR VALUES FROM ('{first} 00:00+00') TO ('{next} 00:00+00')",
        table.name
    );
    let mut transaction = conn.begin().await?;
    if !begin(&mut transaction).await? {
        return abandon(transaction, Change::Busy).await;
    }
    // The name is built from constants and a date.
    let created = sqlx::query(AssertSqlSafe(ddl)).execute(&mut *transaction).await;
    if let Err(error) = created {
        let change = given_up(error)?;
        return abandon(transaction, change).await;
    }
    transaction.commit().await?;
    Ok(Change::Done)
}

/// The unfinished rows of a partition, read in portions without holding anybody up.
pub struct Unfinished {
    began: OffsetDateTime,
    keys: Vec<Key>,
    next_page: i64,
    pages: i64,
}

impl Unfinished {
    /// Begins with the first page.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(conn: &mut PgConnection, table: &Table, first: Date) -> Result<Self, sqlx::Error> {
        let row = sqlx::query!(
            r#"SELECT now() AS "now!", coalesce(pg_relation_size(to_regclass($1)), 0)
                   / current_setting('block_size')::bigint AS "pages!""#,
            table.partition(first),
        )
        .fetch_one(conn)
        .await?;
        let pages = if table.unfinished.is_some() { row.pages } else { 0 };
        Ok(Self { began: row.now, keys: Vec::new(), next_page: 0, pages })
    }

    /// Whether every page is read, or too many rows are unfinished.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.next_page >= self.pages || self.is_too_much()
    }

    fn is_too_much(&self) -> bool {
        self.keys.len() > MAX_MOVED
    }

    /// Reads the next portion. `Gone` if the partition does not exist any more.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn read(
        &mut self,
        conn: &mut PgConnection,
        table: &Table,
        first: Date,
    ) -> Result<Change, sqlx::Error> {
        let condition = table.unfinished.unwrap_or("false");
        let (partition, end) = (table.partition(first), self.next_page + PAGES);
        // The text is built from constants, a date and numbers. A range of pages is no parameter: its type is not known
        // to the client.
        let query = format!(
            "SELECT DISTINCT company_id, delivery_id FROM {partition} d
             WHERE d.ctid >= '({},0)' AND d.ctid < '({end},0)' AND ({condition}) LIMIT $1",
            self.next_page
        );
        let mut transaction = conn.begin().await?;
        sqlx::raw_sql(SCAN).execute(&mut *transaction).await?;
        let rows = sqlx::query_as::<_, (String, Uuid)>(AssertSqlSafe(query))
            .bind(i64::try_from(MAX_MOVED).unwrap_or(i64::MAX).saturating_add(1))
            .fetch_all(&mut *transaction)
            .await;
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                let change = given_up(error)?;
                return abandon(transaction, change).await;
            }
        };
        transaction.commit().await?;
        self.keys.extend(rows.into_iter().map(|(company, id)| Key { company, id }));
        self.next_page = end;
        Ok(Change::Done)
    }
}

/// Drops the partition that began on `first`. Its unfinished rows, completely read, move to the default partition in the
/// same transaction.
///
/// # Errors
/// When the database fails.
pub async fn drop(
    conn: &mut PgConnection,
    table: &Table,
    first: Date,
    unfinished: &Unfinished,
) -> Result<Change, sqlx::Error> {
    if unfinished.is_too_much() {
        return Ok(Change::Unfinished);
    }
    let mut transaction = conn.begin().await?;
    if !begin(&mut transaction).await? {
        return abandon(transaction, Change::Busy).await;
    }
    if let Err(error) = detach_and_drop(&mut transaction, table, first, unfinished).await {
        let change = given_up(error)?;
        return abandon(transaction, change).await;
    }
    transaction.commit().await?;
    Ok(Change::Done)
}

async fn detach_and_drop(
    conn: &mut PgConnection,
    table: &Table,
    first: Date,
    unfinished: &Unfinished,
) -> Result<(), sqlx::Error> {
    let (name, partition) = (table.name, table.partition(first));
    // Workers lock the table before its partitions. With this lock, none of them is in a partition.
    let lock = format!("LOCK TABLE ONLY {name} IN ACCESS EXCLUSIVE MODE");
    let detach = format!("ALTER TABLE {name} DETACH PARTITION {partition}");
    for statement in [lock, detach] {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *conn).await?;
    }
    if table.unfinished.is_some() {
        let (companies, ids) = key_columns(&unfinished.keys);
        let (from, to) = (midnight(first), midnight(table.period.next(first)));
        // A resend since the reading began is pending, or has failed again. Its delivery is in the same partition.
        let keep = format!(
            "INSERT INTO {name} SELECT d.* FROM {partition} d JOIN (
                 SELECT company_id, delivery_id FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
                 UNION SELECT company_id, delivery_id FROM webhook_pending WHERE created_at >= $3 AND created_at < $4
                 UNION SELECT company_id, delivery_id FROM dead_letters
                     WHERE state IN ('open', 'replaying') AND last_seen_at >= $5 AND delivery_id IS NOT NULL
             ) k ON d.company_id = k.company_id AND d.delivery_id = k.delivery_id"
        );
        sqlx::raw_sql(SCAN).execute(&mut *conn).await?;
        sqlx::query(AssertSqlSafe(keep))
            .bind(companies)
            .bind(ids)
            .bind(from)
            .bind(to)
            .bind(unfinished.began)
            .execute(&mut *conn)
            .await?;
    }
    sqlx::query(AssertSqlSafe(format!("DROP TABLE {partition}"))).execute(conn).await?;
    Ok(())
}

/// Deletes a portion of the finished rows of the default partition from before `before`, and returns how many.
///
/// # Errors
/// When the database fails.
pub async fn delete_from_default(
    conn: &mut PgConnection,
    table: &Table,
    before: OffsetDateTime,
    portion: i64,
) -> Result<u64, sqlx::Error> {
    let Table { name, time, .. } = table;
    let unfinished = table.unfinished.unwrap_or("false");
    let delete = format!(
        "DELETE FROM {name}_default WHERE ctid = ANY(ARRAY(
             SELECT d.ctid FROM {name}_default d WHERE d.{time} < $1 AND NOT ({unfinished})
             LIMIT $2 FOR UPDATE SKIP LOCKED))"
    );
    let mut transaction = conn.begin().await?;
    sqlx::raw_sql(SCAN).execute(&mut *transaction).await?;
    let deleted =
        sqlx::query(AssertSqlSafe(delete)).bind(before).bind(portion).execute(&mut *transaction).await?;
    transaction.commit().await?;
    Ok(deleted.rows_affected())
}

/// The time before which no request waits in `effects` to be sent. Whether a killed process had sent it is decided by
/// the row of its delivery, which must not leave first.
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

/// What an error of a change means that is nobody's fault (PostgreSQL, appendix A).
fn given_up(error: sqlx::Error) -> Result<Change, sqlx::Error> {
    let code = error.as_database_error().and_then(DatabaseError::code).map(Cow::into_owned);
    match code.as_deref() {
        // Lock not available, deadlock detected.
        Some("55P03" | "40P01") => Ok(Change::Busy),
        // Query canceled, by a timeout.
        Some("57014") => Ok(Change::Slow),
        // Undefined table.
        Some("42P01") => Ok(Change::Gone),
        // Check violation.
        Some("23514") => Ok(Change::Occupied),
        _ => Err(error),
    }
}

const fn midnight(day: Date) -> OffsetDateTime {
    day.midnight().assume_utc()
}
