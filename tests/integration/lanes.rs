//! Lanes: no endpoint delays another, and each gets the treatment that it asks for.

mod claims;
mod control;
mod digests;
mod holds;
mod order;
mod owners;
mod plans;
mod settings;
mod shares;

use macro_rules_attribute::apply;

use crate::support::{app::TestApp, event::Event, eventually, test};

fn leads(url: &str, from: usize, count: usize) -> Vec<Event> {
    let lead = |n: usize| Event::lead("Ada").email(&format!("lead-{n}@lane.example")).webhook(url);
    (from..from + count).map(lead).collect()
}

/// More deliveries wait for it than the process may have claimed and in flight together.
#[apply(test)]
async fn hanging_endpoint_does_not_delay_others(app: &TestApp) {
    app.set("webhook.concurrency", "16");
    app.set("webhook.max_in_flight", "4");
    app.run(&[]).await;
    app.broker.publish_all(&leads(&app.receiver.url("/held"), 0, 100)).await;
    app.webhooks(4).await;
    app.broker.publish_all(&leads(&app.receiver.url("/ok"), 100, 100)).await;
    app.wait_for_deliveries("delivered", 100).await;
    let held = app.receiver.requests().iter().filter(|request| request.path == "/held").count();
    assert_eq!(held, 4, "its cap");
    app.receiver.release();
    app.wait_for_deliveries("delivered", 200).await;
}

#[apply(test)]
async fn retry_after_holds_the_whole_endpoint(app: &TestApp) {
    app.run(&[]).await;
    let url = app.receiver.url("/retry-after/3/1");
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.wait_for_rows("all_webhook_attempts", 1).await;
    app.broker.publish_all(&leads(&url, 1, 5)).await;
    app.wait_for_deliveries("delivered", 6).await;
    // A second less, by which the times may be wrong.
    let early = "all_webhook_attempts a
                 WHERE a.started_at < (SELECT min(started_at) FROM all_webhook_attempts) + interval '2 seconds'";
    assert_eq!(app.rows(early).await, 1, "only the request that was answered with Retry-After");
    assert_eq!(app.rows("webhook_deliveries WHERE attempts = 2").await, 1);
}

/// One request at a time makes their number exact.
#[apply(test)]
async fn breaker_opens_probes_and_closes(app: &TestApp) {
    app.set("webhook.max_in_flight", "1");
    app.set("webhook.breaker_failures", "3");
    app.set("webhook.breaker_after", "0s");
    app.set("webhook.breaker_wait", "2s");
    app.set("webhook.retry_schedule", "50ms,50ms,50ms,50ms,50ms,50ms");
    let process = app.run(&[]).await;
    app.broker.publish_all(&leads(&app.receiver.url("/status/503/6"), 0, 20)).await;
    app.wait_for_deliveries("delivered", 20).await;
    assert_eq!(app.receiver.requests().len(), 26, "20 successes and 6 failures");
    let waits = "SELECT extract(epoch FROM started_at - lag(started_at) OVER (ORDER BY started_at))::float8
                 FROM all_webhook_attempts ORDER BY started_at OFFSET 1";
    let waits: Vec<f64> = sqlx::query_scalar(waits).fetch_all(&app.pool).await.unwrap();
    // The breaker opens with the third failure. Deliveries claimed until then are still sent; probes follow, after 2 s and
    // 4 s, and the times may be wrong by a second.
    let probes = |least: f64| waits.iter().filter(|wait| **wait >= least).count();
    assert!(probes(1.0) >= 2 && probes(3.0) >= 1, "{waits:?}");
    app.wait_for_rows("webhook_endpoints WHERE breaker = 'closed' AND failures = 0", 1).await;
    assert!(process.log().contains("opened") && process.log().contains("closed"), "{}", process.log());
    assert_eq!(app.rows("dead_letters").await, 0);
}

