//! Operators' changes to a lane. Each function returns whether it changed anything.

use sqlx::PgConnection;

use crate::domain::event::Key;

/// Pauses an endpoint on behalf of `operator`. A paused endpoint keeps the operator who paused it.
///
/// # Errors
/// When the database fails.
pub async fn pause(conn: &mut PgConnection, key: &Key, operator: &str) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE webhook_endpoints SET paused_at = now(), paused_by = $3
         WHERE company_id = $1 AND endpoint_id = $2 AND paused_at IS NULL",
        key.company,
        key.id,
        operator,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Ends a pause.
///
/// # Errors
/// When the database fails.
pub async fn resume(conn: &mut PgConnection, key: &Key) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE webhook_endpoints SET paused_at = NULL, paused_by = NULL, next_due_at = now()
         WHERE company_id = $1 AND endpoint_id = $2 AND paused_at IS NOT NULL",
        key.company,
        key.id,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}

/// Trusts an endpoint again: enables it, closes its breaker, resets its failures and ends its hold. Keeps a pause.
///
/// # Errors
/// When the database fails.
pub async fn enable(conn: &mut PgConnection, key: &Key) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE webhook_endpoints
         SET disabled_at = NULL, disabled_because = NULL, breaker = 'closed', breaker_until = 'epoch', openings = 0,
             allowance = 0, failures = 0, failing_since = NULL, held_until = 'epoch', next_due_at = now()
         WHERE company_id = $1 AND endpoint_id = $2
           AND (disabled_at IS NOT NULL OR breaker <> 'closed' OR failures > 0 OR openings > 0 OR held_until > now())",
        key.company,
        key.id,
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected() == 1)
}
