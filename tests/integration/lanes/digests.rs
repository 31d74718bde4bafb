//! Digests: several deliveries in one request.

use std::pin::pin;

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::leads;
use crate::support::{app::TestApp, event::Event, only, test};

/// Lets worker 1 apply these events, and starts worker 2 once all windows have ended. So there is one digest, however
/// slow the machine.
async fn publish(app: &TestApp, events: &[Event]) {
    app.run(&["upsert"]).await;
    app.broker.publish_all(events).await;
    let count = i64::try_from(events.len()).unwrap();
    app.wait_for_rows("webhook_pending WHERE due_at <= now()", count).await;
    app.run(&["webhook", "dead-letter"]).await;
}

fn window(app: &TestApp, url: &str, more: &str) {
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", digest_window = "1s"{more} }}]"#));
}

#[apply(test)]
async fn deliveries_of_a_window_become_one_request(app: &TestApp) {
    let url = app.receiver.url("/ok");
    window(app, &url, "");
    publish(app, &leads(&url, 0, 30)).await;
    app.wait_for_deliveries("delivered", 1).await;
    assert_eq!(app.deliveries("digested").await, 30);
    let request = only(app.receiver.requests());
    assert_eq!(request.header("content-type"), Some("application/cloudevents-batch+json"));
    let events = request.json().unwrap();
    let emails: std::collections::BTreeSet<&str> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["data"]["contact"]["email"].as_str().unwrap())
        .collect();
    assert_eq!(emails.len(), 30, "each contact once");
    let members = "webhook_deliveries m JOIN webhook_deliveries d
                   ON d.company_id = m.company_id AND d.delivery_id = m.digest_id AND d.state = 'delivered'";
    assert_eq!(app.rows(members).await, 30);
}

/// A fold reads 4 MiB of a lane.
#[apply(test)]
async fn window_that_is_larger_than_memory_allows_is_combined_bit_by_bit(app: &TestApp) {
    const COUNT: usize = 24;
    let url = app.receiver.url("/ok");
    window(app, &url, "");
    let action = json!({"type": "WEBHOOK", "url": url, "method": "POST", "body": {"text": "$text"}});
    let large = |_| {
        let event = Event::bare().with("/data/clientData", json!({"text": "x".repeat(300_000)}));
        event.action(action.clone())
    };
    publish(app, &(0..COUNT).map(large).collect::<Vec<_>>()).await;
    app.count_becomes("SELECT count(*) FROM webhook_pending", 0).await;
    let received: usize = app.receiver.requests().iter().map(|request| request.body.len() / 300_000).sum();
    assert_eq!(received, COUNT);
    assert!(app.deliveries("digested").await > 18, "most of them");
}

#[apply(test)]
async fn slack_receives_one_message(app: &TestApp) {
    let url = app.receiver.url("/hook");
    window(app, &url, r#", profile = "slack""#);
    publish(app, &["Ada", "Grace", "Katherine"].map(|name| slack_lead(&url, name))).await;
    app.wait_for_deliveries("delivered", 1).await;
    let body: Value = only(app.receiver.requests()).json().unwrap();
    let mut lines: Vec<&str> = body["text"].as_str().unwrap().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["New: Ada", "New: Grace", "New: Katherine"]);
}

#[apply(test)]
async fn digest_is_retried_as_one_delivery(app: &TestApp) {
    let url = app.receiver.url("/status/503/2");
    window(app, &url, "");
    publish(app, &leads(&url, 0, 10)).await;
    app.wait_for_deliveries("delivered", 1).await;
    let requests = app.receiver.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.body == requests[0].body));
    assert!(requests.iter().all(|request| request.header("webhook-id") == requests[0].header("webhook-id")));
}

#[apply(test)]
async fn single_delivery_is_sent_without_a_digest(app: &TestApp) {
    let url = app.receiver.url("/ok");
    window(app, &url, "");
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.wait_for_deliveries("delivered", 1).await;
    let request = only(app.receiver.requests());
    assert_eq!(request.header("content-type"), Some("application/cloudevents+json"));
    assert_eq!(app.deliveries("digested").await, 0);
}

/// The digest's first attempt fails before one of its contacts is erased.
#[apply(test)]
async fn erasure_keeps_the_other_members(app: &TestApp) {
    let url = app.receiver.url("/status/503/1");
    window(app, &url, "");
    app.set("webhook.retry_schedule", "1h");
    publish(app, &leads(&url, 0, 3)).await;
    app.wait_for_rows("all_webhook_attempts", 1).await;
    assert_eq!(app.deliveries("digested").await, 3);
    erase(app, "lead-1@lane.example").await;
    app.wait_for_deliveries("delivered", 1).await;
    let sent = String::from_utf8(app.receiver.requests().last().unwrap().body.to_vec()).unwrap();
    assert!(sent.contains("lead-0@") && sent.contains("lead-2@") && !sent.contains("lead-1@"), "{sent}");
    assert_eq!(app.deliveries("pending").await, 0);
    assert_eq!(
        app.rows("webhook_deliveries WHERE body::text LIKE '%' || encode('lead-1@', 'hex') || '%'").await,
        0
    );
}

fn slack_lead(url: &str, name: &str) -> Event {
    let action = json!({ "type": "WEBHOOK", "url": url, "method": "POST", "body": { "text": "New: $name" } });
    Event::lead(name).email(&format!("{name}@slack.example")).action(action)
}

async fn erase(app: &TestApp, email: &str) {
    let found = app.json(&["contact", "find", "--company", "acme", "--email", email]).await;
    let id = found[0]["id"].as_str().unwrap().to_owned();
    let erased = app.cli(&["contact", "erase", "--company", "acme", &id]).await;
    assert_eq!(erased.code, Some(0), "{}", erased.stderr);
}

