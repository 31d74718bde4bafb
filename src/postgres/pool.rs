//! The connection pool, and units of work that never return a broken connection to it.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use secrecy::ExposeSecret as _;
use sqlx::{
    Connection as _, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::time::timeout;

use super::{
    Failure, classify,
    migrations::pending,
    session::{self, Asked, Plans, Unfit},
};
use crate::settings;

/// A pooled connection that has been idle for longer is pinged before it is used.
const MAX_UNTESTED_IDLE: Duration = Duration::from_secs(1);

/// The deadline of that ping, and of the check of a new connection.
const PING_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections of the API and the console. Few, because a search can keep one for its whole timeout. As many again for
/// changes that take long.
pub const CONSOLE_CONNECTIONS: u32 = 2;

/// How long a statement of the API or the console may take.
const CONSOLE_STATEMENT_TIMEOUT: Duration = Duration::from_secs(3);

/// How often an operator's transaction runs before a race against a worker is reported.
const MAX_RUNS: u32 = 6;

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
    /// It is not usable as it is.
    #[error("could not use Postgres at {address}: {unfit}")]
    Unfit {
        /// Host and port.
        address: String,
        /// What is wrong with it.
        unfit: Unfit,
    },
}

impl ConnectError {
    /// Whether a retry would fail for the same reason. A migration or a restart of the server may end all others.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::Url(_) | Self::Unfit { unfit: Unfit::Encoding(_) | Unfit::Settings(_), .. })
    }

    /// Whether the server, the database or the role has as many sessions as it may have.
    #[must_use]
    pub fn is_full(&self) -> bool {
        let Self::Refused { cause: sqlx::Error::Database(refused), .. } = self else { return false };
        refused.code().is_some_and(|code| code == "53300")
    }
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
    asked: Arc<Asked>,
    /// What the last new connection lacked. The pool hides that: it retries until it gives up.
    unfit: Arc<Mutex<Option<Unfit>>>,
    unit_timeout: Duration,
    /// Also the deadline of the pool's own test of a returned connection.
    acquire_timeout: Duration,
}

impl Database {
    /// Opens, checks and closes one connection, then prepares the pool. For commands: the pool would retry until
    /// `postgres.acquire_timeout` and then report that, not the cause. `purpose` becomes a part of `application_name`.
    ///
    /// # Errors
    /// When `postgres.url` is not an address, or the server does not accept the connection.
    pub async fn connect(settings: &settings::Postgres, purpose: &str) -> Result<Self, ConnectError> {
        let database = Self::new(settings, purpose).map_err(ConnectError::Url)?;
        database.check(false).await?;
        Ok(database)
    }

    /// Prepares the pool, which connects when the first connection is requested. For the service, which waits
    /// for an unreachable database. `purpose` becomes a part of `application_name`.
    ///
    /// # Errors
    /// When `postgres.url` is not an address.
    pub fn new(settings: &settings::Postgres, purpose: &str) -> Result<Self, sqlx::Error> {
        Self::with_sessions(settings, purpose, settings.max_connections, Plans::Custom)
    }

    /// A pool for workers, and one connection set aside in its own pool. The owner of that pool does not wait for others,
    /// however busy they are.
    ///
    /// # Errors
    /// When `postgres.url` is not an address.
    pub fn with_reserved(settings: &settings::Postgres, purpose: &str) -> Result<(Self, Self), sqlx::Error> {
        // Validated to be more than one.
        let others = settings.max_connections.saturating_sub(1).max(1);
        let others = Self::with_sessions(settings, purpose, others, Plans::Generic)?;
        Ok((others, Self::with_sessions(settings, purpose, 1, Plans::Generic)?))
    }

    /// As [`Self::new`], for people who wait for an answer: few connections and short statement timeouts, so that
    /// their queries cannot slow down the workers.
    ///
    /// # Errors
    /// When `postgres.url` is not an address.
    pub fn for_console(settings: &settings::Postgres) -> Result<Self, sqlx::Error> {
        let statement_timeout = settings.statement_timeout.min(CONSOLE_STATEMENT_TIMEOUT);
        let settings = settings::Postgres { statement_timeout, ..settings.clone() };
        Self::with_sessions(&settings, "console", CONSOLE_CONNECTIONS, Plans::Custom)
    }

    /// As [`Self::new`], for changes that may take longer than a page, which must not wait for them: few connections.
    ///
    /// # Errors
    /// When `postgres.url` is not an address.
    pub fn for_long_changes(settings: &settings::Postgres) -> Result<Self, sqlx::Error> {
        Self::with_sessions(settings, "console changes", CONSOLE_CONNECTIONS, Plans::Custom)
    }

    fn with_sessions(
        settings: &settings::Postgres,
        purpose: &str,
        connections: u32,
        plans: Plans,
    ) -> Result<Self, sqlx::Error> {
        let asked = Arc::new(session::asked(settings, plans));
        let options: PgConnectOptions = settings.url.expose_secret().parse()?;
        let options = options
            .application_name(&format!("contact-relay {purpose}"))
            .options(asked.iter().map(|(name, value)| (*name, value.as_str())));
        let unfit = Arc::default();
        let pool =
            pool_options(settings, &asked, &unfit).max_connections(connections).connect_lazy_with(options);
        let unit_timeout = settings.acquire_timeout + 2 * settings.statement_timeout;
        Ok(Self { pool, asked, unfit, unit_timeout, acquire_timeout: settings.acquire_timeout })
    }

