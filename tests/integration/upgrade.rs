//! Migrations, while workers use the same database.

use std::{cell::Cell, collections::BTreeSet, time::Duration};

use contact_relay::postgres::{
    MIGRATIONS,
    schema::{self, SchemaError},
};
use macro_rules_attribute::apply;
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, SqlSafeStr as _,
    migrate::{Migration, MigrationType, Migrator},
};
use time::OffsetDateTime;

use crate::support::{WAIT_TIMEOUT, app::TestApp, event::Event, eventually, test};

/// Two million rows, as an earlier version may have left them.
const FILL: [&str; 3] = [
    "INSERT INTO applied_events (company_id, event_key, meaning, erased)
     SELECT 'old', lpad(to_hex(n), 32, '0')::uuid, '\\x00000000000000000000000000000000', false
     FROM generate_series(1, 1200000) n",
    "INSERT INTO contacts (company_id, contact_id, version, name, provenance, created_at, updated_at)
     SELECT 'old', lpad(to_hex(n), 32, '0')::uuid, 1, 'Ada', '{}', now(), now() FROM generate_series(1, 400000) n",
    "INSERT INTO trigger_events (company_id, contact_id, event_time, source, event_id, step, trigger_name, operation,
         version, fields)
     SELECT 'old', lpad(to_hex(n), 32, '0')::uuid, now(), '/s', n::text, 1, 't', 'created', 1, '{}'
     FROM generate_series(1, 400000) n",
];

const ADD_COLUMN: &str = "ALTER TABLE trigger_events ADD COLUMN later integer NOT NULL DEFAULT 7";

const ADD_CONSTRAINT: &str = "ALTER TABLE contacts ADD CONSTRAINT later CHECK (version > 0) NOT VALID";

const VALIDATE: &str = "-- no-transaction\nALTER TABLE contacts VALIDATE CONSTRAINT later";

const CREATE_INDEX: &str = "-- no-transaction\nCREATE INDEX CONCURRENTLY IF NOT EXISTS later ON applied_events (company_id, erased, event_key)";

/// The schema of this version, and what a later one adds.
fn later(statements: &[&'static str]) -> Migrator {
    let added = (9001..).zip(statements).map(|(version, statement)| {
        let long = statement.starts_with("-- no-transaction");
        Migration::new(version, "later".into(), MigrationType::Simple, statement.into_sql_str(), long)
    });
    Migrator::with_migrations(MIGRATIONS.iter().cloned().chain(added).collect())
}

async fn connect(app: &TestApp) -> PgConnection {
    PgConnection::connect(&app.setting("postgres.url")).await.unwrap()
}

/// The sessions that wait in a statement with these words, for longer than `time`.
fn waiting(words: &str, time: &str) -> String {
    format!(
        "pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND query ILIKE '%{words}%'
         AND clock_timestamp() - query_start > interval '{time}' AND pid <> pg_backend_pid()"
    )
}

/// Publishes events as long as `wanted`, each time when the last ones are applied.
struct Load<'a> {
    app: &'a TestApp,
    applied: Cell<usize>,
    wanted: Cell<bool>,
}

impl Load<'_> {
    const BATCH: usize = 20;

    async fn run(&self) {
        while self.wanted.get() {
            let first = self.applied.get();
            let events: Vec<Event> = (first..first + Self::BATCH)
                .map(|index| Event::lead("Bob").email(&format!("bob{index}@x.example")))
                .collect();
            self.app.broker.publish_all(&events).await;
            let all = i64::try_from(first + Self::BATCH).unwrap();
            self.app.wait_for_rows("contacts WHERE company_id = 'acme' AND name = 'Bob'", all).await;
            self.applied.set(first + Self::BATCH);
        }
    }

    /// Waits until events that were published after this call are applied.
    async fn goes_on(&self) {
        let enough = self.applied.get() + 2 * Self::BATCH;
        eventually("workers go on", async || (self.applied.get() >= enough).then_some(())).await;
    }
}

/// A reader keeps the table that a migration changes, a writer the one that it builds an index of. No unit of work waits
/// for 2 s: no session of the service may wait for a lock that long.
#[apply(test)]
async fn migrations_stop_no_worker(app: &TestApp) {
    let name: String = sqlx::query_scalar("SELECT current_database()").fetch_one(&app.pool).await.unwrap();
    let limit = format!("ALTER DATABASE \"{name}\" SET lock_timeout = '2s'");
    app.pool.execute(AssertSqlSafe(limit)).await.unwrap();
    for statement in FILL {
        app.pool.execute(statement).await.unwrap();
    }
    let service = app.run(&[]).await;
    let ada = Event::lead("Ada").email("ada@x.example");
    app.broker.publish_in_turn(std::slice::from_ref(&ada)).await;

    let mut reader = app.pool.begin().await.unwrap();
    reader.execute("SELECT FROM trigger_events WHERE company_id = 'nobody'").await.unwrap();
    let mut writer = app.pool.begin().await.unwrap();
    writer.execute("DELETE FROM applied_events WHERE company_id = 'nobody'").await.unwrap();

    let load = Load { app, applied: Cell::new(0), wanted: Cell::new(true) };
    let (migrations, mut conn) =
        (later(&[ADD_COLUMN, ADD_CONSTRAINT, VALIDATE, CREATE_INDEX]), connect(app).await);
    let migrated = async {
        schema::run(&mut conn, &migrations, WAIT_TIMEOUT).await.unwrap();
        load.wanted.set(false);
    };
    let others = async {
        app.wait_for_at_least(1, &waiting("ADD COLUMN later", "0 s")).await;
        load.goes_on().await;
        reader.rollback().await.unwrap();
        // It has no limit: it waits for longer than a migration with a transaction may.
        app.wait_for_at_least(1, &waiting("CREATE INDEX CONCURRENTLY", "2 s")).await;
        load.goes_on().await;
        writer.rollback().await.unwrap();
    };
    tokio::join!(load.run(), migrated, others);

    for waited in ["lock timeout", "a table is locked", "somebody keeps a row locked"] {
        assert!(!service.log().contains(waited), "a worker waited for too long: {}", service.log());
    }
    assert_eq!(app.rows("pg_constraint WHERE conname = 'later' AND convalidated").await, 1);
    assert_eq!(app.rows("pg_index WHERE indexrelid = 'later'::regclass AND indisvalid").await, 1);
    // The rows from before are there, and what was applied then is not applied again.
    assert_eq!(app.rows("trigger_events WHERE company_id = 'old' AND later = 7").await, 400_000);
    let applied = app.rows("applied_events WHERE company_id = 'acme'").await;
    app.broker.publish_in_turn(&[ada, Event::lead("Eve").email("eve@x.example")]).await;
    assert_eq!(app.rows("applied_events WHERE company_id = 'acme'").await, applied + 1);
}

