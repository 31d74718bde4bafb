//! Webhook outcomes: retries, dead letters, replays, and addresses that never get a request.

use std::time::Duration;

use contact_relay::dev::demo_receiver::Received;
use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::support::{app::TestApp, event::Event, eventually, only, test};

fn lead(url: &str) -> Event {
    Event::lead("Ada").email("ada@x.example").webhook(url)
}

/// Checks that all attempts carry the same id and the same bytes.
fn assert_same_delivery(requests: &[Received]) {
    let first = requests.first().unwrap();
    for request in requests {
        assert_eq!(request.header("webhook-id"), first.header("webhook-id"));
        assert_eq!(request.header("traceparent"), first.header("traceparent"));
        assert_eq!(request.body, first.body);
    }
    let times =
        requests.iter().map(|request| request.header("webhook-timestamp").unwrap().parse::<i64>().unwrap());
    assert!(times.is_sorted());
}

async fn the_dead_letter(app: &TestApp, states: &[&str]) -> Value {
    let states: Vec<&str> = states.iter().flat_map(|state| ["--state", state]).collect();
    let listed = app.json(&[&["dead-letter", "list"][..], &states].concat()).await;
    only(listed.as_array().unwrap()).clone()
}

#[apply(test)]
async fn failed_attempt_is_retried(app: &TestApp) {
    app.set("webhook.retry_schedule", "2s,3s");
    app.run(&[]).await;
    app.broker.publish(&lead(&app.receiver.url("/flaky/2"))).await;
    app.wait_for_rows("webhook_deliveries WHERE state = 'delivered' AND attempts = 3", 1).await;
    let requests = app.receiver.requests();
    assert_eq!(requests.len(), 3);
    assert_same_delivery(&requests);
    let attempts = "SELECT attempt, outcome, status FROM all_webhook_attempts ORDER BY attempt";
    let attempts: Vec<(i32, String, Option<i32>)> =
        sqlx::query_as(attempts).fetch_all(&app.pool).await.unwrap();
    let expected = [(1, "http_status", 503), (2, "http_status", 503), (3, "delivered", 200)];
    assert_eq!(
        attempts,
        expected.map(|(attempt, outcome, status)| (attempt, outcome.to_owned(), Some(status)))
    );
    assert_waits(app, &[2, 3].map(Duration::from_secs)).await;
    assert_eq!(app.rows("dead_letters").await, 0);
    assert_eq!(app.broker.hear(1).await.len(), 1);
}

/// What two times of a process may be wrong by together: it goes by the database's clock, and asks for it again and again.
const CLOCK_ERROR: Duration = Duration::from_secs(1);

/// Checks that the waits before the second and each later attempt were at least these.
async fn assert_waits(app: &TestApp, least: &[Duration]) {
    let waits =
        "SELECT (extract(epoch FROM started_at - lag(started_at) OVER (ORDER BY attempt)) * 1000)::float8
                 FROM all_webhook_attempts ORDER BY attempt OFFSET 1";
    let waits: Vec<f64> = sqlx::query_scalar(waits).fetch_all(&app.pool).await.unwrap();
    assert_eq!(waits.len(), least.len());
    for (wait, least) in waits.into_iter().zip(least) {
        assert!(wait >= (*least - CLOCK_ERROR).as_secs_f64() * 1000.0, "{wait} ms, and not {least:?}");
    }
}

/// The receiver asks for more waits than the schedule has entries: a 429 or 503 with `Retry-After` does not
/// count.
#[apply(test)]
async fn retry_after_is_a_minimum_wait(app: &TestApp) {
    app.set("webhook.breaker_wait", "1ms");
    app.run(&[]).await;
    app.broker.publish(&lead(&app.receiver.url("/retry-after/2/3"))).await;
    app.wait_for_deliveries("delivered", 1).await;
    assert_waits(app, &[Duration::from_secs(2); 3]).await;
    assert_eq!(app.rows("dead_letters").await, 0);
}

