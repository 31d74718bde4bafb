//! Digests: many contacts, one post.

use serde_json::{Value, json};

use super::{DELIVERED, leads};
use crate::support::{Test, app::TestApp, event::Event, only, tests};

pub(super) fn tests() -> Vec<Test> {
    tests![
        a_window_becomes_one_request,
        slack_gets_one_message,
        a_digest_is_retried_as_one,
        one_alone_is_sent_as_it_is,
        an_erasure_leaves_the_others_in,
        one_that_cannot_be_made_holds_nobody_up,
        a_member_that_cannot_be_read_is_told_of,
        an_erasure_revives_no_digest_that_was_given_up,
    ]
}

const DIGESTED: &str = "SELECT count(*) FROM webhook_deliveries WHERE state = 'digested'";

/// Has worker 1 take these events, and worker 2 begin once all of their windows have ended: whatever the
/// machine takes, there is one digest.
async fn publish(app: &TestApp, events: &[Event]) {
    app.run(&["upsert"]).await;
    app.broker.publish_all(events).await;
    let count = i64::try_from(events.len()).unwrap();
    app.count_becomes("SELECT count(*) FROM webhook_deliveries WHERE next_attempt_at <= now()", count).await;
    app.run(&["webhook", "dead-letter"]).await;
}

fn window(app: &TestApp, url: &str, more: &str) {
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", digest_window = "1s"{more} }}]"#));
}

async fn a_window_becomes_one_request(app: &TestApp) {
    let url = app.receiver.url("/ok");
    window(app, &url, "");
    publish(app, &leads(&url, 0, 30)).await;
    app.count_becomes(DELIVERED, 1).await;
    assert_eq!(app.count(DIGESTED).await, 30);
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
    let members = "SELECT count(*) FROM webhook_deliveries m JOIN webhook_deliveries d
                   ON d.company_id = m.company_id AND d.delivery_id = m.digest_id AND d.state = 'delivered'";
    assert_eq!(app.count(members).await, 30);
}

async fn slack_gets_one_message(app: &TestApp) {
    let url = app.receiver.url("/hook");
    window(app, &url, r#", profile = "slack""#);
    let lead = |name: &str| {
        let action =
            json!({ "type": "WEBHOOK", "url": url, "method": "POST", "body": { "text": "New: $name" } });
        Event::lead(name).email(&format!("{name}@slack.example")).action(action)
    };
    publish(app, &["Ada", "Grace", "Katherine"].map(lead)).await;
    app.count_becomes(DELIVERED, 1).await;
    let body: Value = only(app.receiver.requests()).json().unwrap();
    let mut lines: Vec<&str> = body["text"].as_str().unwrap().lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["New: Ada", "New: Grace", "New: Katherine"]);
}

async fn a_digest_is_retried_as_one(app: &TestApp) {
    let url = app.receiver.url("/status/503/2");
    window(app, &url, "");
    publish(app, &leads(&url, 0, 10)).await;
    app.count_becomes(DELIVERED, 1).await;
    let requests = app.receiver.requests();
    assert_eq!(requests.len(), 3);
    assert!(requests.iter().all(|request| request.body == requests[0].body));
    assert!(requests.iter().all(|request| request.header("webhook-id") == requests[0].header("webhook-id")));
}

async fn one_alone_is_sent_as_it_is(app: &TestApp) {
    let url = app.receiver.url("/ok");
    window(app, &url, "");
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.count_becomes(DELIVERED, 1).await;
    let request = only(app.receiver.requests());
    assert_eq!(request.header("content-type"), Some("application/cloudevents+json"));
    assert_eq!(app.count(DIGESTED).await, 0);
}

