//! API requests that clients named by a key. Each takes effect once.

use sqlx::PgConnection;
use time::OffsetDateTime;

/// What is known about a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Known {
    /// Nothing; it is now taken.
    New,
    /// It belongs to a different request.
    OtherRequest,
    /// The request runs, or its process died. `since` is by the database's clock.
    Unfinished {
        /// How long ago it began, in seconds.
        seconds: i64,
    },
    /// The request has ended with this status and answer; without an answer if that must not be kept.
    Finished {
        /// HTTP status.
        status: u16,
        /// JSON.
        answer: Option<String>,
    },
}

/// Takes a key for a request, unless it is taken.
///
/// # Errors
/// When the database fails.
pub async fn take(
    conn: &mut PgConnection,
    caller: &str,
    key: &str,
    request: &[u8],
) -> Result<Known, sqlx::Error> {
    let inserted = sqlx::query!(
        "INSERT INTO idempotency_keys (caller, key, request) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING",
        caller,
        key,
        request,
    )
    .execute(&mut *conn)
    .await?;
    if inserted.rows_affected() == 1 {
        return Ok(Known::New);
    }
    let row = sqlx::query!(
        r#"SELECT request, status, answer, extract(epoch FROM now() - created_at)::bigint AS "seconds!"
           FROM idempotency_keys WHERE caller = $1 AND key = $2"#,
        caller,
        key,
    )
    .fetch_optional(conn)
    .await?;
    Ok(match row {
        // It was released in between; the client repeats its request.
        None => Known::Unfinished { seconds: 0 },
        Some(row) if row.request != request => Known::OtherRequest,
        Some(row) => match row.status.and_then(|status| u16::try_from(status).ok()) {
            None => Known::Unfinished { seconds: row.seconds },
            Some(status) => Known::Finished { status, answer: row.answer },
        },
    })
}

/// Keeps the answer of a request.
///
/// # Errors
/// When the database fails.
pub async fn finish(
    conn: &mut PgConnection,
    caller: &str,
    key: &str,
    status: u16,
    answer: Option<&str>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE idempotency_keys SET status = $3, answer = $4 WHERE caller = $1 AND key = $2",
        caller,
        key,
        i16::try_from(status).unwrap_or(i16::MAX),
        answer,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Releases the key of a request that has changed nothing.
///
/// # Errors
/// When the database fails.
pub async fn release(conn: &mut PgConnection, caller: &str, key: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM idempotency_keys WHERE caller = $1 AND key = $2", caller, key)
        .execute(conn)
        .await?;
    Ok(())
}

/// Forgets a portion of the keys from before `before`.
///
/// # Errors
/// When the database fails.
pub async fn forget(
    conn: &mut PgConnection,
    before: OffsetDateTime,
    portion: i64,
) -> Result<u64, sqlx::Error> {
    let forgotten = sqlx::query!(
        "DELETE FROM idempotency_keys WHERE (caller, key) IN (
             SELECT caller, key FROM idempotency_keys WHERE created_at < $1
             ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED)",
        before,
        portion,
    )
    .execute(conn)
    .await?;
    Ok(forgotten.rows_affected())
}
