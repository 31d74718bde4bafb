//! Webhook requests: variables in each part, and the service's own headers.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use contact_relay::dev::demo_receiver::Received;
use macro_rules_attribute::apply;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use time::OffsetDateTime;

use crate::support::{app::TestApp, event::Event, only, test};

/// Tries to escape each part of a request.
const HOSTILE: &str = "\", \"admin\": true, \"x\": \"$name ${name} {{name}} \\";

fn lead(action: Value) -> Event {
    Event::lead("Ada").email("ada@x.example").argument("company", "Analytical").action(action)
}

async fn one_webhook(app: &TestApp, event: &Event) -> Received {
    app.run(&[]).await;
    app.broker.publish(event).await;
    only(app.webhooks(1).await)
}

#[apply(test)]
async fn variables_keep_their_json_type(app: &TestApp) {
    let body = json!({
        "age": "$age", "score": "$score", "vip": "$vip", "tags": "$tags", "images": "$images", "first": "$images[0]",
        "seats": "$seats", "profile": "$profile", "plan": "$plan", "name": "$name", "firm": "$company",
        "session": "$session.id", "company": "$company.id", "assistant": "$assistant.id", "event": "$event.id",
        "operation": "$contact.operation", "email": "$contact.email", "gone": "$contact.phone",
        "text": "$name, $age years, vip: $vip. $session.id", "hostile": "$hostile", "longer": "<$hostile>",
        "unknown": "$nobody", "price": "$5 $$ ${name}", "nested": [{"deep": ["$age", "$age "]}],
        "kept": [1, 1.5, true, null, "plain"],
    });
    let action = json!({"type": "WEBHOOK", "url": app.receiver.url("/"), "method": "POST", "body": body});
    let event = ["age", "score", "vip", "tags"]
        .into_iter()
        .zip(["integer", "number", "boolean", "array"])
        .fold(lead(action), |event, (name, kind)| {
            event.with(&format!("/data/trigger/parameters/properties/{name}"), json!({"type": kind}))
        });
    let event = event
        .argument("age", 36)
        .argument("score", 0.5)
        .argument("vip", true)
        .argument("tags", json!(["a", "b\""]))
        .argument("hostile", HOSTILE)
        .with(
            "/data/clientData",
            json!({"plan": "enterprise", "seats": 5, "profile": {"a": [1]}, "name": "Hidden"}),
        )
        .with("/data/images", json!(["https://cdn.example/1.png", "https://cdn.example/2.png"]));
    let session = event.text("/data/session/id").to_owned();

    let sent = one_webhook(app, &event).await.json().unwrap();
    let expected = json!({
        "age": 36, "score": 0.5, "vip": true, "tags": ["a", "b\""],
        "images": ["https://cdn.example/1.png", "https://cdn.example/2.png"], "first": "https://cdn.example/1.png",
        "seats": 5, "profile": {"a": [1]}, "plan": "enterprise", "name": "Ada", "firm": "Analytical",
        "session": session, "company": "acme", "assistant": "sales", "event": event.event_id(),
        "operation": "created", "email": "ada@x.example", "gone": null,
        "text": format!("Ada, 36 years, vip: true. {session}"), "hostile": HOSTILE, "longer": format!("<{HOSTILE}>"),
        "unknown": "$nobody", "price": "$5 $$ ${name}", "nested": [{"deep": [36, "36 "]}],
        "kept": [1, 1.5, true, null, "plain"],
    });
    assert_eq!(sent, expected);
}

