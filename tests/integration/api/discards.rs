//! Discards of deliveries that wait, over the API.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{get, kind, post, served};
use crate::support::{app::TestApp, event::Event, eventually, http::Ask, process::Process, test};

const PLAN: &str = "/api/v1/deliveries/discard/plan";

fn lead(number: usize, url: &str) -> Event {
    Event::lead("Ada").email(&format!("ada{number}@x.example")).webhook(url)
}

async fn plan(process: &Process, body: Value) -> Value {
    let planned = post(process, "tok-o", PLAN, &body).await;
    assert_eq!(planned.status, 201, "{planned:?}");
    planned.json()
}

/// Runs a planned operation, and waits until it is done.
async fn run(process: &Process, planned: &Value) -> Value {
    let path = format!("/api/v1/operations/{}", planned["id"].as_str().unwrap());
    let running = post(process, "tok-o", &format!("{path}/run"), &json!({})).await;
    assert_eq!(running.status, 200, "{running:?}");
    eventually("the operation is done", async || {
        let found = get(process, "tok-v", &path).await;
        (found["state"] == "done").then_some(found)
    })
    .await
}

fn counts(operation: &Value) -> [i64; 4] {
    ["total", "done", "skipped", "failed"].map(|name| operation[name].as_i64().unwrap())
}

/// The service with so many deliveries behind a paused endpoint, and one that waits for its second attempt.
async fn with_waiting(app: &TestApp, count: usize) -> (Process, String) {
    app.set("webhook.retry_schedule", "1h");
    let process = served(app).await;
    let url = app.receiver.url("/ok");
    app.broker.publish(&lead(0, &url)).await;
    app.wait_for_deliveries("delivered", 1).await;
    let paused = app.cli(&["endpoint", "pause", &url]).await;
    assert_eq!(paused.code, Some(0), "{}", paused.stderr);
    app.broker.publish_all(&(1..=count).map(|number| lead(number, &url)).collect::<Vec<_>>()).await;
    app.broker.publish(&lead(99, &app.receiver.url("/status/503")).company("other")).await;
    app.wait_for_rows("webhook_pending", i64::try_from(count).unwrap() + 1).await;
    app.wait_for_rows("webhook_pending WHERE attempts = 1", 1).await;
    app.wait_for_rows("webhook_endpoints WHERE owner IS NOT NULL", 0).await;
    (process, url)
}

#[apply(test)]
async fn what_was_counted_is_discarded_once(app: &TestApp) {
    let (process, url) = with_waiting(app, 5).await;
    let by_filter = json!({ "filter": { "endpoint": url }, "rate": 50, "reason": "it is gone" });
    let planned = plan(&process, by_filter.clone()).await;
    assert_eq!((counts(&planned), &planned["action"]), ([5, 0, 0, 0], &json!("discard_deliveries")));
    assert_eq!((&planned["selection"]["states"], &planned["canary"]), (&json!(["pending"]), &Value::Null));
    let second = plan(&process, by_filter).await;
    // What comes later is not among them, and nothing has happened yet.
    app.broker.publish(&lead(6, &url)).await;
    app.wait_for_deliveries("pending", 7).await;
    assert_eq!(counts(&run(&process, &planned).await), [5, 5, 0, 0]);
    assert_eq!((app.deliveries("discarded").await, app.deliveries("pending").await), (5, 2));
    assert_eq!(counts(&run(&process, &second).await), [5, 0, 5, 0]);
    let items = format!("/api/v1/operations/{}/items?state=discarded", second["id"].as_str().unwrap());
    let items = get(&process, "tok-v", &items).await["items"].clone();
    let details: Vec<&Value> = items.as_array().unwrap().iter().map(|item| &item["detail"]).collect();
    assert_eq!(details, [&json!("wrong_state"); 5]);
    let audited =
        "audit_log WHERE action = 'delivery.discard' AND operator = 'otto' AND reason = 'it is gone'";
    assert_eq!(app.rows(audited).await, 5);
    assert_eq!(app.rows("dead_letters").await, 0);
    // An empty filter selects all that wait, for whatever, and nothing else.
    let rest = plan(&process, json!({ "filter": {} })).await;
    assert_eq!(counts(&run(&process, &rest).await), [2, 2, 0, 0]);
    assert_eq!((app.deliveries("discarded").await, app.rows("webhook_pending").await), (7, 0));
    assert_eq!(app.cli(&["verify"]).await.code, Some(0));
    let shown = app.json(&["operation", "show", rest["id"].as_str().unwrap()]).await;
    assert_eq!(shown["action"], "discard_deliveries");
    app.json(&["endpoint", "resume", &url]).await;
    app.json(&["delivery", "resend", "--state", "discarded", "--endpoint", &url, "--yes"]).await;
    app.wait_for_deliveries("delivered", 7).await;
}

