//! What stays although it is old, because something else depends on it, and what need not stay.

use contact_relay::{
    domain::{event::Key, webhook::endpoint::Terms},
    postgres::{
        endpoints::{self, Registration},
        partitions::{self, Change, TABLES, Unfinished},
    },
};
use macro_rules_attribute::apply;
use sqlx::AssertSqlSafe;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{ORPHANS, moved, round};
use crate::support::{app::TestApp, event::Event, test};

/// An attempt leaves with its delivery, however much later it was made.
#[apply(test)]
async fn late_attempt_does_not_outlive_its_delivery(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").webhook(&app.receiver.url("/status/404"))).await;
    let dead = app.wait_for_dead_letter().await;
    app.wait_for_unsent(0).await;
    // As if the event had been applied four weeks ago.
    for table in ["webhook_deliveries", "webhook_attempts"] {
        let age = format!("UPDATE {table} SET created_at = created_at - interval '28 days'");
        sqlx::query(AssertSqlSafe(age)).execute(&app.pool).await.unwrap();
    }
    app.json(&["dead-letter", "replay", &dead.id.to_string(), "--yes"]).await;
    app.wait_for_rows("webhook_attempts", 2).await;
    app.the_dead_letter("open again", |dead| dead.state == "open" && dead.replays == 1).await;
    assert_eq!((app.rows(ORPHANS).await, moved(app, "webhook_attempts").await), (0, 2));
    let shown = app.json(&["delivery", "show", &dead.delivery_id.unwrap().to_string()]).await;
    assert_eq!(shown["attemptLog"].as_array().map(Vec::len), Some(2));
    app.json(&["dead-letter", "discard", &dead.id.to_string(), "--yes", "--operator", "grace"]).await;
    round(app, 1).await;
    assert_eq!(
        (app.rows("webhook_deliveries").await, app.rows("webhook_attempts").await),
        (1, 2),
        "not 30 days old"
    );
    // The first round removes the dead letter, the second one what it kept.
    for _ in 0..2 {
        round(app, 100).await;
    }
    assert_eq!((app.rows("webhook_deliveries").await, app.rows("webhook_attempts").await), (0, 0));
}

/// As long as its dead letter can be restored.
#[apply(test)]
async fn discarded_delivery_can_be_restored_and_replayed_after_its_day_was_dropped(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").webhook(&app.receiver.url("/flaky/3"))).await;
    let dead = app.wait_for_dead_letter().await;
    app.wait_for_unsent(0).await;
    let id = dead.id.to_string();
    app.json(&["dead-letter", "discard", &id, "--yes"]).await;
    round(app, 60).await;
    assert_eq!((moved(app, "webhook_deliveries").await, moved(app, "webhook_attempts").await), (1, 3));
    assert_eq!(round(app, 60).await.deleted, 0, "its dead letter is still there");
    app.json(&["dead-letter", "restore", &id, "--yes"]).await;
    app.json(&["dead-letter", "replay", &id, "--yes"]).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved").await;
}

/// As if it had left before its dead letter, which an older version allowed.
#[apply(test)]
async fn dead_letter_without_its_delivery_is_neither_restored_nor_replayed(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").webhook(&app.receiver.url("/status/404"))).await;
    let dead = app.wait_for_dead_letter().await;
    app.wait_for_unsent(0).await;
    sqlx::query("DELETE FROM webhook_deliveries").execute(&app.pool).await.unwrap();
    let id = dead.id.to_string();
    for (verb, state) in [("replay", "open"), ("restore", "discarded")] {
        let refused = app.cli(&["dead-letter", verb, &id, "--yes", "-o", "json"]).await;
        assert_eq!(refused.code, Some(3), "{}", refused.stdout);
        assert!(refused.stderr.contains("skipped: 1 delivery_gone"), "{}", refused.stderr);
        app.the_dead_letter("as it was", |dead| dead.state == state && dead.replays == 0).await;
        if verb == "replay" {
            app.json(&["dead-letter", "discard", &id, "--yes"]).await;
        }
    }
    assert_eq!(app.rows("operation_items WHERE outcome = 'skipped' AND detail = 'delivery_gone'").await, 2);
    assert_eq!(app.receiver.requests().len(), 1);
}

/// It died again and was discarded after the rows of its partition had been read.
#[apply(test)]
async fn delivery_that_is_discarded_again_while_its_day_is_dropped_stays(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").webhook(&app.receiver.url("/status/404"))).await;
    let dead = app.wait_for_dead_letter().await;
    app.wait_for_unsent(0).await;
    let table = TABLES.iter().find(|table| table.name == "webhook_deliveries").unwrap();
    let today = OffsetDateTime::now_utc().date();
    let mut conn = app.pool.acquire().await.unwrap();
    let unread = Unfinished::begin(&mut conn, table, today).await.unwrap();
    // In the test, the reading finds nothing, as if the delivery had been delivered when it was read.
    app.json(&["dead-letter", "replay", &dead.id.to_string(), "--yes"]).await;
    app.the_dead_letter("open again", |dead| dead.state == "open" && dead.replays == 1).await;
    app.json(&["dead-letter", "discard", &dead.id.to_string(), "--yes"]).await;
    let dropped = partitions::drop(&mut conn, table, today, &unread).await.unwrap();
    assert_eq!((dropped, moved(app, "webhook_deliveries").await), (Change::Done, 1));
}

