//! Commands of operators lock rows in the same order as the workers, and retry what loses a race.

use std::collections::BTreeSet;

use contact_relay::{domain::event::CompanyId, postgres::suppressions};
use macro_rules_attribute::apply;
use sqlx::{AssertSqlSafe, PgPool};

use crate::support::{app::TestApp, event::Event, test};

/// Tables that come after `webhook_pending` in the lock order, as far as a command locks rows of them.
const LATER: [&str; 4] = ["webhook_deliveries", "webhook_endpoints", "dead_letters", "chain_results"];

/// Two pending deliveries of one contact, each with a dead letter that is being replayed. No worker is running.
async fn replaying(app: &TestApp) {
    app.run(&[]).await;
    let event =
        Event::lead("Ada").email("ada@x.example").with("/data/trigger/interpretResponse", true.into());
    let event = ["/status/404", "/status/400"]
        .iter()
        .fold(event, |event, path| event.webhook(&app.receiver.url(path)));
    app.broker.publish(&event).await;
    app.wait_for_deliveries("dead", 2).await;
    app.queues_are_empty().await;
    app.stop().await;
    succeed(app, &["dead-letter", "replay", "--all", "--yes"]).await;
    assert_eq!(app.rows("webhook_pending").await, 2);
}

async fn succeed(app: &TestApp, command: &[&str]) {
    let ended = app.cli(command).await;
    assert_eq!(ended.code, Some(0), "{command:?}: {}", ended.stderr);
}

/// Locks every row of the tables, and fails if anybody else has one.
async fn lock_all(pool: &PgPool, tables: &[&str]) {
    let mut transaction = pool.begin().await.unwrap();
    for table in tables {
        let lock = format!("SELECT FROM {table} FOR UPDATE NOWAIT");
        let locked = sqlx::query(AssertSqlSafe(lock)).execute(&mut *transaction).await;
        assert!(locked.is_ok(), "a command that waits for webhook_pending has locked {table}: {locked:?}");
    }
    transaction.rollback().await.unwrap();
}

/// A worker that has locked a pending delivery locks its other rows next. Whoever waits for it must have none of them.
#[apply(test)]
async fn commands_wait_for_pending_deliveries_before_they_lock_anything_later(app: &TestApp) {
    replaying(app).await;
    let contact: String =
        sqlx::query_scalar("SELECT contact_id::text FROM contacts").fetch_one(&app.pool).await.unwrap();
    let operator = ["--yes", "--operator", "grace"];
    for command in [
        &["dead-letter", "replay", "--all", "--yes"][..],
        &["delivery", "resend", "--state", "pending", "--yes"],
        &["delivery", "discard", "--state", "pending", "--yes"],
        &["delivery", "resend", "--state", "discarded", "--yes"],
        &[&["dead-letter", "discard", "--all"], &operator[..]].concat(),
        &["delivery", "resend", "--state", "discarded", "--yes"],
        &[&["contact", "erase", "--company", "acme", &contact], &operator[..]].concat(),
    ] {
        let mut worker = app.pool.begin().await.unwrap();
        let lock = "SELECT FROM webhook_pending FOR UPDATE";
        let pending = sqlx::query(lock).execute(&mut *worker).await.unwrap().rows_affected();
        let watch = async {
            // Nothing of a discarded delivery is pending, so nobody has locked it.
            if pending > 0 {
                app.wait_for_blocked_sessions(1).await;
                lock_all(&app.pool, &LATER).await;
            }
            worker.rollback().await.unwrap();
        };
        tokio::join!(succeed(app, command), watch);
    }
    assert_eq!((app.rows("webhook_pending").await, app.rows("contacts").await), (0, 0));
    app.run(&[]).await;
}

