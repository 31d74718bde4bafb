//! Acts of operators on many dead letters: what was counted is done, once, whatever dies meanwhile.

use macro_rules_attribute::apply;
use serde_json::Value;

use crate::support::{app::TestApp, event::Event, only, process::Process, test};

/// Leads without a phone or an email, as dead letters. A service that runs afterwards accepts them.
async fn refuse(app: &TestApp, count: i64) {
    app.set("contacts.on_unidentified", "reject");
    app.run(&[]).await;
    let events: Vec<Event> = (0..count).map(|n| Event::lead("Ada").id(&n.to_string())).collect();
    app.broker.publish_all(&events).await;
    app.wait_for_rows("dead_letters WHERE state = 'open'", count).await;
    app.stop().await;
    app.set("contacts.on_unidentified", "create");
}

async fn operation(app: &TestApp) -> Value {
    let listed = app.json(&["operation", "list"]).await;
    only(listed.as_array().unwrap().clone())
}

fn id(operation: &Value) -> &str {
    operation["id"].as_str().unwrap()
}

fn counts(operation: &Value) -> [i64; 4] {
    ["total", "done", "skipped", "failed"].map(|name| operation[name].as_i64().unwrap())
}

/// Ends the leases of processes that have died, as time does.
async fn end_leases(app: &TestApp) {
    sqlx::query("UPDATE operations SET owner_until = 'epoch'").execute(&app.pool).await.unwrap();
}

fn replay(app: &TestApp, rate: &str) -> Process {
    app.spawn(&["dead-letter", "replay", "--all", "--yes", "--operator", "ada", "--rate", rate])
}

#[apply(test)]
async fn replay_is_listed_with_what_came_of_each_item(app: &TestApp) {
    refuse(app, 3).await;
    let replayed = app
        .json(&[
            "dead-letter",
            "replay",
            "--all",
            "--yes",
            "--operator",
            "ada",
            "--because",
            "fixed the policy",
        ])
        .await;
    assert_eq!((replayed["replayed"].as_i64(), replayed["skipped"].as_i64()), (Some(3), Some(0)));
    let listed = operation(app).await;
    assert_eq!((listed["action"].as_str(), listed["state"].as_str()), (Some("replay"), Some("done")));
    assert_eq!((counts(&listed), listed["operator"].as_str()), ([3, 3, 0, 0], Some("ada")));
    assert_eq!(listed["reason"], "fixed the policy");
    app.run(&[]).await;
    app.wait_for_rows("dead_letters WHERE state = 'resolved' AND replays = 1", 3).await;
    let items = app.json(&["operation", "show", id(&listed), "--items", "10"]).await;
    let items: Vec<_> = items
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (item["position"].as_i64().unwrap(), item["outcome"].clone(), item["state"].clone()))
        .collect();
    assert_eq!(items, (1..=3).map(|n| (n, "done".into(), "resolved".into())).collect::<Vec<_>>());
    assert_eq!(app.rows("audit_log WHERE action = 'dead_letter.replay' AND operator = 'ada'").await, 3);
    assert_eq!(app.rows("audit_log WHERE action IN ('operation.plan', 'operation.run')").await, 2);
    assert_eq!(app.rows("contacts").await, 3);
}

/// It is planned before the question, so what is confirmed is what was counted.
#[apply(test)]
async fn replay_that_is_declined_is_canceled(app: &TestApp) {
    refuse(app, 2).await;
    let declined = app.cli_on_terminal(&["dead-letter", "replay", "--all"], "n\n").await;
    assert!(declined.code == Some(1) && declined.stdout.contains("replay 2 dead letters?"), "{declined:?}");
    let canceled = operation(app).await;
    assert_eq!((canceled["state"].as_str(), counts(&canceled)), (Some("canceled"), [2, 0, 0, 0]));
    assert_eq!(app.rows("dead_letters WHERE state = 'open' AND replays = 0").await, 2);
    let confirmed = app.cli_on_terminal(&["dead-letter", "replay", "--all"], "y\n").await;
    assert_eq!(confirmed.code, Some(0), "{confirmed:?}");
    app.run(&[]).await;
    app.wait_for_rows("contacts", 2).await;
}

