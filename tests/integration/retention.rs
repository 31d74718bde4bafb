//! What is finished leaves after its time, and nothing that somebody still needs.
//!
//! The tests pass a later time to the task instead of waiting for it.

use contact_relay::{
    health::Health,
    postgres::Database,
    settings,
    workers::maintenance::{Maintenance, Report},
};
use macro_rules_attribute::apply;
use sqlx::{Acquire as _, Executor as _};
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use crate::support::{app::TestApp, event::Event, eventually, only, test};

const PARTITIONS: &str = "pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relname ~ '_[0-9]+$' \
                          AND i.inhparent =";

/// The task with the test's settings, in this process.
fn maintenance(app: &TestApp) -> Maintenance {
    let pairs = app.environment_of_processes().into_iter().map(|(name, value)| (name.into(), value.into()));
    let settings = settings::load(None, pairs).unwrap().settings;
    let database = Database::new(&settings.postgres, "test").unwrap();
    Maintenance { settings: settings.into(), database, health: Health::default() }
}

async fn round(app: &TestApp, days: i64) -> Report {
    let now = OffsetDateTime::now_utc() + Duration::days(days);
    maintenance(app).round(now, &CancellationToken::new()).await.unwrap()
}

async fn partitions(app: &TestApp, table: &str) -> i64 {
    app.rows(&format!("{PARTITIONS} '{table}'::regclass")).await
}

/// Rows in the default partition.
async fn moved(app: &TestApp, table: &str) -> i64 {
    app.rows(&format!("{table}_default")).await
}

async fn insert_deliveries(app: &TestApp, state: &str, count: i32) {
    let insert = "INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id,
            trigger_name, endpoint_id, method, url, headers, newest_only, awaited, digest, state)
         SELECT 'acme', gen_random_uuid(), now(), gen_random_uuid(), 1, 's', 'e', 't', gen_random_uuid(), 'POST',
            'https://hooks.example/', '[]', false, false, false, $1 FROM generate_series(1, $2)";
    sqlx::query(insert).bind(state).bind(count).execute(&app.pool).await.unwrap();
}

#[apply(test)]
async fn partitions_are_made_ahead_and_dropped(app: &TestApp) {
    assert_eq!(partitions(app, "webhook_deliveries").await, 8);
    assert_eq!(partitions(app, "webhook_attempts").await, 8);
    assert_eq!(partitions(app, "trigger_events").await, 4);
    assert_eq!(round(app, 0).await, Report::default(), "everything is there");
    let report = round(app, 3).await;
    assert_eq!(
        (report.made, report.dropped),
        (6 + u64::from(partitions(app, "trigger_events").await > 4), 0)
    );
    round(app, 60).await;
    assert_eq!(partitions(app, "webhook_deliveries").await, 8, "today's and a week");
    assert!(partitions(app, "trigger_events").await > 4, "the history is kept for ever");
    app.set("retention.history", "31d");
    round(app, 100).await;
    round(app, 100).await;
    assert!((4..=6).contains(&partitions(app, "trigger_events").await));
}

