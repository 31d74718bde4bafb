//! Faults of single connections: cut, silent, blocked, consumers that the broker ends, receivers that hang.

use contact_relay::dev::services::{
    Action::{Alarm, Calm},
    Service::Rabbitmq,
};
use macro_rules_attribute::apply;

use super::{all_done, applied, assert_calm, impatient, leads, leads_to, mid_load, not_ready};
use crate::support::{alone, app::TestApp, eventually, proxy::Proxy, test};

#[apply(test)]
async fn cut_connections_lose_nothing(app: &TestApp) {
    const EVENTS: usize = 1000;
    impatient(app);
    let broker = Proxy::before(&app.setting("amqp.url")).await;
    let database = Proxy::before(&app.setting("postgres.url")).await;
    app.set("amqp.url", broker.url());
    app.set("postgres.url", database.url());
    let process = mid_load(app, EVENTS).await;
    for round in 2..8 {
        let victim = if round % 2 == 0 { &broker } else { &database };
        victim.close();
        not_ready(&process, if round % 2 == 0 { "broker" } else { "database" }).await;
        victim.open();
        process.ready().await;
        applied(app, EVENTS * round / 10).await;
    }
    all_done(app, EVENTS).await;
    assert_calm(&process);
}

/// The connections stay open but carry nothing more; only missing heartbeats reveal it.
#[apply(test)]
async fn silent_broker_connection_is_replaced(app: &TestApp) {
    const EVENTS: usize = 500;
    impatient(app);
    let broker = Proxy::before(&app.setting("amqp.url")).await;
    app.set("amqp.url", broker.url());
    let process = mid_load(app, EVENTS).await;
    let threads = process.threads_once_ready().await;
    broker.silence();
    all_done(app, EVENTS).await;
    process.ready().await;
    process.threads_fall_to(threads).await;
}

/// In each round, all connections of the pool fall silent for good.
#[apply(test)]
async fn silent_database_connections_are_replaced(app: &TestApp) {
    const EVENTS: usize = 1000;
    impatient(app);
    app.set("postgres.max_connections", "5");
    app.set("upsert.batch_size", "5");
    app.set("postgres.acquire_timeout", "4s");
    app.set("postgres.statement_timeout", "1s");
    let database = Proxy::before(&app.setting("postgres.url")).await;
    app.set("postgres.url", database.url());
    let process = mid_load(app, EVENTS).await;
    for round in 2..10 {
        database.silence();
        applied(app, EVENTS * round / 12).await;
    }
    all_done(app, EVENTS).await;
    process.ready().await;
}

/// The worst moment: the work is done, and the pool tests the connection before it accepts it back. More
/// connections are lost this way than the pool holds.
#[apply(test)]
async fn connections_that_fall_silent_on_return_leave_the_pool(app: &TestApp) {
    const SYNC: &[u8] = b"S\0\0\0\x04";
    impatient(app);
    app.set("postgres.max_connections", "5");
    app.set("postgres.acquire_timeout", "4s");
    let database = Proxy::before(&app.setting("postgres.url")).await;
    app.set("postgres.url", database.url());
    let process = mid_load(app, 500).await;
    database.silence_at(SYNC);
    eventually("8 connections fell silent", async || (database.silenced() >= 8).then_some(())).await;
    database.open();
    all_done(app, 500).await;
    process.ready().await;
}

/// The broker accepts new connections and never answers, like a host that is out of memory.
#[apply(test)]
async fn reconnecting_to_a_frozen_broker_leaks_no_threads(app: &TestApp) {
    impatient(app);
    let broker = Proxy::before(&app.setting("amqp.url")).await;
    app.set("amqp.url", broker.url());
    let process = mid_load(app, 200).await;
    let threads = process.threads_once_ready().await;
    broker.freeze();
    not_ready(&process, "broker").await;
    // Long enough for each component to retry several times.
    let retries = || process.log().matches("no answer within").count();
    eventually("it keeps retrying", async || (retries() >= 15).then_some(())).await;
    let at_the_most = process.threads();
    broker.open();
    all_done(app, 200).await;
    process.ready().await;
    assert!(at_the_most <= threads + 12, "{at_the_most} threads, {threads} before");
    process.threads_fall_to(threads).await;
}

#[apply(test)]
async fn deleted_queues_are_declared_and_consumed_again(app: &TestApp) {
    impatient(app);
    let process = app.run(&[]).await;
    app.broker.publish_all(&leads(app, 0..3)).await;
    all_done(app, 3).await;
    for queue in ["trigger-fired", "webhook"] {
        app.broker.delete(queue).await;
        let part = format!("the consumer of queue `{}.{queue}`", app.setting("amqp.namespace"));
        eventually("the end of the consumer is noticed", async || {
            process.log().contains(&part).then_some(())
        })
        .await;
        // A worker that reconnects declares all queues, also the one that is deleted next.
        process.ready().await;
    }
    process.ready().await;
    // Declared again at once: the broker may not cancel the consumer, count it for the new queue, and send it
    // messages that never arrive.
    for queue in ["trigger-fired", "webhook", "dead-letters"] {
        app.broker.delete(queue).await;
        app.broker.declare().await;
    }
    app.broker.publish_all(&leads(app, 3..6)).await;
    all_done(app, 6).await;
    process.ready().await;
    assert_calm(&process);
    app.broker.publish_dead_letter(b"dropped by the broker").await;
    app.wait_for_rows("dead_letters", 1).await;
}

#[apply(test)]
async fn hanging_receiver_does_not_delay_others(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish_all(&leads_to(&app.receiver.url("/held"), 0..40)).await;
    app.webhooks(40).await;
    app.broker.publish_all(&leads(app, 40..140)).await;
    app.wait_for_deliveries("delivered", 100).await;
    assert_eq!(app.rows("all_webhook_attempts WHERE outcome <> 'delivered'").await, 0, "they still hang");
    app.receiver.release();
    app.wait_for_deliveries("delivered", 140).await;
}

/// A memory alarm blocks publishers. Committed events wait meanwhile.
#[apply(alone)]
async fn events_are_published_after_a_memory_alarm(app: &TestApp) {
    impatient(app);
    app.broker.declare().await;
    app.broker.publish_all(&leads(app, 0..300)).await;
    app.control(Alarm, Rabbitmq).await;
    let process = app.spawn(&["run"]);
    not_ready(&process, "did not confirm").await;
    applied(app, 300).await;
    app.control(Calm, Rabbitmq).await;
    all_done(app, 300).await;
    process.ready().await;
    assert_calm(&process);
}
