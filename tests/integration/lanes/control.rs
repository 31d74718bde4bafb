//! A lane that was closed opens when its row says so: for operators, new settings, and probes that were none.

use super::{DELIVERED, PENDING, leads};
use crate::support::{Test, app::TestApp, event::Event, eventually, tests};

pub(super) fn tests() -> Vec<Test> {
    tests![
        enabling_ends_a_pause_that_was_asked_for,
        enabling_closes_a_breaker,
        new_settings_reach_endpoints_that_are_known,
        a_limited_rate_makes_nothing_too_old,
        a_superseded_delivery_is_no_probe,
    ]
}

const ATTEMPTS: &str = "SELECT count(*) FROM webhook_attempts";

async fn enable(app: &TestApp, path: &str) {
    let enabled = app.cli(&["endpoint", "enable", &app.receiver.url(path)]).await;
    assert_eq!(enabled.code, Some(0), "{}", enabled.stderr);
}

async fn enabling_ends_a_pause_that_was_asked_for(app: &TestApp) {
    app.set("webhook.max_in_flight", "1");
    app.run(&[]).await;
    // The query is no part of the endpoint. It has had a success, so that the process remembers its lane.
    let (first, url) = (app.receiver.url("/retry-after?60/0"), app.receiver.url("/retry-after?60/1"));
    app.broker.publish_all(&leads(&first, 9, 1)).await;
    app.count_becomes(DELIVERED, 1).await;
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.count_becomes("SELECT count(*) FROM webhook_endpoints WHERE held_until > now()", 1).await;
    app.broker.publish_all(&leads(&url, 1, 2)).await;
    app.count_becomes(PENDING, 3).await;
    enable(app, "/retry-after").await;
    app.count_becomes(DELIVERED, 3).await;
    resend(app).await;
    app.count_becomes(DELIVERED, 4).await;
}

async fn enabling_closes_a_breaker(app: &TestApp) {
    app.set("webhook.max_in_flight", "1");
    app.set("webhook.breaker_failures", "1");
    app.set("webhook.breaker_after", "0s");
    app.set("webhook.breaker_wait", "5m");
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    let (first, url) = (app.receiver.url("/status?500/0"), app.receiver.url("/status?500/1"));
    app.broker.publish_all(&leads(&first, 9, 1)).await;
    app.count_becomes(DELIVERED, 1).await;
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.count_becomes("SELECT count(*) FROM webhook_endpoints WHERE breaker = 'open'", 1).await;
    app.broker.publish_all(&leads(&url, 1, 2)).await;
    app.count_becomes(PENDING, 3).await;
    enable(app, "/status").await;
    app.count_becomes(DELIVERED, 3).await;
    resend(app).await;
    app.count_becomes(DELIVERED, 4).await;
}

async fn resend(app: &TestApp) {
    let resent = app.cli(&["delivery", "resend", "--state", "pending", "--yes"]).await;
    assert_eq!(resent.code, Some(0), "{}", resent.stderr);
}

async fn new_settings_reach_endpoints_that_are_known(app: &TestApp) {
    let url = app.receiver.url("/ok");
    let rule = |rate: &str| format!(r#"[{{ url = "{url}", rate = "{rate}", max_in_flight = 3 }}]"#);
    app.set("webhook.endpoints", &rule("1/h"));
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 0, 2)).await;
    app.count_becomes(DELIVERED, 1).await;
    app.count_becomes(PENDING, 1).await;
    app.stop().await;
    app.set("webhook.endpoints", &rule("50/s"));
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 2, 1)).await;
    app.count_becomes(DELIVERED, 3).await;
}

/// What waited through a long pause is sent as the rate allows, and none of it is given up.
async fn a_limited_rate_makes_nothing_too_old(app: &TestApp) {
    let url = app.receiver.url("/ok");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", rate = "2/s" }}]"#));
    app.set("webhook.max_age", "2s");
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.count_becomes(DELIVERED, 1).await;
    let pause = "UPDATE webhook_endpoints SET paused_at = now()";
    sqlx::query(pause).execute(&app.pool).await.unwrap();
    app.broker.publish_all(&leads(&url, 1, 5)).await;
    let old = "SELECT count(*) FROM webhook_deliveries WHERE state = 'pending' AND next_attempt_at < now() - interval '2 seconds'";
    app.count_becomes(old, 5).await;
    let resume = "UPDATE webhook_endpoints SET paused_at = NULL";
    sqlx::query(resume).execute(&app.pool).await.unwrap();
    app.count_becomes(DELIVERED, 6).await;
    assert_eq!(app.count(ATTEMPTS).await, 6);
}

/// Were each of them waited for as for a probe, it would take the lease of each.
async fn a_superseded_delivery_is_no_probe(app: &TestApp) {
    let url = app.receiver.url("/status/500/1");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", newest_only = true }}]"#));
    app.set("webhook.max_in_flight", "1");
    app.set("webhook.breaker_failures", "1");
    app.set("webhook.breaker_after", "0s");
    app.set("webhook.breaker_wait", "3s");
    app.set("webhook.retry_schedule", "20s");
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.count_becomes("SELECT count(*) FROM webhook_endpoints WHERE breaker = 'open'", 1).await;
    for name in ["Old", "New"] {
        let version = |n: usize| Event::lead(name).email(&format!("probe-{n}@lane.example")).webhook(&url);
        app.broker.publish_all(&(0..4).map(version).collect::<Vec<_>>()).await;
        let made = "SELECT count(*) FROM webhook_deliveries WHERE contact_version = 1";
        app.count_becomes(made, 5).await;
    }
    let began = std::time::Instant::now();
    eventually("the four newer versions", async || (app.count(DELIVERED).await >= 4).then_some(())).await;
    assert!(began.elapsed().as_secs() < 15, "{:?}", began.elapsed());
    assert_eq!(app.count("SELECT count(*) FROM webhook_deliveries WHERE state = 'superseded'").await, 4);
    app.count_becomes(DELIVERED, 5).await;
}
