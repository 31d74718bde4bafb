//! Resends of many deliveries are operations, in every face.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{get, kind, post, served};
use crate::support::{app::TestApp, event::Event, eventually, http::Ask, process::Process, test};

const PLAN: &str = "/api/v1/deliveries/resend/plan";

fn lead(number: usize, url: &str) -> Event {
    Event::lead("Ada").email(&format!("ada{number}@x.example")).webhook(url)
}

/// The service with so many deliveries to one address.
async fn with_deliveries(app: &TestApp, count: usize, url: &str, state: &str) -> Process {
    let process = served(app).await;
    app.broker.publish_all(&(0..count).map(|number| lead(number, url)).collect::<Vec<_>>()).await;
    app.wait_for_deliveries(state, i64::try_from(count).unwrap()).await;
    process
}

async fn plan(process: &Process, body: Value) -> Value {
    let planned = post(process, "tok-o", PLAN, &body).await;
    assert_eq!(planned.status, 201, "{planned:?}");
    planned.json()
}

fn path(operation: &Value) -> String {
    format!("/api/v1/operations/{}", operation["id"].as_str().unwrap())
}

async fn decide(process: &Process, operation: &Value, verb: &str) -> Value {
    let answer = post(process, "tok-o", &format!("{}/{verb}", path(operation)), &json!({})).await;
    assert_eq!(answer.status, 200, "{verb}: {answer:?}");
    answer.json()
}

async fn becomes(process: &Process, operation: &Value, state: &str) -> Value {
    eventually(&format!("the operation is {state}"), async || {
        let found = get(process, "tok-v", &path(operation)).await;
        (found["state"] == state).then_some(found)
    })
    .await
}

fn counts(operation: &Value) -> [i64; 4] {
    ["total", "done", "skipped", "failed"].map(|name| operation[name].as_i64().unwrap())
}

#[apply(test)]
async fn what_was_counted_is_resent_once(app: &TestApp) {
    let url = app.receiver.url("/ok");
    let process = with_deliveries(app, 5, &url, "delivered").await;
    let by_filter = json!({ "filter": { "state": ["delivered"], "trigger": "register_lead" }, "rate": 50.0 });
    let planned = plan(&process, by_filter.clone()).await;
    assert_eq!((counts(&planned), &planned["action"]), ([5, 0, 0, 0], &json!("resend")));
    assert_eq!(planned["selection"]["states"], json!(["delivered"]));
    // What comes later is not among them, and nothing has happened yet.
    app.broker.publish(&lead(9, &url)).await;
    app.wait_for_deliveries("delivered", 6).await;
    app.webhooks(6).await;
    let second = plan(&process, by_filter).await;
    decide(&process, &planned, "run").await;
    let done = becomes(&process, &planned, "done").await;
    assert_eq!(counts(&done), [5, 5, 0, 0]);
    app.wait_for_rows("webhook_deliveries WHERE state = 'delivered' AND attempts = 2", 5).await;
    // The other one has the same five, which were attempted since.
    decide(&process, &second, "run").await;
    let done = becomes(&process, &second, "done").await;
    assert_eq!(counts(&done), [6, 1, 5, 0]);
    app.wait_for_rows("webhook_deliveries WHERE state = 'delivered' AND attempts = 2", 6).await;
    app.webhooks(12).await;
    let skipped =
        get(&process, "tok-v", &format!("{}/items?outcome=skipped&state=delivered", path(&second))).await;
    let details: Vec<&Value> =
        skipped["items"].as_array().unwrap().iter().map(|item| &item["detail"]).collect();
    assert_eq!(details, [&json!("attempted_since"); 5]);
    assert_eq!(app.rows("audit_log WHERE action = 'delivery.resend' AND operator = 'otto'").await, 6);
    let shown = app.json(&["operation", "show", second["id"].as_str().unwrap()]).await;
    assert_eq!(shown, get(&process, "tok-v", &path(&second)).await);
}

/// Neither an operation nor an endpoint that is resumed waits for the next poll.
#[apply(test)]
async fn worker_is_woken(app: &TestApp) {
    app.set("webhook.poll_interval", "1h");
    let url = app.receiver.url("/ok");
    let process = with_deliveries(app, 3, &url, "delivered").await;
    let planned = plan(&process, json!({ "filter": { "state": ["delivered"] } })).await;
    decide(&process, &planned, "run").await;
    app.wait_for_rows("webhook_deliveries WHERE state = 'delivered' AND attempts = 2", 3).await;
    let endpoints = get(&process, "tok-v", "/api/v1/endpoints").await;
    let change = async |verb: &str| {
        let id = endpoints["items"][0]["id"].as_str().unwrap();
        let answer = post(&process, "tok-o", &format!("/api/v1/endpoints/{id}/{verb}"), &json!({})).await;
        assert_eq!(answer.json()["changed"], true, "{answer:?}");
    };
    change("pause").await;
    app.broker.publish(&lead(9, &url)).await;
    app.wait_for_rows("webhook_pending", 1).await;
    change("resume").await;
    app.wait_for_deliveries("delivered", 4).await;
}

