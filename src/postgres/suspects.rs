//! Counts how often each suspect was processed alone. A suspect is a message that came back too often. The count is
//! written before the processing begins, so it also counts starts that end the process.

use sqlx::PgConnection;

/// Counts one more start of the message with this body, and returns how many there were, this one included.
pub async fn begin(conn: &mut PgConnection, body_hash: &[u8]) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(
        "INSERT INTO crash_suspects AS s (body_hash, starts) VALUES ($1, 1)
         ON CONFLICT (body_hash) DO UPDATE SET starts = s.starts + 1, updated_at = now()
         RETURNING starts",
        body_hash
    )
    .fetch_one(conn)
    .await
}

/// Forgets a message whose processing has ended.
pub async fn clear(conn: &mut PgConnection, body_hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM crash_suspects WHERE body_hash = $1", body_hash).execute(conn).await?;
    Ok(())
}
