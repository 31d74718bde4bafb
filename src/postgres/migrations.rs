//! The schema, embedded in the binary, and how far a database is behind it.

use sqlx::{
    PgConnection,
    migrate::{Migration, Migrator},
};

/// The schema.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// The migrations of this binary that the database lacks, such as `0001 schema`, in order. A database may have more:
/// while processes are replaced by newer ones, the older ones keep running.
///
/// # Errors
/// When the database fails.
pub async fn pending(conn: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    Ok(missing(conn, &MIGRATIONS).await?.into_iter().map(name).collect())
}

/// How many migrations the database has that this binary does not know.
///
/// # Errors
/// When the database fails, or has no schema.
pub(super) async fn unknown(conn: &mut PgConnection) -> Result<usize, sqlx::Error> {
    let applied: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success").fetch_all(conn).await?;
    let is_known = |version: &i64| MIGRATIONS.iter().any(|migration| migration.version == *version);
    Ok(applied.iter().filter(|version| !is_known(version)).count())
}

/// Those of `migrations` that the database lacks, in order.
pub(super) async fn missing<'a>(
    conn: &mut PgConnection,
    migrations: &'a Migrator,
) -> Result<Vec<&'a Migration>, sqlx::Error> {
    // Unchecked queries: `.ci/sqlx` checks statements against a schema without sqlx's own table.
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *conn)
        .await?;
    let applied: Vec<i64> = if exists {
        sqlx::query_scalar("SELECT version FROM _sqlx_migrations WHERE success").fetch_all(conn).await?
    } else {
        Vec::new()
    };
    let missing = migrations.iter().filter(|migration| {
        migration.migration_type.is_up_migration() && !applied.contains(&migration.version)
    });
    Ok(missing.collect())
}

/// `0001 schema`.
pub(super) fn name(migration: &Migration) -> String {
    format!("{:04} {}", migration.version, migration.description)
}
