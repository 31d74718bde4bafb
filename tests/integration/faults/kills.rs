//! Kills (SIGKILL) and freezes at the steps where work could be lost or done twice.

use std::collections::BTreeMap;

use contact_relay::dev::services::{
    Action::{Alarm, Calm},
    Service::Rabbitmq,
};
use macro_rules_attribute::apply;
use rand::RngExt as _;
use sqlx::{Acquire as _, Executor as _};
use uuid::Uuid;

use super::{all_done, applied, impatient, leads, leads_to};
use crate::support::{alone, app::TestApp, eventually, test};

/// Two processes; ten times, at a random moment, one is killed and another started.
#[apply(test)]
async fn repeated_kills_under_load_lose_nothing(app: &TestApp) {
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
async fn kill_inside_the_transaction_loses_nothing(app: &TestApp) {
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

/// Committed and acknowledged, but not published.
#[apply(alone)]
async fn next_process_publishes_the_events_of_a_killed_one(app: &TestApp) {
    impatient(app);
    app.broker.declare().await;
    app.broker.publish_all(&leads(app, 0..50)).await;
    app.control(Alarm, Rabbitmq).await;
    let process = app.spawn(&["run", "--role", "upsert", "--role", "console"]);
    app.wait_for_unpublished(50).await;
    process.kill9().await;
    app.control(Calm, Rabbitmq).await;
    let next = app.run(&[]).await;
    all_done(app, 50).await;
    assert!(next.log().contains("took over"), "{}", next.log());
}

/// Sent, but not recorded: sent again once the process counts as dead.
#[apply(test)]
async fn killed_workers_deliveries_are_sent_again(app: &TestApp) {
    impatient(app);
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

/// However long a request to its endpoint may take. One endpoint's deliveries have rows, because its rate is limited.
#[apply(test)]
async fn takeover_does_not_wait_for_the_timeout_of_an_endpoint(app: &TestApp) {
    impatient(app);
    let [long, longer] = ["/held/long", "/held/longer"].map(|path| app.receiver.url(path));
    let rules = format!(
        r#"[{{ url = "{long}", timeout = "10m" }}, {{ url = "{longer}", timeout = "1h", rate = "1000/s" }}]"#
    );
    app.set("webhook.endpoints", &rules);
    let process = app.run(&[]).await;
    app.broker.publish_all(&[leads_to(&long, 0..10), leads_to(&longer, 10..20)].concat()).await;
    app.webhooks(20).await;
    process.kill9().await;
    app.run(&[]).await;
    app.webhooks(40).await;
    app.receiver.release();
    all_done(app, 20).await;
}

/// The deliveries have rows, because their rate is limited. Only what was in flight is sent again.
#[apply(test)]
async fn lane_of_a_killed_owner_goes_on(app: &TestApp) {
    const COUNT: usize = 40;
    const IN_FLIGHT: usize = 4;
    impatient(app);
    // Nothing is sent again because the receiver holds it.
    app.set("webhook.timeout", "10m");
    let url = app.receiver.url("/held");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", rate = "1000/s" }}]"#));
    app.set("webhook.max_in_flight", &IN_FLIGHT.to_string());
    let owner = app.run(&[]).await;
    app.broker.publish_all(&leads_to(&url, 0..COUNT)).await;
    app.wait_for_rows("webhook_pending", COUNT.try_into().unwrap()).await;
    app.webhooks(IN_FLIGHT).await;
    let owned_by = "SELECT owner FROM webhook_endpoints";
    let owned_by =
        async || sqlx::query_scalar::<_, Option<Uuid>>(owned_by).fetch_one(&app.pool).await.unwrap();
    let before = owned_by().await.expect("an owner");
    app.run(&[]).await;
    owner.kill9().await;
    app.webhooks(2 * IN_FLIGHT).await;
    assert!(owned_by().await.is_some_and(|now| now != before));
    app.receiver.release();
    all_done(app, COUNT).await;
    let mut times: BTreeMap<String, usize> = BTreeMap::new();
    for request in app.receiver.requests() {
        *times.entry(request.header("webhook-id").unwrap().to_owned()).or_default() += 1;
    }
    let twice = times.values().filter(|times| **times == 2).count();
    assert!(twice == IN_FLIGHT && times.values().all(|times| *times <= 2), "{times:?}");
    app.wait_for_rows("webhook_pending", 0).await;
}

/// When the frozen process thaws, another one has taken over its deliveries and has their requests in flight.
#[apply(test)]
async fn outcome_of_a_process_that_was_replaced_changes_nothing(app: &TestApp) {
    impatient(app);
    app.set("webhook.timeout", "30s");
    app.broker.declare().await;
    app.broker.publish_all(&leads_to(&app.receiver.url("/held"), 0..20)).await;
    let frozen = app.run(&[]).await;
    app.webhooks(20).await;
    frozen.freeze();
    // The other one waits for its answers, however late they come.
    app.set("webhook.timeout", "10m");
    let other = app.run(&[]).await;
    app.webhooks(40).await;
    frozen.thaw();
    eventually("the late outcome is refused", async || {
        frozen.log().contains("changed while it was sent").then_some(())
    })
    .await;
    app.receiver.release();
    all_done(app, 20).await;
    assert!(!other.log().contains("changed while it was sent"), "the late outcome took the delivery away");
    assert_eq!(app.rows("all_webhook_attempts").await, 20);
    frozen.ready().await;
}
