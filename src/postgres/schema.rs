//! Lists and applies pending migrations.

use sqlx::{PgConnection, migrate::MigrateError};

use super::{
    Database, MIGRATIONS,
    partitions::{self, Change, TABLES},
};

/// The migrations of this binary that the database lacks, such as `0001 schema`, in order.
///
/// # Errors
/// When the database fails.
pub async fn pending(conn: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    // Unchecked queries: `.ci/sqlx` checks statements against a schema without sqlx's own table.
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *conn)
        .await?;
    let applied: Vec<i64> = if exists {
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success").fetch_all(conn).await?
    } else {
        Vec::new()
    };
    let missing = MIGRATIONS.iter().filter(|migration| {
        migration.migration_type.is_up_migration() && !applied.contains(&migration.version)
    });
    Ok(missing.map(|migration| format!("{:04} {}", migration.version, migration.description)).collect())
}

/// Applies pending migrations, without `postgres.statement_timeout`: building an index of a large table takes longer
/// than a statement of a worker may.
///
/// # Errors
/// When the database fails, or has migrations that this binary lacks.
pub async fn migrate(database: &Database) -> Result<(), MigrateError> {
    // Its settings differ, so it does not return to the pool.
    let mut conn = database.pool().acquire().await?.detach();
    sqlx::query("SET statement_timeout = 0").execute(&mut conn).await?;
    apply(&mut conn).await
}

/// Applies pending migrations over this connection, and makes the first partitions, so that not even the first rows of a
/// new database go to the default ones.
///
/// # Errors
/// When the database fails, or has migrations that this binary lacks.
pub async fn apply(conn: &mut PgConnection) -> Result<(), MigrateError> {
    MIGRATIONS.run(&mut *conn).await?;
    let today = partitions::now(conn).await?.date();
    for table in &TABLES {
        for first in table.wanted(today) {
            // The service tries again what is not done now.
            if partitions::create(conn, table, first, today).await? == Change::Busy {
                return Ok(());
            }
        }
    }
    Ok(())
}
