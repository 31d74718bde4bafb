//! Every event has one end: it is applied, or it is a dead letter, or an operator discarded it. Never two of them.

mod forgotten;

use macro_rules_attribute::apply;
use serde_json::json;

use crate::support::{app::TestApp, dead_letters::Dead, event::Event, eventually, test};

const APPLIED: &str = "applied_events WHERE meaning IS NOT NULL";

const DEAD: &str = "dead_letters WHERE state <> 'resolved'";

/// A Brazilian number without its country code, which no other region understands.
fn brazilian() -> Event {
    Event::lead("Ada").phone("(11) 98765-4321")
}

/// An event that is refused, and that is applied once `contacts.on_conflict` is `merge`. The service is stopped.
async fn refused(app: &TestApp) -> (Event, Dead) {
    app.set("contacts.on_conflict", "reject");
    app.run(&[]).await;
    let (ada, bob) = (Event::lead("Ada").email("ada@x.example"), Event::lead("Bob").phone("+5511987654321"));
    app.broker.publish_in_turn(&[ada, bob]).await;
    let both = Event::lead("Both").email("ada@x.example").phone("+5511987654321");
    app.broker.publish(&both).await;
    let dead = app.the_dead_letter("refused", |dead| dead.reason == "contact_conflict").await;
    app.assert_settled().await;
    app.set("contacts.on_conflict", "merge");
    (both, dead)
}

async fn discard(app: &TestApp, dead: &Dead) -> crate::support::process::Finished {
    app.cli(&["dead-letter", "discard", &dead.id.to_string(), "--yes", "--operator", "grace", "-o", "json"])
        .await
}

#[apply(test)]
async fn event_that_is_published_again_resolves_its_dead_letter(app: &TestApp) {
    app.set("contacts.default_region", "PT");
    app.run(&[]).await;
    let event = brazilian();
    app.broker.publish(&event).await;
    let dead = app.wait_for_dead_letter().await;
    assert_eq!(dead.reason, "identifier_invalid");
    app.stop().await;
    app.set("contacts.default_region", "BR");
    app.run(&[]).await;
    // Not by a replay, and in other bytes.
    let bytes = [b"\n".as_slice(), &event.bytes()].concat();
    app.broker.publish_bytes("trigger.fired", &bytes, event.properties()).await;
    app.wait_for_rows("contacts", 1).await;
    let dead = app.the_dead_letter("there", |_| true).await;
    assert_eq!((dead.state.as_str(), dead.replays, dead.attempts), ("resolved", 0, 1));
    assert_eq!((app.rows(APPLIED).await, app.rows("applied_events").await), (1, 1));
}

#[apply(test)]
async fn discarded_event_that_is_published_again_and_applied_is_resolved(app: &TestApp) {
    let (event, dead) = refused(app).await;
    assert_eq!(discard(app, &dead).await.code, Some(0));
    app.run(&[]).await;
    app.broker.publish(&event).await;
    app.wait_for_rows("contacts", 1).await;
    let dead = app.the_dead_letter("there", |_| true).await;
    assert_eq!((dead.state.as_str(), dead.settled_by), ("resolved", None));
}

#[apply(test)]
async fn event_that_is_refused_again_is_the_same_dead_letter(app: &TestApp) {
    app.set("contacts.on_unidentified", "reject");
    app.run(&[]).await;
    let event = Event::lead("Ada");
    app.broker.publish_all(&[event.clone(), event.clone()]).await;
    app.the_dead_letter("there twice", |dead| dead.attempts == 2).await;
    app.broker.publish(&event).await;
    app.the_dead_letter("there three times", |dead| dead.attempts == 3 && dead.state == "open").await;
    assert_eq!((app.rows(APPLIED).await, app.rows("applied_events").await), (0, 1));
}

