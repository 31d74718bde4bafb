//! Creates partitions.
//!
//! A new partition is first a separate table and then attached, which does not stop the workers. But Postgres locks
//! and reads the whole default partition meanwhile, because it might have rows of that time.

use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use time::{Date, Duration};

use super::{Change, Table, abandon, begin, given_up};

/// Pages of a default partition that are read under its lock: less than a tenth of a second.
const MAX_READ: i64 = 8_000;

/// How many days ahead a partition must be to be created beside a larger default partition. Until then nothing is inserted
/// that [`forbid`] forbids.
const AHEAD: Duration = Duration::days(3);

/// How the name of a constraint on a default partition begins that exists while a partition is being made.
pub const AWAITS_PARTITION: &str = "awaits_partition_";

/// Waits for a vacuum of the default partition, but for no worker.
const VALIDATION_LOCK_TIMEOUT: &str = "SET LOCAL lock_timeout = '3s'";

/// Makes the partition that begins on `first`.
///
/// # Errors
/// When the database fails.
pub async fn create(
    conn: &mut PgConnection,
    table: &Table,
    first: Date,
    today: Date,
) -> Result<Change, sqlx::Error> {
    if pages_of_default(conn, table).await? <= MAX_READ {
        return change(conn, &attach(table, first)).await;
    }
    if first < today.saturating_add(AHEAD) {
        return Ok(Change::Crowded);
    }
    let forbidden = change(conn, &[forbid(table, first)]).await?;
    if forbidden != Change::Done {
        return Ok(forbidden);
    }
    let made = match validate(conn, table, first).await? {
        Change::Done => {
            let mut statements = attach(table, first).to_vec();
            statements.push(allow(table, &constraint(table, first)));
            change(conn, &statements).await?
        }
        refused => refused,
    };
    if made != Change::Done {
        // If this fails too, the next round of any process does it. Should none run until that time, the workers wait.
        change(conn, &[allow(table, &constraint(table, first))]).await?;
    }
    Ok(made)
}

/// Lets the default partition have rows of all times again, after a process was killed while it made a partition.
///
/// # Errors
/// When the database fails.
pub async fn open_default(conn: &mut PgConnection, table: &Table) -> Result<Change, sqlx::Error> {
    let names = sqlx::query_scalar!(
        r#"SELECT conname::text AS "name!" FROM pg_constraint
           WHERE conrelid = to_regclass($1) AND contype = 'c' AND starts_with(conname, $2)"#,
        format!("{}_default", table.name),
        AWAITS_PARTITION,
    )
    .fetch_all(&mut *conn)
    .await?;
    for name in names {
        let allowed = change(conn, &[allow(table, &name)]).await?;
        if allowed != Change::Done {
            return Ok(allowed);
        }
    }
    Ok(Change::Done)
}

async fn pages_of_default(conn: &mut PgConnection, table: &Table) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT coalesce(pg_relation_size(to_regclass($1)), 0)
               / current_setting('block_size')::bigint AS "pages!""#,
        format!("{}_default", table.name),
    )
    .fetch_one(conn)
    .await
}

fn attach(table: &Table, first: Date) -> [String; 2] {
    let (name, partition, next) = (table.name, table.partition(first), table.period.next(first));
    [
        format!("CREATE TABLE {partition} (LIKE {name} INCLUDING ALL)"),
        format!(
            "ALTER TABLE {name} ATTACH PARTITION {partition} FOR VALUES FROM ('{first} 00:00+00') TO ('{next} 00:00+00')"
        ),
    ]
}

fn constraint(table: &Table, first: Date) -> String {
    format!("{AWAITS_PARTITION}{}", table.period.suffix(first))
}

/// With this constraint, Postgres knows that the default partition has no rows of that time.
fn forbid(table: &Table, first: Date) -> String {
    let (name, time, next) = (table.name, table.time, table.period.next(first));
    let constraint = constraint(table, first);
    format!(
        "ALTER TABLE {name}_default ADD CONSTRAINT {constraint}
         CHECK ({time} < '{first} 00:00+00' OR {time} >= '{next} 00:00+00') NOT VALID"
    )
}

fn allow(table: &Table, constraint: &str) -> String {
    format!("ALTER TABLE {}_default DROP CONSTRAINT IF EXISTS {constraint}", table.name)
}

/// Reads the default partition, while workers read and write it.
async fn validate(conn: &mut PgConnection, table: &Table, first: Date) -> Result<Change, sqlx::Error> {
    let validate =
        format!("ALTER TABLE {}_default VALIDATE CONSTRAINT {}", table.name, constraint(table, first));
    let mut transaction = conn.begin().await?;
    sqlx::query(VALIDATION_LOCK_TIMEOUT).execute(&mut *transaction).await?;
    if let Err(error) = sqlx::query(AssertSqlSafe(validate)).execute(&mut *transaction).await {
        let change = given_up(error)?;
        return abandon(transaction, change).await;
    }
    transaction.commit().await?;
    Ok(Change::Done)
}

/// Runs statements in one transaction that blocks others only briefly. They are built from constants and dates.
async fn change(conn: &mut PgConnection, statements: &[String]) -> Result<Change, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    if !begin(&mut transaction).await? {
        return abandon(transaction, Change::Busy).await;
    }
    for statement in statements {
        if let Err(error) = sqlx::query(AssertSqlSafe(statement.as_str())).execute(&mut *transaction).await {
            let change = given_up(error)?;
            return abandon(transaction, change).await;
        }
    }
    transaction.commit().await?;
    Ok(Change::Done)
}