#[apply(test)]
async fn migration_gives_up_on_a_table_that_stays_locked(app: &TestApp) {
    let mut reader = app.pool.begin().await.unwrap();
    reader.execute("SELECT FROM trigger_events").await.unwrap();
    let mut conn = connect(app).await;
    let error = schema::run(&mut conn, &later(&[ADD_COLUMN]), Duration::ZERO).await.unwrap_err();
    assert!(matches!(error, SchemaError::Busy { .. }), "{error:?}");
    assert!(error.to_string().contains("pg_stat_activity"), "{error}");
    reader.rollback().await.unwrap();
    schema::run(&mut conn, &later(&[ADD_COLUMN]), Duration::ZERO).await.unwrap();
}

/// The session ends while the index is built. Half an index is left, which the next build must not take for its own.
#[apply(test)]
async fn interrupted_build_of_an_index_is_repeated(app: &TestApp) {
    let migrations = later(&[CREATE_INDEX]);
    let mut writer = app.pool.begin().await.unwrap();
    writer.execute("DELETE FROM applied_events").await.unwrap();
    let mut conn = connect(app).await;
    let interrupt = async {
        app.wait_for_at_least(1, &waiting("CREATE INDEX CONCURRENTLY", "0 s")).await;
        let end = format!("SELECT pg_terminate_backend(pid) FROM {}", waiting("CREATE INDEX", "0 s"));
        app.pool.execute(AssertSqlSafe(end)).await.unwrap();
    };
    let (interrupted, ()) = tokio::join!(schema::run(&mut conn, &migrations, WAIT_TIMEOUT), interrupt);
    assert!(interrupted.is_err());
    assert_eq!(app.rows("pg_index WHERE indexrelid = 'later'::regclass AND NOT indisvalid").await, 1);
    writer.rollback().await.unwrap();
    schema::run(&mut connect(app).await, &migrations, WAIT_TIMEOUT).await.unwrap();
    assert_eq!(app.rows("pg_index WHERE indexrelid = 'later'::regclass AND indisvalid").await, 1);
}

/// The second waits without a snapshot, which the first one's index would wait for.
#[apply(test)]
async fn two_migrations_at_once_take_turns(app: &TestApp) {
    let migrations = later(&[CREATE_INDEX]);
    let mut writer = app.pool.begin().await.unwrap();
    writer.execute("DELETE FROM applied_events").await.unwrap();
    let (mut first, mut second) = (connect(app).await, connect(app).await);
    let second = async {
        app.wait_for_at_least(1, &waiting("CREATE INDEX CONCURRENTLY", "0 s")).await;
        let release = async {
            let asked = "pg_stat_activity WHERE datname = current_database() AND query LIKE '%advisory_lock%'
                         AND pid <> pg_backend_pid()";
            app.wait_for_at_least(1, asked).await;
            writer.rollback().await.unwrap();
        };
        tokio::join!(schema::run(&mut second, &migrations, WAIT_TIMEOUT), release).0
    };
    let (first, second) = tokio::join!(schema::run(&mut first, &migrations, WAIT_TIMEOUT), second);
    first.unwrap();
    second.unwrap();
    assert_eq!(app.rows("pg_index WHERE indexrelid = 'later'::regclass AND indisvalid").await, 1);
}

/// The command tries again, and is not bound by the time that a statement of a worker may take.
#[apply(test)]
async fn migrate_waits_for_a_locked_table(app: &TestApp) {
    app.pool.execute("CREATE SCHEMA fresh").await.unwrap();
    let url = app.setting("postgres.url");
    app.set("postgres.url", &format!("{url}?options[search_path]=fresh"));
    app.set("postgres.statement_timeout", "500ms");
    // The migration waits for this transaction when it creates the same table.
    let mut writer = app.pool.begin().await.unwrap();
    writer.execute("CREATE TABLE fresh.effects ()").await.unwrap();
    let release = async {
        let attempts = format!("SELECT query_start FROM {}", waiting("CREATE TABLE", "1 s"));
        let mut seen: BTreeSet<OffsetDateTime> = BTreeSet::new();
        eventually("a second attempt", async || {
            let found = sqlx::query_scalar::<_, OffsetDateTime>(AssertSqlSafe(attempts.as_str()));
            seen.extend(found.fetch_all(&app.pool).await.unwrap());
            (seen.len() > 1).then_some(())
        })
        .await;
        writer.rollback().await.unwrap();
    };
    let (migrated, ()) = tokio::join!(app.cli(&["migrate"]), release);
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    assert!(migrated.stderr.contains("trying again"), "{}", migrated.stderr);
    assert_eq!(app.rows("fresh.effects").await, 0);
    app.set("postgres.url", &url);
}
