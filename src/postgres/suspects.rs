//! Counts how often each suspect was processed alone. A suspect is a message that came back too often. The count is
//! written before processing begins, so it includes tries that end the process.

use sqlx::PgConnection;
use time::OffsetDateTime;

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

/// Forgets a portion of the messages that were last started before `before` and never came back.
///
/// # Errors
/// When the database fails.
pub async fn forget(
    conn: &mut PgConnection,
    before: OffsetDateTime,
    portion: i64,
) -> Result<u64, sqlx::Error> {
    let forgotten = sqlx::query!(
        "DELETE FROM crash_suspects WHERE body_hash = ANY(ARRAY(
             SELECT body_hash FROM crash_suspects WHERE updated_at < $1 LIMIT $2 FOR UPDATE SKIP LOCKED))",
        before,
        portion,
    )
    .execute(conn)
    .await?;
    Ok(forgotten.rows_affected())
}

/// Forgets a message whose processing has ended.
pub async fn clear(conn: &mut PgConnection, body_hash: &[u8]) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM crash_suspects WHERE body_hash = $1", body_hash).execute(conn).await?;
    Ok(())
}
