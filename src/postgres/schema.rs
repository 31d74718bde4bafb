//! Which migrations the database has not.

use sqlx::PgConnection;

use super::MIGRATIONS;

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
