//! SIGTERM: the service finishes its work within the grace period, and no later.

use macro_rules_attribute::apply;
use tokio::{io::AsyncWriteExt as _, net::TcpStream};

use super::{all_done, applied, leads_to, mid_load};
use crate::support::{app::TestApp, eventually, process::Process, proxy::Proxy, test};

#[apply(test)]
async fn stop_under_load_finishes_its_work_and_sends_nothing_twice(app: &TestApp) {
    const EVENTS: usize = 2000;
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
    app.set("shutdown.grace", "1h");
    let process = app.run(&[]).await;
    let mut fresh = TcpStream::connect(process.http()).await.unwrap();
    let mut begun = TcpStream::connect(process.http()).await.unwrap();
    begun.write_all(b"GET /healthz HTT").await.unwrap();
    process.get("/healthz").await.unwrap();
    stops_in_order(&process).await;
    let _ = fresh.shutdown().await;
}

#[apply(test)]
async fn stop_finishes_requests_in_flight(app: &TestApp) {
    let process = app.run(&[]).await;
    app.broker.publish_all(&leads_to(&app.receiver.url("/held"), 0..20)).await;
    app.webhooks(20).await;
    process.sigterm();
    eventually("it drains", async || process.log().contains("stopping").then_some(())).await;
    assert!(!process.has_ended().await);
    app.receiver.release();
    assert!(process.ended().await.success());
    all_done(app, 20).await;
    // Unacknowledged wake-ups returned to the queue.
    app.run(&[]).await;
    app.queues_are_empty().await;
    assert_eq!(app.receiver.requests().len(), 20);
}

#[apply(test)]
async fn second_signal_stops_at_once(app: &TestApp) {
    let process = hanging(app, "1h").await;
    process.sigterm();
    eventually("it drains", async || process.log().contains("stopping").then_some(())).await;
    assert!(!process.has_ended().await);
    process.sigterm();
    assert_eq!(process.ended().await.code(), Some(1));
    app.broker.purge("webhook").await;
}

#[apply(test)]
async fn stop_does_not_wait_longer_than_the_grace_period(app: &TestApp) {
    let process = hanging(app, "1s").await;
    process.sigterm();
    assert_eq!(process.ended().await.code(), Some(1), "work was left");
    // Another process takes it over, and no attempt is recorded.
    assert_eq!(app.rows("effects WHERE kind = 'send'").await, 1);
    assert_eq!(app.rows("all_webhook_attempts").await, 0);
    app.broker.purge("webhook").await;
}

#[apply(test)]
async fn stop_during_an_outage_keeps_to_the_grace_period(app: &TestApp) {
    // Nothing else ends its waits.
    for deadline in ["amqp.publish_timeout", "postgres.acquire_timeout", "postgres.statement_timeout"] {
        app.set(deadline, "1h");
    }
    let broker = Proxy::before(&app.setting("amqp.url")).await;
    let database = Proxy::before(&app.setting("postgres.url")).await;
    app.set("amqp.url", broker.url());
    app.set("postgres.url", database.url());
    app.set("shutdown.grace", "4s");
    let process = mid_load(app, 500).await;
    broker.freeze();
    database.freeze();
    process.sigterm();
    process.ended().await;
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
    app.set("shutdown.grace", "1h");
    app.set("amqp.connect_timeout", "1h");
    let process = app.spawn(&["run"]);
    eventually("it is alive", async || process.get("/healthz").await).await;
    stops_in_order(&process).await;
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

async fn stops_in_order(process: &Process) {
    process.sigterm();
    assert_eq!(process.ended().await.code(), Some(0));
    assert!(!process.log().contains("panicked"), "{}", process.log());
}
