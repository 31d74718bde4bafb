//! Operations over the API: planned with a count, run once, watched, paused, canceled.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{get, kind, post, served};
use crate::support::{app::TestApp, event::Event, eventually, http::Ask, process::Process, test};

/// The service with so many open dead letters, which fail again when they are replayed.
async fn with_dead_letters(app: &TestApp, count: i64) -> Process {
    let process = served(app).await;
    let events: Vec<Event> =
        (0..count).map(|n| Event::lead(&n.to_string()).email("no address").id(&n.to_string())).collect();
    app.broker.publish_all(&events).await;
    app.wait_for_dead_letters_because("identifier_invalid", count).await;
    process
}

async fn plan(process: &Process, body: Value) -> Value {
    let planned = post(process, "tok-o", "/api/v1/operations", &body).await;
    assert_eq!(planned.status, 201, "{planned:?}");
    planned.json()
}

fn path(operation: &Value) -> String {
    format!("/api/v1/operations/{}", operation["id"].as_str().unwrap())
}

/// Sends a verb that is allowed, and returns the operation.
async fn decide(process: &Process, operation: &Value, verb: &str) -> Value {
    let answer = post(process, "tok-o", &format!("{}/{verb}", path(operation)), &json!({})).await;
    assert_eq!(answer.status, 200, "{verb}: {answer:?}");
    answer.json()
}

/// Sends a verb that the state does not allow.
async fn refuse(process: &Process, operation: &Value, verb: &str) {
    let answer = post(process, "tok-o", &format!("{}/{verb}", path(operation)), &json!({})).await;
    assert_eq!((answer.status, kind(&answer).as_str()), (409, "conflict"), "{verb}: {answer:?}");
}

/// Waits until the operation has this state.
async fn becomes(process: &Process, operation: &Value, state: &str) -> Value {
    let path = path(operation);
    eventually(&format!("the operation is {state}"), async || {
        Some(get(process, "tok-v", &path).await).filter(|found| found["state"] == state)
    })
    .await
}

fn counts(operation: &Value) -> [i64; 4] {
    ["total", "done", "skipped", "failed"].map(|name| operation[name].as_i64().unwrap())
}

#[apply(test)]
async fn operation_is_planned_run_and_watched(app: &TestApp) {
    let process = with_dead_letters(app, 3).await;
    let body = json!({ "action": "discard", "filter": { "reason": "identifier_invalid" }, "reason": "junk" });
    let planned = plan(&process, body).await;
    assert_eq!((&planned["state"], counts(&planned)), (&json!("planned"), [3, 0, 0, 0]));
    assert_eq!(planned["selection"]["reason"], "identifier_invalid");
    // What fails later is not among them, and nothing has happened yet.
    app.broker.publish(&Event::lead("late").email("no address").id("late")).await;
    app.wait_for_rows("dead_letters WHERE state = 'open'", 4).await;
    let running = decide(&process, &planned, "run").await;
    assert_eq!((&running["state"], &running["operator"]), (&json!("running"), &json!("otto")));
    let done = becomes(&process, &planned, "done").await;
    assert_eq!((counts(&done), &done["isWaiting"]), ([3, 3, 0, 0], &json!(false)));
    assert_eq!(app.rows("dead_letters WHERE state = 'discarded' AND settled_by = 'otto'").await, 3);
    for verb in ["run", "pause", "resume", "cancel"] {
        refuse(&process, &planned, verb).await;
    }
    let listed = get(&process, "tok-v", "/api/v1/operations").await;
    assert_eq!(listed, json!({ "items": [done], "next": null }));
    assert_eq!(listed["items"], app.json(&["operation", "list"]).await);
    assert_eq!(done, app.json(&["operation", "show", planned["id"].as_str().unwrap()]).await);
    let audit = "audit_log WHERE operator = 'otto' AND via = 'api'";
    assert_eq!(app.rows(&format!("{audit} AND action IN ('operation.plan', 'operation.run')")).await, 2);
    assert_eq!(app.rows(&format!("{audit} AND action = 'dead_letter.discard' AND reason = 'junk'")).await, 3);
}

