//! Erasure of results that wait for the end of a chain.

use contact_relay::domain::chain::outgoing::{OutgoingEvent, ReplyTo};
use macro_rules_attribute::apply;

use super::{
    EMAIL, PHONE, assert_no_trace, contact_id, dump, erase,
    unpublished::{insert, unpublished},
};
use crate::support::{app::TestApp, event::Event, test};

#[apply(test)]
async fn results_about_an_erased_contact_are_published_to_nobody(app: &TestApp) {
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    let busy = app.receiver.url("/status/503");
    let ada = || Event::lead("Ada").email(EMAIL);
    let grace = || Event::lead("Grace").email("grace@navy.example");
    let session = |event: Event, id: &str| event.with("/data/session/id", id.into());
    let her_session = format!("session of {PHONE}");
    let with_phone = ada().phone(PHONE);
    let events = [
        // Hers; one without a contact whose webhook names nobody; and Grace's.
        (with_phone.webhook(&busy), "answers"),
        (
            session(Event::bare().without("/data/arguments/name"), &her_session).action(quiet(&busy)),
            "answers",
        ),
        (
            Event::bare().without("/data/arguments/name").action(quiet(&busy)),
            "answers of ada.lovelace@analytical.example",
        ),
        (grace().webhook(&busy), "answers"),
        (Event::bare().without("/data/arguments/name").action(quiet(&busy)), "answers"),
    ];
    for (event, queue) in &events {
        let properties = event.properties().with_reply_to((*queue).into());
        app.broker.publish_bytes("trigger.fired", &event.bytes(), properties).await;
    }
    app.wait_for_rows("all_webhook_attempts", 5).await;
    app.wait_for_unpublished(0).await;
    assert_eq!(app.rows("chain_results").await, 5);
    let id = contact_id(app, "acme", EMAIL).await;
    // Unpublished results: of her chain, about her, and about Grace.
    let about_her = format!(r#"{{"responseBody": "{EMAIL} is known"}}"#);
    let other = contact_id(app, "acme", "grace@navy.example").await;
    let results = [
        (Some(&id), "{}", "answers"),
        (None, about_her.as_str(), "answers"),
        (Some(&other), &about_her, "answers"),
        (Some(&other), "{}", EMAIL),
        (Some(&other), "{}", "answers"),
    ];
    let results = results.map(|(subject, body, queue)| {
        let reply_to = Some(ReplyTo { queue: queue.to_owned(), correlation_id: None });
        OutgoingEvent { reply_to, ..unpublished("trigger.completed", subject, body) }
    });
    insert(app, &results).await;
    let report = erase(app, &id).await;
    assert_eq!(report["removed"]["outboxMessages"], 4);
    assert_eq!(app.rows("chain_results").await, 2);
    assert_no_trace(&dump(app).await.0);
    app.wait_for_unpublished(1).await;
    sqlx::query("DELETE FROM effects").execute(&app.pool).await.unwrap();
}

/// A webhook whose body says nothing about the event.
fn quiet(url: &str) -> serde_json::Value {
    serde_json::json!({"type": "WEBHOOK", "url": url, "body": "hello"})
}
