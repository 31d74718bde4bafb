//! Closed lanes open when their row says so: by an operator, by new settings, or after an unsent probe.

use macro_rules_attribute::apply;

use super::leads;
use crate::support::{app::TestApp, event::Event, test};

async fn enable(app: &TestApp, path: &str) {
    let enabled = app.cli(&["endpoint", "enable", &app.receiver.url(path)]).await;
    assert_eq!(enabled.code, Some(0), "{}", enabled.stderr);
}

#[apply(test)]
async fn enable_ends_a_hold_by_retry_after(app: &TestApp) {
    app.set("webhook.max_in_flight", "1");
    app.run(&[]).await;
    // The query string is not part of the endpoint. A first success makes the process remember the lane.
    let urls = ["/retry-after?60/0", "/retry-after?60/1"].map(|path| app.receiver.url(path));
    opens_when_enabled(app, "/retry-after", &urls, "held_until > now()").await;
}

#[apply(test)]
async fn enable_closes_the_breaker(app: &TestApp) {
    app.set("webhook.max_in_flight", "1");
    app.set("webhook.breaker_failures", "1");
    app.set("webhook.breaker_after", "0s");
    app.set("webhook.breaker_wait", "5m");
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    let urls = ["/status?500/0", "/status?500/1"].map(|path| app.receiver.url(path));
    opens_when_enabled(app, "/status", &urls, "breaker = 'open'").await;
}

/// The first of the two addresses of one lane succeeds, and the second closes the lane.
async fn opens_when_enabled(app: &TestApp, path: &str, [first, url]: &[String; 2], closed: &str) {
    app.broker.publish_all(&leads(first, 9, 1)).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.broker.publish_all(&leads(url, 0, 1)).await;
    app.wait_for_rows(&format!("webhook_endpoints WHERE {closed}"), 1).await;
    app.broker.publish_all(&leads(url, 1, 2)).await;
    app.wait_for_deliveries("pending", 3).await;
    enable(app, path).await;
    app.wait_for_deliveries("delivered", 3).await;
    resend(app).await;
    app.wait_for_deliveries("delivered", 4).await;
}

async fn resend(app: &TestApp) {
    let resent = app.cli(&["delivery", "resend", "--state", "pending", "--yes"]).await;
    assert_eq!(resent.code, Some(0), "{}", resent.stderr);
}

#[apply(test)]
async fn delivery_of_a_process_that_has_ended_can_be_resent(app: &TestApp) {
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    app.broker.publish_all(&leads(&app.receiver.url("/status?500/1"), 0, 1)).await;
    app.wait_for_deliveries("pending", 1).await;
    app.stop().await;
    // As if it had been about to send it.
    for statement in [
        "UPDATE webhook_endpoints SET owner = gen_random_uuid()",
        "UPDATE webhook_pending SET due_at = now()",
    ] {
        sqlx::query(statement).execute(&app.pool).await.unwrap();
    }
    resend(app).await;
    app.run(&[]).await;
    app.wait_for_deliveries("delivered", 1).await;
}

#[apply(test)]
async fn changed_settings_reach_known_endpoints(app: &TestApp) {
    let url = app.receiver.url("/ok");
    let rule = |rate: &str| format!(r#"[{{ url = "{url}", rate = "{rate}", max_in_flight = 3 }}]"#);
    app.set("webhook.endpoints", &rule("1/h"));
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 0, 2)).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.wait_for_deliveries("pending", 1).await;
    app.stop().await;
    app.set("webhook.endpoints", &rule("50/s"));
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 2, 1)).await;
    app.wait_for_deliveries("delivered", 3).await;
}

/// Deliveries that waited through a long pause are sent at the rate's pace, and none expires.
#[apply(test)]
async fn rate_limited_deliveries_do_not_expire_after_a_pause(app: &TestApp) {
    let url = app.receiver.url("/ok");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", rate = "2/s" }}]"#));
    app.set("webhook.max_age", "2s");
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.wait_for_deliveries("delivered", 1).await;
    let pause = "UPDATE webhook_endpoints SET paused_at = now()";
    sqlx::query(pause).execute(&app.pool).await.unwrap();
    app.broker.publish_all(&leads(&url, 1, 5)).await;
    let old = "webhook_pending WHERE due_at < now() - interval '2 seconds'";
    app.wait_for_rows(old, 5).await;
    let resume = "UPDATE webhook_endpoints SET paused_at = NULL, next_due_at = now()";
    sqlx::query(resume).execute(&app.pool).await.unwrap();
    app.wait_for_deliveries("delivered", 6).await;
    assert_eq!(app.rows("all_webhook_attempts").await, 6);
}

/// If a superseded delivery counted as the probe, the endpoint would wait for its outcome forever.
#[apply(test)]
async fn superseded_delivery_does_not_use_up_the_probe(app: &TestApp) {
    let url = app.receiver.url("/status/500/1");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", newest_only = true }}]"#));
    app.set("webhook.max_in_flight", "1");
    app.set("webhook.breaker_failures", "1");
    app.set("webhook.breaker_after", "0s");
    app.set("webhook.breaker_wait", "5m");
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.wait_for_rows("webhook_endpoints WHERE breaker = 'open'", 1).await;
    for (name, deliveries) in [("Old", 5), ("New", 9)] {
        let version = |n: usize| Event::lead(name).email(&format!("probe-{n}@lane.example")).webhook(&url);
        app.broker.publish_all(&(0..4).map(version).collect::<Vec<_>>()).await;
        app.wait_for_rows("webhook_deliveries", deliveries).await;
    }
    // The wait of the breaker ends.
    let open = "UPDATE webhook_endpoints SET breaker_until = now(), next_due_at = now()";
    sqlx::query(open).execute(&app.pool).await.unwrap();
    app.wait_for_deliveries("superseded", 4).await;
    app.wait_for_deliveries("delivered", 4).await;
    resend(app).await;
    app.wait_for_deliveries("delivered", 5).await;
}