/// Chosen one by one, in both faces.
#[apply(test)]
async fn command_line_and_api_resend_the_same(app: &TestApp) {
    let process = with_deliveries(app, 3, &app.receiver.url("/status/404"), "dead").await;
    let listed = get(&process, "tok-o", "/api/v1/deliveries?state=dead").await["items"].clone();
    let key = |place: usize| json!({ "company": listed[place]["company"], "id": listed[place]["id"] });
    let planned = plan(&process, json!({ "deliveries": [key(0), key(1), key(1)] })).await;
    assert_eq!((counts(&planned), &planned["selection"]), ([2, 0, 0, 0], &json!({ "ids": 2 })));
    decide(&process, &planned, "run").await;
    let by_api = becomes(&process, &planned, "done").await;
    assert_eq!(counts(&by_api), [2, 2, 0, 0]);
    app.wait_for_rows("webhook_deliveries WHERE state = 'dead' AND attempts = 2", 2).await;
    let id = listed[2]["id"].as_str().unwrap();
    let by_command = app.json(&["delivery", "resend", id, "--yes"]).await;
    assert_eq!(by_command, json!({ "resent": 1, "skipped": 0, "reasons": {} }));
    app.wait_for_rows("webhook_deliveries WHERE state = 'dead' AND attempts = 2", 3).await;
    app.wait_for_rows("dead_letters WHERE state = 'open' AND replays = 1", 3).await;
    let operations = get(&process, "tok-v", "/api/v1/operations").await;
    let operations = operations["items"].as_array().unwrap();
    assert!(
        operations.iter().all(|one| one["action"] == "resend" && one["state"] == "done"),
        "{operations:?}"
    );
    // Planned here, run there.
    let again = plan(&process, json!({ "filter": { "state": ["dead"], "company": "acme" } })).await;
    let run = app.json(&["operation", "run", again["id"].as_str().unwrap()]).await;
    assert_eq!((&run["state"], counts(&run)), (&json!("done"), [3, 3, 0, 0]));
}

#[apply(test)]
async fn canary_that_fails_stops_the_resend(app: &TestApp) {
    let process = with_deliveries(app, 4, &app.receiver.url("/status/404"), "dead").await;
    let planned = plan(&process, json!({ "filter": { "state": ["dead"] }, "canary": true })).await;
    decide(&process, &planned, "run").await;
    let paused = becomes(&process, &planned, "paused").await;
    assert!(paused["pausedBecause"].as_str().unwrap().contains("1 of 1 resends failed again"), "{paused}");
    assert_eq!(app.rows("webhook_deliveries WHERE attempts = 2").await, 1);
    let canceled = decide(&process, &planned, "cancel").await;
    assert_eq!(counts(&canceled), [4, 1, 0, 0]);
}

/// One that waits for its next attempt has failed, too.
#[apply(test)]
async fn canary_that_is_retried_stops_the_resend(app: &TestApp) {
    app.set("webhook.retry_schedule", "1h,1h");
    let process = served(app).await;
    let url = app.receiver.url("/flaky/9");
    app.broker.publish_all(&[lead(0, &url), lead(1, &url)]).await;
    app.wait_for_rows("webhook_pending WHERE attempts = 1", 2).await;
    let planned = plan(&process, json!({ "filter": { "state": ["pending"] }, "canary": true })).await;
    decide(&process, &planned, "run").await;
    let paused = becomes(&process, &planned, "paused").await;
    assert!(paused["pausedBecause"].as_str().unwrap().contains("1 of 1 resends failed again"), "{paused}");
    assert_eq!(app.rows("webhook_pending WHERE attempts = 2").await, 1);
}

#[apply(test)]
async fn canary_that_succeeds_lets_the_others_follow(app: &TestApp) {
    let process = with_deliveries(app, 15, &app.receiver.url("/ok"), "delivered").await;
    let planned = plan(&process, json!({ "filter": { "state": ["delivered"] }, "canary": true })).await;
    decide(&process, &planned, "run").await;
    assert_eq!(counts(&becomes(&process, &planned, "done").await), [15, 15, 0, 0]);
    app.wait_for_rows("webhook_deliveries WHERE state = 'delivered' AND attempts = 2", 15).await;
}