/// A copy that the broker dead-lettered, of an event that was applied, and of one that was not.
#[apply(test)]
async fn collected_copy_of_an_applied_event_is_no_dead_letter(app: &TestApp) {
    app.run(&[]).await;
    let (applied, expired) =
        (Event::lead("Ada").email("ada@x.example"), Event::lead("Bob").email("bob@x.example"));
    app.broker.publish(&applied).await;
    app.broker.upserted(&applied).await;
    app.broker.publish_dead_letter(&applied.bytes()).await;
    app.broker.publish_dead_letter(&expired.bytes()).await;
    let dead = app
        .the_dead_letter("the other one", |dead| dead.event_id.as_deref() == Some(expired.event_id()))
        .await;
    assert_eq!((dead.reason.as_str(), dead.state.as_str()), ("broker", "open"));
    app.broker.publish(&expired).await;
    app.wait_for_rows("contacts", 2).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved").await;
    assert_eq!((app.rows(APPLIED).await, app.rows("applied_events").await), (2, 2));
}

#[apply(test)]
async fn suspicious_copy_of_an_applied_event_is_no_dead_letter(app: &TestApp) {
    app.run(&[]).await;
    let event = Event::lead("Ada").email("ada@x.example");
    app.broker.publish(&event).await;
    app.broker.upserted(&event).await;
    app.assert_settled().await;
    app.broker.publish(&event).await;
    for _ in 0..3 {
        app.broker.lose("trigger-fired").await;
    }
    let suspect = "INSERT INTO crash_suspects (body_hash, starts) VALUES (sha256($1), 5)";
    sqlx::query(suspect).bind(event.bytes()).execute(&app.pool).await.unwrap();
    app.run(&[]).await;
    app.wait_for_rows("crash_suspects", 0).await;
    app.assert_settled().await;
    assert_eq!((app.rows("dead_letters").await, app.rows(APPLIED).await), (0, 1));
}

#[apply(test)]
async fn discard_cancels_a_replay_on_its_way(app: &TestApp) {
    let (_, dead) = refused(app).await;
    app.json(&["dead-letter", "replay", &dead.id.to_string(), "--yes"]).await;
    assert_eq!(discard(app, &dead).await.code, Some(0));
    app.run(&[]).await;
    app.assert_settled().await;
    let dead = app.the_dead_letter("discarded", |dead| dead.state == "discarded").await;
    assert_eq!((dead.settled_by.as_deref(), dead.attempts), (Some("grace"), 1));
    assert_eq!((app.rows("contacts").await, app.rows(APPLIED).await), (2, 2));
}

/// The broker gives the message up before a worker has looked at it.
#[apply(test)]
async fn discard_cancels_a_replay_that_the_broker_dead_letters(app: &TestApp) {
    let (_, dead) = refused(app).await;
    app.json(&["dead-letter", "replay", &dead.id.to_string(), "--yes"]).await;
    assert_eq!(discard(app, &dead).await.code, Some(0));
    app.broker.reject("trigger-fired").await;
    let is_collected = async || (app.broker.depth("dead-letters").await == 1).then_some(());
    eventually("the broker has dead-lettered it", is_collected).await;
    app.run(&[]).await;
    app.assert_settled().await;
    app.the_dead_letter("discarded", |dead| dead.state == "discarded" && dead.attempts == 1).await;
}

/// A replay that would fail again does not reopen it either.
#[apply(test)]
async fn discard_cancels_a_replay_that_would_be_rejected(app: &TestApp) {
    app.set("contacts.on_unidentified", "reject");
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada")).await;
    let dead = app.wait_for_dead_letter().await;
    app.assert_settled().await;
    app.json(&["dead-letter", "replay", &dead.id.to_string(), "--yes"]).await;
    assert_eq!(discard(app, &dead).await.code, Some(0));
    app.run(&[]).await;
    app.assert_settled().await;
    app.the_dead_letter("discarded", |dead| dead.state == "discarded" && dead.attempts == 1).await;
}

#[apply(test)]
async fn discard_cancels_a_replay_whose_transaction_has_begun(app: &TestApp) {
    let (_, dead) = refused(app).await;
    app.json(&["dead-letter", "replay", &dead.id.to_string(), "--yes"]).await;
    // It waits for the row of its event.
    let mut lock = app.pool.begin().await.unwrap();
    let row = "SELECT FROM applied_events WHERE meaning IS NULL FOR UPDATE";
    assert_eq!(sqlx::query(row).execute(&mut *lock).await.unwrap().rows_affected(), 1);
    app.run(&[]).await;
    app.wait_for_blocked_sessions(1).await;
    assert_eq!(discard(app, &dead).await.code, Some(0));
    lock.rollback().await.unwrap();
    app.assert_settled().await;
    app.the_dead_letter("discarded", |dead| dead.state == "discarded").await;
    assert_eq!((app.rows("contacts").await, app.rows(APPLIED).await), (2, 2));
}