#[apply(test)]
async fn exhausted_delivery_becomes_a_dead_letter_and_its_replay_delivers(app: &TestApp) {
    app.run(&[]).await;
    let event = lead(&app.receiver.url("/flaky/3"));
    app.broker.publish(&event).await;
    app.wait_for_rows("dead_letters", 1).await;
    assert_eq!(app.receiver.requests().len(), 3, "one attempt, and two of the schedule");
    let dead = the_dead_letter(app, &["open"]).await;
    for (member, value) in [
        ("reason", json!("webhook_exhausted")),
        ("stage", json!("webhook")),
        ("company", json!("acme")),
        ("trigger", json!("register_lead")),
        ("eventId", json!(event.event_id())),
    ] {
        assert_eq!(dead.get(member), Some(&value), "{member}: {dead:#}");
    }
    assert_eq!(app.broker.hear(1).await.len(), 1);

    let replayed = app.cli(&["dead-letter", "replay", "--reason", "webhook_exhausted", "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    let requests = app.webhooks(4).await;
    app.wait_for_rows("dead_letters WHERE state = 'resolved'", 1).await;
    assert_eq!(requests.len(), 4);
    assert_same_delivery(&requests);
    app.wait_for_rows("webhook_deliveries WHERE state = 'delivered' AND attempts = 4", 1).await;
    assert_eq!(the_dead_letter(app, &["resolved"]).await.get("replays"), Some(&json!(1)));
    // The replay repeated only the webhook.
    app.assert_settled().await;
    assert_eq!(app.broker.heard().await.len(), 1);
    assert_eq!(app.count("SELECT version FROM contacts").await, 1);
    assert_eq!(app.rows("applied_events").await, 1);
}

#[apply(test)]
async fn replay_restarts_the_retry_schedule(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&lead(&app.receiver.url("/status/500"))).await;
    app.wait_for_rows("dead_letters WHERE state = 'open'", 1).await;
    let replayed = app.cli(&["dead-letter", "replay", "--all", "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    app.wait_for_rows("dead_letters WHERE state = 'open' AND replays = 1", 1).await;
    let requests = app.receiver.requests();
    assert_eq!(requests.len(), 6);
    assert_same_delivery(&requests);
    assert_eq!(app.rows("dead_letters").await, 1);
}

#[apply(test)]
async fn redirects_are_not_followed(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&lead(&app.receiver.url("/redirect"))).await;
    app.wait_for_rows("dead_letters", 1).await;
    let dead = the_dead_letter(app, &["open"]).await;
    assert_eq!(dead.get("reason"), Some(&json!("webhook_rejected")), "{dead:#}");
    assert_eq!(only(app.receiver.requests()).path, "/redirect");
}

/// Sends webhooks to these addresses and checks that none gets a request.
async fn assert_blocked(app: &TestApp, urls: &[String]) {
    app.run(&[]).await;
    let event = urls.iter().fold(Event::lead("Ada"), |event, url| event.webhook(url));
    app.broker.publish(&event).await;
    let listed = eventually("all are dead letters", async || {
        let listed = app.json(&["dead-letter", "list"]).await;
        listed.as_array().filter(|all| all.len() == urls.len()).cloned()
    });
    for dead in listed.await {
        assert_eq!(dead.get("reason"), Some(&json!("webhook_blocked")), "{dead:#}");
    }
    assert_eq!(app.receiver.requests(), []);
    assert_eq!(app.rows("webhook_deliveries WHERE attempts <> 1").await, 0, "not retried");
    assert_eq!(app.broker.hear(1).await.len(), 1, "the contact is upserted all the same");
}

/// The default settings except for `allow_http`, so that the address is the reason.
#[apply(test)]
async fn private_addresses_get_no_request(app: &TestApp) {
    app.set("webhook.allowed_networks", "");
    let port = app.receiver.url("").rsplit_once(':').unwrap().1.to_owned();
    let hosts = [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f.1",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "0.0.0.0",
        "10.0.0.1",
        "169.254.169.254",
    ];
    assert_blocked(app, &hosts.map(|host| format!("http://{host}:{port}/"))).await;
}

#[apply(test)]
async fn plain_http_gets_no_request(app: &TestApp) {
    app.set("webhook.allow_http", "false");
    assert_blocked(app, &[app.receiver.url("/")]).await;
}
