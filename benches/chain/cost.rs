//! What Postgres counts for a part: WAL, commits, rolled-back transactions, fsyncs.

use std::time::Duration;

use anyhow::Context as _;
use sqlx::{Connection as _, PgConnection, Row as _};

/// For the server to end the sessions of a process that has ended.
const SESSIONS_END: Duration = Duration::from_secs(10);

/// From this version on, fsyncs of the WAL are counted in `pg_stat_io`.
const FSYNCS_MOVED: i32 = 180_000;

/// Counts since the server was started.
#[derive(Clone, Copy)]
pub(crate) struct Counters {
    pub(crate) wal_bytes: i64,
    /// Of the whole server.
    pub(crate) fsyncs: i64,
    /// Of one database.
    pub(crate) commits: i64,
    /// Of one database.
    pub(crate) rollbacks: i64,
}

impl Counters {
    /// Reads the counts for `database` from a connection to another one, whose transactions do not count.
    ///
    /// A session adds its counts when it ends, so this waits until the database has no sessions.
    pub(crate) async fn read(url: &str, database: &str) -> anyhow::Result<Self> {
        let mut conn = PgConnection::connect(url).await?;
        wait_for_sessions(&mut conn, database).await?;
        let version: i32 = sqlx::query_scalar("SELECT current_setting('server_version_num')::int")
            .fetch_one(&mut conn)
            .await?;
        let fsyncs = if version < FSYNCS_MOVED {
            "SELECT wal_sync FROM pg_stat_wal"
        } else {
            "SELECT sum(fsyncs)::bigint FROM pg_stat_io WHERE object = 'wal'"
        };
        let fsyncs: i64 = sqlx::query_scalar(fsyncs).fetch_one(&mut conn).await?;
        let row = sqlx::query(
            "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, xact_commit, xact_rollback
             FROM pg_stat_database WHERE datname = $1",
        )
        .bind(database)
        .fetch_one(&mut conn)
        .await?;
        Ok(Self { wal_bytes: row.try_get(0)?, fsyncs, commits: row.try_get(1)?, rollbacks: row.try_get(2)? })
    }

    /// The counts since `earlier`.
    pub(crate) const fn since(&self, earlier: &Self) -> Self {
        Self {
            wal_bytes: self.wal_bytes - earlier.wal_bytes,
            fsyncs: self.fsyncs - earlier.fsyncs,
            commits: self.commits - earlier.commits,
            rollbacks: self.rollbacks - earlier.rollbacks,
        }
    }
}

async fn wait_for_sessions(conn: &mut PgConnection, database: &str) -> anyhow::Result<()> {
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    let ended = async {
        loop {
            tick.tick().await;
            let sessions: i64 = sqlx::query_scalar(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = $1 AND backend_type = 'client backend'
                 AND application_name <> $2",
            )
            .bind(database)
            .bind(crate::trouble::SNAPSHOT)
            .fetch_one(&mut *conn)
            .await?;
            if sessions == 0 {
                return anyhow::Ok(());
            }
        }
    };
    tokio::time::timeout(SESSIONS_END, ended).await.context("sessions of an ended process stay open")?
}