#[apply(test)]
async fn discard_waits_for_a_replay_that_is_about_to_commit(app: &TestApp) {
    let (event, dead) = refused(app).await;
    app.json(&["dead-letter", "replay", &dead.id.to_string(), "--yes"]).await;
    // The worker stops before it resolves the dead letter.
    let worker = "WHEN (current_setting('application_name') LIKE '%upsert%')";
    let lock = app.hold_up(&format!("BEFORE UPDATE ON dead_letters FOR EACH STATEMENT {worker}")).await;
    app.run(&[]).await;
    app.wait_for_blocked_sessions(1).await;
    let release = async {
        app.wait_for_blocked_sessions(2).await;
        lock.rollback().await.unwrap();
    };
    let (discarded, ()) = tokio::join!(discard(app, &dead), release);
    let counts: serde_json::Value = serde_json::from_str(&discarded.stdout).unwrap();
    assert_eq!((discarded.code, counts), (Some(3), json!({"discarded": 0, "skipped": 1, "failed": 0})));
    app.broker.upserted(&event).await;
    app.the_dead_letter("resolved", |dead| dead.state == "resolved").await;
    assert_eq!((app.rows("contacts").await, app.rows(APPLIED).await), (1, 3));
}

/// The first is refused by a rule, or rejected when it is decoded; the second is applied, probably in the same batch.
#[apply(test)]
async fn second_body_of_a_refused_event_is_judged_on_its_own(app: &TestApp) {
    let (both, dead) = refused(app).await;
    app.set("contacts.on_conflict", "reject");
    let alone = both.clone().without("/data/arguments/phone");
    let undecided = Event::lead("Eve").argument("name", 7);
    let decided = undecided.clone().argument("name", "Eve").email("eve@x.example");
    app.broker.publish_all(&[both.clone(), alone, both, undecided, decided]).await;
    app.run(&[]).await;
    app.wait_for_rows("contacts WHERE name IN ('Both', 'Eve')", 2).await;
    app.assert_settled().await;
    let all = app.dead_letters().await;
    let ends: Vec<_> =
        all.iter().map(|dead| (dead.reason.as_str(), dead.state.as_str(), dead.attempts)).collect();
    // The last copy of the first body comes after the second one, which is applied by then.
    let expected = [("event_id_conflict", "open", 3), ("arguments_invalid", "resolved", 1)];
    assert_eq!(ends, expected);
    assert_eq!(all[0].id, dead.id);
    assert_eq!((app.rows(APPLIED).await, app.rows("applied_events").await), (4, 4));
}