#[apply(test)]
async fn endpoint_that_is_gone_keeps_deliveries_pending(app: &TestApp) {
    app.run(&[]).await;
    let url = app.receiver.url("/status/410/1");
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.wait_for_rows("webhook_endpoints WHERE disabled_at IS NOT NULL", 1).await;
    app.the_dead_letter("that of a gone endpoint", |dead| dead.reason == "webhook_rejected").await;
    app.broker.publish_all(&leads(&url, 1, 3)).await;
    app.broker.publish_all(&leads(&app.receiver.url("/ok"), 4, 1)).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.wait_for_rows("webhook_pending WHERE attempts = 0", 3).await;
    let enable = "UPDATE webhook_endpoints SET disabled_at = NULL, next_due_at = now()";
    sqlx::query(enable).execute(&app.pool).await.unwrap();
    app.wait_for_deliveries("delivered", 4).await;
}

#[apply(test)]
async fn paused_endpoint_keeps_deliveries_pending(app: &TestApp) {
    app.run(&[]).await;
    let url = app.receiver.url("/ok");
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.wait_for_deliveries("delivered", 1).await;
    let pause = "UPDATE webhook_endpoints SET paused_at = now()";
    sqlx::query(pause).execute(&app.pool).await.unwrap();
    app.broker.publish_all(&leads(&url, 1, 3)).await;
    app.broker.publish_all(&leads(&app.receiver.url("/other"), 4, 1)).await;
    app.wait_for_deliveries("delivered", 2).await;
    app.wait_for_deliveries("pending", 3).await;
    let resume = "UPDATE webhook_endpoints SET paused_at = NULL, next_due_at = now()";
    sqlx::query(resume).execute(&app.pool).await.unwrap();
    app.wait_for_deliveries("delivered", 5).await;
}

#[apply(test)]
async fn two_processes_share_one_rate(app: &TestApp) {
    let url = app.receiver.url("/limited");
    app.set("webhook.endpoints", &format!(r#"[{{ url = "{url}", rate = "2/s" }}]"#));
    app.run(&[]).await;
    app.run(&[]).await;
    let began: time::OffsetDateTime =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&app.pool).await.unwrap();
    app.broker.publish_all(&leads(&url, 0, 11)).await;
    app.broker.publish_all(&leads(&app.receiver.url("/free"), 11, 20)).await;
    app.wait_for_deliveries("delivered", 31).await;
    let took = "SELECT extract(epoch FROM max(a.started_at) - $1)::float8 FROM all_webhook_attempts a
                JOIN webhook_deliveries d USING (company_id, delivery_id) WHERE d.url LIKE '%/limited'";
    let took: f64 = sqlx::query_scalar(took).bind(began).fetch_one(&app.pool).await.unwrap();
    // Ten intervals of 500 ms. The processes know the database's clock to within a second.
    assert!(took >= 4.0, "{took}");
}

/// Such deliveries become dead letters without a request.
#[apply(test)]
async fn delivery_older_than_max_age_becomes_a_dead_letter(app: &TestApp) {
    app.run(&[]).await;
    let url = app.receiver.url("/retry-after/3600");
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.wait_for_rows("all_webhook_attempts", 1).await;
    app.stop().await;
    app.set("webhook.max_age", "2s");
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 1, 2)).await;
    app.wait_for_dead_letters_because("webhook_exhausted", 2).await;
    assert_eq!(app.receiver.requests().len(), 1);
    assert_eq!(app.rows("all_webhook_attempts WHERE outcome = 'expired'").await, 2);
}

#[apply(test)]
async fn endpoint_settings_apply_to_that_endpoint_alone(app: &TestApp) {
    let (special, slow) = (app.receiver.url("/status/404/1"), app.receiver.url("/hang"));
    let rules = format!(
        r#"[{{ url = "{special}", retry_statuses = [404], retry_schedule = ["10ms"], company = "acme" }},
            {{ url = "{slow}", timeout = "300ms", retry_schedule = [] }}]"#
    );
    app.set("webhook.endpoints", &rules);
    app.run(&[]).await;
    app.broker.publish_all(&leads(&special, 0, 1)).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.broker.publish_all(&leads(&slow, 1, 1)).await;
    app.wait_for_dead_letters_because("webhook_exhausted", 1).await;
    let others = leads(&app.receiver.url("/status/404/9"), 2, 1);
    app.broker.publish_all(&others).await;
    eventually("a 404 elsewhere is final", async || {
        (app.dead_letters_because("webhook_rejected").await == 1).then_some(())
    })
    .await;
}
