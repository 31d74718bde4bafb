//! Tests of the harness itself: the services, what each test owns of them, and their restarts.

use contact_relay::dev::services::{Action, Service};
use serde_json::json;
use sqlx::Row as _;

use crate::support::{Test, app::TestApp, event::Event, eventually, tests};

pub(crate) fn tests() -> Vec<Test> {
    tests![
        a_database_of_its_own,
        a_database_of_its_own_again,
        a_broker_confirms_and_routes,
        events_wait_for_the_service;
        alone: restarts_keep_addresses_and_data, a_paused_service_is_silent,
    ]
}

/// Twice, so that the second fails if the two share a database.
async fn a_database_of_its_own(app: &TestApp) {
    assert_eq!(app.count("SELECT count(*) FROM contacts").await, 0);
    sqlx::query("INSERT INTO contacts SELECT 'acme', gen_random_uuid(), 1, '', '', '', '', '', '', '', '', '', '', '', '', '', '', '', '{}', now(), now()")
        .execute(&app.pool)
        .await
        .unwrap();
    app.count_becomes("SELECT count(*) FROM contacts", 1).await;
}

async fn a_database_of_its_own_again(app: &TestApp) {
    a_database_of_its_own(app).await;
}

async fn a_broker_confirms_and_routes(app: &TestApp) {
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

async fn events_wait_for_the_service(app: &TestApp) {
    app.broker.declare().await;
    let events = [Event::lead("Ada"), Event::lead("Grace").email("grace@navy.example")];
    app.broker.publish_all(&events).await;
    app.broker.publish(&Event::bare().webhook(&app.receiver.url("/ok"))).await;
    assert_eq!(app.broker.depth("trigger-fired").await, 3);
    app.broker.purge("trigger-fired").await;
}

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

async fn a_paused_service_is_silent(app: &TestApp) {
    let now = async || sqlx::query("SELECT 1").fetch_one(&app.pool).await.map(|row| row.get::<i32, _>(0));
    now().await.unwrap();
    app.control(Action::Pause, Service::Postgres).await;
    let silence = tokio::time::timeout(std::time::Duration::from_millis(300), now()).await;
    app.control(Action::Resume, Service::Postgres).await;
    assert!(silence.is_err(), "it answered");
    assert_eq!(now().await.unwrap(), 1);
}
