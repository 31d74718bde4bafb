//! What the settings say of endpoints by now holds from the start of a webhook worker on, also for those that
//! get nothing new.

use std::time::Duration;

use macro_rules_attribute::apply;

use super::leads;
use crate::support::{app::TestApp, eventually, test};

/// Leads to `/held` and `/ok` that wait with the settings of before, for no webhook worker runs.
async fn waiting(app: &TestApp, held: usize, ok: usize) {
    app.run(&["upsert"]).await;
    app.broker.publish_all(&leads(&app.receiver.url("/held"), 0, held)).await;
    app.broker.publish_all(&leads(&app.receiver.url("/ok"), held, ok)).await;
    app.wait_for_deliveries("pending", i64::try_from(held + ok).unwrap()).await;
    app.stop().await;
}

#[apply(test)]
async fn a_lower_limit_reaches_what_waits(app: &TestApp) {
    waiting(app, 20, 5).await;
    app.set("webhook.max_in_flight", "2");
    app.run(&["webhook"]).await;
    app.wait_for_deliveries("delivered", 5).await;
    app.webhooks(7).await;
    let held = app.receiver.requests().iter().filter(|request| request.path == "/held").count();
    assert_eq!(held, 2, "its cap by now");
    app.receiver.release();
    app.wait_for_deliveries("delivered", 25).await;
}

/// The slot that the slower rate gave away is far off.
#[apply(test)]
async fn another_rate_reaches_what_waits(app: &TestApp) {
    let url = app.receiver.url("/ok");
    let rule = |rate: &str| format!(r#"[{{ url = "{url}", rate = "{rate}", company = "acme" }}]"#);
    app.set("webhook.endpoints", &rule("1/h"));
    app.run(&[]).await;
    app.broker.publish_all(&leads(&url, 0, 3)).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.wait_for_deliveries("pending", 2).await;
    app.stop().await;
    app.set("webhook.endpoints", &rule("50/s"));
    app.run(&["webhook"]).await;
    app.wait_for_deliveries("delivered", 3).await;
}

/// Endpoints of two companies, more than a page of them, and of each kind some as the settings have them.
const ENDPOINTS: &str = "
    INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight, send_interval_us)
    SELECT company, gen_random_uuid(), host || n, CASE WHEN n % 2 = 0 THEN 64 ELSE 7 END, 0
    FROM generate_series(1, 600) n, unnest('{acme,b}'::text[]) company,
        unnest('{https://a.example/,https://hooks.slack.com/services/}'::text[]) host";

#[apply(test)]
async fn what_differs_is_written_and_nothing_else(app: &TestApp) {
    assert_eq!(app.cli(&["migrate"]).await.code, Some(0));
    for statement in [
        ENDPOINTS,
        "CREATE TABLE before AS SELECT company_id, endpoint_id, xmin::text AS was FROM webhook_endpoints",
    ] {
        sqlx::query(statement).execute(&app.pool).await.unwrap();
    }
    app.set(
        "webhook.endpoints",
        r#"[{ url = "https://a.example", company = "b", max_in_flight = 7, rate = "2/s" }]"#,
    );
    let written = "webhook_endpoints e JOIN before b USING (company_id, endpoint_id)
                   WHERE e.xmin::text <> b.was";
    for _ in 0..2 {
        app.run(&["webhook"]).await;
        for (who, terms, expected) in [
            ("company_id = 'acme' AND url LIKE 'https://a.%'", "(64, 0)", 600),
            ("company_id = 'b' AND url LIKE 'https://a.%'", "(7, 500000)", 600),
            ("url LIKE 'https://hooks.slack.com/%'", "(64, 1000000)", 1_200),
        ] {
            let rows =
                format!("webhook_endpoints WHERE {who} AND (max_in_flight, send_interval_us) = {terms}");
            assert_eq!(app.rows(&rows).await, expected, "{who}");
        }
        // All but the half of acme's first ones, which were as they should be.
        assert_eq!(app.rows(written).await, 2_100);
        app.stop().await;
    }
    assert_eq!(app.rows("webhook_endpoints").await, 2_400);
}

/// A webhook worker whose settings have changed, while somebody else holds an endpoint's row.
async fn behind_a_lock(app: &TestApp) -> sqlx::Transaction<'static, sqlx::Postgres> {
    waiting(app, 0, 1).await;
    app.set("webhook.max_in_flight", "2");
    let mut lock = app.pool.begin().await.unwrap();
    let rows = sqlx::query("SELECT FROM webhook_endpoints FOR UPDATE").execute(&mut *lock).await.unwrap();
    assert_eq!(rows.rows_affected(), 1);
    lock
}

/// Until its rows are right nothing is claimed.
#[apply(test)]
async fn a_row_that_cannot_be_written_is_waited_for(app: &TestApp) {
    app.set("postgres.statement_timeout", "1s");
    let lock = behind_a_lock(app).await;
    let process = app.spawn(&["run", "--role", "webhook", "--role", "console"]);
    eventually("the worker tells that it waits", async || {
        let answer = process.get("/readyz").await?;
        (answer.starts_with("HTTP/1.1 503 ") && answer.contains("database")).then_some(())
    })
    .await;
    assert_eq!(app.deliveries("pending").await, 1);
    lock.rollback().await.unwrap();
    app.wait_for_deliveries("delivered", 1).await;
    assert_eq!(app.rows("webhook_endpoints WHERE max_in_flight = 2").await, 1);
}

#[apply(test)]
async fn stopping_does_not_wait_for_rows(app: &TestApp) {
    app.set("postgres.statement_timeout", "1m");
    app.set("shutdown.grace", "50s");
    let lock = behind_a_lock(app).await;
    let process = app.spawn(&["run", "--role", "webhook", "--role", "console"]);
    app.wait_for_blocked_sessions(1).await;
    let began = std::time::Instant::now();
    process.sigterm();
    assert!(process.ended().await.success());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    lock.rollback().await.unwrap();
    app.run(&["webhook"]).await;
    app.wait_for_deliveries("delivered", 1).await;
}