/// Worker 1 locks a lane with a rate limit before it resolves a dead letter.
#[apply(test)]
async fn replay_waits_for_lanes_before_it_locks_dead_letters(app: &TestApp) {
    replaying(app).await;
    let discard = ["dead-letter", "discard", "--all", "--yes", "--operator", "grace"];
    succeed(app, &discard).await;
    succeed(app, &["dead-letter", "restore", "--all", "--yes", "--operator", "grace"]).await;
    let mut worker = app.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM webhook_endpoints FOR UPDATE").execute(&mut *worker).await.unwrap();
    let watch = async {
        app.wait_for_blocked_sessions(1).await;
        lock_all(&app.pool, &["dead_letters"]).await;
        worker.rollback().await.unwrap();
    };
    tokio::join!(succeed(app, &["dead-letter", "replay", "--all", "--yes"]), watch);
    app.run(&[]).await;
}

/// Sessions that wait for an advisory lock, by its mode.
const WAITING: &str = "pg_locks l JOIN pg_database d ON d.oid = l.database
    WHERE d.datname = current_database() AND l.locktype = 'advisory' AND NOT l.granted AND l.mode =";

/// An erasure waits for transactions that have looked for erased people, and others wait for the erasure before they look.
/// They must not have locked a dead letter that one of the first needs.
#[apply(test)]
async fn worker_waits_for_an_erasure_before_it_locks_a_dead_letter(app: &TestApp) {
    app.run(&["upsert"]).await;
    app.broker.publish(&Event::lead("Ada").argument("interest", 7)).await;
    app.wait_for_rows("dead_letters", 1).await;
    let (mut first, mut erasure) = (app.pool.begin().await.unwrap(), app.pool.begin().await.unwrap());
    suppressions::last_erasures(&mut first, &BTreeSet::from(["acme"]), 1).await.unwrap();
    let acme = CompanyId::new("acme").unwrap();
    let waits = async {
        suppressions::await_dead_letters(&mut erasure, &acme).await.unwrap();
        erasure.rollback().await.unwrap();
    };
    let others = async {
        app.wait_for_at_least(1, &format!("{WAITING} 'ExclusiveLock'")).await;
        succeed(app, &["dead-letter", "replay", "--all", "--yes"]).await;
        app.wait_for_at_least(1, &format!("{WAITING} 'ShareLock'")).await;
        let lock = "SELECT FROM dead_letters FOR UPDATE NOWAIT";
        let locked = sqlx::query(lock).execute(&mut *first).await;
        assert!(locked.is_ok(), "a worker that waits for an erasure has locked a dead letter: {locked:?}");
        first.rollback().await.unwrap();
    };
    tokio::join!(waits, others);
    app.wait_for_rows("dead_letters WHERE state = 'open' AND attempts = 2", 1).await;
    app.run(&["webhook"]).await;
}

/// Refuses the first changes of dead letters as the database does when it ends a deadlock.
const DEADLOCKS: [&str; 3] = [
    "CREATE SEQUENCE changes",
    "CREATE FUNCTION deadlock() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
         IF nextval('changes') % 3 > 0 THEN RAISE EXCEPTION 'deadlock detected' USING ERRCODE = '40P01'; END IF;
         RETURN NEW; END $$",
    "CREATE TRIGGER deadlock BEFORE UPDATE ON dead_letters FOR EACH STATEMENT EXECUTE FUNCTION deadlock()",
];

#[apply(test)]
async fn deadlock_is_not_the_operators_concern(app: &TestApp) {
    replaying(app).await;
    for statement in DEADLOCKS {
        sqlx::query(statement).execute(&app.pool).await.unwrap();
    }
    let changes = async || app.count("SELECT last_value FROM changes").await;
    succeed(app, &["dead-letter", "discard", "--reason", "webhook_rejected", "--yes", "--operator", "ada"])
        .await;
    assert_eq!((changes().await, app.deliveries("discarded").await), (3, 2));
    succeed(app, &["delivery", "resend", "--state", "discarded", "--yes"]).await;
    assert_eq!((changes().await, app.rows("webhook_pending").await), (6, 2));
    succeed(app, &["dead-letter", "replay", "--all", "--yes"]).await;
    assert_eq!(changes().await, 9);
    assert_eq!(app.rows("dead_letters WHERE state = 'replaying'").await, 2);
    sqlx::query("DROP TRIGGER deadlock ON dead_letters").execute(&app.pool).await.unwrap();
    app.run(&[]).await;
    app.wait_for_deliveries("dead", 2).await;
}
