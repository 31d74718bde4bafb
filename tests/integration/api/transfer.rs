//! Dead letters are exported and put back over the API as the command line does it.

use std::collections::BTreeSet;

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{get, kind, post, served};
use crate::support::{
    app::TestApp,
    event::Event,
    http::{Answer, Ask},
    process::Process,
    test,
};

const EXPORT: &str = "/api/v1/dead-letters/export";

fn file(path: &str, lines: &str) -> Ask {
    Ask::new("POST", path).token("tok-a").header("content-type", "application/x-ndjson").body(lines)
}

async fn import(process: &Process, options: &str, lines: &str) -> Answer {
    process.ask(file(&format!("/api/v1/dead-letters/import{options}"), lines)).await
}

/// They are gone, as in a database that was restored from an older backup.
async fn forget(app: &TestApp) {
    for table in ["dead_letters", "applied_events"] {
        sqlx::query(sqlx::AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&app.pool).await.unwrap();
    }
}

/// The service with dead letters of two companies, one of which is no text.
async fn with_dead_letters(app: &TestApp) -> Process {
    let process = served(app).await;
    let broken = |name: &str| Event::lead(name).phone("12");
    let events = [broken("Ada"), broken("Bob").company("b"), broken("Eve")];
    app.broker.publish_all(&events).await;
    app.broker.publish_bytes("trigger.fired", b"\xff\x00", lapin::BasicProperties::default()).await;
    app.wait_for_rows("dead_letters", 4).await;
    process
}

#[apply(test)]
async fn command_line_and_api_export_and_import_the_same(app: &TestApp) {
    let process = with_dead_letters(app).await;
    let before = app.dead_letters().await;
    let all = post(&process, "tok-a", EXPORT, &json!({ "filter": {}, "reason": "backup" })).await;
    assert_eq!((all.status, all.header("content-type")), (200, Some("application/x-ndjson")));
    let by_command = app.cli(&["dead-letter", "export"]).await.stdout;
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert_eq!(lines(all.text()), lines(&by_command));
    assert_eq!(all.lines().len(), 4);
    for (body, count) in [
        (json!({ "filter": { "company": "acme" } }), 2),
        (json!({ "filter": { "reason": "undecodable" } }), 1),
        (json!({ "filter": { "text": "%" } }), 0),
        (json!({ "filter": { "state": ["discarded"] } }), 0),
        (json!({ "deadLetters": [{ "company": "b", "id": dead_of(&before, "b") }] }), 1),
    ] {
        assert_eq!(post(&process, "tok-a", EXPORT, &body).await.lines().len(), count, "{body}");
    }
    forget(app).await;
    let preview = import(&process, "?dryRun=true", all.text()).await.json();
    let expected = json!({
        "imported": 4, "present": 0, "skipped": 0, "reasons": {}, "dryRun": true, "lines": [],
    });
    assert_eq!(preview, expected);
    assert_eq!(app.rows("dead_letters").await + app.rows("applied_events").await, 0);
    assert_eq!(app.rows("audit_log WHERE action = 'dead_letter.import'").await, 0);
    let dry = app.cli_with_input(&["dead-letter", "import", "-", "--dry-run"], &all.body).await;
    assert!(dry.code == Some(0) && dry.stdout.contains("would import 4"), "{dry:?}");
    let done = import(&process, "?reason=restored", all.text()).await.json();
    assert_eq!((&done["imported"], &done["dryRun"]), (&json!(4), &json!(false)));
    assert_eq!(app.dead_letters().await, before);
    let again = import(&process, "", all.text()).await.json();
    assert_eq!((&again["imported"], &again["present"]), (&json!(0), &json!(4)));
    let by_command = app.cli_with_input(&["dead-letter", "import", "-", "-o", "json"], &all.body).await;
    let by_command: Value = serde_json::from_str(&by_command.stdout).unwrap();
    assert_eq!((&by_command["present"], &by_command["skipped"]), (&json!(4), &json!(0)));
    let audit = "audit_log WHERE operator = 'ada' AND via = 'api'";
    let imports = format!("{audit} AND action = 'dead_letter.import' AND reason = 'restored'");
    assert_eq!(app.rows(&imports).await, 4);
    let entries = get(&process, "tok-v", "/api/v1/audit?action=dead_letter.export&limit=500").await;
    let entries = entries["items"].as_array().unwrap().clone();
    assert!(entries.iter().any(|entry| entry["after"] == json!({ "count": 4 })), "{entries:?}");
    let states = json!({ "selection": { "states": ["open", "replaying"] } });
    assert!(
        entries.iter().any(|entry| entry["after"] == states && entry["reason"] == "backup"),
        "{entries:?}"
    );
}

fn dead_of(all: &[crate::support::dead_letters::Dead], company: &str) -> uuid::Uuid {
    all.iter().find(|dead| dead.company == company).expect("a dead letter").id
}