/// The digest is made and could not be sent when one of its people is erased.
async fn an_erasure_leaves_the_others_in(app: &TestApp) {
    let url = app.receiver.url("/status/503/1");
    window(app, &url, "");
    app.set("webhook.retry_schedule", "1h");
    publish(app, &leads(&url, 0, 3)).await;
    app.count_becomes("SELECT count(*) FROM webhook_attempts", 1).await;
    assert_eq!(app.count(DIGESTED).await, 3);
    let found = app.json(&["contact", "find", "--company", "acme", "--email", "lead-1@lane.example"]).await;
    let id = found[0]["id"].as_str().unwrap().to_owned();
    let erased = app.cli(&["contact", "erase", "--company", "acme", &id]).await;
    assert_eq!(erased.code, Some(0), "{}", erased.stderr);
    app.count_becomes(DELIVERED, 1).await;
    let sent = String::from_utf8(app.receiver.requests().last().unwrap().body.to_vec()).unwrap();
    assert!(sent.contains("lead-0@") && sent.contains("lead-2@") && !sent.contains("lead-1@"), "{sent}");
    assert_eq!(app.count("SELECT count(*) FROM webhook_deliveries WHERE state = 'pending'").await, 0);
    assert_eq!(app.count("SELECT count(*) FROM webhook_deliveries WHERE body::text LIKE '%' || encode('lead-1@', 'hex') || '%'").await, 0);
}

/// All are claimed together.
async fn one_that_cannot_be_made_holds_nobody_up(app: &TestApp) {
    let url = app.receiver.url("/digest");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", digest_window = "1s" }}]"#));
    // Longer than the patience of a test.
    app.set("webhook.timeout", "60s");
    let upsert = app.run(&["upsert"]).await;
    app.broker.publish_all(&leads(&url, 0, 5)).await;
    app.broker.publish_all(&leads(&app.receiver.url("/ok"), 5, 5)).await;
    app.count_becomes("SELECT count(*) FROM webhook_deliveries WHERE next_attempt_at <= now()", 10).await;
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
    app.count_becomes(DELIVERED, 5).await;
}

/// Its request was damaged, or written by a later version.
async fn a_member_that_cannot_be_read_is_told_of(app: &TestApp) {
    let url = app.receiver.url("/ok");
    window(app, &url, "");
    let upsert = app.run(&["upsert"]).await;
    app.broker.publish_all(&leads(&url, 0, 3)).await;
    app.count_becomes("SELECT count(*) FROM webhook_deliveries WHERE next_attempt_at <= now()", 3).await;
    upsert.sigterm();
    upsert.ended().await;
    let damage = "UPDATE webhook_deliveries SET headers = '{}'
                  WHERE delivery_id = (SELECT delivery_id FROM webhook_deliveries LIMIT 1)";
    sqlx::query(damage).execute(&app.pool).await.unwrap();
    app.run(&["webhook", "dead-letter"]).await;
    let dead = app.the_dead_letter("that of the damaged one", |_| true).await;
    assert_eq!((dead.reason.as_str(), dead.stage.as_str()), ("webhook_invalid", "webhook"));
    assert!(dead.message.contains("is unreadable"), "{}", dead.message);
    app.count_becomes(DELIVERED, 1).await;
    assert_eq!(app.count(DIGESTED).await, 2);
}

async fn an_erasure_revives_no_digest_that_was_given_up(app: &TestApp) {
    let url = app.receiver.url("/status/400");
    window(app, &url, "");
    publish(app, &leads(&url, 0, 3)).await;
    app.count_becomes("SELECT count(*) FROM dead_letters", 1).await;
    let discarded = app
        .cli(&["dead-letter", "discard", "--reason", "webhook_rejected", "--operator", "ana", "--yes"])
        .await;
    assert_eq!(discarded.code, Some(0), "{}", discarded.stderr);
    let found = app.json(&["contact", "find", "--company", "acme", "--email", "lead-1@lane.example"]).await;
    let id = found[0]["id"].as_str().unwrap().to_owned();
    let erased = app.cli(&["contact", "erase", "--company", "acme", &id]).await;
    assert_eq!(erased.code, Some(0), "{}", erased.stderr);
    assert_eq!(app.count(DIGESTED).await, 3);
}
