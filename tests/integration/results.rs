//! `trigger.completed` at the end of a chain, on the exchange and on the queue in `reply_to`.

mod asked;
mod discarded;
mod once;
mod stuck;

use axum::{Router, http::StatusCode};
use contact_relay::domain::event::{CompanyId, EventRef};
use macro_rules_attribute::apply;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::AbortHandle};
use uuid::Uuid;

use crate::support::{app::TestApp, broker::Heard, event::Event, eventually, only, test};

/// The results heard so far.
async fn results(app: &TestApp) -> Vec<Heard> {
    let heard = app.broker.heard().await;
    heard.into_iter().filter(|heard| heard.routing_key == "trigger.completed").collect()
}

/// Waits for this many results.
async fn hear(app: &TestApp, count: usize) -> Vec<Heard> {
    eventually(&format!("{count} results are heard"), async || {
        let results = results(app).await;
        (results.len() >= count).then_some(results)
    })
    .await
}

/// Waits for the result of this event.
async fn result_of(app: &TestApp, event: &Event) -> Heard {
    eventually("the result is heard", async || {
        results(app).await.into_iter().find(|heard| heard.at("/data/trigger/eventId") == event.event_id())
    })
    .await
}

/// The id that this event's result always has.
fn id_of(event: &Event) -> Uuid {
    let company = CompanyId::new(event.text("/data/company/id")).unwrap();
    EventRef::new(event.text("/source"), event.event_id()).unwrap().id_of(&company, "trigger.completed", 0)
}

fn lead() -> Event {
    Event::lead("Ada").email("ada@x.example")
}

fn interpreted(event: Event) -> Event {
    event.with("/data/trigger/interpretResponse", true.into())
}

/// One member of all steps.
fn each(result: &Heard, member: &str) -> Vec<Value> {
    let steps = result.at("/data/steps").as_array().unwrap();
    steps.iter().map(|step| step.get(member).cloned().unwrap_or_default()).collect()
}

fn statuses(result: &Heard) -> Vec<Value> {
    each(result, "status")
}

/// A receiver that answers every request with this.
async fn answering(status: StatusCode, body: Vec<u8>) -> (String, AbortHandle) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let router = Router::new().fallback(async move || (status, body));
    (url, tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }).abort_handle())
}

#[apply(test)]
async fn chain_without_a_webhook_has_a_result(app: &TestApp) {
    app.run(&[]).await;
    let event = interpreted(lead());
    app.broker.publish(&event).await;
    let result = only(hear(app, 1).await);
    let upserted = app.broker.upserted(&event).await;
    let contact = upserted.at("/subject");
    for (pointer, value) in [
        ("/specversion", json!("1.0")),
        ("/id", json!(id_of(&event))),
        ("/source", upserted.at("/source").clone()),
        ("/type", json!("trigger.completed")),
        ("/subject", contact.clone()),
        ("/data/company", json!({"id": "acme"})),
        ("/data/trigger", upserted.at("/data/trigger").clone()),
        ("/data/session", upserted.at("/data/session").clone()),
        ("/data/assistant", upserted.at("/data/assistant").clone()),
        ("/data/interaction", json!({"index": 1, "max": 10})),
    ] {
        assert_eq!(result.at(pointer), &value, "{pointer}");
    }
    let step = json!({
        "index": 1, "trigger": "register_lead", "type": "CRM", "status": "succeeded", "operation": "created",
        "contactId": contact,
    });
    assert_eq!(result.at("/data/steps"), &json!([step]));
    let properties = &result.properties;
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), id_of(&event).to_string());
    assert_eq!(properties.kind().as_ref().unwrap().as_str(), "trigger.completed");
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "application/cloudevents+json");
    assert_eq!(properties.correlation_id().as_ref().unwrap().as_str(), event.event_id());
    assert_eq!(properties.reply_to(), &None);
    for (header, pointer) in [
        ("cloudEvents_id", "/id"),
        ("cloudEvents_source", "/source"),
        ("cloudEvents_type", "/type"),
        ("cloudEvents_time", "/time"),
        ("cloudEvents_subject", "/subject"),
    ] {
        assert_eq!(result.header(header).as_deref(), result.at(pointer).as_str(), "{header}");
    }
    assert_eq!(app.rows("chain_results").await, 0);
}

#[apply(test)]
async fn result_has_the_webhooks_answer_and_its_directive(app: &TestApp) {
    app.run(&[]).await;
    let directive = "Tell the client the ticket's number.";
    let action = json!({"type": "WEBHOOK", "url": app.receiver.url("/ok"), "responseDirective": directive});
    let event = interpreted(lead().action(action));
    app.broker.publish(&event).await;
    let result = only(hear(app, 1).await);
    let step = json!({
        "index": 2, "trigger": "register_lead", "type": "WEBHOOK", "status": "succeeded", "httpStatus": 200,
        "responseBody": "received", "responseDirective": directive,
    });
    assert_eq!(result.at("/data/steps/1"), &step);
    assert_eq!(result.at("/data/steps/0/status"), "succeeded");
    assert_eq!(result.at("/id"), &json!(id_of(&event)));
    assert_eq!(result.at("/subject"), app.broker.upserted(&event).await.at("/subject"));
    assert_eq!(app.rows("webhook_deliveries WHERE awaited").await, 0, "its end is counted");
    assert_eq!(app.rows("chain_results").await, 0);
}

