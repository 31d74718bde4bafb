//! Receivers that ask for waits: a hold opens the breaker, and answers that do not count fill no disk.

use macro_rules_attribute::apply;

use super::leads;
use crate::support::{app::TestApp, eventually, test};

/// Many deliveries wait, and every answer asks for two seconds.
#[apply(test)]
async fn receiver_that_only_holds_is_asked_by_one_request_and_ever_more_rarely(app: &TestApp) {
    app.set("webhook.breaker_wait", "2s");
    app.run(&[]).await;
    let url = app.receiver.url("/retry-after/2");
    app.broker.publish_all(&leads(&url, 0, 1)).await;
    app.wait_for_rows("all_webhook_attempts", 1).await;
    app.broker.publish_all(&leads(&url, 1, 80)).await;
    app.wait_for_at_least(5, "all_webhook_attempts").await;
    let waits = "SELECT extract(epoch FROM started_at - lag(started_at) OVER (ORDER BY started_at))::float8
                 FROM all_webhook_attempts ORDER BY started_at OFFSET 1 LIMIT 4";
    let waits: Vec<f64> = sqlx::query_scalar(waits).fetch_all(&app.pool).await.unwrap();
    // A second less, by which the times may be wrong.
    let least = [1.0, 1.0, 3.0, 7.0];
    assert!(waits.iter().zip(least).all(|(wait, least)| *wait >= least), "{waits:?}");
    eventually("the endpoint is listed as held", async || {
        (app.json(&["endpoint", "list"]).await[0]["state"] == "held").then_some(())
    })
    .await;
    assert_eq!(app.rows("dead_letters").await, 0);
}

#[apply(test)]
async fn only_the_first_and_the_last_answer_keep_their_body(app: &TestApp) {
    app.set("webhook.breaker_wait", "1ms");
    // Each attempt waits for the test.
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    app.broker.publish_all(&leads(&app.receiver.url("/retry-after/1/4"), 0, 1)).await;
    for attempts in 1..=4 {
        app.wait_for_rows("all_webhook_attempts", attempts).await;
        if attempts == 1 {
            // As if the receiver had not answered.
            let forget = "UPDATE webhook_attempts SET response_body = NULL";
            sqlx::query(forget).execute(&app.pool).await.unwrap();
        }
        let resent = app.cli(&["delivery", "resend", "--state", "pending", "--yes"]).await;
        assert_eq!(resent.code, Some(0), "{}", resent.stderr);
    }
    app.wait_for_deliveries("delivered", 1).await;
    let bodies = "SELECT convert_from(response_body, 'UTF8') FROM all_webhook_attempts ORDER BY attempt";
    let bodies: Vec<Option<String>> = sqlx::query_scalar(bodies).fetch_all(&app.pool).await.unwrap();
    let bodies: Vec<Option<&str>> = bodies.iter().map(Option::as_deref).collect();
    assert_eq!(bodies, [None, Some("too many requests"), None, None, Some("received")]);
}
