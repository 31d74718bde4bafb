//! What operators do and look at, the same for the command line, the API and the console.
//!
//! Nothing here prints, parses a command line or speaks HTTP.

pub mod contacts;
pub mod dead_letters;

use sqlx::PgConnection;

use crate::postgres::Database;

/// One unit of work on a session of its own, within the time that a unit may take.
async fn unit<T>(
    database: &Database,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>,
) -> Result<T, sqlx::Error> {
    let unit = async {
        let mut session = database.session().await?;
        let done = work(&mut session).await?;
        session.release();
        Ok(done)
    };
    match tokio::time::timeout(database.unit_timeout(), unit).await {
        Ok(done) => done,
        Err(_) => Err(sqlx::Error::PoolTimedOut),
    }
}
