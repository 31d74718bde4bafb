//! The process is killed (SIGKILL) or frozen at the steps where something could be lost or done twice.

use contact_relay::dev::services::{
    Action::{Alarm, Calm},
    Service::Rabbitmq,
};
use macro_rules_attribute::apply;
use rand::RngExt as _;
use sqlx::{Acquire as _, Executor as _};

use super::{all_done, applied, impatient, leads, leads_to};
use crate::support::{alone, app::TestApp, eventually, test};

/// Two processes; at ten random moments one of them is killed and another one started.
#[apply(test)]
async fn again_and_again_under_load(app: &TestApp) {
    const EVENTS: usize = 2000;
    impatient(app);
    app.set("upsert.batch_size", "20");
    app.broker.declare().await;
    app.broker.publish_all(&leads(app, 0..EVENTS)).await;
    let mut moments: Vec<usize> = (0..10).map(|_| rand::rng().random_range(1..EVENTS * 9 / 10)).collect();
    moments.sort_unstable();
    let mut processes = [app.spawn(&["run"]), app.spawn(&["run"])];
    for (kill, moment) in moments.into_iter().enumerate() {
        if kill % 2 == 0 {
            applied(app, moment).await;
        } else {
            app.webhooks(moment).await;
        }
        let victim = processes.get_mut(kill % 2).unwrap();
        victim.kill9().await;
        *victim = app.spawn(&["run"]);
    }
    all_done(app, EVENTS).await;
}

#[apply(test)]
async fn inside_the_transaction(app: &TestApp) {
    impatient(app);
    app.set("postgres.statement_timeout", "30s");
    app.broker.declare().await;
    app.broker.publish_all(&leads(app, 0..50)).await;
    let mut holder = app.pool.acquire().await.unwrap();
    let mut transaction = holder.begin().await.unwrap();
    transaction.execute("LOCK TABLE trigger_events IN SHARE MODE").await.unwrap();
    let process = app.run(&["upsert"]).await;
    eventually("it waits inside its transaction", async || (app.blocked_sessions().await > 0).then_some(()))
        .await;
    process.kill9().await;
    transaction.rollback().await.unwrap();
    app.run(&[]).await;
    all_done(app, 50).await;
}

/// Committed and acked, and not published: the next process takes over the outbox.
#[apply(alone)]
async fn between_commit_and_publish(app: &TestApp) {
    impatient(app);
    app.broker.declare().await;
    app.broker.publish_all(&leads(app, 0..50)).await;
    app.control(Alarm, Rabbitmq).await;
    let process = app.spawn(&["run", "--role", "upsert", "--role", "console"]);
    app.wait_for_rows("outbox", 50).await;
    process.kill9().await;
    app.control(Calm, Rabbitmq).await;
    let next = app.run(&[]).await;
    all_done(app, 50).await;
    assert!(next.log().contains("takes over"), "{}", next.log());
}

/// Sent, and the outcome not recorded: sent again when the lease ends, with the same id.
#[apply(test)]
async fn between_claim_and_record(app: &TestApp) {
    impatient(app);
    app.set("webhook.timeout", "5s");
    app.broker.declare().await;
    app.broker.publish_all(&leads_to(&app.receiver.url("/held"), 0..20)).await;
    let process = app.run(&[]).await;
    app.webhooks(20).await;
    process.kill9().await;
    app.receiver.release();
    app.run(&[]).await;
    all_done(app, 20).await;
    assert!(app.receiver.requests().len() >= 40);
}

/// What a process that stood still would record comes too late and changes nothing: another one has the
/// claims by now, and its requests are in flight.
#[apply(test)]
async fn frozen_beyond_its_lease(app: &TestApp) {
    impatient(app);
    app.set("webhook.timeout", "6s");
    app.broker.declare().await;
    app.broker.publish_all(&leads_to(&app.receiver.url("/held"), 0..20)).await;
    let frozen = app.run(&[]).await;
    app.webhooks(20).await;
    frozen.freeze();
    let other = app.run(&[]).await;
    app.webhooks(40).await;
    frozen.thaw();
    eventually("the late outcome is refused", async || frozen.log().contains("was lost").then_some(())).await;
    app.receiver.release();
    all_done(app, 20).await;
    assert!(!other.log().contains("was lost"), "the late outcome took the claim away");
    assert_eq!(app.rows("webhook_attempts").await, 20);
    frozen.ready().await;
}
