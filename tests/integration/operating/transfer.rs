//! Dead letters are exported whole, and put back unless their event has ended in another way.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{assert_refused, audited, parsed, refused};
use crate::support::{app::TestApp, event::Event, process::Finished, test};

async fn export(app: &TestApp, options: &[&str]) -> String {
    let exported = app.cli(&[&["dead-letter", "export"], options].concat()).await;
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);
    exported.stdout
}

async fn import(app: &TestApp, file: &str) -> Finished {
    app.cli_with_input(&["dead-letter", "import", "-", "-o", "json"], file.as_bytes()).await
}

/// They are gone, as retention deletes them, or as in a database that was restored from an older backup.
async fn forget(app: &TestApp) {
    for table in ["dead_letters", "applied_events"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&app.pool).await.unwrap();
    }
}

#[apply(test)]
async fn exported_dead_letters_come_back_as_they_were(app: &TestApp) {
    app.run(&[]).await;
    let raw = b"\xff\x00 no event".as_slice();
    app.broker.publish_bytes("trigger.fired", raw, lapin::BasicProperties::default()).await;
    let webhook = Event::bare().webhook(&app.receiver.url("/status/404"));
    app.broker.publish_all(&[refused("Ada"), refused("Bob"), webhook]).await;
    app.wait_for_rows("dead_letters", 4).await;
    let before = app.dead_letters().await;
    let bob = before.iter().find(|dead| String::from_utf8_lossy(&dead.body).contains("Bob")).unwrap();
    app.json(&["dead-letter", "discard", &bob.id.to_string(), "--yes", "--operator", "grace"]).await;
    let before = app.dead_letters().await;
    let all = export(app, &["--state", "open", "--state", "discarded"]).await;
    let lines: Vec<Value> = all.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4);
    assert!(lines[0]["bodyBase64"].is_string() && lines[1]["body"].is_string());
    assert_eq!(export(app, &["--reason", "undecodable"]).await.lines().next(), all.lines().next());
    assert_eq!(export(app, &[&bob.id.to_string()]).await.lines().count(), 1);
    forget(app).await;
    let back = import(app, &format!("\n{all}\r\n\n")).await;
    let expected = json!({"imported": 4, "present": 0, "skipped": 0, "reasons": {}});
    assert_eq!((back.code, parsed(&back)), (Some(0), expected), "{}", back.stderr);
    assert_eq!(app.dead_letters().await, before);
    assert_eq!(export(app, &["--state", "open", "--state", "discarded"]).await, all);
    assert_eq!(app.rows("applied_events WHERE meaning IS NULL").await, 2);
    let again = import(app, &all).await;
    assert_eq!((again.code, &parsed(&again)["present"]), (Some(0), &json!(4)), "{}", again.stderr);
    assert_eq!(audited(app, &["--action", "dead_letter.import"]).await.len(), 4);
    assert_eq!(audited(app, &["--action", "dead_letter.export"]).await[0]["after"], json!({"count": 4}));
    // They can be worked on.
    app.json(&["dead-letter", "replay", "--stage", "webhook", "--yes"]).await;
    app.wait_for_rows("dead_letters WHERE replays = 1 AND state = 'open' AND attempts = 2", 1).await;
}

#[apply(test)]
async fn event_that_has_ended_since_is_not_imported(app: &TestApp) {
    app.set("contacts.default_region", "PT");
    app.run(&[]).await;
    let event = Event::lead("Ada").phone("(11) 98765-4321").webhook(&app.receiver.url("/flaky/3"));
    app.broker.publish(&event).await;
    app.the_dead_letter("open", |dead| dead.state == "open").await;
    let file = export(app, &[]).await;
    app.stop().await;
    app.set("contacts.default_region", "BR");
    app.run(&[]).await;
    app.json(&["dead-letter", "replay", "--all", "--yes"]).await;
    app.wait_for_rows("dead_letters WHERE stage = 'webhook' AND state = 'open'", 1).await;
    let webhook = export(app, &["--stage", "webhook"]).await;
    let resolved = export(app, &["--state", "resolved"]).await;
    app.json(&["dead-letter", "replay", "--stage", "webhook", "--yes"]).await;
    app.wait_for_rows("dead_letters WHERE state = 'resolved'", 2).await;
    sqlx::query("DELETE FROM dead_letters").execute(&app.pool).await.unwrap();
    let back = import(app, &[file, webhook, resolved].concat()).await;
    let reasons = json!({"resolved": 1, "ended": 1, "undeliverable": 1});
    let expected = json!({"imported": 0, "present": 0, "skipped": 3, "reasons": reasons});
    assert_eq!((back.code, parsed(&back)), (Some(3), expected), "{}", back.stderr);
    assert_eq!((app.rows("dead_letters").await, app.rows("contacts").await), (0, 1));
}

