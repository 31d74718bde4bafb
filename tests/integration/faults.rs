//! Faults: kills, outages, drains. In the end, every event is applied once, every webhook delivered, every
//! `contact.upserted` published, and no message is a dead letter.

mod certificates;
mod commits;
mod connections;
mod database;
mod dead_letters;
mod kills;
mod lanes;
mod long_outages;
mod outages;
mod parked;
mod rows;
mod shutdown;
mod takeovers;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use crate::support::{app::TestApp, event::Event, eventually, process::Process};

/// Sets shorter deadlines than in production for broker and database, so that faults are noticed soon. They are long enough for
/// a slow machine to connect; what takes longer there is done again, with the same result.
fn impatient(app: &TestApp) {
    for (key, value) in [
        ("amqp.heartbeat", "4s"),
        ("amqp.connect_timeout", "5s"),
        ("amqp.publish_timeout", "4s"),
        ("postgres.acquire_timeout", "5s"),
        ("postgres.statement_timeout", "4s"),
        ("outbox.lease", "2s"),
        ("outbox.retry_interval", "1s"),
        ("webhook.retry_schedule", "200ms,200ms,1s,1s,1s"),
    ] {
        app.set(key, value);
    }
}

/// Events about different people, each with a webhook.
fn leads(app: &TestApp, numbers: Range<usize>) -> Vec<Event> {
    leads_to(&app.receiver.url("/ok"), numbers)
}

fn leads_to(url: &str, numbers: Range<usize>) -> Vec<Event> {
    numbers.map(|n| Event::lead("Ada").email(&format!("lead-{n}@load.example")).webhook(url)).collect()
}

/// Waits until at least `count` events are applied.
async fn applied(app: &TestApp, count: usize) {
    app.wait_for_at_least(count.try_into().unwrap(), "trigger_events").await;
}

/// Publishes `count` leads, starts the service with small batches, and waits until a tenth is applied.
async fn mid_load(app: &TestApp, count: usize) -> Process {
    app.set("upsert.batch_size", "20");
    app.broker.declare().await;
    app.broker.publish_all(&leads(app, 0..count)).await;
    let process = app.spawn(&["run"]);
    applied(app, count / 10).await;
    process
}

/// Waits until `count` leads are done, and checks all numbers.
async fn all_done(app: &TestApp, count: usize) {
    let expected = i64::try_from(count).unwrap();
    app.wait_for_rows("trigger_events", expected).await;
    app.wait_for_deliveries("delivered", expected).await;
    app.wait_for_unpublished(0).await;
    assert_eq!(app.rows("webhook_deliveries").await, expected);
    assert_eq!(app.rows("contacts").await, expected);
    assert_eq!(app.rows("contacts WHERE version = 1").await, expected);
    assert_eq!(app.rows("contact_identifiers").await, expected);
    assert_eq!(app.rows("dead_letters").await, 0);
    app.wait_for_rows("crash_suspects", 0).await;
    let requests = app.receiver.requests();
    let webhooks: BTreeSet<_> = requests.iter().filter_map(|request| request.header("webhook-id")).collect();
    assert_eq!(webhooks.len(), count, "webhooks");
    let mut ids: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for heard in app.broker.hear(count).await {
        assert_eq!(heard.routing_key, "contact.upserted.created");
        let event = heard.body.pointer("/data/trigger/eventId").and_then(|id| id.as_str()).unwrap();
        let id = heard.properties.message_id().as_ref().unwrap().to_string();
        ids.entry(event.to_owned()).or_default().insert(id);
    }
    assert_eq!(ids.len(), count, "events with a contact.upserted");
    assert!(ids.values().all(|ids| ids.len() == 1), "one id for each event");
}

/// Waits until `/readyz` reports a fault whose text contains `what`.
async fn not_ready(process: &Process, what: &str) {
    eventually(&format!("/readyz reports `{what}`"), async || {
        let answer = process.get("/readyz").await?;
        (answer.starts_with("HTTP/1.1 503 ") && answer.contains(what)).then_some(())
    })
    .await;
    let alive = process.get("/healthz").await.expect("an answer");
    assert!(alive.starts_with("HTTP/1.1 200 "), "{alive}");
}

/// An outage must not cause a hot loop, however long it takes: the log stays short.
fn assert_calm(process: &Process) {
    let lines = process.log().lines().count();
    let most = 100 + 20 * process.age().as_secs();
    assert!(u64::try_from(lines).unwrap() < most, "{lines} lines where {most} are too many");
}