#[apply(test)]
async fn resend_is_paused_and_resumed(app: &TestApp) {
    let process = with_deliveries(app, 30, &app.receiver.url("/ok"), "delivered").await;
    let planned = plan(&process, json!({ "filter": { "state": ["delivered"] }, "rate": 10 })).await;
    decide(&process, &planned, "run").await;
    app.wait_for_rows("operations WHERE done > 0", 1).await;
    decide(&process, &planned, "pause").await;
    assert!(app.rows("webhook_deliveries WHERE attempts = 1 AND state = 'delivered'").await > 0);
    decide(&process, &planned, "resume").await;
    assert_eq!(counts(&becomes(&process, &planned, "done").await), [30, 30, 0, 0]);
    app.wait_for_rows("webhook_deliveries WHERE state = 'delivered' AND attempts = 2", 30).await;
}

#[apply(test)]
async fn plans_of_resends_that_make_no_sense_are_refused(app: &TestApp) {
    let process = with_deliveries(app, 1, &app.receiver.url("/ok"), "delivered").await;
    let long = "x".repeat(10_000);
    for (body, status, kind_of) in [
        (json!({}), 400, "invalid-request"),
        (json!({ "filter": {} }), 400, "invalid-request"),
        (json!({ "filter": { "state": [] } }), 400, "invalid-request"),
        (json!({ "filter": { "state": ["open"] } }), 400, "invalid-request"),
        (json!({ "filter": { "state": ["dead"], "compnay": "a" } }), 400, "invalid-request"),
        (json!({ "filter": { "state": ["dead"], "contact": "x" } }), 400, "invalid-request"),
        (json!({ "filter": { "state": ["dead"], "since": "soon" } }), 400, "invalid-request"),
        (json!({ "filter": { "state": ["dead"], "trigger": long } }), 400, "invalid-request"),
        (json!({ "filter": { "state": ["dead"], "trigger": "a\u{0}" } }), 400, "invalid-request"),
        (json!({ "filter": { "state": ["dead"] }, "deliveries": [] }), 400, "invalid-request"),
        (json!({ "filter": { "state": ["dead"] }, "rate": 0 }), 400, "invalid-request"),
        (json!({ "filter": { "state": ["dead"] }, "rate": 1.5 }), 400, "invalid-request"),
        (json!({ "deliveries": [] }), 400, "invalid-request"),
        (json!({ "deliveries": [{ "company": "acme", "id": uuid::Uuid::now_v7() }] }), 404, "not-found"),
    ] {
        let answer = post(&process, "tok-o", PLAN, &body).await;
        assert_eq!((answer.status, kind(&answer).as_str()), (status, kind_of), "{body:.200}: {answer:?}");
    }
    let wrong = json!({ "action": "resend", "filter": {} });
    assert_eq!(post(&process, "tok-o", "/api/v1/operations", &wrong).await.status, 400);
    assert_eq!(process.ask(Ask::post(PLAN, &json!({})).token("tok-v")).await.status, 403);
    assert_eq!(app.rows("operations").await, 0);
    for filter in
        [json!({ "state": ["delivered"], "trigger": "%" }), json!({ "state": ["delivered"], "company": "" })]
    {
        assert_eq!(counts(&plan(&process, json!({ "filter": filter })).await), [0; 4]);
    }
}

/// The operation goes on in another process, and no delivery is sent twice for it.
#[apply(test)]
async fn resend_survives_a_crash(app: &TestApp) {
    let process = with_deliveries(app, 40, &app.receiver.url("/ok"), "delivered").await;
    let planned = plan(&process, json!({ "filter": { "state": ["delivered"] }, "rate": 20 })).await;
    decide(&process, &planned, "run").await;
    app.wait_for_rows("operations WHERE done > 0", 1).await;
    process.kill9().await;
    // As time does it.
    sqlx::query("UPDATE operations SET owner_until = 'epoch'").execute(&app.pool).await.unwrap();
    let process = app.run(&[]).await;
    let done = becomes(&process, &planned, "done").await;
    assert_eq!(counts(&done), [40, 40, 0, 0]);
    app.wait_for_rows("webhook_deliveries WHERE state = 'delivered' AND attempts >= 2", 40).await;
    assert_eq!(app.rows("audit_log WHERE action = 'delivery.resend'").await, 40);
}