#[apply(test)]
async fn other_body_of_an_event_that_was_applied_since_is_imported_as_a_conflict(app: &TestApp) {
    app.run(&[]).await;
    let event = refused("Ada");
    app.broker.publish(&event).await;
    app.the_dead_letter("open", |dead| dead.state == "open").await;
    let file = export(app, &[]).await;
    app.broker.publish(&event.phone("+5511987654321")).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved").await;
    sqlx::query("DELETE FROM dead_letters").execute(&app.pool).await.unwrap();
    let back = import(app, &file).await;
    assert_eq!((back.code, &parsed(&back)["imported"]), (Some(0), &json!(1)), "{}", back.stderr);
    app.the_dead_letter("a conflict", |dead| dead.reason == "event_id_conflict" && dead.state == "open")
        .await;
}

#[apply(test)]
async fn erased_person_does_not_come_back_by_an_import(app: &TestApp) {
    app.run(&[]).await;
    let (email, old) = ("ada@analytical.example", "2026-01-01T00:00:00Z");
    let ada = || Event::lead("Ada").email(email).time(old);
    app.broker.publish(&ada()).await;
    app.broker.hear(1).await;
    let broken = ada().argument("interest", 7).id("broken");
    app.broker.publish(&broken).await;
    app.the_dead_letter("open", |dead| dead.state == "open").await;
    let file = export(app, &[]).await;
    let contact = app.json(&["contact", "find", "--company", "acme", "--email", email]).await;
    app.json(&["contact", "erase", "--company", "acme", contact[0]["id"].as_str().unwrap(), "--yes"]).await;
    assert_eq!(app.rows("dead_letters").await, 0);
    // Whatever time somebody writes into the file, it is from before the erasure.
    let later = file.replace(old, "2026-11-29T23:00:00Z");
    for file in [file, later] {
        let back = import(app, &file).await;
        assert_eq!(back.code, Some(3), "{}", back.stderr);
        assert_eq!(parsed(&back)["reasons"], json!({"erased": 1}));
    }
    assert_eq!(app.rows("dead_letters").await, 0);
}

