//! `dead-letter list|show|replay|discard`, and the outcome of replays.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::support::{app::TestApp, dead_letters::Dead, event::Event, eventually, test};

async fn list(app: &TestApp, filters: &[&str]) -> Vec<Value> {
    let rows = app.json(&[&["dead-letter", "list"], filters].concat()).await;
    rows.as_array().expect("a list").clone()
}

/// Three dead letters of stage upsert and two of stage webhook, from three companies and two triggers.
async fn five(app: &TestApp) -> Vec<Dead> {
    app.run(&[]).await;
    app.broker.publish_bytes("trigger.fired", b"no event", lapin::BasicProperties::default()).await;
    app.broker.publish(&Event::lead("Ada").phone("12")).await;
    app.broker.publish(&Event::lead("Ada").phone("12").company("b")).await;
    let webhook = Event::bare().with("/data/trigger/name", "tell".into());
    app.broker.publish(&webhook.clone().webhook(&app.receiver.url("/status/404"))).await;
    app.broker.publish(&webhook.id("gone").company("b").webhook(&app.receiver.url("/status/503"))).await;
    app.wait_for_rows("dead_letters", 5).await;
    app.dead_letters().await
}

#[apply(test)]
async fn list_filters_dead_letters(app: &TestApp) {
    five(app).await;
    let operator = ["--yes", "--operator", "grace"];
    let discard = [&["dead-letter", "discard", "--reason", "webhook_rejected"], operator.as_slice()].concat();
    assert_eq!(app.json(&discard).await["discarded"], 1);
    for (filters, expected) in [
        (vec![], 4),
        (vec!["--state", "open"], 4),
        (vec!["--state", "discarded"], 1),
        (vec!["--state", "open", "--state", "discarded"], 5),
        (vec!["--state", "resolved"], 0),
        (vec!["--reason", "identifier_invalid"], 2),
        (vec!["--reason", "identifier_invalid", "--company", "b"], 1),
        (vec!["--reason", "webhook_exhausted"], 1),
        (vec!["--reason", "broker"], 0),
        (vec!["--stage", "upsert"], 3),
        (vec!["--stage", "webhook"], 1),
        (vec!["--company", "b"], 2),
        (vec!["--company", ""], 1),
        (vec!["--company", "nobody"], 0),
        (vec!["--trigger", "tell"], 1),
        (vec!["--trigger", "register_lead"], 2),
        (vec!["--since", "1h"], 4),
        (vec!["--since", "2999-01-01T00:00:00Z"], 0),
        (vec!["--limit", "2"], 2),
        (vec!["--stage", "upsert", "--limit", "2"], 2),
    ] {
        assert_eq!(list(app, &filters).await.len(), expected, "{filters:?}");
    }
    let all = list(app, &[]).await;
    let times: Vec<&str> = all.iter().map(|row| row["lastSeenAt"].as_str().unwrap()).collect();
    assert!(times.is_sorted_by(|a, b| a >= b), "newest first: {times:?}");
    let discarded = app.dead_letters().await.into_iter().find(|dead| dead.state == "discarded").unwrap();
    assert_eq!((discarded.settled_by.as_deref(), discarded.stage.as_str()), (Some("grace"), "webhook"));
}

#[apply(test)]
async fn every_format_can_be_parsed(app: &TestApp) {
    let dead = five(app).await;
    let id = dead.last().unwrap().id.to_string();
    let rows = list(app, &[]).await;
    for member in ["id", "reason", "stage", "state", "company", "trigger", "eventId", "attempts", "replays"] {
        assert!(rows.iter().all(|row| row.get(member).is_some()), "{member}");
    }
    let ndjson = app.cli(&["dead-letter", "list", "-o", "ndjson"]).await;
    let lines: Vec<Value> = ndjson.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((ndjson.code, &lines), (Some(0), &rows));
    let table = app.cli(&["dead-letter", "list", "--limit", "3"]).await;
    assert!(table.stdout.lines().count() == 4 && table.stdout.starts_with("ID"), "{}", table.stdout);
    assert!(table.stderr.contains("more than these 3"), "{}", table.stderr);
    let shown = app.json(&["dead-letter", "show", &id]).await;
    let line = app.cli(&["dead-letter", "show", &id, "-o", "ndjson"]).await.stdout;
    assert_eq!((serde_json::from_str::<Value>(&line).unwrap(), line.lines().count()), (shown.clone(), 1));
    for member in ["id", "reason", "message", "source", "deliveryId", "routingKey", "properties", "body"] {
        assert!(!shown[member].is_null(), "{member}");
    }
    let text = app.cli(&["dead-letter", "show", &id]).await;
    assert!(text.stdout.contains("webhook_exhausted") && text.stdout.contains("503"), "{}", text.stdout);
    let empty = app.cli(&["dead-letter", "list", "--reason", "broker", "-o", "json"]).await;
    assert_eq!((empty.code, empty.stdout.as_str(), empty.stderr.as_str()), (Some(0), "[]\n", ""));
    let dry = app.json(&["dead-letter", "replay", "--all", "--dry-run"]).await;
    assert_eq!((&dry["count"], dry["sample"].as_array().unwrap().len()), (&json!(5), 5));
    assert_eq!(app.dead_letters().await, dead);
}

