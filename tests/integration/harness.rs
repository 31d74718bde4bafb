//! Tests of the harness itself: the services, each test's share of them, and their restarts.

use contact_relay::dev::services::{Action, Service};
use macro_rules_attribute::apply;
use serde_json::json;
use sqlx::Row as _;

use crate::support::{alone, app::TestApp, event::Event, eventually, proxy::Proxy, test};

/// Runs twice, so that the second fails if both share a database.
#[apply(test)]
async fn test_has_its_own_database(app: &TestApp) {
    assert_eq!(app.rows("contacts").await, 0);
    let contact = "INSERT INTO contacts (company_id, contact_id, version, provenance, created_at, updated_at)
                   VALUES ('acme', gen_random_uuid(), 1, '{}', now(), now())";
    sqlx::query(contact).execute(&app.pool).await.unwrap();
    app.wait_for_rows("contacts", 1).await;
}

#[apply(test)]
async fn next_test_has_its_own_database(app: &TestApp) {
    test_has_its_own_database(app).await;
}

#[apply(test)]
async fn broker_confirms_and_routes(app: &TestApp) {
    let body = json!({"hello": "world"});
    let event = Event::lead("Ada");
    app.broker
        .publish_bytes("contact.upserted.created", body.to_string().as_bytes(), event.properties())
        .await;
    let heard = app.broker.hear(1).await;
    let heard = heard.first().unwrap();
    assert_eq!((heard.routing_key.as_str(), &heard.body), ("contact.upserted.created", &body));
    let id = heard.properties.message_id().as_ref().unwrap();
    assert_eq!(id.as_str(), event.event_id());
}

#[apply(test)]
async fn events_wait_without_the_service(app: &TestApp) {
    app.broker.declare().await;
    let events = [Event::lead("Ada"), Event::lead("Grace").email("grace@navy.example")];
    app.broker.publish_all(&events).await;
    app.broker.publish(&Event::bare().webhook(&app.receiver.url("/ok"))).await;
    assert_eq!(app.broker.depth("trigger-fired").await, 3);
    app.broker.purge("trigger-fired").await;
}

#[apply(test)]
async fn service_runs_and_stops(app: &TestApp) {
    let service = app.run(&[]).await;
    let hook =
        json!({"type": "WEBHOOK", "url": app.receiver.url("/ok?step=3"), "method": "POST", "body": "$phone"});
    let event = Event::lead("Ada").phone("+55 11 98765-4321").webhook(&app.receiver.url("/flaky/1"));
    let event = event.next(&hook).company("navy").max_interactions(3).without("/data/session");
    app.broker.publish(&event).await;
    assert_eq!(app.webhooks(3).await.len(), 3);
    let heard = app.broker.hear(1).await;
    let id = heard.first().unwrap().properties.correlation_id().as_ref().unwrap();
    assert_eq!(id.as_str(), event.event_id());
    app.wait_for_rows("contacts WHERE company_id = 'navy'", 1).await;
    assert!(service.get("/healthz").await.unwrap().starts_with("HTTP/1.1 200 "));
}

#[apply(test)]
async fn next_process_continues_after_a_kill(app: &TestApp) {
    let first = app.run(&["upsert", "webhook"]).await;
    let event = Event::lead("Ada").id("1").time("2026-01-01T00:00:00Z").argument("city", "London");
    first.freeze();
    app.broker.publish(&event).await;
    first.thaw();
    first.kill9().await;
    assert!(!first.ended().await.success());
    let second = app.spawn(&["run"]);
    second.ready().await;
    app.wait_for_rows("contacts WHERE city = 'London'", 1).await;
    second.sigterm();
    assert!(second.ended().await.success(), "{}", second.log());
}

/// The process that finishes what a test left does not connect through the test's proxies, which have ended.
#[apply(test)]
async fn event_left_behind_a_proxy_is_finished(app: &TestApp) {
    let (broker, database) = (app.setting("amqp.url"), app.setting("postgres.url"));
    let (broker, database) = (Proxy::before(&broker).await, Proxy::before(&database).await);
    app.set("amqp.url", broker.url());
    app.set("postgres.url", database.url());
    let process = app.run(&[]).await;
    process.freeze();
    app.broker.publish(&Event::lead("Ada")).await;
    process.kill9().await;
}

#[apply(test)]
async fn commands_return_their_output(app: &TestApp) {
    app.broker.declare().await;
    let shown = app.cli(&["config", "show", "-o", "json"]).await;
    assert_eq!(shown.code, Some(0), "{}", shown.stderr);
    assert!(shown.stdout.contains("webhook"));
    let event = Event::lead("Ada").bytes();
    let published = app.cli_with_input(&["publish", "-"], &event).await;
    assert_eq!(published.code, Some(0), "{}", published.stderr);
    assert_eq!(app.broker.depth("trigger-fired").await, 1);
    app.broker.purge("trigger-fired").await;
}

#[apply(alone)]
async fn restarts_keep_addresses_and_data(app: &TestApp) {
    let event = Event::lead("Ada");
    app.broker.publish_bytes("contact.merged", &event.bytes(), event.properties()).await;
    assert_eq!(app.broker.depth("test-subscriber").await, 1);
    for action in [Action::Stop, Action::Kill] {
        for service in [Service::Rabbitmq, Service::Postgres] {
            app.control(action, service).await;
            app.control(Action::Start, service).await;
        }
    }
    eventually("the database is back", async || sqlx::query("SELECT 1").fetch_one(&app.pool).await.ok())
        .await;
    assert_eq!(app.broker.hear(1).await.len(), 1);
}

#[apply(alone)]
async fn paused_database_does_not_answer(app: &TestApp) {
    let now = async || sqlx::query("SELECT 1").fetch_one(&app.pool).await.map(|row| row.get::<i32, _>(0));
    now().await.unwrap();
    app.control(Action::Pause, Service::Postgres).await;
    let silence = tokio::time::timeout(std::time::Duration::from_millis(300), now()).await;
    app.control(Action::Resume, Service::Postgres).await;
    assert!(silence.is_err(), "it answered");
    assert_eq!(now().await.unwrap(), 1);
}
