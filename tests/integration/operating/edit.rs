//! An edited event takes the place of its dead letter.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{assert_refused, audited, dead_letter_of, parsed, refused};
use crate::support::{app::TestApp, dead_letters::Dead, event::Event, eventually, process::Finished, test};

async fn edit(app: &TestApp, id: &str, body: &[u8], options: &[&str]) -> Finished {
    let command = ["dead-letter", "edit", id, "--body", "-", "--operator", "ada", "-o", "json"];
    app.cli_with_input(&[&command, options].concat(), body).await
}

/// The only other dead letter, once it fits.
async fn other(app: &TestApp, original: &Dead, fits: impl Fn(&Dead) -> bool) -> Dead {
    eventually("the edited event is there", async || {
        let all = app.dead_letters().await;
        assert!(all.len() <= 2, "{all:?}");
        all.into_iter().find(|dead| dead.id != original.id && fits(dead))
    })
    .await
}

#[apply(test)]
async fn edited_event_is_applied_once_and_replaces_its_original(app: &TestApp) {
    let event = refused("Ada");
    let dead = dead_letter_of(app, &event).await;
    let (id, body) = (dead.id.to_string(), event.clone().phone("+5511987654321").bytes());
    let dry = edit(app, &id, &body, &["--dry-run"]).await;
    let change = json!({"path": "/data/arguments/phone", "before": "12", "after": "+5511987654321"});
    assert_eq!((dry.code, &parsed(&dry)["difference"][1]), (Some(0), &change), "{}", dry.stderr);
    assert_eq!(app.dead_letters().await, std::slice::from_ref(&dead));

    let edited = edit(app, &id, &body, &["--because", "typo"]).await;
    let value = parsed(&edited);
    assert_eq!((edited.code, &value["sent"], &value["editedFrom"]), (Some(0), &json!(true), &json!(dead.id)));
    app.wait_for_rows("contacts WHERE phone = '+5511987654321'", 1).await;
    let child = other(app, &dead, |dead| dead.state == "resolved").await;
    assert_eq!((json!(child.id), json!(child.event_id)), (value["id"].clone(), value["eventId"].clone()));
    assert_ne!(child.event_id.as_deref(), Some(event.event_id()));
    assert_eq!((child.source, child.replays), (Some(event.text("/source").to_owned()), 1));
    let shown = app.json(&["dead-letter", "show", &child.id.to_string()]).await;
    assert_eq!((&shown["editedFrom"], &shown["difference"][1]), (&json!(dead.id), &change));
    let original = app.json(&["dead-letter", "show", &id]).await;
    assert_eq!(
        (&original["state"], &original["supersededBy"], &original["settledBy"]),
        (&json!("resolved"), &json!(child.id), &json!("ada"))
    );
    assert_eq!(original["changes"][0]["action"], "dead_letter.edit");
    let row = &audited(app, &["--action", "dead_letter.edit"]).await[0];
    assert_eq!((&row["object"], &row["reason"]), (&json!(dead.id), &json!("typo")));
    assert!(!row.to_string().contains("98765"), "{row}");
    assert_eq!(app.broker.hear(1).await.len(), 1);
    assert_eq!(app.rows("applied_events WHERE meaning IS NOT NULL").await, 1);

    // It can neither be edited again nor replayed nor restored.
    assert_refused(&edit(app, &id, &body, &[]).await, 1, "this one is resolved");
    for verb in ["replay", "discard", "restore"] {
        assert_eq!(app.cli(&["dead-letter", verb, &id, "--yes"]).await.code, Some(3), "{verb}");
    }
    app.queues_are_empty().await;
    assert_eq!(app.dead_letters().await.len(), 2);
}

