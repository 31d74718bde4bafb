//! Applies pending migrations.

use sqlx::{PgConnection, migrate::MigrateError};

use super::{
    Database, MIGRATIONS, clock,
    partitions::{self, Change, TABLES},
};

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
    let today = clock::now(conn).await?.date();
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
