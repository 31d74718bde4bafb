//! Erasure of events that are committed and not published.

use std::time::Duration;

use contact_relay::{
    domain::{chain::outgoing::OutgoingEvent, trace_context::TraceContext, value::phone::Region},
    postgres::{effects::events, erasure},
};
use macro_rules_attribute::apply;
use sqlx::{Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    EMAIL, assert_no_trace, contact_id, dump, erase, insert_dead_letter,
    resumed::{claimed, complete},
};
use crate::support::{
    app::TestApp, broker::Heard, event::Event, eventually, process::Process, proxy::Proxy, test,
};

const CREATED: &str = "contact.upserted.created";
const UPDATED: &str = "contact.upserted.updated";
const ERASED: &str = "contact.erased";

/// An event that a process has committed and not published.
pub(super) fn unpublished(kind: &str, subject: Option<&String>, body: &str) -> OutgoingEvent {
    OutgoingEvent {
        company: "acme".to_owned(),
        id: Uuid::now_v7(),
        kind: kind.to_owned(),
        routing_key: kind.to_owned(),
        source: "/x".to_owned(),
        subject: subject.cloned(),
        time: OffsetDateTime::now_utc(),
        correlation_id: "x".to_owned(),
        trace: TraceContext::default(),
        reply_to: None,
        body: body.as_bytes().to_vec(),
    }
}

/// Inserts events as one batch of another process, which keeps it.
pub(super) async fn insert(app: &TestApp, events: &[OutgoingEvent]) {
    let mut conn = app.pool.acquire().await.unwrap();
    let (batch, owner) = (Uuid::now_v7(), Some(Uuid::now_v7()));
    events::insert(&mut conn, batch, owner, events.to_vec()).await.unwrap();
}

#[apply(test)]
async fn erasure_drops_unpublished_events_about_the_contact(app: &TestApp) {
    let service = app.run(&[]).await;
    for (name, email) in [("Ada", EMAIL), ("Grace", "grace@navy.example")] {
        app.broker.publish(&Event::lead(name).email(email)).await;
    }
    let id = contact_id(app, "acme", EMAIL).await;
    app.broker.hear(2).await;
    app.wait_for_unpublished(0).await;
    let other = contact_id(app, "acme", "grace@navy.example").await;
    let about_her = format!(r#"{{"email": "{EMAIL}"}}"#);
    let rows = [
        &[(Some(&id), "{}"), (None, &about_her), (Some(&other), "{}"), (None, "{}")][..],
        // It goes with its last event.
        &[(Some(&id), "{}")],
    ];
    // More than a page, before and after them.
    let others = async || {
        for _ in 0..25 {
            insert(app, &[unpublished("contact.upserted", Some(&other), "{}")]).await;
        }
    };
    others().await;
    for row in rows {
        let events = row.iter().map(|(subject, body)| unpublished("contact.upserted", *subject, body));
        insert(app, &events.collect::<Vec<_>>()).await;
    }
    others().await;
    let report = erase(app, &id).await;
    assert_eq!(report["removed"]["outboxMessages"], 3);
    app.wait_for_unpublished(52).await;
    assert_eq!(app.rows("effects").await, 51);
    assert_no_trace(&dump(app).await.0);
    assert!(service.log().contains("took over 1 messages"), "contact.erased is published by the sweep");
    sqlx::query("DELETE FROM effects").execute(&app.pool).await.unwrap();
}

/// It may have what must go.
#[apply(test)]
async fn erasure_does_not_pass_over_an_unreadable_row(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email(EMAIL)).await;
    let id = contact_id(app, "acme", EMAIL).await;
    app.broker.hear(1).await;
    app.wait_for_unpublished(0).await;
    insert(app, &[unpublished("contact.upserted", Some(&id), "{}")]).await;
    sqlx::query("UPDATE effects SET body = '\\x00'").execute(&app.pool).await.unwrap();
    let erase = ["contact", "erase", "--company", "acme", id.as_str(), "--yes", "--operator", "grace"];
    let refused = app.cli(&erase).await;
    assert_eq!(refused.code, Some(1), "{}", refused.stderr);
    assert!(refused.stderr.contains("(publish) of table effects cannot be read"), "{}", refused.stderr);
    sqlx::query("DELETE FROM effects").execute(&app.pool).await.unwrap();
    let erased = app.cli(&erase).await;
    assert_eq!(erased.code, Some(0), "{}", erased.stderr);
}

/// Publishes an event about Ada and then another one, which is not applied before this transaction ends.
async fn held_up(app: &TestApp) -> Transaction<'static, Postgres> {
    app.broker.publish(&Event::lead("Ada").email(EMAIL)).await;
    app.broker.hear(1).await;
    app.wait_for_unpublished(0).await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("SELECT FROM contacts FOR UPDATE").execute(&mut *lock).await.unwrap();
    app.broker.publish(&Event::lead("Ada").email(EMAIL).argument("city", "London")).await;
    app.wait_for_blocked_sessions(1).await;
    lock
}

