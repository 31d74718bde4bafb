//! Lists and applies pending migrations.

use sqlx::{PgConnection, migrate::MigrateError};

use super::{Database, MIGRATIONS};

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
    MIGRATIONS.run(&mut conn).await
}