/// The deliveries that still contain this name.
async fn deliveries_with(app: &TestApp, name: &str) -> i64 {
    app.rows(&format!("webhook_deliveries WHERE position(convert_to('{name}', 'UTF8') IN body) > 0")).await
}

/// Its text has nothing that identifies somebody.
#[apply(test)]
async fn erasure_finds_a_digest_by_its_members(app: &TestApp) {
    let url = app.receiver.url("/status/503/1");
    window(app, &url, r#", profile = "slack""#);
    app.set("webhook.retry_schedule", "1h");
    publish(app, &["Ada", "Grace", "Katherine"].map(|name| slack_lead(&url, name))).await;
    app.wait_for_rows("all_webhook_attempts", 1).await;
    assert_eq!((app.deliveries("digested").await, deliveries_with(app, "Ada").await), (3, 2));
    erase(app, "Ada@slack.example").await;
    assert_eq!(deliveries_with(app, "Ada").await, 0);
    app.wait_for_deliveries("delivered", 1).await;
    let body: Value = app.receiver.requests().last().unwrap().json().unwrap();
    let mut lines: Vec<&str> = body["text"].as_str().unwrap().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["New: Grace", "New: Katherine"]);
}

/// The erasure waits for a digest that is being made, and then finds it.
#[apply(test)]
async fn erasure_finds_a_digest_that_is_being_made(app: &TestApp) {
    let url = app.receiver.url("/ok");
    window(app, &url, r#", profile = "slack""#);
    let digested = "WHEN (NEW.state = 'digested')";
    let lock = app.hold_up(&format!("BEFORE UPDATE ON webhook_deliveries FOR EACH ROW {digested}")).await;
    let leads = ["Ada", "Grace", "Katherine"].map(|name| slack_lead(&url, name));
    let erasure = async {
        app.wait_for_blocked_sessions(1).await;
        let mut erasure = pin!(erase(app, "Ada@slack.example"));
        let waits = tokio::select! {
            () = app.wait_for_blocked_sessions(2) => true,
            // On a slow machine the digest gives up its wait for the lock before, and there is none to find.
            () = &mut erasure => false,
        };
        lock.rollback().await.unwrap();
        if waits {
            erasure.await;
        }
    };
    // The service is ready once the digest is made.
    tokio::join!(publish(app, &leads), erasure);
    assert_eq!(deliveries_with(app, "Ada").await, 0);
    app.wait_for_deliveries("pending", 0).await;
}

/// All are claimed together.
#[apply(test)]
async fn failing_digest_does_not_delay_other_endpoints(app: &TestApp) {
    let url = app.receiver.url("/digest");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", digest_window = "1s" }}]"#));
    // Longer than a test waits.
    app.set("webhook.timeout", "10m");
    let upsert = app.run(&["upsert"]).await;
    app.broker.publish_all(&leads(&url, 0, 5)).await;
    app.broker.publish_all(&leads(&app.receiver.url("/ok"), 5, 5)).await;
    app.wait_for_rows("webhook_pending WHERE due_at <= now()", 5).await;
    let refusal = [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'refused'; END $$",
        "CREATE TRIGGER refuse BEFORE UPDATE ON webhook_deliveries FOR EACH ROW WHEN (NEW.state = 'digested')
             EXECUTE FUNCTION refuse()",
    ];
    for statement in refusal {
        sqlx::query(statement).execute(&app.pool).await.unwrap();
    }
    upsert.sigterm();
    upsert.ended().await;
    app.run(&["webhook"]).await;
    app.wait_for_deliveries("delivered", 5).await;
}

/// As if the request were damaged or written by a later version.
#[apply(test)]
async fn unreadable_member_becomes_a_dead_letter(app: &TestApp) {
    let url = app.receiver.url("/ok");
    window(app, &url, "");
    let upsert = app.run(&["upsert"]).await;
    app.broker.publish_all(&leads(&url, 0, 3)).await;
    app.wait_for_rows("webhook_pending WHERE due_at <= now()", 3).await;
    upsert.sigterm();
    upsert.ended().await;
    let damage = "UPDATE webhook_deliveries SET headers = '{}'
                  WHERE delivery_id = (SELECT delivery_id FROM webhook_deliveries LIMIT 1)";
    sqlx::query(damage).execute(&app.pool).await.unwrap();
    app.run(&["webhook", "dead-letter"]).await;
    let dead = app.the_dead_letter("that of the damaged one", |_| true).await;
    assert_eq!((dead.reason.as_str(), dead.stage.as_str()), ("webhook_invalid", "webhook"));
    assert!(dead.message.contains("is unreadable"), "{}", dead.message);
    app.wait_for_deliveries("delivered", 1).await;
    assert_eq!(app.deliveries("digested").await, 2);
}

#[apply(test)]
async fn erasure_does_not_revive_a_discarded_digest(app: &TestApp) {
    let url = app.receiver.url("/status/400");
    window(app, &url, "");
    publish(app, &leads(&url, 0, 3)).await;
    app.wait_for_rows("dead_letters", 1).await;
    let discarded = app
        .cli(&["dead-letter", "discard", "--reason", "webhook_rejected", "--operator", "ana", "--yes"])
        .await;
    assert_eq!(discarded.code, Some(0), "{}", discarded.stderr);
    let found = app.json(&["contact", "find", "--company", "acme", "--email", "lead-1@lane.example"]).await;
    let id = found[0]["id"].as_str().unwrap().to_owned();
    let erased = app.cli(&["contact", "erase", "--company", "acme", &id]).await;
    assert_eq!(erased.code, Some(0), "{}", erased.stderr);
    assert_eq!(app.deliveries("digested").await, 3);
}
