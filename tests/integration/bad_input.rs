//! Invalid messages, each between valid neighbors in one batch. Each becomes one dead letter with the right reason
//! and no content of the message in its text; the neighbors are applied, and nothing loops.

mod applied;
mod events;
mod texts;

use std::collections::HashMap;

use contact_relay::domain::event::MAX_BODY;
use lapin::BasicProperties;
use macro_rules_attribute::apply;
use serde_json::json;

use crate::support::{app::TestApp, event::Event, test};

/// Part of every value in a bad message. No dead letter's text may contain it.
const MARKER: &str = "Zaphod";

/// An invalid message.
struct Bad {
    what: &'static str,
    body: Vec<u8>,
    reason: &'static str,
    /// Text that the dead letter's message must contain.
    says: &'static str,
}

impl Bad {
    fn new(what: &'static str, body: impl Into<Vec<u8>>, reason: &'static str, says: &'static str) -> Self {
        Self { what, body: body.into(), reason, says }
    }
}

/// A valid event with marked values.
fn event() -> Event {
    Event::lead(&format!("{MARKER} Beeblebrox")).email("zaphod.Zaphod@heart-of-gold.example")
}

#[apply(test)]
async fn text_that_is_not_json_becomes_a_dead_letter(app: &TestApp) {
    each_among_neighbors(app, texts::no_json()).await;
}

#[apply(test)]
async fn hostile_json_becomes_a_dead_letter(app: &TestApp) {
    each_among_neighbors(app, texts::hostile_json()).await;
}

#[apply(test)]
async fn event_without_a_required_member_becomes_a_dead_letter(app: &TestApp) {
    each_among_neighbors(app, events::missing()).await;
}

#[apply(test)]
async fn event_with_an_invalid_member_becomes_a_dead_letter(app: &TestApp) {
    each_among_neighbors(app, events::wrong()).await;
}

#[apply(test)]
async fn invalid_trigger_becomes_a_dead_letter(app: &TestApp) {
    each_among_neighbors(app, events::triggers()).await;
}

#[apply(test)]
async fn invalid_arguments_become_a_dead_letter(app: &TestApp) {
    each_among_neighbors(app, events::arguments()).await;
}

/// Only a defect of the service would make the database refuse one.
#[apply(test)]
async fn dead_letter_that_the_database_refuses_stops_nobody(app: &TestApp) {
    app.run(&[]).await;
    let refusing = "ALTER TABLE dead_letters ADD CONSTRAINT no_triggers CHECK (trigger_name IS NULL)";
    sqlx::query(refusing).execute(&app.pool).await.unwrap();
    let invalid = ["object", "list"].map(|schema| event().with("/data/trigger/parameters", schema.into()));
    app.broker.publish_all(&invalid).await;
    app.broker.publish(&Event::lead("Ada").email("ada@lovelace.dev")).await;
    app.wait_for_rows("contacts", 1).await;
    app.wait_for_dead_letters_because("trigger_invalid", 2).await;
    assert_eq!(app.rows("dead_letters WHERE event_id IS NULL AND length(body) > 0").await, 2);
}

#[apply(test)]
async fn body_over_one_mebibyte_becomes_a_dead_letter(app: &TestApp) {
    let padded = |bytes: usize| {
        let event = event().with("/padding", "".into());
        let missing = bytes - event.bytes().len();
        let body = event.with("/padding", "x".repeat(missing).into()).bytes();
        assert_eq!(body.len(), bytes);
        body
    };
    app.broker.declare().await;
    app.broker.publish_bytes("trigger.fired", &padded(MAX_BODY), BasicProperties::default()).await;
    each_among_neighbors(app, vec![Bad::new("too large", padded(MAX_BODY + 1), "too_large", "1048576")])
        .await;
    assert_eq!(app.rows("contacts WHERE email LIKE '%heart-of-gold%'").await, 1);
    // Company and trigger are still known.
    let dead = app.dead_letters().await;
    assert_eq!((dead[0].company.as_str(), dead[0].trigger.as_deref()), ("acme", Some("register_lead")));
}

/// Publishes each bad message between two good ones, starts the service, and checks every outcome.
async fn each_among_neighbors(app: &TestApp, bad: Vec<Bad>) {
    app.broker.declare().await;
    let neighbor = |index: usize| Event::lead("Neighbor").email(&format!("n{index}@neighbor.example"));
    for (index, bad) in bad.iter().enumerate() {
        app.broker.publish(&neighbor(index)).await;
        app.broker.publish_bytes("trigger.fired", &bad.body, BasicProperties::default()).await;
    }
    app.broker.publish(&neighbor(bad.len())).await;
    let service = app.run(&[]).await;
    let neighbors = i64::try_from(bad.len() + 1).unwrap();
    app.wait_for_rows("contacts WHERE email LIKE '%@neighbor.example'", neighbors).await;
    app.count_becomes("SELECT sum(attempts)::bigint FROM dead_letters", neighbors - 1).await;
    let dead = app.dead_letters().await;
    let by_body: HashMap<&[u8], _> = dead.iter().map(|dead| (dead.body.as_slice(), dead)).collect();
    let mut wrong = Vec::new();
    for Bad { what, body, reason, says } in &bad {
        let Some(dead) = by_body.get(body.as_slice()) else {
            wrong.push(format!("{what}: no dead letter has its bytes"));
            continue;
        };
        let leaks = dead.message.to_lowercase().contains(&MARKER.to_lowercase());
        let right = dead.reason == *reason && dead.message.contains(says);
        if leaks || !right || dead.attempts != 1 || dead.stage != "upsert" || dead.message.len() > 4096 {
            wrong
                .push(format!("{what}: expected {reason} and \"{says}\": {}: {}", dead.reason, dead.message));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(dead.len(), bad.len());
    app.queues_are_empty().await;
    assert!(!service.log().contains(MARKER), "the log holds content of a message");
}

/// Published by somebody else, and dead-lettered by the broker.
#[apply(test)]
async fn zero_byte_in_the_name_of_a_trigger_stops_no_collector(app: &TestApp) {
    app.broker.declare().await;
    let cause = json!({"name": "a\0b", "eventId": "i", "eventSource": "/s"});
    let body = json!({"data": {"company": {"id": "acme"}, "trigger": cause}}).to_string();
    app.broker.publish_bytes("webhook.requested", body.as_bytes(), BasicProperties::default()).await;
    app.broker.reject("webhook").await;
    app.run(&[]).await;
    let dead = app.wait_for_dead_letter().await;
    assert_eq!((dead.company.as_str(), dead.event_id.as_deref(), dead.trigger), ("acme", Some("i"), None));
}