/// Its other bodies were refused by a rule, rejected when they were decoded, or discarded.
#[apply(test)]
async fn applied_event_resolves_the_dead_letters_of_all_its_bodies(app: &TestApp) {
    app.run(&[]).await;
    let mistyped = Event::lead("Ada").phone("12");
    let undecided = mistyped.clone().argument("name", 7);
    let discarded = mistyped.clone().argument("city", "London");
    let other = Event::lead("Bob").phone("34");
    app.broker.publish(&discarded).await;
    let dead = app.wait_for_dead_letter().await;
    assert_eq!(discard(app, &dead).await.code, Some(0));
    app.broker.publish_all(&[mistyped.clone(), undecided.clone(), other]).await;
    app.wait_for_rows("dead_letters", 4).await;
    app.broker.publish(&mistyped.clone().phone("+5511987654321")).await;
    app.wait_for_rows("contacts", 1).await;
    app.wait_for_rows("dead_letters WHERE state = 'resolved' AND settled_by IS NULL", 3).await;
    assert_eq!(app.rows(DEAD).await, 1);
    // From now on they are conflicts, whatever else is wrong with them.
    app.broker.publish_all(&[mistyped, undecided]).await;
    app.wait_for_rows(
        "dead_letters WHERE reason = 'event_id_conflict' AND state = 'open' AND attempts = 2",
        2,
    )
    .await;
    assert_eq!((app.rows("dead_letters").await, app.rows("contacts").await), (4, 1));
    let verified = app.cli(&["verify"]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
}

/// Nobody has judged what it contains.
#[apply(test)]
async fn other_body_of_an_applied_event_that_the_broker_dead_letters_stays_the_brokers(app: &TestApp) {
    app.run(&[]).await;
    let event = Event::lead("Ada").email("ada@x.example");
    app.broker.publish(&event).await;
    app.broker.upserted(&event).await;
    app.broker.publish_dead_letter(&event.argument("city", "London").bytes()).await;
    let dead = app.wait_for_dead_letter().await;
    assert_eq!((dead.reason.as_str(), dead.state.as_str()), ("broker", "open"));
    let verified = app.cli(&["verify"]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    app.json(&["dead-letter", "replay", &dead.id.to_string(), "--yes"]).await;
    app.the_dead_letter("a conflict", |dead| dead.reason == "event_id_conflict" && dead.state == "open")
        .await;
}

/// After an outage a batch is tried in parts, of which the first has one message that can be applied.
#[apply(test)]
async fn outage_does_not_change_the_order_of_bodies(app: &TestApp) {
    app.broker.declare().await;
    app.cli(&["migrate"]).await;
    let undecided = Event::lead("Eve").argument("name", 7);
    let decided = undecided.clone().argument("name", "Eve").email("eve@x.example");
    app.broker.publish_all(&[undecided, decided, Event::lead("Ada").email("ada@x.example")]).await;
    let mut lock = app.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE contacts").execute(&mut *lock).await.unwrap();
    let process = app.spawn(&["run"]);
    eventually("the batch waits", async || process.log().contains("a table is locked").then_some(())).await;
    lock.rollback().await.unwrap();
    app.wait_for_rows("contacts", 2).await;
    app.assert_settled().await;
    let dead = app.the_dead_letter("resolved", |dead| dead.state == "resolved").await;
    assert_eq!(dead.reason, "arguments_invalid");
}

/// A copy of the applied body resolves nothing that came in between, even in one batch with a third body.
#[apply(test)]
async fn copy_of_an_applied_event_resolves_no_other_body(app: &TestApp) {
    app.run(&[]).await;
    let event = Event::lead("Ada").email("ada@x.example");
    app.broker.publish(&event).await;
    app.broker.upserted(&event).await;
    app.broker.publish_dead_letter(&event.clone().argument("city", "London").bytes()).await;
    app.wait_for_dead_letter().await;
    app.stop().await;
    app.broker.publish_all(&[event.clone().argument("city", "Paris"), event]).await;
    app.run(&[]).await;
    app.assert_settled().await;
    let all = app.dead_letters().await;
    let ends: Vec<_> = all.iter().map(|dead| (dead.reason.as_str(), dead.state.as_str())).collect();
    assert_eq!(ends, [("broker", "open"), ("event_id_conflict", "open")]);
}

/// One process refuses an event while another one, with other settings, applies it. Each has looked before the other has
/// committed.
#[apply(test)]
async fn event_that_is_refused_and_applied_at_once_has_one_end(app: &TestApp) {
    app.set("upsert.batch_size", "1");
    app.set("contacts.on_unidentified", "reject");
    let lock = app.hold_up("BEFORE INSERT ON dead_letters FOR EACH STATEMENT").await;
    app.run(&["upsert"]).await;
    app.set("contacts.on_unidentified", "create");
    let event = Event::lead("Ada");
    // More than one process takes at once.
    app.broker.publish_all(&vec![event; 8]).await;
    app.wait_for_blocked_sessions(1).await;
    // It is not ready while the lock is held.
    app.spawn(&["run", "--role", "upsert"]);
    app.wait_for_blocked_sessions(2).await;
    lock.rollback().await.unwrap();
    app.wait_for_rows("contacts", 1).await;
    app.run(&["webhook"]).await;
    app.assert_settled().await;
    assert_eq!(app.rows(DEAD).await, 0);
    assert_eq!((app.rows(APPLIED).await, app.rows("applied_events").await), (1, 1));
    assert_eq!(app.rows("trigger_events").await, 1);
}