#[apply(test)]
async fn ids_can_be_abbreviated(app: &TestApp) {
    let dead = five(app).await;
    let (first, id) = (&dead[0], dead[0].id.to_string());
    // The first 8 digits are the minute, which may have ended between them.
    let together = "UPDATE dead_letters SET dead_letter_id = overlay(dead_letter_id::text PLACING left($1, 8) FROM 1)::uuid";
    sqlx::query(together).bind(&id).execute(&app.pool).await.unwrap();
    let dead = app.dead_letters().await;
    for text in [&id, &id.to_uppercase(), &id.replace('-', ""), &id[..35]] {
        assert_eq!(app.json(&["dead-letter", "show", text]).await["id"], json!(first.id), "{text}");
    }
    let several = app.cli(&["dead-letter", "show", &id[..8]]).await;
    assert_eq!(several.code, Some(1));
    assert!(several.stdout.is_empty() && several.stderr.contains("give more"), "{}", several.stderr);
    let unknown = app.cli(&["dead-letter", "show", "00000000-0000-7000-8000-000000000000"]).await;
    assert!(unknown.code == Some(1) && unknown.stderr.contains("there is no dead letter"));
    for nonsense in ["nonsense", "0193f5a", &format!("{id}0"), ""] {
        assert_eq!(app.cli(&["dead-letter", "show", nonsense]).await.code, Some(2), "{nonsense}");
        assert_eq!(app.cli(&["dead-letter", "discard", nonsense, "--yes"]).await.code, Some(2), "{nonsense}");
    }
    let two = [&id, &dead[1].id.to_string(), &id.to_uppercase()];
    let done =
        app.json(&["dead-letter", "discard", two[0], two[1], two[2], "--yes", "--operator", "o"]).await;
    assert_eq!(done, json!({"discarded": 2, "skipped": 0, "failed": 0}));
}

#[apply(test)]
async fn replay_succeeds_once_the_cause_is_gone(app: &TestApp) {
    app.set("contacts.default_region", "PT");
    let service = app.run(&[]).await;
    // A Brazilian number without its country code.
    let event = Event::lead("Ada").phone("(11) 98765-4321").webhook(&app.receiver.url("/ok"));
    app.broker.publish(&event).await;
    let dead = app.wait_for_dead_letter().await;
    assert_eq!(
        (dead.reason.as_str(), dead.event_id.as_deref()),
        ("identifier_invalid", Some(event.event_id()))
    );
    service.sigterm();
    service.ended().await;
    app.set("contacts.default_region", "BR");
    app.run(&[]).await;
    app.json(&["dead-letter", "replay", "--company", "acme", "--yes"]).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved" && dead.replays == 1).await;
    app.wait_for_rows("contacts WHERE phone = '+5511987654321'", 1).await;
    app.webhooks(1).await;
    assert_eq!(app.broker.hear(1).await.len(), 1);
    // A settled dead letter stays settled.
    let again = app.cli(&["dead-letter", "replay", &dead.id.to_string(), "--yes", "-o", "json"]).await;
    assert_eq!(again.code, Some(3), "{}", again.stderr);
    let again: Value = serde_json::from_str(&again.stdout).unwrap();
    assert_eq!(again, json!({"replayed": 0, "skipped": 1, "failed": 0}));
    app.the_dead_letter("left alone", |dead| dead.replays == 1 && dead.settled_by.is_none()).await;
}

#[apply(test)]
async fn replay_waits_for_a_stopped_worker(app: &TestApp) {
    app.set("contacts.on_unidentified", "reject");
    let service = app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada")).await;
    let dead = app.the_dead_letter("there", |dead| dead.reason == "identifier_invalid").await;
    service.sigterm();
    service.ended().await;
    for replays in 1..=2 {
        let done = app.json(&["dead-letter", "replay", &dead.id.to_string(), "--yes"]).await;
        assert_eq!(done["replayed"], 1);
        app.the_dead_letter("replaying", |dead| dead.state == "replaying" && dead.replays == replays).await;
    }
    assert_eq!(list(app, &["--state", "replaying"]).await.len(), 1);
    app.set("contacts.on_unidentified", "create");
    app.run(&[]).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved").await;
    app.queues_are_empty().await;
    assert_eq!(app.rows("contacts").await, 1);
}