#[apply(test)]
async fn result_names_failed_webhooks(app: &TestApp) {
    let (url, refuses) = answering(StatusCode::BAD_REQUEST, b"no such plan".to_vec()).await;
    app.run(&[]).await;
    let event = interpreted(
        lead()
            .webhook(&url)
            .webhook(&app.receiver.url("/status/503"))
            .webhook("http://127.0.0.1:9/nobody-listens")
            .webhook(&app.receiver.url("/$unknown"))
            .webhook("http://10.0.0.1/"),
    );
    app.broker.publish(&event).await;
    let result = only(hear(app, 1).await);
    assert_eq!(statuses(&result), ["succeeded", "failed", "failed", "failed", "failed", "failed"]);
    let classes: Vec<Value> =
        each(&result, "error").iter().map(|error| error.get("class").cloned().unwrap_or_default()).collect();
    let expected = [
        Value::Null,
        "rejected".into(),
        "http_status".into(),
        "connect".into(),
        "invalid".into(),
        "blocked".into(),
    ];
    assert_eq!(classes, expected);
    assert_eq!(result.at("/data/steps/1/httpStatus"), 400);
    assert_eq!(result.at("/data/steps/1/responseBody"), "no such plan");
    assert_eq!(result.at("/data/steps/1/error/message"), "the receiver answered 400");
    assert_eq!(result.at("/data/steps/2/httpStatus"), 503);
    assert_eq!(result.at("/data/steps/2/responseBody"), &Value::Null);
    assert_eq!(result.at("/data/steps/3/httpStatus"), &Value::Null);
    app.wait_for_rows("dead_letters", 5).await;
    refuses.abort();
}

#[apply(test)]
async fn result_lists_skipped_steps(app: &TestApp) {
    app.run(&[]).await;
    let three = || interpreted(lead().webhook(&app.receiver.url("/ok")).webhook(&app.receiver.url("/ok")));
    for (max, expected) in [
        (0, ["skipped", "skipped", "skipped"]),
        (1, ["succeeded", "skipped", "skipped"]),
        (2, ["succeeded", "succeeded", "skipped"]),
        (3, ["succeeded", "succeeded", "succeeded"]),
    ] {
        let event = three().max_interactions(max);
        app.broker.publish(&event).await;
        let result = result_of(app, &event).await;
        assert_eq!(statuses(&result), expected);
        assert_eq!(each(&result, "type"), ["CRM", "WEBHOOK", "WEBHOOK"]);
        assert_eq!(result.at("/data/interaction"), &json!({"index": max, "max": max}));
    }
    // Only the second trigger asks for an interpretation, and none of its steps runs.
    let asks = json!({"type": "WEBHOOK", "url": app.receiver.url("/ok"), "responseDirective": "x"});
    let event = lead().next(&asks).with("/data/assistant/maxInteractions", 1.into());
    let next = json!([{"name": "next", "interpretResponse": true, "action": asks}]);
    let event = event.with("/data/next", next);
    app.broker.publish(&event).await;
    let result = result_of(app, &event).await;
    assert_eq!(
        (statuses(&result), each(&result, "trigger")),
        (vec!["succeeded".into(), "skipped".into()], vec!["register_lead".into(), "next".into()],)
    );
}

#[apply(test)]
async fn long_answer_is_truncated_and_bytes_are_base64(app: &TestApp) {
    let (long, first) = answering(StatusCode::OK, "ã".repeat(51_200).into_bytes()).await;
    let (bytes, second) = answering(StatusCode::OK, b"\x00\xff\xfe".to_vec()).await;
    let (empty, third) = answering(StatusCode::NO_CONTENT, Vec::new()).await;
    app.run(&[]).await;
    let event = interpreted(Event::bare().webhook(&long).webhook(&bytes).webhook(&empty));
    app.broker.publish(&event).await;
    let result = only(hear(app, 1).await);
    assert_eq!(statuses(&result), ["succeeded", "succeeded", "succeeded"]);
    assert_eq!(result.at("/subject"), &Value::Null);
    assert_eq!(each(&result, "responseBody"), ["ã".repeat(32_768).into(), Value::Null, Value::Null]);
    assert_eq!(each(&result, "responseBodyBase64"), [Value::Null, "AP/+".into(), Value::Null]);
    assert_eq!(each(&result, "httpStatus"), [200, 200, 204]);
    for receiver in [first, second, third] {
        receiver.abort();
    }
}

#[apply(test)]
async fn event_that_asks_for_none_has_no_result(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish_all(&[lead().webhook(&app.receiver.url("/ok")), lead()]).await;
    app.wait_for_rows("webhook_deliveries WHERE state = 'delivered' AND NOT awaited", 1).await;
    app.assert_settled().await;
    assert!(results(app).await.is_empty());
    assert_eq!(app.rows("chain_results").await, 0);
}

/// The result follows when the dead letter's replay is applied.
#[apply(test)]
async fn event_that_is_not_applied_has_no_result(app: &TestApp) {
    app.run(&[]).await;
    let event = interpreted(Event::lead("Ada").phone("12"));
    app.broker.publish(&event).await;
    app.wait_for_rows("dead_letters", 1).await;
    app.wait_for_unpublished(0).await;
    assert!(results(app).await.is_empty());
}
