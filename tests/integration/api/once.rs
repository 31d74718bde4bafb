//! `Idempotency-Key`: a request that is repeated takes effect once.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use super::{get, kind, served};
use crate::support::{
    app::TestApp,
    event::Event,
    http::{Answer, Ask},
    process::Process,
    test,
};

/// Asks to test the receiver, which shows how often it was done.
async fn test_receiver(app: &TestApp, process: &Process, key: &str, reason: &str) -> Answer {
    let body = json!({ "endpoint": app.receiver.url("/ok"), "reason": reason });
    process
        .ask(Ask::post("/api/v1/endpoints/test", &body).token("tok-o").header("idempotency-key", key))
        .await
}

#[apply(test)]
async fn repeated_request_gets_its_answer_again(app: &TestApp) {
    let process = served(app).await;
    app.broker.publish(&Event::lead("Ada").email("ada@x.example").webhook(&app.receiver.url("/ok"))).await;
    app.wait_for_deliveries("delivered", 1).await;
    let endpoint = get(&process, "tok-v", "/api/v1/endpoints").await["items"][0].clone();
    let path = format!("/api/v1/endpoints/{}/pause", endpoint["id"].as_str().unwrap());
    let pause = Ask::post(&path, &json!({})).token("tok-o").header("idempotency-key", "one");
    let first = process.ask(pause.clone()).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (200, None), "{first:?}");
    assert_eq!(first.json()["changed"], true);
    for _ in 0..2 {
        let again = process.ask(pause.clone()).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (200, Some("true")));
        assert_eq!(again.json(), first.json());
    }
    assert_eq!(app.rows("audit_log").await, 1);
}

#[apply(test)]
async fn repeated_request_is_done_once(app: &TestApp) {
    let process = served(app).await;
    let first = test_receiver(app, &process, "one", "a").await;
    assert_eq!(first.status, 200, "{first:?}");
    // It has the whole address, and what the receiver answered.
    let again = test_receiver(app, &process, "one", "a").await;
    assert_eq!((again.status, kind(&again).as_str()), (409, "conflict"));
    assert!(again.text().contains("not kept"), "{again:?}");
    assert_eq!(app.rows("idempotency_keys WHERE answer IS NULL AND status = 200").await, 1);
    assert_eq!(app.receiver.requests().len(), 1);
    assert_eq!(app.rows("audit_log").await, 1);
    // Another body, another key, another caller.
    let other = test_receiver(app, &process, "one", "b").await;
    assert_eq!((other.status, kind(&other).as_str()), (422, "idempotency-key-reused"));
    assert_eq!(test_receiver(app, &process, "two", "a").await.status, 200);
    let body = json!({ "endpoint": app.receiver.url("/ok"), "reason": "a" });
    let ask = Ask::post("/api/v1/endpoints/test", &body).header("idempotency-key", "one");
    assert_eq!(process.ask(ask.clone().token("tok-a")).await.status, 200);
    assert_eq!(app.receiver.requests().len(), 3);
    for key in ["", &"x".repeat(256), "a b", "é"] {
        let answer = test_receiver(app, &process, key, "a").await;
        assert_eq!((answer.status, kind(&answer).as_str()), (400, "invalid-request"), "{key}");
    }
    let twice = process.ask(ask.token("tok-o").header("idempotency-key", "three")).await;
    assert_eq!(twice.status, 400);
    assert_eq!(app.receiver.requests().len(), 3);
}

#[apply(test)]
async fn of_two_at_once_one_is_done(app: &TestApp) {
    let process = served(app).await;
    let test = async |path: &'static str| {
        let body = json!({ "endpoint": app.receiver.url(path) });
        let ask = Ask::post("/api/v1/endpoints/test", &body).token("tok-o");
        process.ask(ask.header("idempotency-key", "one")).await
    };
    let held = async {
        let first = test("/held").await;
        assert_eq!(first.status, 200, "{first:?}");
    };
    let repeat = async {
        app.webhooks(1).await;
        let second = test("/held").await;
        assert_eq!((second.status, kind(&second).as_str()), (409, "conflict"), "{second:?}");
        assert_eq!(second.header("retry-after"), Some("1"));
        app.receiver.release();
    };
    tokio::join!(held, repeat);
    assert_eq!(test("/held").await.status, 409);
    assert_eq!(app.receiver.requests().len(), 1);
}

#[apply(test)]
async fn request_of_a_killed_process_is_not_repeated(app: &TestApp) {
    let process = served(app).await;
    let ask = |process: Process| async move {
        let body = json!({ "endpoint": app.receiver.url("/hang") });
        let ask = Ask::post("/api/v1/endpoints/test", &body).token("tok-o");
        process.try_ask(ask.header("idempotency-key", "one")).await
    };
    let kill = async {
        app.webhooks(1).await;
        process.kill9().await;
    };
    let (lost, ()) = tokio::join!(ask(process.clone()), kill);
    assert!(lost.is_none(), "{lost:?}");
    let again = app.run(&[]).await;
    assert_eq!(ask(again.clone()).await.unwrap().status, 409);
    sqlx::query("UPDATE idempotency_keys SET created_at = now() - interval '1 hour'")
        .execute(&app.pool)
        .await
        .unwrap();
    let presumed = ask(again).await.unwrap();
    assert!(presumed.status == 409 && presumed.text().contains("interrupted"), "{presumed:?}");
    assert_eq!(app.receiver.requests().len(), 1);
}

#[apply(test)]
async fn refused_request_releases_its_key_and_personal_answers_are_not_kept(app: &TestApp) {
    let process = served(app).await;
    let lead = Event::lead("Ada").email("ada@x.example").argument("identity", "529.982.247-25");
    app.broker.publish(&lead).await;
    app.wait_for_rows("contacts", 1).await;
    let found = json!({ "company": "acme", "email": "ada@x.example" });
    let found = process.ask(Ask::post("/api/v1/contacts/search", &found).token("tok-v")).await.json();
    let id = found["items"][0]["id"].as_str().unwrap().to_owned();
    let ask = |verb: &str, body: Value, token: &str| {
        let path = format!("/api/v1/companies/acme/contacts/{id}/{verb}");
        Ask::post(&path, &body).token(token).header("idempotency-key", "one")
    };
    let refused = process.ask(ask("unmerge", json!({}), "tok-a")).await;
    assert_eq!((refused.status, kind(&refused).as_str()), (409, "conflict"), "{refused:?}");
    assert_eq!(app.rows("idempotency_keys").await, 0);
    let revealed = process.ask(ask("reveal", json!({"reason": "asked by her"}), "tok-a")).await;
    assert_eq!((revealed.status, revealed.json()), (200, json!({ "identity": "529.982.247-25" })));
    let again = process.ask(ask("reveal", json!({"reason": "asked by her"}), "tok-a")).await;
    assert_eq!((again.status, kind(&again).as_str()), (409, "conflict"));
    assert_eq!(app.rows("idempotency_keys WHERE answer IS NULL AND status = 200").await, 1);
    let audit = get(&process, "tok-v", "/api/v1/audit?action=contact.reveal").await;
    let entry = &audit["items"][0];
    assert_eq!(audit["items"].as_array().unwrap().len(), 1);
    assert_eq!(
        (&entry["operator"], &entry["via"], &entry["object"]),
        (&json!("ada"), &json!("api"), &json!(id))
    );
    assert_eq!(entry["reason"], "asked by her");
}