#[apply(test)]
async fn items_have_pages_and_filters(app: &TestApp) {
    let process = with_dead_letters(app, 5).await;
    let planned = plan(&process, json!({ "action": "discard", "filter": {} })).await;
    let first = get(&process, "tok-v", &format!("{}/items?limit=1", path(&planned))).await;
    assert_eq!((&first["items"][0]["outcome"], &first["next"]), (&Value::Null, &json!("1")));
    let settled = first["items"][0]["id"].as_str().unwrap();
    app.json(&["dead-letter", "discard", settled, "--yes"]).await;
    decide(&process, &planned, "run").await;
    let done = becomes(&process, &planned, "done").await;
    assert_eq!(counts(&done), [5, 4, 1, 0]);
    let items = async |query: &str| {
        let page = get(&process, "tok-v", &format!("{}/items?{query}", path(&planned))).await;
        let positions: Vec<i64> =
            page["items"].as_array().unwrap().iter().map(|item| item["position"].as_i64().unwrap()).collect();
        (positions, page["next"].clone())
    };
    assert_eq!(items("").await, (vec![1, 2, 3, 4, 5], Value::Null));
    assert_eq!(items("limit=2").await, (vec![1, 2], json!("2")));
    assert_eq!(items("limit=2&cursor=2").await, (vec![3, 4], json!("4")));
    assert_eq!(items("limit=2&cursor=4").await, (vec![5], Value::Null));
    assert_eq!(items("outcome=skipped").await, (vec![1], Value::Null));
    assert_eq!(items("outcome=done&limit=2").await, (vec![2, 3], json!("3")));
    assert_eq!(items("outcome=failed").await.0, [0; 0]);
    assert_eq!(items("state=discarded&limit=500").await.0.len(), 5);
    assert_eq!(items("state=open").await.0, [0; 0]);
    for query in ["outcome=none", "state=none", "cursor=x", "cursor=-1", "limit=501", "x=1"] {
        let answer = process.ask(Ask::get(&format!("{}/items?{query}", path(&planned))).token("tok-v")).await;
        assert_eq!((answer.status, kind(&answer).as_str()), (400, "invalid-request"), "{query}");
    }
    let mine = app.json(&["operation", "show", planned["id"].as_str().unwrap(), "--items", "500"]).await;
    assert_eq!(mine, get(&process, "tok-v", &format!("{}/items", path(&planned))).await["items"]);
}

/// Each of the two has counted all, but nothing is done twice.
#[apply(test)]
async fn of_two_operations_on_the_same_dead_letters_one_replays_each(app: &TestApp) {
    let process = with_dead_letters(app, 20).await;
    let body = json!({ "action": "replay", "filter": { "company": "acme" } });
    let (one, two) = (plan(&process, body.clone()).await, plan(&process, body).await);
    decide(&process, &one, "run").await;
    decide(&process, &two, "run").await;
    let (one, two) = (becomes(&process, &one, "done").await, becomes(&process, &two, "done").await);
    assert_eq!([counts(&one)[0], counts(&two)[0]], [20, 20]);
    assert_eq!(counts(&one)[1] + counts(&two)[1], 20, "{one} {two}");
    assert_eq!(counts(&one)[2] + counts(&two)[2], 20, "{one} {two}");
    app.wait_for_rows("dead_letters WHERE state = 'open' AND replays = 1 AND attempts = 2", 20).await;
    assert_eq!(app.rows("audit_log WHERE action = 'dead_letter.replay'").await, 20);
    assert_eq!(app.rows("operation_items WHERE detail = 'replayed_since'").await, 20);
}

