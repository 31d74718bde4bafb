//! Changed endpoint settings apply from the start of a webhook worker, even to endpoints without new deliveries.

use macro_rules_attribute::apply;

use super::leads;
use crate::support::{app::TestApp, eventually, test};

/// Leads to `/held` and `/ok` that were applied with the old settings and wait for a webhook worker.
async fn waiting(app: &TestApp, held: usize, ok: usize) {
    app.run(&["upsert"]).await;
    app.broker.publish_all(&leads(&app.receiver.url("/held"), 0, held)).await;
    app.broker.publish_all(&leads(&app.receiver.url("/ok"), held, ok)).await;
    app.wait_for_unsent(i64::try_from(held + ok).unwrap()).await;
    app.stop().await;
}

#[apply(test)]
async fn lower_limit_applies_to_pending_deliveries(app: &TestApp) {
    waiting(app, 20, 5).await;
    app.set("webhook.max_in_flight", "2");
    app.run(&["webhook"]).await;
    app.wait_for_deliveries("delivered", 5).await;
    app.webhooks(7).await;
    let held = app.receiver.requests().iter().filter(|request| request.path == "/held").count();
    assert_eq!(held, 2, "its new cap");
    app.receiver.release();
    app.wait_for_deliveries("delivered", 25).await;
}

/// The next slot of the slower rate is far off.
#[apply(test)]
async fn changed_rate_applies_to_pending_deliveries(app: &TestApp) {
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

/// Endpoints of two companies, more than one page. Half have the default limit, and none has a rate.
const ENDPOINTS: &str = "
    INSERT INTO webhook_endpoints (company_id, endpoint_id, url, max_in_flight, send_interval_us)
    SELECT company, gen_random_uuid(), host || n, CASE WHEN n % 2 = 0 THEN 64 ELSE 7 END, 0
    FROM generate_series(1, 600) n, unnest('{acme,b}'::text[]) company,
        unnest('{https://a.example/,https://hooks.slack.com/services/}'::text[]) host";

#[apply(test)]
async fn only_rows_that_differ_are_written(app: &TestApp) {
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
            app.wait_for_rows(&rows, expected).await;
        }
        // All but the 300 endpoints of acme that already matched the settings.
        assert_eq!(app.rows(written).await, 2_100);
        app.stop().await;
    }
    assert_eq!(app.rows("webhook_endpoints").await, 2_400);
}

/// Locks an endpoint's row, with a changed limit in the settings.
async fn behind_a_lock(app: &TestApp) -> sqlx::Transaction<'static, sqlx::Postgres> {
    waiting(app, 0, 1).await;
    app.set("webhook.max_in_flight", "2");
    let mut lock = app.pool.begin().await.unwrap();
    let rows = sqlx::query("SELECT FROM webhook_endpoints FOR UPDATE").execute(&mut *lock).await.unwrap();
    assert_eq!(rows.rows_affected(), 1);
    lock
}

#[apply(test)]
async fn worker_claims_nothing_until_its_limits_are_written(app: &TestApp) {
    app.set("postgres.statement_timeout", "1s");
    let lock = behind_a_lock(app).await;
    let process = app.spawn(&["run", "--role", "webhook", "--role", "console"]);
    eventually("the worker reports that it waits", async || {
        let answer = process.get("/readyz").await?;
        (answer.starts_with("HTTP/1.1 503 ") && answer.contains("database")).then_some(())
    })
    .await;
    app.wait_for_unsent(1).await;
    lock.rollback().await.unwrap();
    app.wait_for_deliveries("delivered", 1).await;
    assert_eq!(app.rows("webhook_endpoints WHERE max_in_flight = 2").await, 1);
}

#[apply(test)]
async fn stop_does_not_wait_for_locked_rows(app: &TestApp) {
    app.set("postgres.statement_timeout", "1h");
    app.set("shutdown.grace", "1h");
    let lock = behind_a_lock(app).await;
    let process = app.spawn(&["run", "--role", "webhook", "--role", "console"]);
    app.wait_for_blocked_sessions(1).await;
    process.sigterm();
    assert!(process.ended().await.success());
    lock.rollback().await.unwrap();
    app.run(&["webhook"]).await;
    app.wait_for_deliveries("delivered", 1).await;
}