#[apply(test)]
async fn file_that_no_export_writes_is_refused_line_by_line(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish_all(&[refused("Ada"), Event::bare().webhook(&app.receiver.url("/status/404"))]).await;
    app.wait_for_rows("dead_letters", 2).await;
    let upsert = export(app, &["--stage", "upsert"]).await;
    let webhook = export(app, &["--stage", "webhook"]).await;
    forget(app).await;
    let changed = |line: &str, member: &str, value: Value| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        line[member] = value;
        line.to_string()
    };
    let mut lines = vec!["{".to_owned(), "[]".to_owned(), "null".to_owned(), "\u{feff}{}".to_owned()];
    for (member, value) in [
        ("company", json!("b")),
        ("company", json!("")),
        ("company", json!("x".repeat(10_000))),
        ("stage", json!("webhook'")),
        ("stage", json!("webhook")),
        ("reason", json!("nonsense")),
        ("state", json!("gone")),
        ("body", json!("{}")),
        ("body", Value::Null),
        ("bodyBase64", json!("AAAA")),
        ("properties", json!([])),
        ("firstSeenAt", json!("yesterday")),
        ("firstSeenAt", json!("-009999-01-01T00:00:00Z")),
        ("attempts", json!(1_u64 << 40)),
        ("unknown", json!(1)),
        ("id", json!("1")),
        ("routingKey", json!("x".repeat(300))),
    ] {
        lines.push(changed(&upsert, member, value));
    }
    for (member, value) in [("company", json!("b")), ("trigger", json!("other")), ("body", json!("{}"))] {
        lines.push(changed(&webhook, member, value));
    }
    let all = import(app, &lines.join("\n")).await;
    let expected =
        json!({"imported": 0, "present": 0, "skipped": lines.len(), "reasons": {"invalid": lines.len()}});
    assert_eq!((all.code, parsed(&all)), (Some(1), expected), "{}", all.stderr);
    assert!(all.stderr.contains("line 1 is not as an export writes it"), "{}", all.stderr);
    assert_eq!((app.rows("dead_letters").await, app.rows("applied_events").await), (0, 0));
    // The good line among bad ones comes back.
    let mixed = import(app, &format!("{{\n{upsert}{{")).await;
    assert_eq!((mixed.code, &parsed(&mixed)["imported"]), (Some(3), &json!(1)), "{}", mixed.stderr);
    let gone = webhook.replace("\"deliveryId\":\"", "\"deliveryId\":\"0");
    assert_eq!(import(app, &gone).await.code, Some(1));
    assert_refused(&app.cli(&["dead-letter", "import", "/nowhere"]).await, 1, "/nowhere");
    assert_refused(&app.cli(&["dead-letter", "export", "x"]).await, 2, "not an id");
    assert_refused(&app.cli(&["dead-letter", "export", "0193f5a0", "--company", "a"]).await, 2, "not both");
}

/// An edit's old and new values are kept beside the edited event, and may name somebody whom that does not.
#[apply(test)]
async fn what_an_edit_changed_is_searched_for_erased_people(app: &TestApp) {
    app.run(&[]).await;
    let email = "ada@analytical.example";
    app.broker.publish(&Event::lead("Ada").email(email).time("2026-01-01T00:00:00Z")).await;
    app.broker.hear(1).await;
    app.broker.publish(&refused("Bob")).await;
    app.the_dead_letter("open", |dead| dead.state == "open").await;
    let mut line: Value = serde_json::from_str(&export(app, &[]).await).unwrap();
    line["difference"] = json!([{"path": "/data/arguments/email", "before": email, "after": "x"}]);
    let contact = app.json(&["contact", "find", "--company", "acme", "--email", email]).await;
    app.json(&["contact", "erase", "--company", "acme", contact[0]["id"].as_str().unwrap(), "--yes"]).await;
    sqlx::query("DELETE FROM dead_letters").execute(&app.pool).await.unwrap();
    let back = import(app, &line.to_string()).await;
    assert_eq!(back.code, Some(3), "{}", back.stderr);
    assert_eq!(parsed(&back)["reasons"], json!({"erased": 1}));
    line["difference"] =
        json!([{"path": "/data/arguments/email", "before": "other@x.example", "after": "x"}]);
    let back = import(app, &line.to_string()).await;
    assert_eq!((back.code, &parsed(&back)["imported"]), (Some(0), &json!(1)), "{}", back.stderr);
}

#[apply(test)]
async fn line_that_the_database_refuses_does_not_keep_others_out(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish_all(&[refused("Ada"), refused("Bob")]).await;
    app.wait_for_rows("dead_letters", 2).await;
    let file = export(app, &[]).await;
    forget(app).await;
    let mut lines: Vec<Value> = file.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    // Postgres stores no zero in a text, and the body of a message that only wakes the worker says nothing about its event.
    lines[0]["stage"] = json!("webhook");
    lines[0]["reason"] = json!("broker");
    lines[0]["eventId"] = json!("a\u{0}b");
    let file: Vec<String> = lines.iter().map(Value::to_string).collect();
    let back = import(app, &file.join("\n")).await;
    assert_eq!(back.code, Some(3), "{}", back.stderr);
    let shown = parsed(&back);
    assert_eq!((&shown["imported"], &shown["reasons"]), (&json!(1), &json!({"refused": 1})), "{shown}");
    assert!(back.stderr.contains("line 1 is refused by the database"), "{}", back.stderr);
}