#[apply(test)]
async fn body_keys_keep_the_authors_order(app: &TestApp) {
    let body = json!({"z": 1, "a": {"y": "$name", "b": null}, "m": "$profile"});
    let action = json!({"type": "WEBHOOK", "url": app.receiver.url("/"), "method": "POST", "body": body});
    let event = lead(action).with("/data/clientData", json!({"profile": {"x": 1, "c": 2}}));
    let webhook = one_webhook(app, &event).await;
    assert_eq!(webhook.body, r#"{"z":1,"a":{"y":"Ada","b":null},"m":{"x":1,"c":2}}"#);
}

#[apply(test)]
async fn values_cannot_escape_the_urls_path_and_query(app: &TestApp) {
    let url = app.receiver.url("/to/$name/x?q=$q&plan=$plan&id=$contact.id");
    let event = lead(json!({"type": "WEBHOOK", "url": url, "method": "GET"}))
        .argument("name", "a/../b c?&#é%@:")
        .argument("q", "1&admin=true#x")
        .with("/data/clientData", json!({"plan": "big one"}));
    let webhook = one_webhook(app, &event).await;
    let id = only(app.broker.hear(1).await).at("/subject").as_str().unwrap().to_owned();
    let expected =
        format!("/to/a%2F..%2Fb%20c%3F%26%23%C3%A9%25%40%3A/x?q=1%26admin%3Dtrue%23x&plan=big%20one&id={id}");
    assert_eq!((webhook.method.as_str(), webhook.path.as_str()), ("GET", expected.as_str()));
}

#[apply(test)]
async fn variables_are_replaced_in_headers(app: &TestApp) {
    let headers = json!([
        {"key": "X-Who", "value": "$name of $company.id"},
        {"key": "x-session", "value": "$session.id"},
        {"key": "Content-Type", "value": "application/vnd.sales+json"},
        {"key": "X-Plan", "value": "$plan"},
    ]);
    let event = lead(json!({
        "type": "WEBHOOK", "url": app.receiver.url("/"), "method": "PATCH", "headers": headers, "body": {"a": "$name"},
    }))
    .with("/data/clientData", json!({"plan": 7}));
    let webhook = one_webhook(app, &event).await;
    assert_eq!(webhook.method, "PATCH");
    assert_eq!(webhook.header("x-who"), Some("Ada of acme"));
    assert_eq!(webhook.header("x-session"), Some(event.text("/data/session/id")));
    assert_eq!(webhook.header("x-plan"), Some("7"));
    assert_eq!(webhook.header("content-type"), Some("application/vnd.sales+json"));
    assert_eq!(webhook.headers.get_all("content-type").iter().count(), 1);
    assert_eq!(webhook.json().unwrap(), json!({"a": "Ada"}));
}

#[apply(test)]
async fn step_that_cannot_be_rendered_fails_alone(app: &TestApp) {
    app.run(&[]).await;
    let to = |url: String| json!({"type": "WEBHOOK", "url": url, "method": "POST"});
    let with_header = |value: &str| {
        let headers = json!([{"key": "X-Note", "value": value}]);
        json!({"type": "WEBHOOK", "url": app.receiver.url("/"), "method": "POST", "headers": headers})
    };
    let actions = [
        to(app.receiver.url("/$nobody")),
        to(app.receiver.url("/?q=$nobody")),
        to(app.receiver.url("$at")),
        to("not a url".to_owned()),
        with_header("$nobody"),
        with_header("$lines"),
    ];
    for (index, action) in actions.into_iter().enumerate() {
        let event = lead(action)
            .id(&format!("event-{index}"))
            .argument("at", "@evil.example/")
            .argument("lines", "x\r\nX-Evil: 1")
            .webhook(&app.receiver.url(&format!("/neighbor-{index}")));
        app.broker.publish(&event).await;
    }
    app.wait_for_rows("dead_letters", 6).await;
    let mut paths: Vec<String> = app.webhooks(6).await.into_iter().map(|request| request.path).collect();
    paths.sort();
    assert_eq!(paths, (0..6).map(|index| format!("/neighbor-{index}")).collect::<Vec<_>>());
    let listed = app.json(&["dead-letter", "list"]).await;
    for dead in listed.as_array().unwrap() {
        assert_eq!(dead.get("reason"), Some(&"webhook_invalid".into()), "{dead:#}");
        assert!(!dead.to_string().contains("evil"), "{dead:#}");
    }
    assert_eq!(app.broker.hear(6).await.len(), 6);
    assert_eq!(app.rows("contacts").await, 1);
}

#[apply(test)]
async fn webhook_without_a_body_sends_the_public_event(app: &TestApp) {
    app.run(&[]).await;
    let methods = ["POST", "PUT", "PATCH", "GET", "DELETE"];
    let event = methods.into_iter().fold(
        Event::lead("Ada").argument("identity", "123.456.789-09"),
        |event, method| {
            event.action(
                json!({"type": "WEBHOOK", "url": app.receiver.url(&format!("/{method}")), "method": method}),
            )
        },
    );
    app.broker.publish(&event).await;
    let upserted = only(app.broker.hear(1).await);
    for webhook in app.webhooks(5).await {
        let method = webhook.method.as_str();
        assert_eq!(webhook.path, format!("/{method}"));
        if ["POST", "PUT", "PATCH"].contains(&method) {
            assert_eq!(webhook.json().unwrap(), upserted.body, "{method}");
            assert_eq!(webhook.header("content-type"), Some("application/cloudevents+json"), "{method}");
        } else {
            assert!(webhook.body.is_empty(), "{method}");
            assert!(webhook.header("content-type").is_some(), "{method}");
        }
    }
}

#[apply(test)]
async fn string_body_is_sent_unchanged(app: &TestApp) {
    let body = "Hello $name,\nyou have $5 and ${this}. $nobody";
    let action = json!({"type": "WEBHOOK", "url": app.receiver.url("/"), "method": "POST", "body": body});
    let webhook = one_webhook(app, &lead(action)).await;
    assert_eq!(webhook.body, "Hello Ada,\nyou have $5 and ${this}. $nobody");
    assert!(webhook.header("content-type").is_some_and(|kind| kind.starts_with("text/plain")));
}

#[apply(test)]
async fn requests_carry_the_services_own_headers(app: &TestApp) {
    let before = OffsetDateTime::now_utc().unix_timestamp();
    let event = Event::lead("Ada").webhook(&app.receiver.url("/"));
    let webhook = one_webhook(app, &event).await;
    let after = OffsetDateTime::now_utc().unix_timestamp();
    assert_eq!(webhook.header("user-agent"), Some(concat!("contact-relay/", env!("CARGO_PKG_VERSION"))));
    let id = webhook.header("webhook-id").unwrap();
    assert!(uuid::Uuid::parse_str(id).is_ok(), "{id}");
    let timestamp: i64 = webhook.header("webhook-timestamp").unwrap().parse().unwrap();
    // The service goes by the database's clock, which it knows to within a second.
    assert!((before - 1..=after + 1).contains(&timestamp), "{before} {timestamp} {after}");
    assert!(webhook.header("traceparent").is_some());
    assert_eq!(webhook.header("webhook-signature"), None);
    for header in webhook.headers.keys() {
        assert_eq!(webhook.headers.get_all(header).iter().count(), 1, "{header}");
    }
}

/// HMAC-SHA256 by RFC 2104, independent of the service's own.
fn hmac_sha256(key: &[u8], message: &[u8]) -> Vec<u8> {
    assert!(key.len() <= 64, "a longer key would have to be hashed first");
    let pad = |with: u8| -> Vec<u8> {
        let padded = key.iter().copied().chain(std::iter::repeat(0)).take(64);
        padded.map(|byte| byte ^ with).collect()
    };
    let inner = Sha256::digest([pad(0x36), message.to_vec()].concat());
    Sha256::digest([pad(0x5c), inner.to_vec()].concat()).to_vec()
}

#[apply(test)]
async fn signatures_verify(app: &TestApp) {
    let keys = [[7_u8; 24].as_slice(), &[9; 64]];
    let secrets = keys.map(|key| format!("whsec_{}", STANDARD.encode(key)));
    app.set("webhook.signing_secrets", &secrets.join(","));
    app.run(&[]).await;
    // The second attempt has its own timestamp and thus its own signature. GET signs the empty body.
    let event = Event::lead("Ada")
        .webhook(&app.receiver.url("/flaky/1"))
        .action(json!({"type": "WEBHOOK", "url": app.receiver.url("/get"), "method": "GET"}));
    app.broker.publish(&event).await;
    for webhook in app.webhooks(3).await {
        let [id, timestamp, signature] = ["webhook-id", "webhook-timestamp", "webhook-signature"]
            .map(|name| webhook.header(name).unwrap_or_else(|| panic!("{name} is missing")));
        let signed = [format!("{id}.{timestamp}.").as_bytes(), &webhook.body].concat();
        let expected = keys.map(|key| format!("v1,{}", STANDARD.encode(hmac_sha256(key, &signed))));
        assert_eq!(signature, expected.join(" "), "{}", webhook.path);
    }
}
