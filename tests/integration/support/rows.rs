//! Counts rows of the test's database, at once or when there are as many as expected.
//!
//! `rows` is what follows `FROM`: a table, `"contacts"`, or with its condition, `"contacts WHERE version = 2"`.

use sqlx::{AssertSqlSafe, PgConnection, Postgres, Transaction};

use super::{app::TestApp, eventually};

const BLOCKED_SESSIONS: &str =
    "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";

const UNPUBLISHED: &str = "SELECT coalesce(sum(items), 0) FROM effects WHERE kind = 'publish'";

const UNSENT: &str = "SELECT coalesce(sum(items), 0) FROM effects WHERE kind = 'send'";

impl TestApp {
    pub(crate) async fn rows(&self, rows: &str) -> i64 {
        self.count(&count_of(rows)).await
    }

    pub(crate) async fn wait_for_rows(&self, rows: &str, expected: i64) {
        self.count_becomes(&count_of(rows), expected).await;
    }

    pub(crate) async fn wait_for_at_least(&self, least: i64, rows: &str) {
        let query = count_of(rows);
        eventually(&format!("{query} is at least {least}"), async || {
            self.try_count(&query).await.ok().filter(|found| *found >= least)
        })
        .await;
    }

    /// Committed events that are not published.
    pub(crate) async fn unpublished(&self) -> i64 {
        self.count(UNPUBLISHED).await
    }

    pub(crate) async fn wait_for_unpublished(&self, expected: i64) {
        self.count_becomes(UNPUBLISHED, expected).await;
    }

    /// Waits until this many webhooks are on their way and have no row.
    pub(crate) async fn wait_for_unsent(&self, expected: i64) {
        self.count_becomes(UNSENT, expected).await;
    }

    /// Deliveries in a state.
    pub(crate) async fn deliveries(&self, state: &str) -> i64 {
        self.rows(&deliveries_in(state)).await
    }

    pub(crate) async fn wait_for_deliveries(&self, state: &str, expected: i64) {
        self.wait_for_rows(&deliveries_in(state), expected).await;
    }

    pub(crate) async fn dead_letters_because(&self, reason: &str) -> i64 {
        self.rows(&dead_letters_with(reason)).await
    }

    pub(crate) async fn wait_for_dead_letters_because(&self, reason: &str, expected: i64) {
        self.wait_for_rows(&dead_letters_with(reason), expected).await;
    }

    /// Database sessions that wait for a lock.
    pub(crate) async fn blocked_sessions(&self) -> i64 {
        self.rows(BLOCKED_SESSIONS).await
    }

    pub(crate) async fn wait_for_blocked_sessions(&self, expected: i64) {
        self.wait_for_rows(BLOCKED_SESSIONS, expected).await;
    }

    /// Ends the database sessions that wait for a lock, which those of a killed process would do for long.
    pub(crate) async fn end_blocked_sessions(&self) {
        self.count(&format!("SELECT count(pg_terminate_backend(pid)) FROM {BLOCKED_SESSIONS}")).await;
        self.wait_for_blocked_sessions(0).await;
    }

    /// Stops every statement that fires a trigger, described as in `CREATE TRIGGER`, until the transaction that this returns
    /// ends. Processes that start from now on wait for it without a limit.
    pub(crate) async fn hold_up(&self, trigger: &str) -> Transaction<'static, Postgres> {
        self.set("postgres.statement_timeout", "1h");
        let stop = format!(
            "CREATE FUNCTION stop() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0 AS
                 'BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END';
             CREATE TRIGGER stop {trigger} EXECUTE FUNCTION stop()"
        );
        sqlx::raw_sql(AssertSqlSafe(stop)).execute(&self.pool).await.unwrap();
        let mut lock = self.pool.begin().await.unwrap();
        sqlx::query("SELECT pg_advisory_xact_lock(1)").execute(&mut *lock).await.unwrap();
        lock
    }

    /// The number that a query returns.
    pub(crate) async fn count(&self, query: &str) -> i64 {
        self.try_count(query).await.unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    /// Waits until a query returns this number.
    pub(crate) async fn count_becomes(&self, query: &str, expected: i64) {
        eventually(&format!("{query} returns {expected}"), async || {
            // While the database restarts, the query fails.
            self.try_count(query).await.ok().filter(|found| *found == expected)
        })
        .await;
    }

    async fn try_count(&self, query: &str) -> Result<i64, sqlx::Error> {
        // The text comes from a test.
        sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&self.pool).await
    }
}

/// Rows of tables with such a name that this transaction has read, as a sum of columns of the statistics: `idx_tup_fetch`,
/// `seq_tup_read`.
pub(crate) async fn rows_read(conn: &mut PgConnection, columns: &str, tables: &str) -> i64 {
    let read = format!(
        "SELECT coalesce(sum({columns}), 0)::bigint FROM pg_stat_xact_user_tables WHERE relname ~ '{tables}'"
    );
    sqlx::query_scalar(AssertSqlSafe(read)).fetch_one(conn).await.unwrap()
}

fn count_of(rows: &str) -> String {
    format!("SELECT count(*) FROM {rows}")
}

fn deliveries_in(state: &str) -> String {
    format!("webhook_deliveries WHERE state = '{state}'")
}

fn dead_letters_with(reason: &str) -> String {
    format!("dead_letters WHERE reason = '{reason}'")
}