/// A process that has committed an event about Ada and waits for a broker that does not answer.
async fn with_event_in_memory(app: &TestApp) -> (String, Process, Proxy) {
    let url = app.setting("amqp.url");
    let proxy = Proxy::before(&url).await;
    app.set("amqp.url", proxy.url());
    app.set("amqp.publish_timeout", "10m");
    app.set("amqp.heartbeat", "10m");
    // It takes nothing that others publish.
    app.set("outbox.sweep_interval", "1h");
    let process = app.run(&["upsert"]).await;
    let lock = held_up(app).await;
    proxy.freeze();
    lock.rollback().await.unwrap();
    app.wait_for_rows("effects WHERE owner IS NOT NULL", 1).await;
    app.set("amqp.url", &url);
    app.set("outbox.sweep_interval", "1s");
    app.run(&[]).await;
    (contact_id(app, "acme", EMAIL).await, process, proxy)
}

/// Waits until the contact is gone and the other process has published something since.
async fn wait_for_erasure(app: &TestApp) {
    app.wait_for_rows("contacts", 0).await;
    insert_marker(app).await;
    hear(app, "a marker", is_marker).await;
}

fn is_marker(heard: &Heard) -> bool {
    heard.at("/subject").is_null() && heard.body.as_object().is_some_and(|body| body.is_empty())
}

fn is_erased(heard: &Heard) -> bool {
    heard.routing_key == ERASED
}

/// Waits until an event like this has been heard.
async fn hear(app: &TestApp, what: &str, is_it: impl Fn(&Heard) -> bool) {
    eventually(&format!("{what} is heard"), async || {
        app.broker.heard().await.iter().any(&is_it).then_some(())
    })
    .await;
}

/// The routing keys of what has been heard about this contact, in order. Markers do not count: one whose confirm was lost is
/// heard twice.
async fn heard_about(app: &TestApp, id: &str) -> Vec<String> {
    let heard = app.broker.heard().await.into_iter();
    heard.filter(|heard| heard.at("/subject") == id).map(|heard| heard.routing_key).collect()
}

/// Inserts an event about nobody that any process publishes.
async fn insert_marker(app: &TestApp) {
    let marker =
        OutgoingEvent { company: "globex".to_owned(), ..unpublished("contact.upserted", None, "{}") };
    let mut conn = app.pool.acquire().await.unwrap();
    events::insert(&mut conn, Uuid::now_v7(), None, vec![marker]).await.unwrap();
}

#[apply(test)]
async fn erased_comes_after_what_a_process_publishes_from_memory(app: &TestApp) {
    let (id, _process, proxy) = with_event_in_memory(app).await;
    let open = async {
        wait_for_erasure(app).await;
        // Who does not wait leaves the history, in which the rest can be found.
        assert!(complete(&claimed(app, &id).await).await.is_none());
        assert_eq!((app.rows("erasures").await, app.rows("trigger_events").await), (1, 2));
        proxy.open();
    };
    let (report, ()) = tokio::join!(erase(app, &id), open);
    assert_eq!(report["removed"]["outboxMessages"], 0);
    hear(app, "contact.erased", is_erased).await;
    app.wait_for_unpublished(0).await;
    assert_eq!(heard_about(app, &id).await, [CREATED, UPDATED, ERASED]);
}

/// The command waits for half a minute. Then it says what is left.
#[apply(test)]
async fn erasure_that_waits_for_the_broker_is_partly_done(app: &TestApp) {
    let (id, _process, proxy) = with_event_in_memory(app).await;
    let command = ["contact", "erase", "--company", "acme", id.as_str(), "--yes", "--operator", "grace"];
    let partly = app.cli(&command).await;
    assert_eq!((partly.code, app.rows("contacts").await, app.rows("erasures").await), (Some(3), 0, 1));
    assert!(partly.stderr.contains("any process finishes the erasure"), "{}", partly.stderr);
    waits_for_nothing_else(app, &id).await;
    proxy.open();
    let finished = app.cli(&command).await;
    assert_eq!((finished.code, app.rows("erasures").await), (Some(0), 0), "{}", finished.stderr);
    hear(app, "contact.erased", is_erased).await;
    app.wait_for_unpublished(0).await;
    assert_eq!(heard_about(app, &id).await, [CREATED, UPDATED, ERASED]);
}

