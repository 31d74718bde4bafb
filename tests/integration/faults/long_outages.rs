//! Outages that are longer than a process stays registered.

use macro_rules_attribute::apply;

use super::{all_done, assert_calm, impatient, leads, leads_to, not_ready};
use crate::support::{app::TestApp, proxy::Proxy, test};

const EVENTS: usize = 200;

#[apply(test)]
async fn broker_away_for_long_loses_nothing(app: &TestApp) {
    long_outage(app, &["broker"]).await;
}

#[apply(test)]
async fn database_away_for_long_loses_nothing(app: &TestApp) {
    long_outage(app, &["database"]).await;
}

#[apply(test)]
async fn broker_and_database_away_for_long_lose_nothing(app: &TestApp) {
    long_outage(app, &["broker", "database"]).await;
}

/// Requests are in flight, and more events arrive. Without a database, the processes expire, and the first that is back
/// buries the other.
async fn long_outage(app: &TestApp, away: &[&str]) {
    impatient(app);
    app.set("webhook.timeout", "1m");
    let broker = Proxy::before(&app.setting("amqp.url")).await;
    let database = Proxy::before(&app.setting("postgres.url")).await;
    app.set("amqp.url", broker.url());
    app.set("postgres.url", database.url());
    let processes = [app.run(&[]).await, app.run(&[]).await];
    app.broker.publish_all(&leads_to(&app.receiver.url("/held"), 0..EVENTS / 2)).await;
    app.webhooks(4).await;
    app.wait_for_rows("processes WHERE alive_until > now()", 2).await;
    let until = app.count("SELECT extract(epoch FROM max(alive_until))::bigint FROM processes").await;
    for (name, proxy) in [("broker", &broker), ("database", &database)] {
        if away.contains(&name) {
            proxy.close();
        }
    }
    for process in &processes {
        not_ready(process, away[0]).await;
    }
    app.broker.publish_all(&leads(app, EVENTS / 2..EVENTS)).await;
    app.receiver.release();
    if away.contains(&"database") {
        app.wait_for_rows("processes WHERE alive_until <= now()", 2).await;
    } else {
        let renewed = format!("processes WHERE to_timestamp({until}) <= now() AND alive_until > now()");
        app.wait_for_rows(&renewed, 2).await;
    }
    assert!(app.rows("trigger_events").await < i64::try_from(EVENTS).unwrap(), "nothing is left to do");
    broker.open();
    database.open();
    all_done(app, EVENTS).await;
    for process in &processes {
        process.ready().await;
        assert_calm(process);
    }
}