#[apply(test)]
async fn operation_is_run_once(app: &TestApp) {
    let process = with_dead_letters(app, 2).await;
    let planned =
        plan(&process, json!({ "action": "replay", "filter": {}, "canary": true, "rate": 5 })).await;
    assert_eq!((&planned["rate"], &planned["canary"]), (&json!(5), &json!(1)));
    let run = format!("{}/run", path(&planned));
    let body = json!({});
    let (one, two) = tokio::join!(post(&process, "tok-o", &run, &body), post(&process, "tok-e", &run, &body));
    let mut statuses = [one.status, two.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{one:?} {two:?}");
    // It fails again, so the second one does not follow.
    let paused = becomes(&process, &planned, "paused").await;
    assert!(paused["pausedBecause"].as_str().unwrap().contains("1 of 1 replays failed again"), "{paused}");
    refuse(&process, &planned, "run").await;
    let canceled = decide(&process, &planned, "cancel").await;
    assert_eq!((&canceled["state"], counts(&canceled)), (&json!("canceled"), [2, 1, 0, 0]));
    refuse(&process, &planned, "resume").await;
    assert_eq!(app.rows("dead_letters WHERE state = 'open' AND replays = 0").await, 1);
}

#[apply(test)]
async fn operation_is_paused_and_resumed(app: &TestApp) {
    let process = with_dead_letters(app, 30).await;
    let planned = plan(&process, json!({ "action": "discard", "filter": {}, "rate": 10 })).await;
    decide(&process, &planned, "run").await;
    app.wait_for_rows("operations WHERE done > 0", 1).await;
    let paused = decide(&process, &planned, "pause").await;
    assert_eq!((&paused["state"], &paused["pausedBecause"]), (&json!("paused"), &Value::Null));
    refuse(&process, &planned, "pause").await;
    assert!(app.rows("dead_letters WHERE state = 'open'").await > 0, "{paused}");
    decide(&process, &planned, "resume").await;
    let done = becomes(&process, &planned, "done").await;
    assert_eq!(counts(&done), [30, 30, 0, 0]);
}

/// Chosen one by one, in any of the three faces, the same ones are changed.
#[apply(test)]
async fn command_line_and_api_change_the_same(app: &TestApp) {
    let process = with_dead_letters(app, 4).await;
    let listed = get(&process, "tok-o", "/api/v1/dead-letters").await["items"].clone();
    let key = |place: usize| json!({ "company": listed[place]["company"], "id": listed[place]["id"] });
    let id = |place: usize| listed[place]["id"].as_str().unwrap();
    app.json(&["dead-letter", "discard", id(0), "--yes"]).await;
    let named = [key(0), key(1), key(1)];
    let planned = plan(&process, json!({ "action": "discard", "deadLetters": named })).await;
    assert_eq!((counts(&planned), &planned["selection"]), ([2, 0, 0, 0], &json!({ "ids": 2 })));
    decide(&process, &planned, "run").await;
    let by_api = becomes(&process, &planned, "done").await;
    let by_command =
        app.cli(&["dead-letter", "discard", id(1), id(2), "--yes", "--operator", "ada", "-o", "json"]).await;
    assert_eq!(by_command.code, Some(3), "{by_command:?}");
    let printed: Value = serde_json::from_str(&by_command.stdout).unwrap();
    assert_eq!(
        (&by_api["done"], &by_api["skipped"], &by_api["failed"]),
        (&printed["discarded"], &printed["skipped"], &printed["failed"])
    );
    // Planned here, run there.
    let restore = plan(&process, json!({ "action": "restore", "filter": { "company": "acme" } })).await;
    assert_eq!(counts(&restore), [3, 0, 0, 0]);
    let run = app.json(&["operation", "run", restore["id"].as_str().unwrap()]).await;
    assert_eq!((&run["state"], counts(&run)), (&json!("done"), [3, 3, 0, 0]));
    assert_eq!(run, get(&process, "tok-v", &path(&restore)).await);
    assert_eq!(app.cli(&["operation", "run", restore["id"].as_str().unwrap()]).await.code, Some(1));
    assert_eq!(app.rows("dead_letters WHERE state = 'open'").await, 4);
}

#[apply(test)]
async fn operation_waits_for_a_process_with_its_role(app: &TestApp) {
    let all = with_dead_letters(app, 1).await;
    let planned = plan(&all, json!({ "action": "discard", "filter": {} })).await;
    assert_eq!(planned["isWaiting"], false);
    app.stop().await;
    let process = app.run(&["upsert"]).await;
    let running = decide(&process, &planned, "run").await;
    assert_eq!((&running["state"], &running["isWaiting"]), (&json!("running"), &json!(true)));
    let worker = app.run(&["dead-letter"]).await;
    let done = becomes(&worker, &planned, "done").await;
    assert_eq!((counts(&done), &done["isWaiting"]), ([1, 1, 0, 0], &json!(false)));
}

#[apply(test)]
async fn plans_that_make_no_sense_are_refused(app: &TestApp) {
    let process = with_dead_letters(app, 1).await;
    let dead = app.wait_for_dead_letter().await;
    let (id, other) = (dead.id, uuid::Uuid::now_v7());
    let long = "x".repeat(10_000);
    for (body, status, kind_of) in [
        (json!({ "action": "purge", "filter": {} }), 400, "invalid-request"),
        (json!({ "action": "replay" }), 400, "invalid-request"),
        (json!({ "filter": {} }), 400, "invalid-request"),
        (json!({ "action": "replay", "filter": {}, "deadLetters": [] }), 400, "invalid-request"),
        (json!({ "action": "replay", "deadLetters": [] }), 400, "invalid-request"),
        (json!({ "action": "replay", "deadLetters": [{ "id": id }] }), 400, "invalid-request"),
        (json!({ "action": "replay", "filter": { "compnay": "acme" } }), 400, "invalid-request"),
        (json!({ "action": "replay", "filter": { "reason": "none" } }), 400, "invalid-request"),
        (json!({ "action": "replay", "filter": { "state": ["none"] } }), 400, "invalid-request"),
        (json!({ "action": "replay", "filter": { "since": "yesterday" } }), 400, "invalid-request"),
        (json!({ "action": "replay", "filter": { "company": "a\u{0}b" } }), 400, "invalid-request"),
        (json!({ "action": "replay", "filter": { "company": long } }), 400, "invalid-request"),
        (json!({ "action": "replay", "filter": { "text": "" } }), 400, "invalid-request"),
        (json!({ "action": "replay", "filter": {}, "rate": 0 }), 400, "invalid-request"),
        (json!({ "action": "replay", "filter": {}, "rate": -1 }), 400, "invalid-request"),
        (json!({ "action": "discard", "filter": {}, "canary": true }), 400, "invalid-request"),
        (json!({ "action": "replay", "filter": {}, "reason": "a\nb" }), 400, "invalid-request"),
        (
            json!({ "action": "replay", "deadLetters": [{ "company": "acme", "id": id }, { "company": "b", "id": id }] }),
            404,
            "not-found",
        ),
        (
            json!({ "action": "replay", "deadLetters": [{ "company": "acme", "id": other }] }),
            404,
            "not-found",
        ),
    ] {
        let answer = post(&process, "tok-o", "/api/v1/operations", &body).await;
        assert_eq!((answer.status, kind(&answer).as_str()), (status, kind_of), "{body:.200}: {answer:?}");
    }
    assert_eq!(app.rows("operations").await + app.rows("audit_log").await, 0);
    // Wildcards are letters like others, and an empty company is not every company.
    for filter in [json!({ "text": "%" }), json!({ "company": "%" }), json!({ "company": "" })] {
        let planned = plan(&process, json!({ "action": "replay", "filter": filter })).await;
        assert_eq!(counts(&planned), [0; 4], "{filter}");
        decide(&process, &planned, "run").await;
        becomes(&process, &planned, "done").await;
    }
    for verb in ["run", "pause", "resume", "cancel"] {
        let unknown =
            post(&process, "tok-o", &format!("/api/v1/operations/{other}/{verb}"), &json!({})).await;
        assert_eq!((unknown.status, kind(&unknown).as_str()), (404, "not-found"), "{verb}");
    }
    assert_eq!(app.dead_letters().await, [dead]);
}

#[apply(test)]
async fn repeated_plan_is_one_operation(app: &TestApp) {
    let process = with_dead_letters(app, 1).await;
    let body = json!({ "action": "discard", "filter": {} });
    let ask = || Ask::post("/api/v1/operations", &body).token("tok-o").header("idempotency-key", "one");
    let (first, again) = (process.ask(ask()).await, process.ask(ask()).await);
    assert_eq!((first.status, again.status), (201, 201));
    assert_eq!((first.json(), again.header("idempotency-replayed")), (again.json(), Some("true")));
    assert_eq!(app.rows("operations").await, 1);
}

/// The terms of a plan are not final: whoever runs or resumes it may choose another rate.
#[apply(test)]
async fn rate_is_changed_when_an_operation_is_run_or_resumed(app: &TestApp) {
    let process = with_dead_letters(app, 40).await;
    let planned = plan(&process, json!({ "action": "discard", "filter": {}, "rate": 1.0 })).await;
    assert_eq!(planned["rate"], 1);
    let run = async |body: Value| post(&process, "tok-o", &format!("{}/run", path(&planned)), &body).await;
    for body in [json!({ "rate": 0 }), json!({ "rate": -1 }), json!({ "rate": "5" }), json!({ "rates": 5 })] {
        assert_eq!(run(body).await.status, 400);
    }
    assert_eq!(run(json!({ "rate": 10 })).await.json()["rate"], 10);
    app.wait_for_rows("operations WHERE done > 0", 1).await;
    decide(&process, &planned, "pause").await;
    let resume = format!("{}/resume", path(&planned));
    assert_eq!(post(&process, "tok-o", &resume, &json!({ "canary": true })).await.status, 400);
    let resumed = post(&process, "tok-o", &resume, &json!({ "rate": 1000.0, "reason": "in a hurry" })).await;
    assert_eq!((&resumed.json()["rate"], resumed.status), (&json!(1000), 200));
    assert_eq!(counts(&becomes(&process, &planned, "done").await), [40, 40, 0, 0]);
    let planned = plan(&process, json!({ "action": "restore", "filter": {} })).await;
    let id = planned["id"].as_str().unwrap();
    let run = app.json(&["operation", "run", id, "--rate", "500"]).await;
    assert_eq!((&run["rate"], &run["state"]), (&json!(500), &json!("done")));
    let open = app.json(&["operation", "show", id, "--items", "500", "--state", "open"]).await;
    assert_eq!(open.as_array().unwrap().len(), 40);
    assert_eq!(app.json(&["operation", "show", id, "--items", "5", "--state", "dead"]).await, json!([]));
}