/// More than one page of messages, so that it is read while it is written.
#[apply(test)]
async fn large_export_has_each_dead_letter_once(app: &TestApp) {
    let process = served(app).await;
    let events: Vec<Event> = (0..130).map(|number| Event::lead(&number.to_string()).phone("12")).collect();
    app.broker.publish_all(&events).await;
    app.wait_for_rows("dead_letters", 130).await;
    let lines = post(&process, "tok-a", EXPORT, &json!({ "filter": {} })).await.lines();
    let ids: BTreeSet<String> = lines.iter().map(|line| line["id"].to_string()).collect();
    assert_eq!((lines.len(), ids.len()), (130, 130));
}

#[apply(test)]
async fn file_that_no_export_writes_changes_nothing(app: &TestApp) {
    let process = with_dead_letters(app).await;
    let good = post(&process, "tok-a", EXPORT, &json!({ "filter": { "company": "b" } })).await;
    let good = good.text().trim_end().to_owned();
    forget(app).await;
    let other = good.replace("\"company\":\"b\"", "\"company\":\"acme\"");
    let long = format!("{{\"body\":\"{}\"}}", "x".repeat(9 << 20));
    let bad = ["{", "[]", "null", "\u{feff}{}", "\u{0}", "'; DROP TABLE dead_letters --", &other, &long];
    let answer = import(&process, "", &bad.join("\n")).await;
    let answer = answer.json();
    assert_eq!((&answer["imported"], &answer["reasons"]), (&json!(0), &json!({ "invalid": 8 })), "{answer}");
    assert_eq!(answer["lines"][7], json!({ "line": 8, "outcome": "invalid" }));
    assert!(!answer.to_string().contains("DROP"), "{answer}");
    assert_eq!(app.rows("dead_letters").await + app.rows("applied_events").await, 0);
    let mixed = import(&process, "", &format!("{long}\n\n{good}\r\n{{")).await.json();
    assert_eq!((&mixed["imported"], &mixed["skipped"]), (&json!(1), &json!(2)), "{mixed}");
    let huge = Ask::new("POST", "/api/v1/dead-letters/import").token("tok-a");
    let huge = huge.header("content-type", "application/x-ndjson").header("content-length", "99999999999");
    for (ask, status, kind_of) in [
        (file("/api/v1/dead-letters/import?dryRun=maybe", &good), 400, "invalid-request"),
        (file("/api/v1/dead-letters/import?reason=a%0Ab", &good), 400, "invalid-request"),
        (file("/api/v1/dead-letters/import?company=b", &good), 400, "invalid-request"),
        (Ask::post("/api/v1/dead-letters/import", &json!({})).token("tok-a"), 415, "unsupported-media-type"),
        (huge, 413, "too-large"),
        (
            file("/api/v1/dead-letters/import", &good).header("origin", "https://evil.example"),
            403,
            "foreign-origin",
        ),
        (Ask::post(EXPORT, &json!({})).token("tok-a"), 400, "invalid-request"),
        (
            Ask::post(EXPORT, &json!({ "filter": {}, "deadLetters": [] })).token("tok-a"),
            400,
            "invalid-request",
        ),
        (Ask::post(EXPORT, &json!({ "filter": { "compnay": "b" } })).token("tok-a"), 400, "invalid-request"),
        (Ask::post(EXPORT, &json!({ "filter": {} })).token("tok-e"), 403, "forbidden"),
        (file("/api/v1/dead-letters/import", &good).token("tok-e"), 401, "unauthenticated"),
    ] {
        let answer = process.ask(ask).await;
        assert_eq!((answer.status, kind(&answer).as_str()), (status, kind_of), "{answer:?}");
    }
    let unknown = json!({ "deadLetters": [{ "company": "acme", "id": uuid::Uuid::now_v7() }] });
    assert_eq!(post(&process, "tok-a", EXPORT, &unknown).await.status, 404);
}

/// The answer has personal data, so a repetition does not get it.
#[apply(test)]
async fn export_with_a_key_is_not_kept(app: &TestApp) {
    let process = with_dead_letters(app).await;
    let ask = || Ask::post(EXPORT, &json!({ "filter": {} })).token("tok-a").header("idempotency-key", "one");
    assert_eq!(process.ask(ask()).await.lines().len(), 4);
    let again = process.ask(ask()).await;
    assert_eq!((again.status, kind(&again).as_str()), (409, "conflict"));
    assert_eq!(app.rows("idempotency_keys WHERE answer IS NOT NULL").await, 0);
    // An import with a key is done once, and says the same again.
    let exported = post(&process, "tok-a", EXPORT, &json!({ "filter": {} })).await;
    forget(app).await;
    let ask = || file("/api/v1/dead-letters/import", exported.text()).header("idempotency-key", "two");
    let (first, again) = (process.ask(ask()).await, process.ask(ask()).await);
    assert_eq!((first.json(), again.header("idempotency-replayed")), (again.json(), Some("true")));
    assert_eq!(first.json()["imported"], 4);
}
