//! Every change leaves one row, which nobody can change.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{assert_refused, audited};
use crate::support::{app::TestApp, event::Event, test};

const EMAIL: &str = "ada@analytical.example";

#[apply(test)]
async fn every_change_is_recorded_with_who_and_why(app: &TestApp) {
    app.run(&[]).await;
    let url = app.receiver.url("/status/404");
    app.broker.publish(&Event::lead("Ada").email(EMAIL).webhook(&url)).await;
    let dead = app.the_dead_letter("open", |dead| dead.state == "open").await;
    let (id, delivery) = (dead.id.to_string(), dead.delivery_id.unwrap().to_string());
    let who = ["--operator", "grace", "--because", "asked by sales"];
    let run = async |arguments: &[&str]| {
        let ended = app.cli(&[arguments, &who, &["-o", "json"]].concat()).await;
        assert!(matches!(ended.code, Some(0 | 1)), "{arguments:?}: {}", ended.stderr);
    };
    run(&["endpoint", "pause", &url]).await;
    run(&["endpoint", "pause", &url]).await;
    run(&["endpoint", "test", &url]).await;
    run(&["delivery", "resend", &delivery, "--yes"]).await;
    run(&["dead-letter", "discard", &id, "--yes"]).await;
    run(&["dead-letter", "restore", &id, "--yes"]).await;
    run(&["dead-letter", "replay", &id, "--yes"]).await;
    run(&["dead-letter", "discard", &id, "--yes", "--dry-run"]).await;
    let exported = app.cli(&[&["dead-letter", "export", &id], who.as_slice()].concat()).await;
    assert_eq!(exported.code, Some(0), "{}", exported.stderr);
    // As its breaker would be after failures.
    sqlx::query("UPDATE webhook_endpoints SET failures = 3").execute(&app.pool).await.unwrap();
    run(&["endpoint", "enable", &url]).await;
    run(&["endpoint", "resume", &url]).await;
    let contact = app.json(&["contact", "find", "--company", "acme", "--email", EMAIL]).await;
    run(&["contact", "erase", "--company", "acme", contact[0]["id"].as_str().unwrap(), "--yes"]).await;

    let mut rows = audited(app, &[]).await;
    // Each of the acts on dead letters and deliveries is planned and run.
    let is_of_operation = |row: &mut Value| row["action"].as_str().unwrap().starts_with("operation.");
    assert_eq!(rows.extract_if(.., is_of_operation).count(), 8);
    let actions: Vec<&str> = rows.iter().rev().map(|row| row["action"].as_str().unwrap()).collect();
    let expected = [
        "endpoint.pause",
        "endpoint.test",
        "delivery.resend",
        "dead_letter.replay",
        "dead_letter.discard",
        "dead_letter.restore",
        "dead_letter.replay",
        "dead_letter.export",
        "endpoint.enable",
        "endpoint.resume",
        "contact.erase",
    ];
    assert_eq!(actions, expected);
    for row in &rows {
        assert_eq!(
            (&row["operator"], &row["via"], &row["reason"]),
            (&json!("grace"), &json!("command_line"), &json!("asked by sales"))
        );
    }
    let discard = &audited(app, &["--action", "dead_letter.discard"]).await[0];
    assert_eq!((&discard["object"], &discard["company"]), (&json!(id), &json!("acme")));
    assert_eq!(
        (&discard["before"], &discard["after"]),
        (&json!({"state": "replaying"}), &json!({"state": "discarded"}))
    );
    assert_nothing_personal(app).await;
}

async fn assert_nothing_personal(app: &TestApp) {
    let log = app.cli(&["audit", "list", "-o", "json"]).await.stdout;
    assert!(!["Ada", "ada@", "analytical"].iter().any(|part| log.contains(part)), "{log}");
}

#[apply(test)]
async fn record_cannot_be_changed(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&super::refused("Ada")).await;
    let dead = app.the_dead_letter("open", |dead| dead.state == "open").await;
    app.json(&["dead-letter", "discard", &dead.id.to_string(), "--yes"]).await;
    for change in ["UPDATE audit_log SET operator = 'x'", "DELETE FROM audit_log", "TRUNCATE audit_log"] {
        let refused = sqlx::query(change).execute(&app.pool).await.unwrap_err().to_string();
        assert!(refused.contains("append-only"), "{change}: {refused}");
    }
    assert_eq!(app.rows("audit_log WHERE action = 'dead_letter.discard'").await, 1);
}

#[apply(test)]
async fn record_is_listed_by_filters_and_in_pages(app: &TestApp) {
    app.run(&[]).await;
    let events: Vec<Event> = (0..3).map(|n| super::refused(&format!("Ada {n}"))).collect();
    app.broker.publish_all(&events).await;
    app.wait_for_rows("dead_letters", 3).await;
    for (dead, operator) in
        app.dead_letters().await.iter().zip(["ada", "bob", "o'hara; DROP TABLE audit_log --"])
    {
        app.json(&["dead-letter", "discard", &dead.id.to_string(), "--yes", "--operator", operator]).await;
    }
    let id = app.dead_letters().await[1].id.to_string();
    for (options, expected) in [
        // Each discard is an operation, which was planned and run.
        (vec![], 9),
        (vec!["--operator", "ada"], 3),
        (vec!["--operator", "a%"], 0),
        (vec!["--operator", "___"], 0),
        (vec!["--operator", "o'hara; DROP TABLE audit_log --"], 3),
        (vec!["--operator", "' OR 1=1 --"], 0),
        (vec!["--action", "dead_letter.discard"], 3),
        (vec!["--action", "contact.erase"], 0),
        (vec!["--company", "acme"], 3),
        (vec!["--company", ""], 6),
        (vec!["--object", &id], 1),
        (vec!["--object", &id[..8]], 0),
        (vec!["--since", "1h"], 9),
        (vec!["--until", "1h"], 0),
        (vec!["--since", "2999-01-01T00:00:00Z"], 0),
    ] {
        assert_eq!(audited(app, &options).await.len(), expected, "{options:?}");
    }
    let all = audited(app, &[]).await;
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut arguments = vec!["audit", "list", "--limit", "2", "-o", "json"];
        if let Some(cursor) = &cursor {
            arguments.extend(["--after", cursor]);
        }
        let page = app.cli(&arguments).await;
        seen.extend(super::parsed(&page).as_array().unwrap().clone());
        let next = page.stderr.split_once("--after ").map(|(_, cursor)| cursor.trim().to_owned());
        let Some(next) = next else { break };
        cursor = Some(next);
    }
    assert_eq!(seen, all);
    let cursor = cursor.unwrap();
    for bad in ["x", "", "' OR 1=1 --", &cursor[1..], &"A".repeat(34), &"A".repeat(10_000)] {
        assert_refused(&app.cli(&["audit", "list", "--after", bad]).await, 2, "--after");
    }
    for (option, bad) in [("--action", "nonsense"), ("--since", "yesterday"), ("--limit", "0")] {
        assert_refused(&app.cli(&["audit", "list", option, bad]).await, 2, option);
    }
    let long = "x".repeat(501);
    for bad in [long.as_str(), "a\nb"] {
        let refused = app.cli(&["dead-letter", "discard", &id, "--yes", "--because", bad]).await;
        assert_refused(&refused, 2, "--because");
    }
}