fn version(url: &str, name: &str) -> Event {
    Event::lead(name).email("ada@order.example").webhook(url)
}

/// A replay must not send old data after new data, even when the newer delivery is old as well.
#[apply(test)]
async fn newest_version_stays_while_an_older_one_can_be_replayed(app: &TestApp) {
    let url = app.receiver.url("/status/400/1");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", newest_only = true }}]"#));
    app.run(&[]).await;
    app.broker.publish(&version(&url, "Old")).await;
    let dead = app.wait_for_dead_letter().await;
    for (count, name) in [(1, "Newer"), (2, "Newest")] {
        app.broker.publish(&version(&url, name)).await;
        app.wait_for_deliveries("delivered", count).await;
    }
    app.broker.publish(&Event::lead("Grace").email("grace@order.example").webhook(&url)).await;
    app.wait_for_deliveries("delivered", 3).await;
    app.wait_for_unsent(0).await;
    for _ in 0..2 {
        round(app, 60).await;
        assert_eq!((app.deliveries("dead").await, app.deliveries("delivered").await), (1, 1));
        assert_eq!(app.rows("webhook_deliveries_default WHERE contact_version = 3").await, 1, "the newest");
    }
    app.json(&["dead-letter", "replay", &dead.id.to_string(), "--yes"]).await;
    app.wait_for_deliveries("superseded", 1).await;
    assert_eq!(app.receiver.requests().len(), 4);
    round(app, 60).await;
    assert_eq!(app.rows("webhook_deliveries").await, 0, "nothing depends on it any more");
}

/// A newer version that is old stays also for one that still waits.
#[apply(test)]
async fn newest_version_stays_while_an_older_one_is_pending(app: &TestApp) {
    let rows = "INSERT INTO webhook_deliveries (company_id, delivery_id, created_at, event_key, step, source, event_id,
            trigger_name, endpoint_id, contact_id, contact_version, method, url, headers, newest_only, awaited, digest, state)
         SELECT 'acme', gen_random_uuid(), now() - n * interval '1 day', gen_random_uuid(), 1, 's', 'e', 't', $1, $1, 10 - n,
            'POST', 'https://hooks.example/', '[]', true, false, false, CASE n WHEN 3 THEN 'pending' ELSE 'delivered' END
         FROM generate_series(1, 4) n";
    sqlx::query(rows).bind(Uuid::nil()).execute(&app.pool).await.unwrap();
    let pending = "INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts,
            schedule_from, round_started_at, contact_id, contact_version)
         SELECT company_id, delivery_id, created_at, endpoint_id, now(), 0, 0, now(), contact_id, contact_version
         FROM webhook_deliveries WHERE state = 'pending'";
    sqlx::query(pending).execute(&app.pool).await.unwrap();
    round(app, 60).await;
    let versions = "SELECT contact_version FROM webhook_deliveries ORDER BY 1";
    let versions: Vec<i64> = sqlx::query_scalar(versions).fetch_all(&app.pool).await.unwrap();
    assert_eq!(versions, [7, 9], "the pending one, and the newest");
}

/// What a result still has to report stays: one of its webhooks ended long before the other.
#[apply(test)]
async fn attempts_stay_for_an_awaited_result(app: &TestApp) {
    app.set("webhook.retry_schedule", "10ms,1h");
    app.run(&[]).await;
    let event =
        Event::lead("Ada").webhook(&app.receiver.url("/flaky/1")).webhook(&app.receiver.url("/status/503"));
    app.broker.publish(&event.with("/data/trigger/interpretResponse", true.into())).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.wait_for_rows("webhook_pending WHERE attempts = 2", 1).await;
    app.wait_for_unsent(0).await;
    round(app, 60).await;
    assert_eq!(moved(app, "webhook_attempts").await, 4, "two of each");
    assert_eq!(app.rows("chain_results").await, 1);
}