#[apply(test)]
async fn event_whose_rows_have_left_is_still_applied_once(app: &TestApp) {
    let service = app.run(&[]).await;
    let event = Event::lead("Ada").email("ada@analytical.example").webhook(&app.receiver.url("/ok"));
    app.broker.publish(&event).await;
    app.webhooks(1).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.wait_for_unsent(0).await;
    assert_eq!(app.broker.hear(1).await.len(), 1);
    let delivery: uuid::Uuid =
        sqlx::query_scalar("SELECT delivery_id FROM webhook_deliveries").fetch_one(&app.pool).await.unwrap();
    app.set("retention.history", "31d");
    assert!(round(app, 100).await.dropped >= 3);
    for table in ["webhook_deliveries", "all_webhook_attempts", "trigger_events"] {
        assert_eq!(app.rows(table).await, 0, "{table}");
    }
    app.broker.publish(&event).await;
    app.broker.publish(&Event::lead("Grace").webhook(&app.receiver.url("/ok?next"))).await;
    // The next event ends after the redelivered one.
    assert_eq!(app.webhooks(2).await.len(), 2);
    app.wait_for_deliveries("delivered", 1).await;
    app.queues_are_empty().await;
    assert_eq!((app.receiver.requests().len(), app.rows("contacts").await), (2, 2));
    assert_eq!(app.rows("contacts WHERE version = 1").await, 2);
    assert_eq!(app.rows("dead_letters").await, 0);
    assert_eq!(app.cli(&["delivery", "show", &delivery.to_string()]).await.code, Some(1));
    let contact: uuid::Uuid = sqlx::query_scalar("SELECT contact_id FROM contacts WHERE email IS NOT NULL")
        .fetch_one(&app.pool)
        .await
        .unwrap();
    let history = app.cli(&["contact", "history", "--company", "acme", &contact.to_string()]).await;
    assert_eq!(history.code, Some(0));
    assert!(history.stderr.contains("has left the history"), "{}", history.stderr);
    assert!(service.get("/healthz").await.is_some());
}

#[apply(test)]
async fn open_dead_letter_is_replayed_after_its_day_was_dropped(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").webhook(&app.receiver.url("/flaky/3"))).await;
    app.broker.publish(&Event::lead("Grace").webhook(&app.receiver.url("/ok"))).await;
    app.wait_for_deliveries("delivered", 1).await;
    let dead = app.wait_for_dead_letter().await;
    app.wait_for_unsent(0).await;
    assert!(round(app, 60).await.dropped >= 2);
    assert_eq!((app.deliveries("dead").await, app.deliveries("delivered").await), (1, 0));
    assert_eq!((moved(app, "webhook_deliveries").await, moved(app, "webhook_attempts").await), (1, 3));
    assert_eq!(round(app, 60).await.deleted, 0, "it is still open");
    app.json(&["dead-letter", "replay", &dead.id.to_string(), "--yes"]).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved").await;
    assert!(round(app, 200).await.deleted >= 5, "delivery, attempts and dead letter");
    for table in ["webhook_deliveries", "all_webhook_attempts", "dead_letters"] {
        assert_eq!(app.rows(table).await, 0, "{table}");
    }
}

#[apply(test)]
async fn pending_delivery_is_sent_after_its_day_was_dropped(app: &TestApp) {
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").webhook(&app.receiver.url("/flaky/1"))).await;
    app.wait_for_rows("webhook_pending WHERE attempts = 1", 1).await;
    app.wait_for_unsent(0).await;
    round(app, 60).await;
    assert_eq!((app.deliveries("pending").await, moved(app, "webhook_deliveries").await), (1, 1));
    app.json(&["delivery", "resend", "--state", "pending", "--yes"]).await;
    app.wait_for_deliveries("delivered", 1).await;
    assert_eq!(app.rows("webhook_attempts").await, 2);
}

#[apply(test)]
async fn processes_share_the_work(app: &TestApp) {
    let tasks = [maintenance(app), maintenance(app), maintenance(app)];
    let now = OffsetDateTime::now_utc() + Duration::days(60);
    let stop = CancellationToken::new();
    let reports = futures_util::future::join_all(tasks.iter().map(|task| task.round(now, &stop))).await;
    assert_eq!(reports.iter().filter(|report| report.is_err()).count(), 0, "{reports:?}");
    // What one of them left to another that was busy is done by the next round.
    round(app, 60).await;
    assert_eq!(partitions(app, "webhook_deliveries").await, 8);
    assert_eq!(partitions(app, "webhook_attempts").await, 8);
}

