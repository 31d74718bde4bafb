//! A server that answers as `RabbitMQ` 3.10.8 does.

use std::time::Duration;

use axum::{
    Router,
    extract::{Request, State},
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::json;
use tokio::{net::TcpListener, task::JoinSet};

use super::*;
use crate::settings::load;

/// Serves these answers by path, to a user `monitor` with the password `p@ss`.
async fn server(answers: Value, tasks: &mut JoinSet<()>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let routes = Router::new().fallback(answer).with_state(answers);
    tasks.spawn(async { axum::serve(listener, routes).await.unwrap() });
    address.to_string()
}

async fn answer(State(answers): State<Value>, request: Request) -> Response {
    // `monitor:p@ss`
    if request.headers().get("authorization").is_none_or(|given| given != "Basic bW9uaXRvcjpwQHNz") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    match answers.get(request.uri().path()) {
        Some(Value::String(text)) => text.clone().into_response(),
        Some(answer) => answer.to_string().into_response(),
        None => (StatusCode::NOT_FOUND, r#"{"error":"Object Not Found"}"#).into_response(),
    }
}

fn settings(management_url: &str) -> settings::Amqp {
    let mut settings = load(None, []).unwrap().settings.amqp;
    settings.url = "amqp://u:p@broker/my%2fhost".to_owned().into();
    settings.management_url = management_url.to_owned().into();
    settings.connect_timeout = Duration::from_mins(1);
    settings
}

fn answers() -> Value {
    let queue = json!({
        "name": "contact-relay.trigger-fired", "policy": "ttl", "operator_policy": "op", "durable": true,
        "effective_policy_definition": {"delivery-limit": 20, "expires": 3_600_000},
        "arguments": {"x-delivery-limit": 1000, "x-queue-type": "quorum"},
        "members": ["a@h", "b@h"], "online": ["a@h"], "leader": "a@h",
    });
    let classic = json!({"name": "contact-relay.webhook", "policy": null, "effective_policy_definition": []});
    let binding =
        |key: &str| json!({"source": "contact-relay.events", "routing_key": key, "destination": "q"});
    json!({
        "/api/nodes": [
            {"name": "a@h", "running": true, "mem_alarm": false, "disk_free_alarm": true, "uptime": 5},
            {"name": "b@h", "running": false},
        ],
        "/api/queues/my%2fhost/contact-relay.trigger-fired": queue,
        "/api/queues/my%2fhost/contact-relay.trigger-fired/bindings": [binding("trigger.fired.#")],
        "/api/queues/my%2fhost/contact-relay.webhook": classic,
        "/api/queues/my%2fhost/contact-relay.webhook/bindings": [binding("webhook.requested"), binding("x")],
    })
}

#[tokio::test]
async fn answers_of_the_broker_are_read() {
    let mut tasks = JoinSet::new();
    let address = server(answers(), &mut tasks).await;
    let url = format!("http://monitor:p%40ss@{address}");
    let Management { nodes, queues } = read(&settings(&url)).await.unwrap().unwrap();
    let nodes: Vec<_> = nodes
        .iter()
        .map(|node| (node.name.as_str(), node.running, node.mem_alarm, node.disk_free_alarm))
        .collect();
    assert_eq!(nodes, [("a@h", true, false, true), ("b@h", false, false, false)]);
    // The queue of dead letters does not exist.
    let [fired, webhook] = queues.as_slice() else { panic!("{queues:?}") };
    assert_eq!(fired.policies, ["ttl", "op"]);
    assert_eq!(fired.definition.get("delivery-limit"), Some(&20.into()));
    assert_eq!(fired.arguments.get("x-delivery-limit"), Some(&1000.into()));
    assert_eq!((fired.members, fired.online, fired.missing.len()), (2, 1, 0));
    assert!(webhook.policies.is_empty() && webhook.definition.is_empty());
    assert_eq!(webhook.missing, [("contact-relay.events".to_owned(), "contact.upserted.#")]);
}

#[tokio::test]
async fn failures_name_the_address_and_never_the_password() {
    let mut tasks = JoinSet::new();
    let address = server(json!({"/api/nodes": "<html>"}), &mut tasks).await;
    for (url, says) in [
        (format!("http://monitor:hunter2@{address}"), "refuses (status 401)"),
        (format!("http://{address}"), "refuses (status 401)"),
        (format!("http://monitor:p%40ss@{address}"), "to nodes could not be read"),
        (
            format!("https://monitor:hunter2@{address}"),
            &*format!("could not reach the management interface at {address}"),
        ),
        ("http://monitor:hunter2@127.0.0.1:1/".to_owned(), "at 127.0.0.1:1: "),
    ] {
        let error = read(&settings(&url)).await.unwrap().unwrap_err().to_string();
        assert!(error.contains(says) && !error.contains("hunter2"), "{error}");
    }
    assert!(read(&settings("")).await.is_none());
}
