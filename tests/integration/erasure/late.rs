//! Events that arrive during or after an erasure: which are suppressed, and which are applied.

use contact_relay::{
    domain::{
        chain::outgoing::rfc3339,
        contact::Identifier,
        event::CompanyId,
        value::{email::Email, phone::Phone},
    },
    postgres::ledger,
};
use macro_rules_attribute::apply;

use super::{EMAIL, OLD_EMAIL, OTHER_PHONE, PHONE, assert_no_trace, contact_id, dump, erase};
use crate::support::{app::TestApp, event::Event, test};

#[apply(test)]
async fn only_identifiers_of_the_erased_contact_are_suppressed(app: &TestApp) {
    app.set("contacts.suppression_pepper", "pepper");
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email(EMAIL).phone(PHONE)).await;
    app.broker.hear(1).await;
    let report = erase(app, &contact_id(app, "acme", EMAIL).await).await;
    let email = |text: &str| Identifier::Email(Email::parse(text).unwrap());
    let phone = |text: &str| Identifier::Phone(Phone::from_stored(text));
    let company = |id: &str| CompanyId::new(id).unwrap();
    let keys = [
        (company("acme"), email(EMAIL)),
        (company("acme"), phone(PHONE)),
        (company("acme"), email(OLD_EMAIL)),
        (company("acme"), phone(EMAIL)),
        (company("globex"), email(EMAIL)),
    ];
    let mut connection = app.pool.acquire().await.unwrap();
    let mut found = ledger::seen(&mut connection, "pepper", &[], &keys).await.unwrap().erased;
    found.sort_unstable();
    let erased_at = report["erasedAt"].as_str().unwrap();
    let found: Vec<_> = found.into_iter().map(|(index, at)| (index, rfc3339(at))).collect();
    assert_eq!(found, [(0, erased_at.to_owned()), (1, erased_at.to_owned())]);
    assert_eq!(ledger::seen(&mut connection, "", &[], &keys).await.unwrap().erased, []);
    let hashed = "suppressions s, suppression_keys k WHERE length(hash) = 32 AND length(key) = 32";
    assert_eq!(app.rows(hashed).await, 2);
}

/// A late event is not applied, and neither is its copy. An event from after the erasure creates a new contact.
#[apply(test)]
async fn late_event_does_not_restore_an_erased_contact(app: &TestApp) {
    app.run(&[]).await;
    let lead = || Event::lead("Ada").email(EMAIL);
    let first = lead().phone(PHONE).time("2026-01-01T00:00:00Z");
    app.broker.publish(&first).await;
    app.broker.hear(1).await;
    let id = contact_id(app, "acme", EMAIL).await;
    erase(app, &id).await;
    app.broker.hear(2).await;
    let hook = app.receiver.url("/ok");
    let late = [
        first,
        lead().time("2026-01-02T00:00:00Z").webhook(&hook),
        Event::lead("Ada").phone("11 98765 4321").email("new@ada.example").time("2026-01-03T00:00:00Z"),
    ];
    app.broker.publish_all(&[late.as_slice(), &late].concat()).await;
    app.wait_for_rows("applied_events WHERE erased", 3).await;
    app.queues_are_empty().await;
    assert_eq!(app.rows("contacts").await, 0);
    assert_eq!(app.rows("webhook_deliveries").await, 0);
    assert_no_trace(&dump(app).await.0);

    app.broker.publish(&lead()).await;
    app.wait_for_rows("contacts", 1).await;
    assert_ne!(contact_id(app, "acme", EMAIL).await, id);
}

/// Events about the contact arrive during its erasure.
#[apply(test)]
async fn event_during_the_erasure_does_not_restore_the_contact(app: &TestApp) {
    app.set("upsert.batch_size", "3");
    app.run(&[]).await;
    app.run(&[]).await;
    let event = |number: u32| {
        let email = format!("ada.lovelace+{}@analytical.example", number % 5);
        Event::lead("Ada").phone(PHONE).email(&email).time("2026-01-01T00:00:00Z")
    };
    app.broker.publish(&event(0)).await;
    app.broker.hear(1).await;
    let id = contact_id(app, "acme", "ada.lovelace+0@analytical.example").await;
    let events: Vec<Event> = (1..200).map(event).collect();
    let (report, ()) = tokio::join!(erase(app, &id), app.broker.publish_all(&events));
    app.wait_for_rows("applied_events", 200).await;
    app.queues_are_empty().await;
    assert_eq!(app.rows("contacts").await, 0, "{report}");
    assert_eq!(app.rows("contact_identifiers").await, 0, "{report}");
    app.wait_for_unpublished(0).await;
    assert_no_trace(&dump(app).await.0);
}

/// Whether it arrives in the same batch as the first body, or after a body about somebody else.
#[apply(test)]
async fn known_id_with_another_body_does_not_restore_the_contact(app: &TestApp) {
    let service = app.run(&[]).await;
    let old = |event: Event| event.time("2026-01-01T00:00:00Z");
    let grace = old(Event::lead("Grace").email("grace@navy.example"));
    app.broker.publish_all(&[old(Event::lead("Ada").email(EMAIL)), grace.clone()]).await;
    app.broker.hear(2).await;
    erase(app, &contact_id(app, "acme", EMAIL).await).await;
    app.broker.hear(3).await;
    service.sigterm();
    assert!(service.ended().await.success());

    let late = old(Event::lead("Ada").email(EMAIL).argument("city", "London"));
    let without_key = late.clone().email("sem email");
    app.broker
        .publish_all(&[late.clone(), late.argument("city", "Paris"), without_key, grace.email(EMAIL)])
        .await;
    app.run(&[]).await;
    app.wait_for_rows("applied_events WHERE erased", 2).await;
    app.queues_are_empty().await;
    assert_eq!(app.rows("dead_letters").await, 0);
    assert_eq!(app.rows("contacts").await, 1);
    app.wait_for_unpublished(0).await;
    assert_no_trace(&dump(app).await.0);
}