#[apply(test)]
async fn edit_that_would_fail_changes_nothing(app: &TestApp) {
    let event = refused("Ada");
    let dead = dead_letter_of(app, &event).await;
    let (id, good) = (dead.id.to_string(), event.clone().phone("+5511987654321"));
    let future = good.clone().time("2999-01-01T00:00:00Z");
    let large = good.clone().argument("city", "x".repeat(1024 * 1024));
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000));
    for (body, says) in [
        (b"".to_vec(), "not a JSON object"),
        (b"{".to_vec(), "not a JSON object"),
        (b"[]".to_vec(), "not a JSON object"),
        (b"null".to_vec(), "not a JSON object"),
        (deep.into_bytes(), "not a JSON object"),
        (b"{}".to_vec(), "event_invalid"),
        (good.clone().company("b").bytes(), "another company"),
        (good.clone().without("/data/company").bytes(), "event_invalid"),
        (good.clone().without("/data/trigger").bytes(), "trigger"),
        (good.clone().argument("interest", 7).bytes(), "arguments_invalid"),
        (event.clone().phone("13").bytes(), "identifier_invalid"),
        (future.bytes(), "max_clock_skew"),
        (large.bytes(), "larger than"),
        (event.bytes(), "says the same"),
        (event.clone().id("other").bytes(), "says the same"),
    ] {
        let refused = edit(app, &id, &body, &[]).await;
        assert_refused(&refused, 1, says);
        assert!(refused.stdout.is_empty() && !refused.stderr.contains("98765"), "{}", refused.stderr);
    }
    let refused = edit(app, &id, b"\xc3\x28", &[]).await;
    assert_refused(&refused, 1, "UTF-8");
    let body = good.bytes();
    assert_refused(&edit(app, &id, &body, &["--company", "b"]).await, 1, "another company");
    assert_refused(&edit(app, "00000000-0000-7000-8000-000000000000", &body, &[]).await, 1, "no dead letter");
    assert_refused(&edit(app, "' OR 1=1", &body, &[]).await, 2, "not an id");
    let missing = app.cli(&["dead-letter", "edit", &id, "--body", "/nowhere"]).await;
    assert_refused(&missing, 1, "/nowhere");
    assert_eq!(app.cli(&["dead-letter", "edit", &id]).await.code, Some(2));
    app.queues_are_empty().await;
    assert_eq!((app.dead_letters().await, app.rows("audit_log").await), (vec![dead], 0));
}

#[apply(test)]
async fn webhook_and_settled_dead_letters_cannot_be_edited(app: &TestApp) {
    app.run(&[]).await;
    let event = Event::bare().webhook(&app.receiver.url("/status/404"));
    app.broker.publish(&event).await;
    let dead = app.the_dead_letter("open", |dead| dead.state == "open").await;
    let refused = edit(app, &dead.id.to_string(), &event.id("2").bytes(), &[]).await;
    assert_refused(&refused, 1, "resend its delivery");
    app.json(&["dead-letter", "discard", "--all", "--yes"]).await;
    let event = super::refused("Ada");
    app.broker.publish(&event).await;
    app.wait_for_rows("dead_letters WHERE stage = 'upsert'", 1).await;
    app.stop().await;
    let upsert = app.dead_letters().await.into_iter().find(|dead| dead.stage == "upsert").unwrap();
    let id = upsert.id.to_string();
    // While its replay waits in the queue, an edit would be applied beside it.
    app.json(&["dead-letter", "replay", &id, "--yes"]).await;
    let body = event.phone("+5511987654321").bytes();
    assert_refused(&edit(app, &id, &body, &[]).await, 1, "this one is replaying");
    app.json(&["dead-letter", "discard", &id, "--yes"]).await;
    assert_refused(&edit(app, &id, &body, &[]).await, 1, "this one is discarded");
    assert_eq!(app.rows("dead_letters").await, 2);
    app.run(&[]).await;
}

