//! Applies pending migrations while workers run.
//!
//! A migration in a transaction needs its table for milliseconds. But while it waits for the lock, everybody else who
//! needs the table waits behind it. So it gives up quickly, lets them pass, and tries again. A migration without a
//! transaction builds an index or validates a constraint: that may take hours, and nobody waits for it.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use sqlx::{
    AssertSqlSafe, PgConnection,
    error::DatabaseError,
    migrate::{MigrateError, Migration, Migrator},
};
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::{
    Database, MIGRATIONS, clock, migrations,
    partitions::{self, Change, TABLES},
};

/// How long each migration is tried.
const PATIENCE: Duration = Duration::from_mins(10);

/// How long a statement may wait for a lock. After `deadlock_timeout`, which is 1 s, Postgres cancels an autovacuum that
/// has the lock.
const LOCK_TIMEOUT: &str = "1500ms";

/// How long a statement may take, waits included.
const STATEMENT_TIMEOUT: &str = "2s";

/// The key of the advisory lock: "migrate".
const LOCK: i64 = 0x6d_6967_7261_7465;

/// What a busy table means for the operator.
const TABLE_IS_IN_USE: &str = "a transaction keeps the table locked; `pg_stat_activity` shows it";

/// What the advisory lock means for the operator.
const IS_RUNNING: &str = "another process is migrating the database";

/// Why the database was not migrated.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// It failed, or does not match this binary.
    #[error(transparent)]
    Failed(#[from] MigrateError),
    /// A lock was not available for too long.
    #[error("gave up after {} s: {obstacle}", waited.as_secs())]
    Busy {
        /// The holder.
        obstacle: &'static str,
        /// For how long.
        waited: Duration,
    },
}

impl From<sqlx::Error> for SchemaError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// Applies pending migrations.
///
/// # Errors
/// When the database fails, has migrations that this binary lacks, or was busy for minutes.
pub async fn migrate(database: &Database) -> Result<(), SchemaError> {
    // Its settings change, so it does not return to the pool.
    let mut conn = database.pool().acquire().await?.detach();
    apply(&mut conn).await
}

/// Applies pending migrations over this connection, and makes the first partitions, so that not even the first rows of a
/// new database go to the default ones.
///
/// # Errors
/// Those of [`migrate`].
pub async fn apply(conn: &mut PgConnection) -> Result<(), SchemaError> {
    run(conn, &MIGRATIONS, PATIENCE).await?;
    let today = clock::now(conn).await?.date();
    for table in &TABLES {
        for first in table.wanted(today) {
            // The service retries later.
            if partitions::create(conn, table, first, today).await? == Change::Busy {
                return Ok(());
            }
        }
    }
    Ok(())
}

/// Applies those of `migrations` that the database lacks. Each waits for others for at most `patience`. Changes settings
/// of the connection.
///
/// # Errors
/// Those of [`migrate`].
pub async fn run(
    conn: &mut PgConnection,
    migrations: &Migrator,
    patience: Duration,
) -> Result<(), SchemaError> {
    let mut waits = Waits::new(patience);
    // It does not wait inside of the database: it would have a snapshot, and the index that the other one builds is
    // finished only when older snapshots are gone.
    while !lock(conn).await? {
        waits.next(IS_RUNNING).await?;
    }
    for migration in migrations::missing(conn, migrations).await? {
        let mut waits = Waits::new(patience);
        limit(conn, migration).await?;
        while let Err(error) = attempt(conn, migrations, migration).await {
            if !is_busy(&error) {
                return Err(error.into());
            }
            waits.next(TABLE_IS_IN_USE).await?;
        }
    }
    // Finds migrations that have changed since they were applied, even if none is missing.
    migrations.run(&mut *conn).await?;
    sqlx::query("SELECT pg_advisory_unlock($1)").bind(LOCK).execute(conn).await?;
    Ok(())
}

async fn lock(conn: &mut PgConnection) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(conn).await
}

async fn limit(conn: &mut PgConnection, migration: &Migration) -> Result<(), sqlx::Error> {
    let (lock, statement) = if migration.no_tx { ("0", "0") } else { (LOCK_TIMEOUT, STATEMENT_TIMEOUT) };
    sqlx::query("SELECT set_config('lock_timeout', $1, false), set_config('statement_timeout', $2, false)")
        .bind(lock)
        .bind(statement)
        .execute(conn)
        .await?;
    Ok(())
}

async fn attempt(
    conn: &mut PgConnection,
    migrations: &Migrator,
    migration: &Migration,
) -> Result<(), MigrateError> {
    if migration.no_tx {
        drop_unfinished_index(conn, migration).await?;
    }
    migrations.run_to(migration.version, conn).await
}

/// An interrupted build leaves an invalid index, which the next build would take for its own.
async fn drop_unfinished_index(conn: &mut PgConnection, migration: &Migration) -> Result<(), sqlx::Error> {
    let drop = sqlx::query_scalar::<_, String>(
        r"SELECT 'DROP INDEX CONCURRENTLY ' || c.oid::regclass
          FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid
          WHERE NOT i.indisvalid AND pg_table_is_visible(c.oid) AND $1 ~ ('\m' || c.relname || '\M')",
    );
    for statement in drop.bind(migration.sql.as_str()).fetch_all(&mut *conn).await? {
        sqlx::query(AssertSqlSafe(statement)).execute(&mut *conn).await?;
    }
    Ok(())
}

/// Whether it failed because of what others do (PostgreSQL, appendix A).
fn is_busy(error: &MigrateError) -> bool {
    let (MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) = error else {
        return false;
    };
    let code = error.as_database_error().and_then(DatabaseError::code);
    // Lock not available, deadlock, query canceled.
    matches!(code.as_deref(), Some("55P03" | "40P01" | "57014"))
}

/// The waits between attempts.
struct Waits {
    began: Instant,
    patience: Duration,
    delays: ExponentialBackoff,
}

impl Waits {
    fn new(patience: Duration) -> Self {
        let delays = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(200))
            .with_max_delay(Duration::from_secs(5))
            .with_jitter()
            .without_max_times();
        Self { began: Instant::now(), patience, delays: delays.build() }
    }

    async fn next(&mut self, obstacle: &'static str) -> Result<(), SchemaError> {
        let waited = self.began.elapsed();
        let Some(delay) = self.delays.next().filter(|_| waited < self.patience) else {
            return Err(SchemaError::Busy { obstacle, waited });
        };
        warn!(obstacle, "could not migrate the database; trying again");
        sleep(delay).await;
        Ok(())
    }
}