/// A transaction that reads an old partition keeps the table locked. The task gives up; workers do not wait for it.
#[apply(test)]
async fn partition_that_is_in_use_is_dropped_later(app: &TestApp) {
    app.run(&[]).await;
    let mut holder = app.pool.acquire().await.unwrap();
    let mut transaction = holder.begin().await.unwrap();
    transaction.execute("LOCK TABLE webhook_deliveries IN ACCESS SHARE MODE").await.unwrap();
    let report = round(app, 60).await;
    assert!(report.postponed == 2 && report.dropped >= 8, "{report:?}");
    app.broker.publish(&Event::lead("Ada").webhook(&app.receiver.url("/ok"))).await;
    app.wait_for_deliveries("delivered", 1).await;
    transaction.rollback().await.unwrap();
    app.wait_for_unsent(0).await;
    assert_eq!(round(app, 60).await.postponed, 0);
    assert_eq!(partitions(app, "webhook_deliveries").await, 8);
    assert_eq!(app.deliveries("delivered").await, 0);
}

/// The connection ends in the middle of the drop, as when the process is killed: the partition is detached, and its
/// unfinished rows are about to move.
#[apply(test)]
async fn drop_that_is_cut_off_changes_nothing(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").webhook(&app.receiver.url("/status/404"))).await;
    app.wait_for_dead_letter().await;
    app.wait_for_unsent(0).await;
    let cut = "CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql AS
                   'BEGIN PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END';
               CREATE TRIGGER cut BEFORE INSERT ON webhook_deliveries_default FOR EACH ROW EXECUTE FUNCTION cut()";
    app.pool.execute(cut).await.unwrap();
    let now = OffsetDateTime::now_utc() + Duration::days(60);
    let stop = CancellationToken::new();
    assert!(maintenance(app).round(now, &stop).await.is_err(), "it was cut off");
    assert_eq!((app.deliveries("dead").await, moved(app, "webhook_deliveries").await), (1, 0));
    app.pool.execute("DROP TRIGGER cut ON webhook_deliveries_default").await.unwrap();
    eventually("the next round finishes", async || (round(app, 60).await.postponed == 0).then_some(())).await;
    let dead = only(app.dead_letters().await);
    assert_eq!((app.deliveries("dead").await, moved(app, "webhook_deliveries").await), (1, 1));
    assert_eq!((dead.state.as_str(), partitions(app, "webhook_deliveries").await), ("open", 8));
}

#[apply(test)]
async fn partition_with_many_unfinished_rows_stays(app: &TestApp) {
    insert_deliveries(app, "pending", 5001).await;
    let report = round(app, 60).await;
    assert_eq!((app.deliveries("pending").await, moved(app, "webhook_deliveries").await), (5001, 0));
    assert_eq!((report.postponed, partitions(app, "webhook_deliveries").await), (0, 9));
    app.pool
        .execute("UPDATE webhook_deliveries SET state = 'delivered' WHERE delivery_id > '20000000-0000-0000-0000-000000000000'")
        .await
        .unwrap();
    round(app, 60).await;
    let left = app.deliveries("pending").await;
    assert_eq!((moved(app, "webhook_deliveries").await, left > 0), (left, true));
    assert_eq!(partitions(app, "webhook_deliveries").await, 8);
}

/// After an outage of the task, today's rows are in the default partition.
#[apply(test)]
async fn rows_without_a_partition_are_kept_and_leave_by_age(app: &TestApp) {
    let day = OffsetDateTime::now_utc().date().to_string().replace('-', "");
    for table in ["webhook_deliveries", "webhook_attempts"] {
        let drop = format!("DROP TABLE {table}_{day}");
        sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&app.pool).await.unwrap();
    }
    let service = app.run(&["upsert"]).await;
    eventually("the task has repaired it", async || {
        (partitions(app, "webhook_deliveries").await == 8).then_some(())
    })
    .await;
    service.kill9().await;
    let drop = format!("DROP TABLE webhook_deliveries_{day}");
    sqlx::query(sqlx::AssertSqlSafe(drop)).execute(&app.pool).await.unwrap();
    insert_deliveries(app, "delivered", 2500).await;
    assert_eq!(moved(app, "webhook_deliveries").await, 2500);
    assert_eq!(
        round(app, 0).await,
        Report::default(),
        "it has rows of today, so there is no partition of today"
    );
    assert_eq!(round(app, 29).await.deleted, 0);
    assert_eq!(round(app, 31).await.deleted, 2500);
    app.run(&["upsert"]).await;
}
