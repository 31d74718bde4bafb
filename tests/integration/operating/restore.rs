//! Discarded dead letters can be reopened.

use macro_rules_attribute::apply;
use serde_json::json;

use super::{assert_refused, audited, parsed, refused};
use crate::support::{app::TestApp, event::Event, test};

#[apply(test)]
async fn restored_webhook_can_be_replayed(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::bare().webhook(&app.receiver.url("/flaky/3"))).await;
    let dead = app.the_dead_letter("open", |dead| dead.state == "open").await;
    let id = dead.id.to_string();
    app.json(&["dead-letter", "discard", &id, "--yes"]).await;
    assert_eq!(app.rows("webhook_deliveries WHERE state = 'discarded'").await, 1);
    let restored = app.json(&["dead-letter", "restore", &id, "--yes", "--operator", "ada"]).await;
    assert_eq!(restored, json!({"restored": 1, "skipped": 0, "failed": 0}));
    let open = app.the_dead_letter("open", |dead| dead.state == "open").await;
    assert_eq!((open.settled_by, app.rows("webhook_deliveries WHERE state = 'dead'").await), (None, 1));
    app.json(&["dead-letter", "replay", &id, "--yes"]).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved").await;
    assert_eq!(app.rows("webhook_deliveries WHERE state = 'delivered'").await, 1);
    let row = &audited(app, &["--action", "dead_letter.restore"]).await[0];
    assert_eq!((&row["before"], &row["after"]), (&json!({"state": "discarded"}), &json!({"state": "open"})));
}

#[apply(test)]
async fn only_discarded_dead_letters_are_restored(app: &TestApp) {
    app.run(&[]).await;
    let events: Vec<Event> = (0..3).map(|n| refused(&format!("Ada {n}"))).collect();
    app.broker.publish_all(&events).await;
    app.wait_for_rows("dead_letters", 3).await;
    let ids: Vec<String> = app.dead_letters().await.iter().map(|dead| dead.id.to_string()).collect();
    app.json(&["dead-letter", "discard", &ids[0], &ids[1], "--yes"]).await;
    // Its contents are gone, so nothing could be done with it but to discard it again.
    let blank = "UPDATE dead_letters SET is_blank = true WHERE dead_letter_id = $1::text::uuid";
    sqlx::query(blank).bind(&ids[1]).execute(&app.pool).await.unwrap();
    let dry = app.json(&["dead-letter", "restore", "--all", "--dry-run"]).await;
    assert_eq!(dry["count"], 2);
    let mixed = app.cli(&["dead-letter", "restore", &ids[0], &ids[1], &ids[2], "--yes", "-o", "json"]).await;
    assert_eq!((mixed.code, parsed(&mixed)), (Some(3), json!({"restored": 1, "skipped": 2, "failed": 0})));
    let again = app.cli(&["dead-letter", "restore", &ids[0], "--yes", "-o", "json"]).await;
    assert_eq!((again.code, &parsed(&again)["restored"]), (Some(3), &json!(0)));
    let all =
        app.cli(&["dead-letter", "restore", "--reason", "identifier_invalid", "--yes", "-o", "json"]).await;
    assert_eq!((all.code, parsed(&all)), (Some(3), json!({"restored": 0, "skipped": 1, "failed": 0})));
    assert_eq!(audited(app, &["--action", "dead_letter.restore"]).await.len(), 1);
    assert_eq!(app.rows("dead_letters WHERE state = 'open'").await, 2);
    assert_refused(&app.cli(&["dead-letter", "restore", "--yes"]).await, 2, "--all");
    let unknown = "00000000-0000-7000-8000-000000000000";
    assert_refused(&app.cli(&["dead-letter", "restore", unknown, "--yes"]).await, 1, "no dead letter");
    assert_refused(&app.cli(&["dead-letter", "restore", "%", "--yes"]).await, 2, "not an id");
}
