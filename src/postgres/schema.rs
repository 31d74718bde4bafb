//! Which migrations the database has not, and applying them.

use sqlx::{PgConnection, migrate::MigrateError};

use super::{Database, MIGRATIONS};

/// The migrations of this binary that are not applied, as `0001 initial`, in order.
///
/// # Errors
/// When the database refuses or is away.
pub async fn pending(conn: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    // The table of sqlx is not part of the schema that the other statements are checked against.
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

/// Applies them, however long that takes: an index of a long log is not built in the time of one statement of a
/// worker.
///
/// # Errors
/// When the database refuses or is away, or has other migrations than this binary.
pub async fn migrate(database: &Database) -> Result<(), MigrateError> {
    // For no other use: it goes back to no pool.
    let mut conn = database.pool().acquire().await?.detach();
    sqlx::query("SET statement_timeout = 0").execute(&mut conn).await?;
    MIGRATIONS.run(&mut conn).await
}
