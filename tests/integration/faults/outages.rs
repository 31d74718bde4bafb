//! Outages of broker and database: stopped, killed or paused, one or both, idle and under load.

use contact_relay::dev::services::{
    Action::{self, Kill, Pause, Resume, Start, Stop},
    Service::{self, Postgres, Rabbitmq},
};
use macro_rules_attribute::apply;

use super::{all_done, assert_calm, impatient, leads, mid_load, not_ready};
use crate::support::{alone, app::TestApp, eventually, test};

/// Number of events in a test under load.
const LOAD: usize = 1500;

#[apply(alone)]
async fn idle_service_survives_a_broker_restart(app: &TestApp) {
    idle_restarts(app, Rabbitmq, "broker").await;
}

#[apply(alone)]
async fn idle_service_survives_a_database_restart(app: &TestApp) {
    idle_restarts(app, Postgres, "database").await;
}

async fn idle_restarts(app: &TestApp, service: Service, name: &str) {
    impatient(app);
    let process = app.run(&[]).await;
    for end in [Stop, Kill] {
        app.control(end, service).await;
        not_ready(&process, name).await;
        app.control(Start, service).await;
        process.ready().await;
    }
    assert_calm(&process);
    app.broker.publish_all(&leads(app, 0..3)).await;
    all_done(app, 3).await;
}

#[apply(alone)]
async fn broker_restart_under_load_loses_nothing(app: &TestApp) {
    loaded_restart(app, Stop, &[Rabbitmq]).await;
}

#[apply(alone)]
async fn broker_kill_under_load_loses_nothing(app: &TestApp) {
    loaded_restart(app, Kill, &[Rabbitmq]).await;
}

#[apply(alone)]
async fn database_restart_under_load_loses_nothing(app: &TestApp) {
    loaded_restart(app, Stop, &[Postgres]).await;
}

#[apply(alone)]
async fn database_kill_under_load_loses_nothing(app: &TestApp) {
    loaded_restart(app, Kill, &[Postgres]).await;
}

#[apply(alone)]
async fn kill_of_both_under_load_loses_nothing(app: &TestApp) {
    loaded_restart(app, Kill, &[Rabbitmq, Postgres]).await;
}

async fn loaded_restart(app: &TestApp, end: Action, services: &[Service]) {
    impatient(app);
    let process = mid_load(app, LOAD).await;
    for &service in services {
        app.control(end, service).await;
    }
    for &service in services {
        app.control(Start, service).await;
    }
    all_done(app, LOAD).await;
    process.ready().await;
    assert_calm(&process);
}

#[apply(alone)]
async fn service_waits_for_broker_and_database_at_start(app: &TestApp) {
    impatient(app);
    app.broker.declare().await;
    app.broker.publish_all(&leads(app, 0..50)).await;
    app.control(Stop, Rabbitmq).await;
    app.control(Stop, Postgres).await;
    let process = app.spawn(&["run"]);
    not_ready(&process, "broker").await;
    app.control(Start, Rabbitmq).await;
    not_ready(&process, "database").await;
    app.control(Start, Postgres).await;
    all_done(app, 50).await;
    process.ready().await;
    assert_calm(&process);
}

#[apply(alone)]
async fn paused_database_loses_nothing(app: &TestApp) {
    impatient(app);
    app.set("postgres.max_connections", "5");
    let process = mid_load(app, LOAD).await;
    for _ in 0..3 {
        app.control(Pause, Postgres).await;
        not_ready(&process, "database").await;
        app.control(Resume, Postgres).await;
        process.ready().await;
    }
    all_done(app, LOAD).await;
    let sessions = "pg_stat_activity
                    WHERE datname = current_database() AND application_name LIKE 'contact-relay%'";
    // One more samples metrics. Postgres may notice later that others have been closed.
    eventually("few sessions are left", async || (app.rows(sessions).await <= 6).then_some(())).await;
}

#[apply(alone)]
async fn paused_broker_loses_nothing(app: &TestApp) {
    impatient(app);
    let process = mid_load(app, LOAD).await;
    let threads = process.threads_once_ready().await;
    for _ in 0..2 {
        app.control(Pause, Rabbitmq).await;
        not_ready(&process, "broker").await;
        app.control(Resume, Rabbitmq).await;
        process.ready().await;
    }
    all_done(app, LOAD).await;
    assert_calm(&process);
    process.threads_fall_to(threads).await;
}

/// A refusal that may pass, such as a queue that another connection holds or one without a leader, is waited for.
#[apply(test)]
async fn start_waits_while_the_broker_refuses_a_queue(app: &TestApp) {
    let holder = app.broker.hold("trigger-fired").await;
    let process = app.spawn(&["run"]);
    not_ready(&process, "RESOURCE_LOCKED").await;
    holder.close(200, "done".into()).await.unwrap();
    process.ready().await;
}
