//! A gate at which database sessions wait when they write certain rows.

use sqlx::{AssertSqlSafe, Postgres, Transaction};

use super::app::TestApp;

const FUNCTION: &str = "CREATE FUNCTION pass_gate() RETURNS trigger LANGUAGE plpgsql AS
     $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN NEW; END $$";

const WAITING: &str = "pg_stat_activity WHERE datname = current_database() AND wait_event = 'advisory'";

/// A closed gate. Who passes it once it is open finds it open for good.
pub(crate) struct Gate<'a> {
    app: &'a TestApp,
    lock: Transaction<'static, Postgres>,
}

impl<'a> Gate<'a> {
    /// Before the commit of what does this, as the event of a trigger: `INSERT ON effects`.
    pub(crate) async fn before_commit(app: &'a TestApp, event: &str, condition: &str) -> Self {
        let trigger = format!("CREATE CONSTRAINT TRIGGER gate AFTER {event} DEFERRABLE INITIALLY DEFERRED");
        Self::new(app, &trigger, condition).await
    }

    /// Before a row is written. Who waits has locked it.
    pub(crate) async fn before_write(app: &'a TestApp, event: &str, condition: &str) -> Self {
        Self::new(app, &format!("CREATE TRIGGER gate BEFORE {event}"), condition).await
    }

    async fn new(app: &'a TestApp, trigger: &str, condition: &str) -> Self {
        let mut lock = app.pool.begin().await.unwrap();
        sqlx::query("SELECT pg_advisory_xact_lock(1)").execute(&mut *lock).await.unwrap();
        let trigger = format!("{trigger} FOR EACH ROW WHEN ({condition}) EXECUTE FUNCTION pass_gate()");
        for statement in [FUNCTION, &trigger] {
            // The text comes from a test.
            sqlx::query(AssertSqlSafe(statement)).execute(&app.pool).await.unwrap();
        }
        Self { app, lock }
    }

    /// Waits until at least so many sessions wait at the gate.
    pub(crate) async fn is_reached_by(&self, sessions: i64) {
        self.app.wait_for_at_least(sessions, WAITING).await;
    }

    pub(crate) async fn open(self) {
        self.lock.rollback().await.unwrap();
    }
}
