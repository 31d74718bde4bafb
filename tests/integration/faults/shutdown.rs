//! SIGTERM: the service finishes its work within the grace period, and no later.

use std::time::Duration;

use macro_rules_attribute::apply;
use tokio::{io::AsyncWriteExt as _, net::TcpStream, time::Instant};

use super::{all_done, applied, impatient, leads_to, mid_load};
use crate::support::{app::TestApp, eventually, process::Process, proxy::Proxy, test};

#[apply(test)]
async fn stop_under_load_finishes_its_work_and_sends_nothing_twice(app: &TestApp) {
    const EVENTS: usize = 2000;
    impatient(app);
    let mut process = mid_load(app, EVENTS).await;
    for round in 2..6 {
        stops_in_order(&process).await;
        process = app.run(&[]).await;
        applied(app, EVENTS * round / 10).await;
    }
    all_done(app, EVENTS).await;
    // Each process finished its own work: nothing was sent twice.
    assert_eq!(app.receiver.requests().len(), EVENTS);
}

#[apply(test)]
async fn open_http_connections_do_not_delay_the_stop(app: &TestApp) {
    let process = app.run(&[]).await;
    let mut fresh = TcpStream::connect(process.http()).await.unwrap();
    let mut begun = TcpStream::connect(process.http()).await.unwrap();
    begun.write_all(b"GET /healthz HTT").await.unwrap();
    process.get("/healthz").await.unwrap();
    let took = stops_in_order(&process).await;
    assert!(took < Duration::from_secs(5), "{took:?}");
    let _ = fresh.shutdown().await;
}

#[apply(test)]
async fn stop_finishes_requests_in_flight(app: &TestApp) {
    impatient(app);
    app.set("webhook.timeout", "10s");
    let process = app.run(&[]).await;
    app.broker.publish_all(&leads_to(&app.receiver.url("/slow/700"), 0..20)).await;
    app.webhooks(20).await;
    stops_in_order(&process).await;
    all_done(app, 20).await;
    // Unacknowledged wake-ups returned to the queue.
    app.run(&[]).await;
    app.queues_are_empty().await;
    assert_eq!(app.receiver.requests().len(), 20);
}

#[apply(test)]
async fn second_signal_stops_at_once(app: &TestApp) {
    let process = hanging(app, "30s").await;
    process.sigterm();
    eventually("it drains", async || process.log().contains("stopping").then_some(())).await;
    assert!(!process.has_ended().await);
    let begun = Instant::now();
    process.sigterm();
    let status = process.ended().await;
    assert_eq!(status.code(), Some(1));
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    app.broker.purge("webhook").await;
}

#[apply(test)]
async fn stop_does_not_wait_longer_than_the_grace_period(app: &TestApp) {
    let process = hanging(app, "1s").await;
    let (code, took) = stops(&process).await;
    assert_eq!(code, Some(1), "work was left");
    assert!(took < Duration::from_secs(4), "{took:?}");
    // Another process takes it over, and no attempt is recorded.
    assert_eq!(app.rows("effects WHERE kind = 'send'").await, 1);
    assert_eq!(app.rows("all_webhook_attempts").await, 0);
    app.broker.purge("webhook").await;
}

#[apply(test)]
async fn stop_during_an_outage_keeps_to_the_grace_period(app: &TestApp) {
    impatient(app);
    let broker = Proxy::before(&app.setting("amqp.url")).await;
    let database = Proxy::before(&app.setting("postgres.url")).await;
    app.set("amqp.url", broker.url());
    app.set("postgres.url", database.url());
    app.set("shutdown.grace", "4s");
    let process = mid_load(app, 500).await;
    broker.freeze();
    database.freeze();
    let (_, took) = stops(&process).await;
    assert!(took < Duration::from_secs(6), "{took:?}");
    broker.open();
    database.open();
    app.run(&[]).await;
    all_done(app, 500).await;
}

#[apply(test)]
async fn stop_before_the_first_connection_succeeds(app: &TestApp) {
    app.broker.declare().await;
    let url = app.setting("amqp.url");
    let broker = Proxy::before(&url).await;
    app.set("amqp.url", broker.url());
    broker.freeze();
    let process = app.spawn(&["run"]);
    eventually("it is alive", async || process.get("/healthz").await).await;
    let took = stops_in_order(&process).await;
    assert!(took < Duration::from_secs(3), "{took:?}");
}

/// Starts a service with one request in flight that is never answered.
async fn hanging(app: &TestApp, grace: &str) -> Process {
    app.set("webhook.timeout", "1h");
    app.set("shutdown.grace", grace);
    let process = app.run(&[]).await;
    app.broker.publish_all(&leads_to(&app.receiver.url("/hang"), 0..1)).await;
    app.webhooks(1).await;
    process
}

async fn stops_in_order(process: &Process) -> Duration {
    let (code, took) = stops(process).await;
    assert_eq!(code, Some(0));
    assert!(!process.log().contains("panicked"), "{}", process.log());
    took
}

async fn stops(process: &Process) -> (Option<i32>, Duration) {
    let begun = Instant::now();
    process.sigterm();
    (process.ended().await.code(), begun.elapsed())
}
