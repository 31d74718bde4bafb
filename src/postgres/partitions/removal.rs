//! Drops partitions, and keeps their unfinished rows.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use time::{Date, OffsetDateTime};
use uuid::Uuid;

use super::{Change, LOCK_TIMEOUT, Table, abandon, begin, given_up, halve, midnight};
use crate::postgres::columns::column;

/// Maximum unfinished rows that outlive their partition. One with more of them stays, because moving the rows would hold
/// up the workers for too long.
const MAX_MOVED: usize = 5_000;

/// Pages of a partition that one statement reads, as long as that does not take too long: about a second, however many
/// rows must be looked up elsewhere.
const PAGES: i64 = 5_000;

/// How long a statement may take that only changes the catalog, while workers wait. With the wait for the lock, all of them end
/// before the workers' own `lock_timeout`.
const BRIEFLY: &str = "SET LOCAL statement_timeout = '200ms'";

/// How long moving the unfinished rows may take.
const FOR_ROWS: &str = "SET LOCAL statement_timeout = '500ms'";

/// The unfinished rows of a partition, read in portions without holding up others.
pub struct Unfinished {
    began: OffsetDateTime,
    /// Company, delivery, and when it was created.
    rows: Vec<(String, Uuid, OffsetDateTime)>,
    next_page: i64,
    pages: i64,
    /// Pages of the next portion.
    portion: i64,
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
        Ok(Self { began: row.now, rows: Vec::new(), next_page: 0, pages, portion: PAGES.min(pages) })
    }

    /// Whether every page is read, or too many rows are unfinished.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.next_page >= self.pages || self.is_too_much()
    }

    fn is_too_much(&self) -> bool {
        self.rows.len() > MAX_MOVED
    }

    /// Reads the next portion, or halves it if that takes too long. `Slow` if even one page does; `Gone` if the partition does
    /// not exist any more.
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
        let (partition, end) = (table.partition(first), self.next_page + self.portion);
        // The text is built from constants, a date and numbers. A range of pages cannot be a parameter: its type is not known
        // to the client. Without OFFSET, Postgres might read the whole index instead, because it is in order.
        let query = format!(
            "SELECT DISTINCT company_id, delivery_id, created_at FROM (
                 SELECT d.company_id, d.delivery_id, d.created_at FROM {partition} d
                 WHERE d.ctid >= '({},0)' AND d.ctid < '({end},0)' AND ({condition}) OFFSET 0) kept
             LIMIT $1",
            self.next_page
        );
        let mut transaction = conn.begin().await?;
        sqlx::query(LOCK_TIMEOUT).execute(&mut *transaction).await?;
        let rows = sqlx::query_as::<_, (String, Uuid, OffsetDateTime)>(AssertSqlSafe(query))
            .bind(i64::try_from(MAX_MOVED).unwrap_or(i64::MAX).saturating_add(1))
            .fetch_all(&mut *transaction)
            .await;
        let rows = match rows {
            Ok(rows) => rows,
            Err(error) => {
                let change = abandon(transaction, given_up(error)?).await?;
                return Ok(halve(&mut self.portion, change).map_or_else(|change| change, |()| Change::Done));
            }
        };
        transaction.commit().await?;
        self.rows.extend(rows);
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
    for statement in [&lock, BRIEFLY, &detach, FOR_ROWS] {
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut *conn).await?;
    }
    if table.unfinished.is_some() {
        let (from, to) = (midnight(first), midnight(table.period.next(first)));
        // A resend since the reading began is pending, or has failed again and may have been discarded. Its delivery is in the
        // same partition. If the delivery failed again, its earlier attempts are removed: their time is not known here. Workers
        // wait, so dead letters are found by an index of their times: of those that are unsettled or of the others. A comparison with
        // their states would let Postgres read all of those that belong to deliveries instead.
        let keep = format!(
            "INSERT INTO {name} SELECT d.* FROM (
                 SELECT DISTINCT ON (company_id, delivery_id) company_id, delivery_id, created_at FROM (
                     SELECT * FROM UNNEST($1::text[], $2::uuid[], $6::timestamptz[])
                         AS u(company_id, delivery_id, created_at)
                     UNION ALL SELECT company_id, delivery_id, created_at FROM webhook_pending
                         WHERE created_at >= $3 AND created_at < $4
                           AND round_started_at - created_at > interval '12 hours'
                     UNION ALL SELECT company_id, delivery_id, NULL FROM dead_letters
                         WHERE unsettled AND last_seen_at >= $5 AND delivery_id IS NOT NULL
                     UNION ALL SELECT company_id, delivery_id, NULL FROM dead_letters
                         WHERE NOT unsettled AND last_seen_at >= $5 AND state <> 'resolved' AND delivery_id IS NOT NULL) kept
                 ORDER BY company_id, delivery_id, created_at) k
             JOIN {partition} d ON d.company_id = k.company_id AND {}",
            table.lookup
        );
        sqlx::query(AssertSqlSafe(keep))
            .bind(column(&unfinished.rows, |(company, ..)| company.as_str()))
            .bind(column(&unfinished.rows, |(_, id, _)| *id))
            .bind(from)
            .bind(to)
            .bind(unfinished.began)
            .bind(column(&unfinished.rows, |(.., created_at)| *created_at))
            .execute(&mut *conn)
            .await?;
    }
    for statement in [BRIEFLY, &format!("DROP TABLE {partition}")] {
        sqlx::query(AssertSqlSafe(statement.to_owned())).execute(&mut *conn).await?;
    }
    Ok(())
}
