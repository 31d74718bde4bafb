//! The connection pool, and units of work that never give a broken connection back to it.

use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::{
    Connection as _, PgConnection, PgPool, Postgres,
    migrate::Migrator,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use super::{Failure, classify};
use crate::settings;

/// How long a pooled connection may be idle and still be used without a test.
const TRUSTED: Duration = Duration::from_secs(1);

/// How long a peer may take to answer that test.
const PING: Duration = Duration::from_secs(2);

/// How often an operator's transaction is tried that loses against a worker.
const TRIES: u32 = 6;

/// The schema, embedded in the binary.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// The database of one process.
#[derive(Clone, Debug)]
pub struct Database {
    pool: PgPool,
    unit_timeout: Duration,
    /// How long the pool may take to test a connection that comes back.
    return_timeout: Duration,
}

impl Database {
    /// Prepares the pool; connects when the first session is asked for.
    ///
    /// # Errors
    /// When `postgres.url` is no address.
    pub fn new(settings: &settings::Postgres) -> Result<Self, sqlx::Error> {
        let milliseconds = |duration: Duration| duration.as_millis().to_string();
        let options: PgConnectOptions = settings.url.expose_secret().parse()?;
        let options = options.application_name("contact-relay").options([
            ("statement_timeout", milliseconds(settings.statement_timeout).as_str()),
            ("idle_in_transaction_session_timeout", milliseconds(settings.statement_timeout).as_str()),
            // Every query has its index. A plan that was cached while a table was empty must not go
            // on scanning it when it has grown.
            ("enable_seqscan", "off"),
            ("enable_hashjoin", "off"),
            ("enable_mergejoin", "off"),
            ("jit", "off"),
        ]);
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.acquire_timeout)
            // A round trip for each unit of work would be one too many; one after a pause finds the
            // connections that a restart of the database left behind.
            .test_before_acquire(false)
            .before_acquire(|connection, state| {
                Box::pin(async move {
                    if state.idle_for > TRUSTED {
                        // A silent peer costs so long and not the whole time to get a connection.
                        let answered = timeout(PING, connection.ping()).await;
                        answered.map_err(|_| sqlx::Error::PoolTimedOut)??;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        let unit_timeout = settings.acquire_timeout + 2 * settings.statement_timeout;
        Ok(Self { pool, unit_timeout, return_timeout: settings.acquire_timeout })
    }

    /// Runs one unit of work on one connection, within the time that a unit may take.
    ///
    /// The connection goes back to the pool only if the work ends well. After an error or a timeout it
    /// is closed: it may be in the middle of a transaction or have a peer that went silent, and a pool
    /// that tests such a connection can wait for ever and leak its permit (sqlx issue 4349).
    ///
    /// # Errors
    /// Those of the work, and [`sqlx::Error::PoolTimedOut`] when it takes too long.
    pub async fn unit<T, E: From<sqlx::Error>>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let unit = async {
            let mut session = Session(Some(self.pool.acquire().await?));
            let done = work(session.connection()?).await?;
            session.release(self.return_timeout);
            Ok(done)
        };
        timeout(self.unit_timeout, unit).await.unwrap_or_else(|_| Err(sqlx::Error::PoolTimedOut.into()))
    }

    /// Runs one transaction as one unit of work, and again where it lost a race or a deadlock against a
    /// worker. It is committed where `keeps` says so of its result, and rolled back otherwise.
    ///
    /// # Errors
    /// Those of the work and of [`Self::unit`]; then nothing has changed.
    pub async fn transact<T>(
        &self,
        keeps: impl Fn(&T) -> bool,
        mut work: impl AsyncFnMut(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut tries = 1;
        loop {
            let unit = async |conn: &mut PgConnection| {
                let mut transaction = conn.begin().await?;
                let done = work(&mut transaction).await?;
                if keeps(&done) {
                    transaction.commit().await?;
                } else {
                    transaction.rollback().await?;
                }
                Ok(done)
            };
            match self.unit(unit).await {
                Err(error) if classify(&error) == Failure::Race && tries < TRIES => tries += 1,
                ended => return ended,
            }
        }
    }

    /// The pool, for whole-database tasks such as migrations.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}

/// A pooled connection that is closed when it is dropped before its release.
struct Session(Option<PoolConnection<Postgres>>);

impl Session {
    fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Gives the connection back. The pool tests it first, without a deadline of its own: a peer that
    /// falls silent just then would keep its place in the pool for ever.
    fn release(mut self, limit: Duration) {
        if let Some(mut connection) = self.0.take() {
            tokio::spawn(timeout(limit, connection.return_to_pool()));
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

#[cfg(test)]
mod tests {
    /// Without TLS the client would connect in the clear, except where the URL demands TLS.
    #[test]
    fn the_client_is_built_with_tls() {
        assert!(sqlx_core::net::tls::available());
    }
}
