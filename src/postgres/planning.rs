//! Statements whose arguments decide which index serves them.

use sqlx::{Connection as _, PgConnection, Postgres, Transaction};

/// Begins a transaction whose statements are planned for their arguments each time. After five runs the server would try
/// one plan for all, which cannot know which filters are given.
pub(super) async fn for_arguments(conn: &mut PgConnection) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    sqlx::query!("SELECT set_config('plan_cache_mode', 'force_custom_plan', true)")
        .fetch_one(&mut *transaction)
        .await?;
    Ok(transaction)
}