/// Messages about Ada that cannot be applied: the first is an event from before the erasure, in each notation.
fn rejected() -> Vec<(&'static str, Vec<u8>)> {
    let late = || Event::lead("Ada").time("2026-01-01T00:00:00Z");
    let invalid = late().email(EMAIL).argument("interest", 7);
    let without_time = Event::lead("Ada").phone("(11) 98765-4321").without("/time");
    let large = late().phone(PHONE).argument("city", "x".repeat(1024 * 1024));
    let escaped = format!(r#"{{"email": "{}""#, EMAIL.replace('@', r"\u0040"));
    let unknown = late().email(EMAIL).without("/data/company");
    let future = Event::lead("Ada").email(EMAIL).time("2999-01-01T00:00:00Z");
    vec![
        ("arguments_invalid", invalid.bytes()),
        ("event_invalid", without_time.bytes()),
        ("too_large", large.bytes()),
        ("undecodable", escaped.into_bytes()),
        ("event_invalid", unknown.bytes()),
        ("event_invalid", future.bytes()),
    ]
}

#[apply(test)]
async fn rejected_message_about_an_erased_person_is_kept_without_its_contents(app: &TestApp) {
    app.set("contacts.suppression_pepper", "pepper");
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email(EMAIL).phone(PHONE)).await;
    app.broker.hear(1).await;
    erase(app, &contact_id(app, "acme", EMAIL).await).await;
    let rejected = rejected();
    for _ in 0..2 {
        for (_, body) in &rejected {
            let properties = lapin::BasicProperties::default().with_correlation_id(EMAIL.into());
            let key = format!("trigger.fired.{PHONE}");
            app.broker.publish_bytes(&key, body, properties).await;
        }
    }
    let copy = Event::lead("Ada").id(PHONE).email(EMAIL).time("2026-01-02T00:00:00Z");
    app.broker.publish_dead_letter(&copy.bytes()).await;
    app.count_becomes("SELECT sum(attempts)::bigint FROM dead_letters", 13).await;
    assert_no_trace(&dump(app).await.0);
    let all = app.dead_letters().await;
    let mut reasons: Vec<&str> = all.iter().map(|dead| dead.reason.as_str()).collect();
    reasons.sort_unstable();
    let mut expected: Vec<&str> = rejected.iter().map(|(reason, _)| *reason).chain(["broker"]).collect();
    expected.sort_unstable();
    assert_eq!(reasons, expected);
    for dead in &all {
        assert_eq!(
            (&dead.body[..], dead.routing_key.as_str()),
            (b"".as_slice(), "trigger.fired"),
            "{dead:?}"
        );
        assert!(dead.message.contains("erased"), "{}", dead.message);
    }
    // There is nothing to replay.
    let replayed = app.cli(&["dead-letter", "replay", "--all", "--yes", "-o", "json"]).await;
    assert_eq!(replayed.code, Some(3), "{}", replayed.stderr);
    assert_eq!(
        app.json(&["dead-letter", "discard", "--all", "--yes", "--operator", "grace"]).await["discarded"],
        7
    );
}

#[apply(test)]
async fn rejected_message_about_somebody_else_or_of_later_keeps_its_contents(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email(EMAIL).phone(PHONE)).await;
    app.broker.hear(1).await;
    erase(app, &contact_id(app, "acme", EMAIL).await).await;
    let bad = |event: Event| event.argument("interest", 7);
    let kept = [
        bad(Event::lead("Ada").email(EMAIL)),
        bad(Event::lead("Grace").email("grace@navy.example").phone(OTHER_PHONE).time("2026-01-01T00:00:00Z")),
        bad(Event::lead("Ada").email(EMAIL).company("globex").time("2026-01-01T00:00:00Z")),
    ];
    app.broker.publish_all(&kept).await;
    app.wait_for_rows("dead_letters", 3).await;
    for dead in app.dead_letters().await {
        assert!(kept.iter().any(|event| event.bytes() == dead.body), "{dead:?}");
    }
}

/// The message was looked up before the erasure, and its dead letter is committed after the erasure's last search.
#[apply(test)]
async fn erasure_waits_for_a_message_that_is_being_rejected(app: &TestApp) {
    let lock = app.hold_up("BEFORE INSERT ON dead_letters FOR EACH STATEMENT").await;
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email(EMAIL)).await;
    app.broker.hear(1).await;
    let id = contact_id(app, "acme", EMAIL).await;
    let late = Event::lead("Ada").email(EMAIL).argument("interest", 7).time("2026-01-01T00:00:00Z");
    app.broker.publish(&late).await;
    app.wait_for_blocked_sessions(1).await;
    let release = async {
        app.wait_for_blocked_sessions(2).await;
        lock.rollback().await.unwrap();
    };
    let (report, ()) = tokio::join!(erase(app, &id), release);
    assert_eq!(report["removed"]["deadLetters"], 1, "{report}");
    app.queues_are_empty().await;
    assert_eq!(app.rows("dead_letters").await, 0);
    app.wait_for_unpublished(0).await;
    assert_no_trace(&dump(app).await.0);
}
