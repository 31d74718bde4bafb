//! Counts the tries of messages that came back too often: the try is counted before it begins, so a
//! message that ends the process is known by its count.

use sqlx::PgConnection;

/// Counts one more try of the message with this digest, and returns how many began so far,
/// this one included.
pub async fn begin(conn: &mut PgConnection, digest: &[u8]) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar!(
        "INSERT INTO crash_suspects AS s (digest, tries) VALUES ($1, 1)
         ON CONFLICT (digest) DO UPDATE SET tries = s.tries + 1, updated_at = now()
         RETURNING tries",
        digest
    )
    .fetch_one(conn)
    .await
}

/// Forgets a message whose try came to an end.
pub async fn clear(conn: &mut PgConnection, digest: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM crash_suspects WHERE digest = $1", digest).execute(conn).await?;
    Ok(())
}
