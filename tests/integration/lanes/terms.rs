//! What an endpoint's lane is told by settings and operators holds, also where it was something else before.

use std::time::Duration;

use sqlx::{Connection as _, PgConnection};
use uuid::Uuid;

use super::{DELIVERED, PENDING, leads};
use crate::support::{Test, app::TestApp, event::Event, tests};

pub(super) fn tests() -> Vec<Test> {
    tests![
        changed_settings_reach_an_endpoint_that_is_there,
        nothing_expires_while_it_waits_for_its_slot,
        an_enabled_endpoint_is_sent_to_at_once,
        who_lost_a_lease_supersedes_nothing,
    ]
}

async fn changed_settings_reach_an_endpoint_that_is_there(app: &TestApp) {
    let url = app.receiver.url("/ok");
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.count_becomes(DELIVERED, 1).await;
    app.stop().await;
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", rate = "5/s", max_in_flight = 3 }}]"#));
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 1, 6)).await;
    app.count_becomes(DELIVERED, 7).await;
    let told = "SELECT count(*) FROM webhook_endpoints WHERE send_interval_us = 200000 AND max_in_flight = 3";
    assert_eq!(app.count(told).await, 1);
}

/// They were put off for longer than the oldest age, by an operator's pause or because no worker ran.
async fn nothing_expires_while_it_waits_for_its_slot(app: &TestApp) {
    let url = app.receiver.url("/limited");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", rate = "100/s" }}]"#));
    app.set("webhook.max_age", "1h");
    app.run(&["upsert"]).await;
    app.broker.publish_all(&leads(&url, 0, 100)).await;
    app.count_becomes(PENDING, 100).await;
    let long_ago = "UPDATE webhook_deliveries SET next_attempt_at = now() - interval '2 hours',
                        round_started_at = now() - interval '2 hours'";
    sqlx::query(long_ago).execute(&app.pool).await.unwrap();
    let service = app.run(&["webhook"]).await;
    // Others, so that it is looked for what is due between two slots.
    for other in leads(&app.receiver.url("/ok"), 100, 20) {
        app.broker.publish(&other).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    app.count_becomes(PENDING, 0).await;
    assert_eq!(app.count(DELIVERED).await, 120);
    assert!(!service.log().contains("waits for the database"), "{}", service.log());
}

/// The path's variables make it one endpoint that answers as the event says.
async fn an_enabled_endpoint_is_sent_to_at_once(app: &TestApp) {
    let url = app.receiver.url("/retry-after/$wait/$times");
    let event = |n: usize, times: u32| {
        let event = Event::lead("Ada").email(&format!("lead-{n}@lane.example")).webhook(&url);
        let parameter = || serde_json::json!({"type": "integer"});
        let event = event.with("/data/trigger/parameters/properties/wait", parameter());
        let event = event.with("/data/trigger/parameters/properties/times", parameter());
        event.argument("wait", 3600).argument("times", times)
    };
    app.run(&[]).await;
    app.broker.publish(&event(0, 0)).await;
    app.count_becomes(DELIVERED, 1).await;
    app.broker.publish(&event(1, 1)).await;
    app.count_becomes("SELECT count(*) FROM webhook_endpoints WHERE held_until > now()", 1).await;
    let [id]: [Uuid; 1] = sqlx::query_scalar("SELECT endpoint_id FROM webhook_endpoints")
        .fetch_all(&app.pool)
        .await
        .unwrap()
        .try_into()
        .unwrap();
    let enabled = app.cli(&["endpoint", "enable", &id.to_string()]).await;
    assert_eq!(enabled.code, Some(0), "{}", enabled.stderr);
    app.broker.publish(&event(2, 0)).await;
    app.count_becomes(DELIVERED, 2).await;
}

const ORDER: &str = include_str!("../../../src/postgres/deliveries/order.sql");

/// A worker that was frozen after its claim, until others had sent what it claimed.
async fn who_lost_a_lease_supersedes_nothing(app: &TestApp) {
    let migrated = app.cli(&["migrate"]).await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    let mut conn = PgConnection::connect(&app.setting("postgres.url")).await.unwrap();
    let fill = "INSERT INTO webhook_deliveries (company_id, delivery_id, event_key, step, source, event_id,
            trigger_name, contact_id, method, url, headers, state, next_attempt_at, endpoint_id, contact_version,
            newest_only, finished_at)
        SELECT 'acme', lpad(n::text, 32, '0')::uuid, gen_random_uuid(), 1, '/s', 'e', 't', $1, 'POST',
            'https://a.example/', '[]', CASE n WHEN 1 THEN 'delivered' ELSE 'pending' END, now(), $1, n, true,
            CASE n WHEN 1 THEN now() END
        FROM generate_series(1, 2) n";
    sqlx::query(fill).bind(Uuid::max()).execute(&mut conn).await.unwrap();
    let mine = vec![Uuid::from_u128(1)];
    let judged = sqlx::query(ORDER).bind(vec!["acme"]).bind(mine).bind(Uuid::now_v7());
    judged.execute(&mut conn).await.unwrap();
    let kept =
        "SELECT count(*) FROM webhook_deliveries WHERE state = 'delivered' AND finished_at IS NOT NULL";
    assert_eq!(app.count(kept).await, 1);
}
