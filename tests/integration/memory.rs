//! Memory is bounded by bytes: what waits at the broker may be larger than the process may ever become.

use std::time::Duration;

use macro_rules_attribute::apply;
use serde_json::{Value, json};
use sqlx::{Acquire as _, Executor as _};
use tokio::time::{Instant, interval};

use crate::support::{alone, app::TestApp, event::Event, process::Process};

const MIB: u64 = 1 << 20;

/// What a process may take, whatever waits for it.
const MOST: u64 = 256 * MIB;

/// Events are published in groups, so that the test itself stays small.
const GROUP: usize = 20;

/// The text of an event without its client data has less.
const ENVELOPE: usize = 4 * 1024;

/// Events of nearly 1 MiB, each about another person.
fn large(count: usize, client_data: &Value) -> Vec<Event> {
    let lead = |n: usize| Event::lead("Ada").email(&format!("lead-{n}@large.example"));
    (0..count).map(|n| lead(n).with("/data/clientData", client_data.clone())).collect()
}

/// One long text: as large decoded as it is encoded.
fn text() -> Value {
    json!({"text": "x".repeat((1 << 20) - ENVELOPE)})
}

async fn publish(app: &TestApp, events: &[Event]) {
    for group in events.chunks(GROUP) {
        app.broker.publish_all(group).await;
    }
}

/// Asserts that the process stays small all the time.
async fn stays_small(process: &Process, time: Duration) {
    let mut tick = interval(Duration::from_millis(100));
    let end = Instant::now() + time;
    while Instant::now() < end {
        tick.tick().await;
        assert_small(process);
    }
}

fn assert_small(process: &Process) {
    let peak = process.peak_memory();
    assert!(peak < MOST, "{} MiB", peak / MIB);
}

/// Nothing can be settled, for longer than the broker is silent at most, and the connection lives.
#[apply(alone)]
async fn large_messages_wait_at_the_broker(app: &TestApp) {
    app.set("amqp.heartbeat", "2s");
    app.set("postgres.statement_timeout", "60s");
    if let Ok(b) = std::env::var("RED_BYTES") { app.set("amqp.prefetch_bytes", &b); }
    app.broker.declare().await;
    publish(app, &large(400, &text())).await;
    let mut holder = app.pool.acquire().await.unwrap();
    let mut transaction = holder.begin().await.unwrap();
    transaction.execute("LOCK TABLE trigger_events IN SHARE MODE").await.unwrap();
    let process = app.run(&[]).await;
    app.wait_for_blocked_sessions(2).await;
    stays_small(&process, Duration::from_secs(7)).await;
    transaction.rollback().await.unwrap();
    app.wait_for_at_least(60, "trigger_events").await;
    println!("peak {} MiB", process.peak_memory() / MIB);
    assert_small(&process);
    let log = process.log();
    assert!(!log.contains("reconnects"), "{log}");
    process.kill9().await;
    app.broker.delete("trigger-fired").await;
}
