//! Deletes finished rows one by one: of default partitions, and of partitions with too many unfinished rows.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use time::{Date, OffsetDateTime};

use super::{Change, LOCK_TIMEOUT, Table, abandon, given_up, halve};

/// Pages that one statement reads, as long as that does not take too long.
const PAGES: i64 = 1_000;

/// A pass through one partition, in portions. It locks only the rows that it deletes.
pub struct Deletion {
    table: &'static Table,
    partition: String,
    before: OffsetDateTime,
    next_page: i64,
    pages: i64,
    /// Pages of the next portion.
    portion: i64,
}

impl Deletion {
    /// Of the finished rows from before `before`: of the partition that began on `first`, or of the default partition.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn begin(
        conn: &mut PgConnection,
        table: &'static Table,
        first: Option<Date>,
        before: OffsetDateTime,
    ) -> Result<Self, sqlx::Error> {
        let default = || format!("{}_default", table.name);
        let partition = first.map_or_else(default, |first| table.partition(first));
        let pages = sqlx::query_scalar!(
            r#"SELECT coalesce(pg_relation_size(to_regclass($1)), 0)
                   / current_setting('block_size')::bigint AS "pages!""#,
            partition,
        )
        .fetch_one(conn)
        .await?;
        Ok(Self { table, partition, before, next_page: 0, pages, portion: PAGES.min(pages) })
    }

    /// Whether every page has been read.
    #[must_use]
    pub const fn is_complete(&self) -> bool {
        self.next_page >= self.pages
    }

    /// Deletes at most `limit` rows, and returns how many. If that takes too long, it deletes none, and the next portion is
    /// smaller. `Err` in the result if even one page takes too long, if others hold the partition, or it is gone.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn portion(
        &mut self,
        conn: &mut PgConnection,
        limit: i64,
    ) -> Result<Result<u64, Change>, sqlx::Error> {
        let Self { table, partition, .. } = &*self;
        let (time, unfinished) = (table.time, table.unfinished.unwrap_or("false"));
        let (begin, end) = (self.next_page, self.next_page + self.portion);
        // The text is built from constants, a date and numbers. Locking reads a row again that has just changed.
        let delete = format!(
            "DELETE FROM {partition} WHERE ctid = ANY(ARRAY(
                 SELECT d.ctid FROM {partition} d
                 WHERE d.ctid >= '({begin},0)' AND d.ctid < '({end},0)' AND d.{time} < $1 AND NOT ({unfinished})
                 LIMIT $2 FOR UPDATE SKIP LOCKED))"
        );
        let mut transaction = conn.begin().await?;
        sqlx::query(LOCK_TIMEOUT).execute(&mut *transaction).await?;
        let deleted =
            sqlx::query(AssertSqlSafe(delete)).bind(self.before).bind(limit).execute(&mut *transaction).await;
        let deleted = match deleted {
            Ok(deleted) => deleted.rows_affected(),
            Err(error) => {
                let change = abandon(transaction, given_up(error)?).await?;
                return Ok(halve(&mut self.portion, change).map(|()| 0));
            }
        };
        transaction.commit().await?;
        if deleted < limit.unsigned_abs() {
            self.next_page = end;
        }
        Ok(Ok(deleted))
    }
}