#[apply(test)]
async fn unreadable_message_can_be_edited_for_a_named_company(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish_bytes("trigger.fired", b"\xffno event", lapin::BasicProperties::default()).await;
    let dead = app.the_dead_letter("open", |dead| dead.state == "open").await;
    assert_eq!(dead.company, "");
    let (id, body) = (dead.id.to_string(), Event::lead("Ada").email("ada@x.example").bytes());
    assert_refused(&edit(app, &id, &body, &[]).await, 2, "--company");
    assert_refused(&edit(app, &id, &body, &["--company", "b"]).await, 1, "another company");
    assert_eq!(edit(app, &id, &body, &["--company", "acme"]).await.code, Some(0));
    app.wait_for_rows("contacts", 1).await;
    let child = other(app, &dead, |dead| dead.state == "resolved").await;
    assert_eq!(child.company, "acme");
}

/// The queue is gone, so the broker returns the message.
#[apply(test)]
async fn edited_event_that_is_not_published_can_be_replayed(app: &TestApp) {
    let event = refused("Ada");
    let dead = dead_letter_of(app, &event).await;
    app.stop().await;
    app.broker.delete("trigger-fired").await;
    let unsent = edit(app, &dead.id.to_string(), &event.phone("+5511987654321").bytes(), &[]).await;
    assert_eq!((unsent.code, &parsed(&unsent)["sent"]), (Some(3), &json!(false)), "{}", unsent.stderr);
    let child = other(app, &dead, |_| true).await;
    assert_eq!((child.state.as_str(), app.rows("dead_letters WHERE state = 'resolved'").await), ("open", 1));
    app.run(&[]).await;
    app.json(&["dead-letter", "replay", &child.id.to_string(), "--yes"]).await;
    app.wait_for_rows("contacts", 1).await;
    other(app, &dead, |dead| dead.state == "resolved").await;
}

/// A later time in the body does not make it an event from after the erasure.
#[apply(test)]
async fn edit_does_not_bring_back_an_erased_person(app: &TestApp) {
    app.run(&[]).await;
    let (email, old) = ("ada@analytical.example", "2026-01-01T00:00:00Z");
    let event = refused("Somebody");
    app.broker.publish(&Event::lead("Ada").email(email).time(old)).await;
    app.broker.hear(1).await;
    app.broker.publish(&event).await;
    let dead = app.the_dead_letter("open", |dead| dead.state == "open").await;
    let contact = app.json(&["contact", "find", "--company", "acme", "--email", email]).await;
    app.json(&["contact", "erase", "--company", "acme", contact[0]["id"].as_str().unwrap(), "--yes"]).await;
    let now = time::OffsetDateTime::now_utc() + time::Duration::hours(1);
    let later = now.format(&time::format_description::well_known::Rfc3339).unwrap();
    for time in [event.text("/time"), &later] {
        let body = event.clone().without("/data/arguments/phone").email(email).time(time).bytes();
        let refused = edit(app, &dead.id.to_string(), &body, &[]).await;
        assert_refused(&refused, 1, "has been erased");
    }
    app.queues_are_empty().await;
    assert_eq!((app.dead_letters().await, app.rows("contacts").await), (vec![dead], 0));
    assert_eq!(audited(app, &["--action", "dead_letter.edit"]).await, Vec::<Value>::new());
}

/// What an edit changed names the person as well.
#[apply(test)]
async fn erasure_finds_the_difference_of_an_edit(app: &TestApp) {
    let event = refused("Ada").argument("email", "not an email").argument("city", "ada@analytical.example");
    let dead = dead_letter_of(app, &event).await;
    let body = event.argument("city", "London").phone("+5511987654321").bytes();
    assert_eq!(edit(app, &dead.id.to_string(), &body, &[]).await.code, Some(0));
    app.wait_for_rows("contacts", 1).await;
    app.broker.publish(&Event::lead("Ada").phone("+5511987654321").email("ada@analytical.example")).await;
    app.wait_for_rows("contacts WHERE email IS NOT NULL", 1).await;
    let contact = app.json(&["contact", "find", "--company", "acme", "--phone", "+5511987654321"]).await;
    app.json(&["contact", "erase", "--company", "acme", contact[0]["id"].as_str().unwrap(), "--yes"]).await;
    assert_eq!(app.rows("dead_letters").await, 0);
}
