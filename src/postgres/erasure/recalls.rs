//! Recalls of webhooks. A process sends webhooks that it has already read, so removing them from the database is not
//! enough. Every process learns of a recall when it renews its row, and drops what it has read of that company. An
//! erasure waits until all of them have.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    domain::{contact::ContactId, event::CompanyId},
    postgres::{Database, clock, processes},
};

/// Maximum wait for the processes. Each renews its row within a few seconds, or the row expires.
const PATIENCE: Duration = Duration::from_secs(30);

/// Time between two checks.
const POLL: Duration = Duration::from_millis(100);

/// The recall of what an erasure has removed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Recall {
    /// The company's id.
    pub company: String,
    /// The erased contact.
    pub contact: Uuid,
    /// When it was made, by the database's clock.
    pub at: OffsetDateTime,
}

/// The recalls of all unfinished erasures.
///
/// # Errors
/// When the database fails.
pub async fn recalls(conn: &mut PgConnection) -> Result<Vec<Recall>, sqlx::Error> {
    sqlx::query_as!(
        Recall,
        r#"SELECT company_id AS company, contact_id AS contact, recalled_at AS "at!" FROM erasures
           WHERE recalled_at IS NOT NULL"#
    )
    .fetch_all(conn)
    .await
}

/// Notes, in a transaction that removes webhooks which were to be sent, that processes have to learn of it. Nobody who
/// finishes the erasure can forget it.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(super) async fn note(
    conn: &mut PgConnection,
    company: &CompanyId,
    contact: ContactId,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE erasures SET recalled_at = clock_timestamp() WHERE company_id = $1 AND contact_id = $2",
        company.as_str(),
        contact.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Recalls what the erasure of this contact has removed, if anything, and waits until every process knows. `false` if that
/// takes too long, or if it no longer `goes_on`.
///
/// # Errors
/// When the database fails.
pub(super) async fn recall(
    database: &Database,
    company: &CompanyId,
    contact: ContactId,
    goes_on: impl Fn() -> bool,
) -> Result<bool, sqlx::Error> {
    let again = async |conn: &mut PgConnection| {
        let noted = sqlx::query!(
            "UPDATE erasures SET recalled_at = clock_timestamp()
             WHERE company_id = $1 AND contact_id = $2 AND recalled_at IS NOT NULL",
            company.as_str(),
            contact.0,
        );
        Ok::<_, sqlx::Error>(noted.execute(conn).await?.rows_affected() > 0)
    };
    if !database.transact(|_| true, again).await? {
        return Ok(true);
    }
    // A renewal that begins later sees what was committed before.
    let recalled_at = database.unit(async |conn| clock::now(conn).await).await?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        let have_heard = async |conn: &mut PgConnection| processes::have_heard(conn, recalled_at).await;
        if database.transact(|_| true, have_heard).await? {
            return Ok(true);
        }
        if Instant::now() >= deadline || !goes_on() {
            return Ok(false);
        }
        tokio::time::sleep(POLL).await;
    }
}