/// Merges stay, because an unmerge needs them.
#[apply(test)]
async fn conflicts_leave_with_the_history(app: &TestApp) {
    app.set("retention.history", "31d");
    app.set("contacts.max_identifiers", "2");
    app.run(&[]).await;
    let (phone, email) = ("+55 11 98765-4321", |n: u32| format!("ada{n}@x.example"));
    let ada = |n: u32| Event::lead("Ada").phone(phone).email(&email(n));
    let apart = [Event::lead("Ada").phone(phone), Event::lead("Ada").email(&email(1))];
    app.broker.publish_in_turn(&apart).await;
    app.broker.publish_in_turn(&[ada(1), ada(2)]).await;
    app.broker.publish(&ada(3)).await;
    app.wait_for_dead_letters_because("contact_conflict", 1).await;
    app.wait_for_unpublished(0).await;
    for (days, conflicts) in [(30, 1), (60, 0)] {
        round(app, days).await;
        assert_eq!(app.rows("contact_links WHERE kind = 'conflict'").await, conflicts, "after {days} days");
    }
    assert_eq!(app.rows("contact_links WHERE kind = 'merged'").await, 1);
}

/// An erasure finds a kept delivery although its event has left the history, and nothing in it names the person.
#[apply(test)]
async fn kept_delivery_is_erased_without_its_history(app: &TestApp) {
    app.set("retention.history", "31d");
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").webhook(&app.receiver.url("/status/404"))).await;
    app.wait_for_dead_letter().await;
    app.wait_for_unsent(0).await;
    app.wait_for_unpublished(0).await;
    round(app, 100).await;
    assert_eq!((app.rows("trigger_events").await, app.deliveries("dead").await), (0, 1));
    let id: Uuid = sqlx::query_scalar("SELECT contact_id FROM contacts").fetch_one(&app.pool).await.unwrap();
    let erased = ["contact", "erase", "--company", "acme", &id.to_string(), "--yes", "--operator", "grace"];
    let removed = &app.json(&erased).await["removed"];
    assert_eq!((&removed["deliveries"], &removed["attempts"]), (&1.into(), &1.into()));
    assert_eq!(
        app.rows("webhook_deliveries WHERE url = '' AND body IS NULL AND state = 'discarded'").await,
        1
    );
    assert_eq!(app.rows("webhook_attempts").await, 0);
}

/// The rows of endpoints that nobody uses leave, and come back with the next event.
#[apply(test)]
async fn unused_endpoint_leaves_and_comes_back(app: &TestApp) {
    let service = app.run(&[]).await;
    let idle = app.receiver.url("/ok");
    app.broker.publish(&Event::lead("Ada").webhook(&idle)).await;
    app.broker.publish(&Event::lead("Bea").webhook(&app.receiver.url("/ok/paused"))).await;
    app.broker.publish(&Event::lead("Cy").webhook(&app.receiver.url("/status/404"))).await;
    app.wait_for_dead_letter().await;
    app.wait_for_deliveries("delivered", 2).await;
    app.wait_for_unsent(0).await;
    app.json(&["endpoint", "pause", &app.receiver.url("/ok/paused"), "--operator", "grace"]).await;
    service.kill9().await;
    round(app, 31).await;
    assert_eq!(app.rows("webhook_endpoints").await, 3, "deliveries have just left");
    round(app, 33).await;
    let left = "SELECT url FROM webhook_endpoints ORDER BY url";
    let left: Vec<String> = sqlx::query_scalar(left).fetch_all(&app.pool).await.unwrap();
    assert_eq!(
        left,
        [app.receiver.url("/ok/paused"), app.receiver.url("/status/404")],
        "one can be replayed"
    );
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Dee").webhook(&idle)).await;
    app.wait_for_deliveries("delivered", 1).await;
    assert_eq!(app.rows("webhook_endpoints").await, 3);
}

/// An endpoint that is old and in use again does not leave, even if its delivery is not committed yet.
#[apply(test)]
async fn endpoint_that_is_registered_again_stays(app: &TestApp) {
    let insert = "INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight, used_at)
         SELECT 'acme', gen_random_uuid(), n::text, 1, now() - interval '60 days' FROM generate_series(1, 1500) n";
    sqlx::query(insert).execute(&app.pool).await.unwrap();
    let used = "SELECT endpoint_id FROM webhook_endpoints WHERE url = '7'";
    let id: Uuid = sqlx::query_scalar(used).fetch_one(&app.pool).await.unwrap();
    let register = || {
        let key = Key { company: "acme".to_owned(), id };
        [Registration { key, url: "7", terms: Terms::default() }]
    };
    let mut writer = app.pool.begin().await.unwrap();
    endpoints::register(&mut writer, &register()).await.unwrap();
    assert_eq!(round(app, 0).await.deleted, 1499);
    writer.commit().await.unwrap();
    assert_eq!((round(app, 0).await.deleted, app.rows("webhook_endpoints").await), (0, 1));
    // Retention was faster.
    assert_eq!(round(app, 60).await.deleted, 1);
    endpoints::register(&mut app.pool.acquire().await.unwrap(), &register()).await.unwrap();
    assert_eq!(app.rows("webhook_endpoints").await, 1);
}
