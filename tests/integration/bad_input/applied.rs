//! Characters and numbers that cost no event: what Postgres cannot store is dropped, and what is left is applied.

use lapin::BasicProperties;
use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::support::{app::TestApp, event::Event, test};

/// A lead with a webhook that sends back what it was given.
fn lead(app: &TestApp, email: &str) -> Event {
    let body = json!({"name": "$name", "plan": "$plan", "serial": "$serial", "text": "no. $serial, $plan"});
    let action = json!({"type": "WEBHOOK", "url": app.receiver.url("/"), "method": "POST", "body": body});
    Event::lead("Ada")
        .email(email)
        .action(action)
        .with("/data/trigger/parameters/properties/serial", json!({"type": "integer"}))
        .with("/data/trigger/parameters/properties/name", json!({}))
        .argument("serial", 5)
}

/// Publishes the body of the event with `new` for `old`.
async fn publish(app: &TestApp, event: &Event, old: &str, new: &str) {
    let body = String::from_utf8(event.bytes()).unwrap();
    assert!(body.contains(old), "{old} in {body}");
    app.broker.publish_bytes("trigger.fired", body.replace(old, new).as_bytes(), event.properties()).await;
}

#[apply(test)]
async fn nul_characters_cost_no_event(app: &TestApp) {
    app.run(&[]).await;
    let events = [
        lead(app, "a1@x.example").argument("name", "A\0da"),
        lead(app, "a2@x.example").argument("a\0", json!([{"\0": "\0"}])),
        lead(app, "a3@x.example").with("/data/clientData", json!({"plan": "\0", "k\0": ["\0"]})),
        lead(app, "a4@x.example").with("/data/trigger/description", "\0".into()),
        lead(app, "a5@x.example").with("/data/trigger/name", "register\0_lead".into()),
        lead(app, "a6@x.example").with("/data/trigger/parameters/properties/city", json!({"title": "\0"})),
        lead(app, "a7@x.example").with("/data/images", json!(["https://x.example/\0"])),
        // A text that says it.
        lead(app, "a8@x.example").argument("name", "Ada%20Lovelace%00"),
        lead(app, "a9@x.example").argument("name", r"Ad\u00e1\u0000"),
    ];
    app.broker.publish_all(&events).await;
    app.wait_for_rows("contacts WHERE email LIKE 'a_@x.example'", 9).await;
    assert_eq!(app.rows("dead_letters").await, 0);
    assert_eq!(app.rows("contacts WHERE name IN ('Ada', 'Ada Lovelace', 'Adá')").await, 9);
    app.queues_are_empty().await;
    // Published again, each is the same event.
    app.broker.publish_all(&events).await;
    app.queues_are_empty().await;
    assert_eq!((app.rows("dead_letters").await, app.rows("contacts").await), (0, 9));
}

/// JavaScript cuts texts in the middle of an emoji, and escapes the half that is left.
#[apply(test)]
async fn halves_of_surrogate_pairs_cost_no_event(app: &TestApp) {
    app.run(&[]).await;
    let marked = |email: &str| lead(app, email).argument("name", "Ada HALF");
    publish(app, &marked("b1@x.example"), "HALF", r"\ud83d").await;
    publish(app, &marked("b2@x.example").argument("x HALF", 1), "HALF", r"\udc00").await;
    let data = marked("b3@x.example").with("/data/clientData", json!({"HALF": "HALF"}));
    publish(app, &data, "HALF", r"\uD83D").await;
    publish(app, &marked("b4@x.example").with("/data/trigger/description", "HALF".into()), "HALF", r"\ud83d")
        .await;
    publish(app, &marked("b5@x.example").with("/data/images", json!(["HALF"])), "HALF", r"\ud83d").await;
    let arguments = marked("b6@x.example").value("/data/arguments").to_string();
    let text = lead(app, "none").with("/data/arguments", arguments.into());
    publish(app, &text, "HALF", r"\ud83d").await;
    publish(app, &marked("b7@x.example"), "HALF", r"\ud83d\ude00").await;
    app.wait_for_rows("contacts WHERE email LIKE 'b_@x.example'", 7).await;
    assert_eq!(app.rows("dead_letters").await, 0);
    assert_eq!(app.rows("contacts WHERE name = 'Ada \u{1f600}'").await, 1);
    app.queues_are_empty().await;
}

/// An id says who an event is, so none is guessed.
#[apply(test)]
async fn half_a_surrogate_pair_in_an_id_is_refused(app: &TestApp) {
    app.run(&[]).await;
    for (pointer, value) in [("/id", "HALF"), ("/source", "/HALF"), ("/data/company/id", "HALF")] {
        publish(app, &lead(app, "c@x.example").with(pointer, value.into()), "HALF", r"\ud83d").await;
    }
    app.count_becomes("SELECT sum(attempts)::bigint FROM dead_letters", 3).await;
    let dead = app.dead_letters().await;
    assert!(
        dead.iter()
            .all(|dead| dead.reason == "event_invalid" && dead.body.windows(6).any(|part| part == br"\ud83d"))
    );
    assert_eq!(app.rows("contacts").await, 0);
}

#[apply(test)]
async fn numbers_beyond_64_bits_keep_their_digits(app: &TestApp) {
    app.run(&[]).await;
    let event = lead(app, "d1@x.example").argument("serial", 5).with("/data/clientData", json!({"plan": 7}));
    let body = String::from_utf8(event.bytes()).unwrap();
    let body = body
        .replace(r#""serial":5"#, r#""serial":89551234567890123456"#)
        .replace(r#""plan":7"#, r#""plan":-18446744073709551617"#);
    app.broker.publish_bytes("trigger.fired", body.as_bytes(), event.properties()).await;
    let sent = app.webhooks(1).await.remove(0);
    assert_eq!(
        sent.body,
        r#"{"name":"Ada","plan":-18446744073709551617,"serial":89551234567890123456,"text":"no. 89551234567890123456, -18446744073709551617"}"#
    );
    // The same event in another order of its members.
    let value: Value = serde_json::from_str(&body).unwrap();
    let serial = value["data"]["arguments"]["serial"].to_string();
    let reordered = value.to_string().replace(&serial, "89551234567890123456");
    let plan = value["data"]["clientData"]["plan"].to_string();
    let reordered = reordered.replace(&plan, "-18446744073709551617");
    let reordered = reordered.replacen('{', "{ ", 1);
    app.broker.publish_bytes("trigger.fired", reordered.as_bytes(), event.properties()).await;
    app.queues_are_empty().await;
    assert_eq!(app.rows("dead_letters").await, 0);
    // Another number is another event.
    let other = body.replace("89551234567890123456", "89551234567890123457");
    app.broker.publish_bytes("trigger.fired", other.as_bytes(), event.properties()).await;
    assert_eq!(app.wait_for_dead_letter().await.reason, "event_id_conflict");

    let fields = lead(app, "d2@x.example").argument("name", 1).argument("x", 2);
    let body = String::from_utf8(fields.bytes()).unwrap();
    let body = body
        .replace(r#""name":1"#, r#""name":12345678901234567890123"#)
        .replace(r#""x":2"#, r#""x":1.5e300"#);
    app.broker.publish_bytes("trigger.fired", body.as_bytes(), BasicProperties::default()).await;
    app.wait_for_rows("contacts WHERE name = '12345678901234567890123'", 1).await;
}
