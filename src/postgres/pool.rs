//! The connection pool, and units of work that never return a broken connection to it.

use std::{fmt, time::Duration};

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

/// A pooled connection that has been idle for longer is pinged before it is used.
const MAX_UNTESTED_IDLE: Duration = Duration::from_secs(1);

/// The deadline of that ping.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// How often an operator's transaction runs before a race against a worker is reported.
const MAX_RUNS: u32 = 6;

/// The schema, embedded in the binary.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// Why a command could not connect. Names host and port, never the password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `postgres.url` cannot be parsed.
    #[error("postgres.url is not a Postgres address")]
    Url(#[source] sqlx::Error),
    /// The server, or something on the way to it, refused. The cause is not a `source`, because the advice
    /// follows it.
    #[error("could not reach Postgres at {address}: {}; check postgres.url", Cause(.cause))]
    Refused {
        /// Host and port.
        address: String,
        /// The driver's error.
        cause: sqlx::Error,
    },
    /// No answer within `postgres.acquire_timeout`.
    #[error("could not reach Postgres at {address}: no answer within {} ms; check postgres.url", limit.as_millis())]
    Timeout {
        /// Host and port.
        address: String,
        /// The deadline.
        limit: Duration,
    },
}

/// A driver's error without the prefix that only says that it is one.
struct Cause<'a>(&'a sqlx::Error);

impl fmt::Display for Cause<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            sqlx::Error::Io(error) => error.fmt(f),
            sqlx::Error::Database(refusal) => f.write_str(refusal.message()),
            other => other.fmt(f),
        }
    }
}

/// The database of one process.
#[derive(Clone, Debug)]
pub struct Database {
    pool: PgPool,
    unit_timeout: Duration,
    /// The deadline of the pool's own test of a returned connection.
    return_timeout: Duration,
}

impl Database {
    /// Opens and closes one connection, then prepares the pool. For commands: the pool would retry until
    /// `postgres.acquire_timeout` and then report that, not the cause. `purpose` becomes a part of `application_name`.
    ///
    /// # Errors
    /// When `postgres.url` is not an address, or the server does not accept the connection.
    pub async fn connect(settings: &settings::Postgres, purpose: &str) -> Result<Self, ConnectError> {
        let options = connect_options(settings, purpose).map_err(ConnectError::Url)?;
        let (address, limit) = (address(&options), settings.acquire_timeout);
        let connected = timeout(limit, async { PgConnection::connect_with(&options).await?.close().await });
        match connected.await {
            Ok(Ok(())) => Ok(Self::with_options(settings, options)),
            Ok(Err(cause)) => Err(ConnectError::Refused { address, cause }),
            Err(_) => Err(ConnectError::Timeout { address, limit }),
        }
    }

    /// Prepares the pool, which connects when the first connection is requested. For the service, which waits
    /// for an unreachable database. `purpose` becomes a part of `application_name`.
    ///
    /// # Errors
    /// When `postgres.url` is not an address.
    pub fn new(settings: &settings::Postgres, purpose: &str) -> Result<Self, sqlx::Error> {
        Ok(Self::with_options(settings, connect_options(settings, purpose)?))
    }

    fn with_options(settings: &settings::Postgres, options: PgConnectOptions) -> Self {
        let pool = PgPoolOptions::new()
            .max_connections(settings.max_connections)
            .acquire_timeout(settings.acquire_timeout)
            // A ping before every unit of work would cost a round trip each. One after a pause finds the
            // connections that a restart of the database left behind.
            .test_before_acquire(false)
            .before_acquire(|connection, state| {
                Box::pin(async move {
                    if state.idle_for > MAX_UNTESTED_IDLE {
                        // Without it a silent peer would cost the whole acquire_timeout.
                        let answered = timeout(PING_TIMEOUT, connection.ping()).await;
                        answered.map_err(|_| sqlx::Error::PoolTimedOut)??;
                    }
                    Ok(true)
                })
            })
            .connect_lazy_with(options);
        let unit_timeout = settings.acquire_timeout + 2 * settings.statement_timeout;
        Self { pool, unit_timeout, return_timeout: settings.acquire_timeout }
    }

    /// Runs one unit of work on one connection, within `acquire_timeout` plus twice `statement_timeout`.
    ///
    /// The connection returns to the pool only if the work succeeds. After an error or a timeout it is
    /// closed: it may be inside a transaction or have a silent peer, and a pool that tests such a
    /// connection can wait forever and leak its permit (sqlx issue 4349).
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

    /// Runs one transaction as one unit of work, and runs it again when it loses a race or a deadlock
    /// against a worker. Commits when `keeps` accepts the result, and rolls back otherwise.
    ///
    /// # Errors
    /// Those of the work and of [`Self::unit`]; then nothing has changed.
    pub async fn transact<T>(
        &self,
        keeps: impl Fn(&T) -> bool,
        mut work: impl AsyncFnMut(&mut PgConnection) -> Result<T, sqlx::Error>,
    ) -> Result<T, sqlx::Error> {
        let mut runs = 1;
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
                Err(error) if classify(&error) == Failure::Race && runs < MAX_RUNS => runs += 1,
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

/// A pooled connection that is closed when it is dropped without [`Session::release`].
struct Session(Option<PoolConnection<Postgres>>);

impl Session {
    fn connection(&mut self) -> Result<&mut PgConnection, sqlx::Error> {
        self.0.as_deref_mut().ok_or(sqlx::Error::PoolClosed)
    }

    /// Returns the connection to the pool. The pool tests it first and sets no deadline, so a peer that
    /// fell silent at that moment would occupy its slot forever.
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

fn connect_options(settings: &settings::Postgres, purpose: &str) -> Result<PgConnectOptions, sqlx::Error> {
    let statement_timeout = settings.statement_timeout.as_millis().to_string();
    let options: PgConnectOptions = settings.url.expose_secret().parse()?;
    Ok(options.application_name(&format!("contact-relay {purpose}")).options([
        ("statement_timeout", statement_timeout.as_str()),
        ("idle_in_transaction_session_timeout", statement_timeout.as_str()),
        // The default of the server, a database or a user may be `off`.
        ("synchronous_commit", settings.synchronous_commit.name()),
        // Every query has its index. A plan that was cached while a table was empty must not keep
        // scanning the table when it has grown.
        ("enable_seqscan", "off"),
        ("enable_hashjoin", "off"),
        ("enable_mergejoin", "off"),
        ("jit", "off"),
    ]))
}

/// Host and port, or the Unix socket.
fn address(options: &PgConnectOptions) -> String {
    match (options.get_socket(), options.get_host()) {
        (Some(socket), _) => socket.display().to_string(),
        (None, host) if host.contains(':') => format!("[{host}]:{}", options.get_port()),
        (None, host) => format!("{host}:{}", options.get_port()),
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
