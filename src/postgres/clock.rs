//! The clock of the database, which all processes share.

use sqlx::PgConnection;
use time::OffsetDateTime;

/// The time of the database, also within a transaction.
///
/// # Errors
/// When the database fails.
pub async fn now(conn: &mut PgConnection) -> Result<OffsetDateTime, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(conn).await
}
