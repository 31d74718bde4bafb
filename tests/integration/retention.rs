//! What is finished leaves after its time, and nothing that somebody still needs.
//!
//! The tests pass a later time to the task instead of waiting for it.

mod cost;
mod kept;
mod partitions;

use contact_relay::{
    health::Health,
    postgres::Database,
    settings,
    workers::maintenance::{Maintenance, Report},
};
use macro_rules_attribute::apply;
use sqlx::{Executor as _, PgExecutor};
use time::{Duration, OffsetDateTime};
use tokio_util::sync::CancellationToken;

use crate::support::{app::TestApp, event::Event, eventually, test};

const PARTITIONS: &str = "pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE c.relname ~ '_[0-9]+$' \
                          AND i.inhparent =";

/// The task with the test's settings, in this process.
fn maintenance(app: &TestApp) -> Maintenance {
    let pairs = app.environment_of_processes().into_iter().map(|(name, value)| (name.into(), value.into()));
    let settings = settings::load(None, pairs).unwrap().settings;
    let database = Database::new(&settings.postgres, "test").unwrap();
    Maintenance { settings: settings.into(), database, health: Health::default() }
}

/// One round, so many days from now. It gives up when others use the tables.
async fn one_round(app: &TestApp, days: i64) -> Report {
    let now = OffsetDateTime::now_utc() + Duration::days(days);
    maintenance(app).round(now, &CancellationToken::new()).await.unwrap()
}

/// As many rounds as it takes, and what they did together.
async fn round(app: &TestApp, days: i64) -> Report {
    let mut all = Report::default();
    eventually("nothing is postponed", async || {
        let Report { made, dropped, deleted, postponed } = one_round(app, days).await;
        all.made += made;
        all.dropped += dropped;
        all.deleted += deleted;
        (postponed == 0).then_some(())
    })
    .await;
    all
}

/// Makes the partitions anew. Those of the database that each test gets a copy of may be from yesterday.
async fn begin_today(app: &TestApp) {
    app.pool.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public").await.unwrap();
    let migrated = app.cli(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
}

async fn partitions(app: &TestApp, table: &str) -> i64 {
    app.rows(&format!("{PARTITIONS} '{table}'::regclass")).await
}

/// Attempts whose delivery is in no partition of the same time.
const ORPHANS: &str = "webhook_attempts a WHERE NOT EXISTS (SELECT FROM webhook_deliveries d \
                       WHERE d.company_id = a.company_id AND d.delivery_id = a.delivery_id AND d.created_at = a.created_at)";

/// Rows in the default partition.
async fn moved(app: &TestApp, table: &str) -> i64 {
    app.rows(&format!("{table}_default")).await
}

async fn insert_deliveries(executor: impl PgExecutor<'_>, state: &str, count: i32) {
    let insert = "INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id,
            trigger_name, endpoint_id, method, url, headers, newest_only, awaited, digest, state)
         SELECT 'acme', gen_random_uuid(), now(), gen_random_uuid(), 1, 's', 'e', 't', gen_random_uuid(), 'POST',
            'https://hooks.example/', '[]', false, false, false, $1 FROM generate_series(1, $2)";
    sqlx::query(insert).bind(state).bind(count).execute(executor).await.unwrap();
}

#[apply(test)]
async fn partitions_are_made_ahead_and_dropped(app: &TestApp) {
    begin_today(app).await;
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
    app.broker.publish(&Event::lead("Grace").webhook(&app.receiver.url("/ok/next"))).await;
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
    assert_eq!(app.rows(ORPHANS).await, 0);
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
