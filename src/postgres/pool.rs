//! The connection pool, and sessions that never give a broken connection back.

use std::{
    ops::{Deref, DerefMut},
    time::Duration,
};

use secrecy::ExposeSecret as _;
use sqlx::{
    PgConnection, PgPool, Postgres,
    migrate::Migrator,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

use crate::settings;

/// The schema, embedded in the binary.
pub static MIGRATIONS: Migrator = sqlx::migrate!();

/// The database of one process.
#[derive(Clone, Debug)]
pub struct Database {
    pool: PgPool,
    unit_timeout: Duration,
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
            .connect_lazy_with(options);
        let unit_timeout = settings.acquire_timeout + 2 * settings.statement_timeout;
        Ok(Self { pool, unit_timeout })
    }

    /// How long one unit of work, from [`Database::session`] to [`Session::release`], may take.
    /// The caller wraps it in this timeout: a peer that went silent has no other end.
    #[must_use]
    pub fn unit_timeout(&self) -> Duration {
        self.unit_timeout
    }

    /// A connection for one unit of work.
    pub async fn session(&self) -> Result<Session, sqlx::Error> {
        self.pool.acquire().await.map(|connection| Session(Some(connection)))
    }

    /// The pool, for whole-database tasks such as migrations.
    #[must_use]
    pub fn pool(&self) -> &PgPool {
        &self.pool
    }
}

/// A pooled connection that goes back to the pool only through [`Session::release`].
///
/// Dropped otherwise (an error, a timeout, a cancelled task), the connection is closed: it may be in
/// the middle of a transaction or have a peer that went silent, and a pool that tests such a
/// connection can wait for ever and leak its permit (sqlx issue 4349).
pub struct Session(Option<PoolConnection<Postgres>>);

impl Session {
    /// Gives the connection back after a unit of work that ended well.
    pub fn release(mut self) {
        drop(self.0.take());
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(connection) = self.0.take() {
            drop(connection.detach());
        }
    }
}

impl Deref for Session {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        match &self.0 {
            Some(connection) => connection,
            None => unreachable!("a session holds its connection until it is released or dropped"),
        }
    }
}

impl DerefMut for Session {
    fn deref_mut(&mut self) -> &mut PgConnection {
        match &mut self.0 {
            Some(connection) => connection,
            None => unreachable!("a session holds its connection until it is released or dropped"),
        }
    }
}