#[apply(test)]
async fn webhook_message_without_a_delivery_is_replayed(app: &TestApp) {
    app.broker.declare().await;
    let event = Event::lead("Ada").email("ada@analytical.example").webhook(&app.receiver.url("/ok"));
    app.broker.publish(&event).await;
    let upsert = app.run(&["upsert", "dead-letter"]).await;
    eventually("it is upserted", async || (app.broker.depth("webhook").await == 1).then_some(())).await;
    app.broker.reject("webhook").await;
    let dead = app.wait_for_dead_letter().await;
    assert_eq!((dead.reason.as_str(), dead.stage.as_str()), ("broker", "webhook"));
    assert_eq!((dead.company.as_str(), dead.event_id.as_deref()), ("acme", Some(event.event_id())));
    app.json(&["dead-letter", "replay", &dead.id.to_string(), "--yes"]).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved" && dead.replays == 1).await;
    assert_eq!(app.broker.depth("webhook").await, 1);
    upsert.sigterm();
    app.run(&[]).await;
    app.webhooks(1).await;
}

#[apply(test)]
async fn replay_and_discard_settle_the_delivery_too(app: &TestApp) {
    let service = app.run(&[]).await;
    let (lost, found) = (app.receiver.url("/status/500"), app.receiver.url("/flaky/3"));
    let event = Event::lead("Ada").email("ada@analytical.example").webhook(&lost).webhook(&found);
    app.broker.publish(&event).await;
    app.wait_for_dead_letters_because("webhook_exhausted", 2).await;
    let replayed = app.json(&["dead-letter", "replay", "--stage", "webhook", "--yes"]).await;
    assert_eq!(replayed["replayed"], 2);
    app.wait_for_rows("dead_letters WHERE state = 'resolved' AND replays = 1", 1).await;
    app.wait_for_rows("dead_letters WHERE state = 'open' AND replays = 1 AND attempts = 6", 1).await;
    assert_eq!(app.receiver.requests().len(), 3 + 3 + 1 + 3);
    // Without a worker, one is replayed and then discarded: its delivery is not sent.
    service.sigterm();
    service.ended().await;
    app.json(&["dead-letter", "replay", "--all", "--yes"]).await;
    app.json(&["dead-letter", "discard", "--all", "--yes", "--operator", "grace"]).await;
    app.run(&[]).await;
    app.queues_are_empty().await;
    assert_eq!(app.rows("webhook_deliveries WHERE state IN ('delivered', 'discarded')").await, 2);
    assert_eq!(app.receiver.requests().len(), 10);
    assert_eq!(app.broker.hear(1).await.len(), 1);
}

#[apply(test)]
async fn replay_and_discard_refuse_ambiguous_arguments(app: &TestApp) {
    let dead = five(app).await;
    let id = dead[0].id.to_string();
    for arguments in [
        vec!["replay"],
        vec!["discard", "--yes"],
        vec!["replay", "--limit", "3", "--yes"],
        vec!["replay", "--all"],
        vec!["discard", &id],
        vec!["replay", &id, "--all", "--yes"],
        vec!["replay", &id, "--reason", "broker", "--yes"],
        vec!["replay", "--all", "--yes", "--rate", "0"],
        vec!["replay", "--reason", "nonsense", "--yes"],
        vec!["discard", "--all", "--yes", "--operator", ""],
        vec!["discard", "--all", "--yes", "--operator", "a\nb"],
    ] {
        let ended = app.cli(&[&["dead-letter"], arguments.as_slice()].concat()).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}: {}", ended.stderr);
    }
    let nothing = app.json(&["dead-letter", "replay", "--reason", "broker", "--yes"]).await;
    assert_eq!(nothing, json!({"replayed": 0, "skipped": 0, "failed": 0}));
    let dry = app.cli(&["dead-letter", "discard", "--all", "--dry-run"]).await;
    assert!(dry.code == Some(0) && dry.stdout.contains("would discard 5"), "{}{}", dry.stdout, dry.stderr);
    assert_eq!(app.dead_letters().await, dead);
}

#[apply(test)]
async fn replay_keeps_to_its_rate(app: &TestApp) {
    app.run(&[]).await;
    for index in 0..6 {
        app.broker.publish(&Event::lead(&format!("Ada {index}")).phone("12")).await;
    }
    app.wait_for_rows("dead_letters", 6).await;
    let begun = std::time::Instant::now();
    let done = app.json(&["dead-letter", "replay", "--all", "--yes", "--rate", "5"]).await;
    assert_eq!(done["replayed"], 6);
    // The first is replayed at once, and each of the five others 200 ms after the one before.
    assert!(begun.elapsed().as_millis() >= 1_000, "{:?}", begun.elapsed());
    app.wait_for_rows("dead_letters WHERE replays = 1 AND state = 'open'", 6).await;
}