/// While it waits, it looks at nothing else of what the company has to publish, which may be much: a row that it could not
/// read does not disturb it.
async fn waits_for_nothing_else(app: &TestApp, id: &str) {
    let (database, unfinished) = claimed(app, id).await;
    let mentioned = Event::lead("Ada").email(EMAIL).time("2026-01-01T00:00:00Z").bytes();
    insert_dead_letter(app, "acme", &mentioned).await;
    let region = Region::new("BR").unwrap();
    let waiting = erasure::complete(&database, &unfinished, region, "/x", Duration::from_secs(5), || true);
    let disturb = async {
        // It has swept everything once.
        app.wait_for_rows("dead_letters", 0).await;
        insert(app, &[unpublished("contact.upserted", None, "{}")]).await;
        sqlx::query("UPDATE effects SET body = '\\x00' WHERE batch = (SELECT batch FROM effects ORDER BY batch DESC LIMIT 1)")
            .execute(&app.pool)
            .await
            .unwrap();
    };
    let (waited, ()) = tokio::join!(waiting, disturb);
    assert!(waited.unwrap().is_none());
    let removed = sqlx::query("DELETE FROM effects WHERE body = '\\x00'").execute(&app.pool).await.unwrap();
    assert_eq!(removed.rows_affected(), 1);
}

#[apply(test)]
async fn erasure_removes_what_a_killed_process_had_in_memory(app: &TestApp) {
    let (id, process, _proxy) = with_event_in_memory(app).await;
    let kill = async {
        wait_for_erasure(app).await;
        process.kill9().await;
    };
    let (report, ()) = tokio::join!(erase(app, &id), kill);
    // If the other process takes it over before the erasure removes it, it is published first.
    let removed = report["removed"]["outboxMessages"] == 1;
    hear(app, "contact.erased", is_erased).await;
    app.wait_for_unpublished(0).await;
    let expected = if removed { vec![CREATED, ERASED] } else { vec![CREATED, UPDATED, ERASED] };
    assert_eq!(heard_about(app, &id).await, expected, "{report}");
    assert_no_trace(&dump(app).await.0);
}

/// A process that has an event about Ada in memory and cannot reach the broker. An event about nobody waits for any process.
async fn with_event_for_a_lost_broker(app: &TestApp) -> (Process, Proxy) {
    let url = app.setting("amqp.url");
    let proxy = Proxy::before(&url).await;
    app.set("amqp.url", proxy.url());
    let process = app.run(&["upsert"]).await;
    let lock = held_up(app).await;
    proxy.close();
    // The relay notices when it has something to publish.
    insert_marker(app).await;
    let is_lost = async || process.log().contains("outbox-relay lost the broker").then_some(());
    eventually("the relay has lost the broker", is_lost).await;
    lock.rollback().await.unwrap();
    app.wait_for_rows("effects WHERE owner IS NOT NULL", 1).await;
    app.set("amqp.url", &url);
    (process, proxy)
}

/// Another process takes over what the first one has in memory, and the person is erased.
#[apply(test)]
async fn process_that_stood_still_publishes_nothing_about_an_erased_person(app: &TestApp) {
    let (process, proxy) = with_event_for_a_lost_broker(app).await;
    let id = contact_id(app, "acme", EMAIL).await;
    process.freeze();
    let other = app.run(&[]).await;
    hear(app, "what the other one took over", |heard| heard.routing_key == UPDATED).await;
    erase(app, &id).await;
    hear(app, "contact.erased", is_erased).await;
    other.sigterm();
    assert!(other.ended().await.success());
    proxy.open();
    process.thaw();
    // It publishes in the order in which it committed.
    let grace = Event::lead("Grace").email("grace@navy.example");
    app.broker.publish(&grace).await;
    app.broker.upserted(&grace).await;
    assert_eq!(heard_about(app, &id).await, [CREATED, UPDATED, ERASED]);
    app.run(&["webhook"]).await;
}

/// No other process runs that would take over what it has in memory.
#[apply(test)]
async fn process_that_stood_still_alone_publishes_nothing_about_an_erased_person(app: &TestApp) {
    let (process, proxy) = with_event_for_a_lost_broker(app).await;
    let id = contact_id(app, "acme", EMAIL).await;
    process.freeze();
    let report = erase(app, &id).await;
    assert_eq!(report["removed"]["outboxMessages"], 1);
    process.thaw();
    // It may publish again, under its old id or a new one.
    app.wait_for_rows("processes WHERE alive_until > now() AND buried_at IS NULL", 1).await;
    proxy.open();
    let grace = Event::lead("Grace").email("grace@navy.example");
    app.broker.publish(&grace).await;
    app.broker.upserted(&grace).await;
    hear(app, "contact.erased", is_erased).await;
    app.wait_for_unpublished(0).await;
    assert_eq!(heard_about(app, &id).await, [CREATED, ERASED]);
    let heard: Vec<_> = app.broker.heard().await.into_iter().map(|heard| heard.body.to_string()).collect();
    assert_eq!(heard.iter().filter(|body| body.contains("Ada")).count(), 1, "{heard:#?}");
    app.run(&["webhook"]).await;
}