    /// Opens one connection outside of the pool, checks it, and with `schema` the database's schema as well, and closes
    /// it.
    ///
    /// # Errors
    /// When the server cannot be reached, or is not usable as it is.
    pub async fn check(&self, schema: bool) -> Result<(), ConnectError> {
        let options = self.pool.connect_options();
        let (address, limit) = (address(&options), self.acquire_timeout);
        let checked = timeout(limit, async {
            let mut conn = PgConnection::connect_with(&options).await?;
            let mut unfit = session::check(&mut conn, &self.asked).await?;
            if schema && unfit.is_none() {
                let pending = pending(&mut conn).await?;
                unfit = (!pending.is_empty()).then_some(Unfit::Behind(pending));
            }
            conn.close().await?;
            Ok::<_, sqlx::Error>(unfit)
        });
        match checked.await {
            Ok(Ok(None)) => Ok(()),
            Ok(Ok(Some(unfit))) => Err(ConnectError::Unfit { address, unfit }),
            Ok(Err(cause)) => Err(ConnectError::Refused { address, cause }),
            Err(_) => Err(ConnectError::Timeout { address, limit }),
        }
    }

    /// Opens one connection outside of the pool, even if it is not usable for work.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn open(&self) -> Result<PgConnection, ConnectError> {
        let options = self.pool.connect_options();
        let (address, limit) = (address(&options), self.acquire_timeout);
        match timeout(limit, PgConnection::connect_with(&options)).await {
            Ok(Ok(conn)) => Ok(conn),
            Ok(Err(cause)) => Err(ConnectError::Refused { address, cause }),
            Err(_) => Err(ConnectError::Timeout { address, limit }),
        }
    }

    /// Runs one unit of work on one connection, within `acquire_timeout` plus twice `statement_timeout`.
    ///
    /// The connection returns to the pool only if the work succeeds. After an error or a timeout it is
    /// closed: it may be inside a transaction or have a silent peer, and a pool that tests such a
    /// connection can wait forever and leak its permit (sqlx issue 4349).
    ///
    /// # Errors
    /// Those of the work, [`sqlx::Error::PoolTimedOut`] when no connection can be had, and an I/O error when it takes too
    /// long, as if the connection were lost.
    pub async fn unit<T, E: From<sqlx::Error>>(
        &self,
        work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
    ) -> Result<T, E> {
        let unit = async {
            let mut session = Session(Some(self.acquire().await?));
            let done = work(session.connection()?).await?;
            session.release(self.acquire_timeout);
            Ok(done)
        };
        let late = || sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time"));
        timeout(self.unit_timeout, unit).await.unwrap_or_else(|_| Err(late().into()))
    }

    /// Runs one transaction as one unit of work, and runs it again when it loses a race or a deadlock
    /// against a worker, or waits for its lock. Commits when `keeps` accepts the result, and rolls back otherwise.
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
                Err(error)
                    if matches!(classify(&error), Failure::Race | Failure::Locked) && runs < MAX_RUNS =>
                {
                    runs += 1;
                }
                ended => return ended,
            }
        }
    }

    /// A connection of the pool, or why new ones cannot be used.
    async fn acquire(&self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        let unfit = || self.unfit.lock().unwrap_or_else(PoisonError::into_inner).clone();
        match self.pool.acquire().await {
            Err(sqlx::Error::PoolTimedOut) => {
                Err(unfit()
                    .map_or(sqlx::Error::PoolTimedOut, |unfit| sqlx::Error::Configuration(unfit.into())))
            }
            acquired => acquired,
        }
    }

    /// How many connections are open, and how many of them are idle.
    #[must_use]
    pub fn connections(&self) -> (usize, usize) {
        let (open, idle) = (self.pool.size() as usize, self.pool.num_idle());
        (open, idle.min(open))
    }

    /// Maximum number of connections.
    #[must_use]
    pub fn max_connections(&self) -> usize {
        self.pool.options().get_max_connections() as usize
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
            // Each connection would keep as much memory as the largest message of its life. Growing its buffers
            // again costs far less than the statement that needs them.
            connection.shrink_buffers();
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

/// The pool checks a connection when it is new, and when it has been idle.
fn pool_options(
    settings: &settings::Postgres,
    asked: &Arc<Asked>,
    unfit: &Arc<Mutex<Option<Unfit>>>,
) -> PgPoolOptions {
    let (asked, unfit) = (Arc::clone(asked), Arc::clone(unfit));
    PgPoolOptions::new()
        .acquire_timeout(settings.acquire_timeout)
        .after_connect(move |connection, _| {
            let (asked, unfit) = (Arc::clone(&asked), Arc::clone(&unfit));
            Box::pin(async move {
                let checked = timeout(PING_TIMEOUT, session::check(connection, &asked)).await;
                let found = checked.map_err(|_| sqlx::Error::PoolTimedOut)??;
                unfit.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&found);
                found.map_or(Ok(()), |unfit| Err(sqlx::Error::Configuration(unfit.into())))
            })
        })
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