/// Whatever is done with a delivery first keeps the other from it.
#[apply(test)]
async fn delivery_that_was_attempted_since_is_left_alone(app: &TestApp) {
    let (process, _) = with_waiting(app, 0).await;
    let listed = get(&process, "tok-o", "/api/v1/deliveries?state=pending").await["items"][0].clone();
    let key = json!({ "company": listed["company"], "id": listed["id"] });
    let planned = plan(&process, json!({ "deliveries": [key, key] })).await;
    assert_eq!((counts(&planned), &planned["selection"]), ([1, 0, 0, 0], &json!({ "ids": 1 })));
    app.json(&["delivery", "resend", listed["id"].as_str().unwrap(), "--yes"]).await;
    app.wait_for_rows("webhook_deliveries WHERE state = 'dead'", 1).await;
    let resent = app.json(&["delivery", "resend", listed["id"].as_str().unwrap(), "--yes"]).await;
    assert_eq!(resent["resent"], 1);
    app.wait_for_rows("webhook_pending WHERE attempts = 3 AND due_at > now()", 1).await;
    assert_eq!(counts(&run(&process, &planned).await), [1, 0, 1, 0]);
    assert_eq!(app.rows("operation_items WHERE detail = 'attempted_since'").await, 1);
    assert_eq!(app.rows("webhook_pending").await, 1);
}

/// They are read in portions, and each once. Most of them are older than what the first portion has.
#[apply(test)]
async fn more_than_a_portion_is_discarded(app: &TestApp) {
    let (process, url) = with_waiting(app, 1).await;
    for statement in [
        "INSERT INTO webhook_deliveries SELECT (jsonb_populate_record(d, jsonb_build_object('delivery_id', gen_random_uuid(),
             'event_key', gen_random_uuid(), 'created_at', d.created_at - (n / 7) * interval '1 second'))).*
         FROM webhook_deliveries d, generate_series(1, 5002) n WHERE d.state = 'pending' AND d.company_id = 'acme'",
        "INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts, schedule_from,
             round_started_at)
         SELECT company_id, delivery_id, created_at, endpoint_id, created_at, 0, 0, created_at FROM webhook_deliveries
         WHERE state = 'pending' AND company_id = 'acme' ON CONFLICT DO NOTHING",
    ] {
        sqlx::query(statement).execute(&app.pool).await.unwrap();
    }
    let planned = plan(&process, json!({ "filter": { "endpoint": url, "company": "acme" } })).await;
    assert_eq!(counts(&planned), [5_003, 0, 0, 0]);
    assert_eq!(app.count("SELECT count(DISTINCT object_id) FROM operation_items").await, 5_003);
    // Also if each of them has to be looked up.
    let by_trigger = json!({ "filter": { "endpoint": url, "trigger": "register_lead" } });
    assert_eq!(counts(&plan(&process, by_trigger).await), [5_003, 0, 0, 0]);
    assert_eq!(counts(&run(&process, &planned).await), [5_003, 5_003, 0, 0]);
    assert_eq!((app.deliveries("discarded").await, app.rows("webhook_pending").await), (5_003, 1));
}

#[apply(test)]
async fn plans_of_discards_that_make_no_sense_are_refused(app: &TestApp) {
    let process = served(app).await;
    for (body, status, kind_of) in [
        (json!({}), 400, "invalid-request"),
        (json!({ "filter": { "state": ["dead"] } }), 400, "invalid-request"),
        (json!({ "filter": { "state": ["pending", "delivered"] } }), 400, "invalid-request"),
        (json!({ "filter": { "compnay": "a" } }), 400, "invalid-request"),
        (json!({ "filter": {}, "canary": true }), 400, "invalid-request"),
        (json!({ "filter": {}, "rate": 0 }), 400, "invalid-request"),
        (json!({ "filter": {}, "deliveries": [] }), 400, "invalid-request"),
        (json!({ "filter": { "endpoint": "https://hooks.example/gone" } }), 404, "not-found"),
        (json!({ "deliveries": [{ "company": "acme", "id": uuid::Uuid::now_v7() }] }), 404, "not-found"),
    ] {
        let answer = post(&process, "tok-o", PLAN, &body).await;
        assert_eq!((answer.status, kind(&answer).as_str()), (status, kind_of), "{body}: {answer:?}");
    }
    let wrong = json!({ "action": "discard_deliveries", "filter": {} });
    assert_eq!(post(&process, "tok-o", "/api/v1/operations", &wrong).await.status, 400);
    assert_eq!(process.ask(Ask::post(PLAN, &json!({ "filter": {} })).token("tok-v")).await.status, 403);
    assert_eq!(app.rows("operations").await, 0);
    for filter in [json!({ "state": ["pending"] }), json!({ "state": null }), json!({ "state": [] })] {
        assert_eq!(counts(&plan(&process, json!({ "filter": filter })).await), [0; 4]);
    }
}