/// Its items are done once: by the process that dies, or by the one that goes on.
#[apply(test)]
async fn service_goes_on_with_the_operation_of_a_process_that_was_killed(app: &TestApp) {
    refuse(app, 60).await;
    let command = replay(app, "20");
    app.wait_for_rows("operations WHERE done >= 2", 1).await;
    command.kill9().await;
    command.ended().await;
    end_leases(app).await;
    app.run(&[]).await;
    app.wait_for_rows("operations WHERE state = 'done' AND done = 60 AND total = 60", 1).await;
    app.wait_for_rows("dead_letters WHERE state = 'resolved' AND replays = 1", 60).await;
    assert_eq!(app.rows("contacts").await, 60);
}

/// Marked, and not published: the process died in between.
#[apply(test)]
async fn window_that_was_marked_and_not_published_is_published(app: &TestApp) {
    refuse(app, 3).await;
    let command = replay(app, "10");
    app.wait_for_rows("operations WHERE state = 'done'", 1).await;
    command.ended().await;
    app.broker.purge("trigger-fired").await;
    for statement in [
        "UPDATE operation_items SET outcome = 'started'",
        "UPDATE operations SET state = 'running', done = 0, finished_at = NULL, owner_until = 'epoch'",
    ] {
        sqlx::query(statement).execute(&app.pool).await.unwrap();
    }
    app.run(&[]).await;
    app.wait_for_rows("dead_letters WHERE state = 'resolved' AND replays = 1", 3).await;
    app.wait_for_rows("operations WHERE state = 'done' AND done = 3", 1).await;
}

#[apply(test)]
async fn operation_is_paused_and_resumed_between_two_items(app: &TestApp) {
    refuse(app, 40).await;
    let command = replay(app, "10");
    app.wait_for_rows("operations WHERE done >= 2", 1).await;
    let running = operation(app).await;
    let paused = app.json(&["operation", "pause", id(&running), "--operator", "grace"]).await;
    assert_eq!(paused["state"], "paused");
    assert_eq!(command.ended().await.code(), Some(3), "{}", command.log());
    let paused = operation(app).await;
    let [total, done, ..] = counts(&paused);
    assert!(total == 40 && done < 40, "{paused}");
    assert_eq!(app.rows("dead_letters WHERE state = 'open'").await, 40 - done);
    let again = app.cli(&["operation", "pause", id(&running)]).await;
    assert!(again.code == Some(1) && again.stderr.contains("is paused"), "{}", again.stderr);
    let resumed = app.json(&["operation", "resume", id(&running)]).await;
    assert_eq!((resumed["state"].as_str(), counts(&resumed)), (Some("done"), [40, 40, 0, 0]));
    assert_eq!(app.rows("dead_letters WHERE replays = 1").await, 40);
    app.run(&[]).await;
    app.wait_for_rows("contacts", 40).await;
}

#[apply(test)]
async fn canceled_operation_leaves_the_rest_alone(app: &TestApp) {
    refuse(app, 40).await;
    let command = replay(app, "10");
    app.wait_for_rows("operations WHERE done >= 2", 1).await;
    let running = operation(app).await;
    app.json(&["operation", "cancel", id(&running)]).await;
    assert_eq!(command.ended().await.code(), Some(3), "{}", command.log());
    let canceled = operation(app).await;
    let [_, done, ..] = counts(&canceled);
    assert_eq!(canceled["state"], "canceled");
    for verb in ["resume", "cancel", "pause"] {
        assert_eq!(app.cli(&["operation", verb, id(&running)]).await.code, Some(1), "{verb}");
    }
    app.run(&[]).await;
    app.wait_for_rows("dead_letters WHERE state = 'resolved'", done).await;
    assert_eq!(app.rows("dead_letters WHERE state = 'open'").await, 40 - done);
}

/// The first one fails again, so no other follows.
#[apply(test)]
async fn canary_that_fails_pauses_the_operation(app: &TestApp) {
    refuse(app, 30).await;
    app.set("contacts.on_unidentified", "reject");
    app.run(&[]).await;
    let replayed = app.cli(&["dead-letter", "replay", "--all", "--yes", "--canary"]).await;
    assert!(
        replayed.code == Some(3) && replayed.stderr.contains("1 of 1 replays failed again"),
        "{replayed:?}"
    );
    let paused = operation(app).await;
    assert_eq!((paused["state"].as_str(), counts(&paused)), (Some("paused"), [30, 1, 0, 0]));
    assert_eq!(app.rows("dead_letters WHERE state = 'open' AND replays = 0").await, 29);
    app.stop().await;
    app.set("contacts.on_unidentified", "create");
    app.run(&[]).await;
    let resumed = app.json(&["operation", "resume", id(&paused)]).await;
    assert_eq!((resumed["state"].as_str(), counts(&resumed)), (Some("done"), [30, 30, 0, 0]));
    app.wait_for_rows("dead_letters WHERE state = 'resolved'", 29).await;
}

#[apply(test)]
async fn dead_letter_that_fails_again_and_again_is_left_alone(app: &TestApp) {
    app.set("dead_letter.max_replays", "2");
    refuse(app, 1).await;
    app.set("contacts.on_unidentified", "reject");
    app.run(&[]).await;
    for round in 1..=2 {
        app.json(&["dead-letter", "replay", "--all", "--yes"]).await;
        app.wait_for_rows(&format!("dead_letters WHERE state = 'open' AND attempts = {}", round + 1), 1)
            .await;
    }
    let third = app.cli(&["dead-letter", "replay", "--all", "--yes", "-o", "json"]).await;
    assert_eq!(third.code, Some(3), "{third:?}");
    app.wait_for_rows("operation_items WHERE outcome = 'skipped' AND detail = 'loop_guard'", 1).await;
    assert_eq!(app.rows("dead_letters WHERE replays = 2").await, 1);
}

/// Others go on without it.
#[apply(test)]
async fn dead_letter_that_stays_locked_is_left_out(app: &TestApp) {
    app.set("postgres.statement_timeout", "1s");
    refuse(app, 5).await;
    let mut lock = app.pool.begin().await.unwrap();
    let third = "SELECT FROM dead_letters WHERE dead_letter_id =
         (SELECT dead_letter_id FROM dead_letters ORDER BY dead_letter_id LIMIT 1 OFFSET 2) FOR UPDATE";
    sqlx::query(third).execute(&mut *lock).await.unwrap();
    let replayed = app.cli(&["dead-letter", "replay", "--all", "--yes", "-o", "json"]).await;
    assert_eq!(replayed.code, Some(3), "{replayed:?}");
    let listed = operation(app).await;
    assert_eq!((listed["state"].as_str(), counts(&listed)), (Some("done"), [5, 4, 1, 0]), "{replayed:?}");
    assert_eq!(app.rows("operation_items WHERE outcome = 'skipped' AND detail = 'refused'").await, 1);
    lock.rollback().await.unwrap();
    app.run(&[]).await;
    app.wait_for_rows("dead_letters WHERE state = 'resolved' AND replays = 1", 4).await;
    assert_eq!(app.rows("dead_letters WHERE state = 'open' AND replays = 0").await, 1);
}

/// The process that had marked them died before it published them.
#[apply(test)]
async fn cancel_reopens_what_was_marked_and_not_published(app: &TestApp) {
    refuse(app, 2).await;
    app.json(&["dead-letter", "replay", "--all", "--yes"]).await;
    app.broker.purge("trigger-fired").await;
    for statement in [
        "UPDATE operation_items SET outcome = 'started'",
        "UPDATE operations SET state = 'running', done = 0, finished_at = NULL",
    ] {
        sqlx::query(statement).execute(&app.pool).await.unwrap();
    }
    let running = operation(app).await;
    app.json(&["operation", "cancel", id(&running), "--operator", "grace"]).await;
    assert_eq!(app.rows("dead_letters WHERE state = 'open'").await, 2);
    let reopened =
        "audit_log WHERE action = 'dead_letter.reopen' AND company_id = 'acme' AND operator = 'grace'
        AND before = '{\"state\": \"replaying\"}' AND after = '{\"state\": \"open\"}'
        AND object IN (SELECT dead_letter_id::text FROM dead_letters)";
    assert_eq!(app.rows(reopened).await, 2);
}

#[apply(test)]
async fn unknown_and_malformed_operations_are_named(app: &TestApp) {
    app.cli(&["migrate"]).await;
    let unknown = app.cli(&["operation", "show", "0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11"]).await;
    assert!(unknown.code == Some(1) && unknown.stderr.contains("there is no operation"), "{unknown:?}");
    for malformed in ["x", "0193", "'; DROP TABLE operations --"] {
        assert_eq!(app.cli(&["operation", "cancel", malformed]).await.code, Some(2), "{malformed}");
    }
    assert_eq!(app.cli(&["operation", "list", "--after", "AAAA"]).await.code, Some(2));
    assert_eq!(app.json(&["operation", "list"]).await, Value::Array(Vec::new()));
}
