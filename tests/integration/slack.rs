//! Slack endpoints: Slack accepts every body that an author writes, and no contact's value mentions anybody.

use contact_relay::dev::demo_receiver::Received;
use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::support::{app::TestApp, event::Event, only, test};

/// Mentions everybody and links elsewhere, unless it is escaped.
const HOSTILE: &str = "<!channel> & <https://evil.example|click>";
const ESCAPED: &str = "&lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;";

/// Sets the profile `slack` for everything under `/slack` of the receiver.
fn declare(app: &TestApp) {
    let url = app.receiver.url("/slack");
    app.set("webhook.endpoints", &format!(r#"[{{url = "{url}", profile = "slack"}}]"#));
}

fn lead() -> Event {
    Event::lead(HOSTILE).email("ada@x.example").phone("+55 11 98765-4321").argument("company", "A & B")
}

fn post(url: &str, body: &Value) -> Value {
    json!({"type": "WEBHOOK", "url": url, "method": "POST", "body": body})
}

fn message(request: &Received) -> Value {
    assert_eq!(request.header("content-type"), Some("application/json"), "{}", request.path);
    request.json().unwrap()
}

#[apply(test)]
async fn every_body_becomes_a_valid_slack_message(app: &TestApp) {
    declare(app);
    app.run(&[]).await;
    let default = format!(
        "*New contact*: {ESCAPED}\n*Company*: A &amp; B\n*Email*: ada@x.example\n*Phone*: +5511987654321\n*Trigger*: register_lead"
    );
    let blocks = json!([{"type": "section", "text": {"type": "mrkdwn", "text": "*$name*"}}]);
    let rendered = json!([{"type": "section", "text": {"type": "mrkdwn", "text": format!("*{ESCAPED}*")}}]);
    let cases = [
        ("/slack/default", Value::Null, json!({ "text": default })),
        ("/slack/string", json!("<!here> $name"), json!({"text": format!("<!here> {ESCAPED}")})),
        ("/slack/text", json!({"text": "$name"}), json!({ "text": ESCAPED })),
        ("/slack/blocks", json!({ "blocks": blocks }), json!({ "blocks": rendered })),
        (
            "/slack/members",
            json!({"Name": "$name", "Phone": "$contact.phone", "Street": "$contact.street"}),
            json!({"text": format!("*Name*: {ESCAPED}\n*Phone*: +5511987654321")}),
        ),
    ];
    let event =
        cases.iter().fold(lead(), |event, (path, body, _)| event.action(post(&app.receiver.url(path), body)));
    app.broker.publish(&event.action(post(&app.receiver.url("/plain"), &json!({"text": "$name"})))).await;
    app.wait_for_deliveries("delivered", 6).await;
    let requests = app.receiver.requests();
    for (path, _, expected) in cases {
        let request = only(requests.iter().filter(|request| request.path == path));
        assert_eq!(message(request), expected, "{path}");
    }
    let plain = only(requests.iter().filter(|request| request.path == "/plain"));
    assert_eq!(plain.json().unwrap(), json!({ "text": HOSTILE }), "only Slack endpoints get escaped values");
}

#[apply(test)]
async fn preview_shows_the_bytes_that_slack_receives(app: &TestApp) {
    declare(app);
    app.set("webhook.signing_secrets", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
    let url = app.receiver.url("/slack/preview");
    let body = json!({"Who": "$name", "Of": "$company.id", "Tags": "$tags"});
    let event = lead().with("/data/clientData", json!({"tags": ["<a>"]})).action(post(&url, &body));
    let event = event.with("/data/trigger/actions/1/headers", json!([{"key": "x-who", "value": "$email"}]));
    let arguments = json!({"name": HOSTILE, "email": "ada@x.example", "phone": "+55 11 98765-4321"});
    let arguments = arguments.to_string();
    let command = ["trigger", "preview", "-", "--arguments", arguments.as_str(), "-o", "json"];
    let preview = app.cli_with_input(&command, &event.bytes()).await;
    assert_eq!(preview.code, Some(0), "{}{}", preview.stdout, preview.stderr);
    let preview: Value = serde_json::from_str(&preview.stdout).unwrap();
    app.run(&[]).await;
    app.broker.publish(&event).await;
    let sent = app.webhooks(1).await.remove(0);
    let shown = &preview["steps"][1];
    assert_eq!(shown["body"].as_str().unwrap().as_bytes(), sent.body);
    let headers: Vec<[String; 2]> = serde_json::from_value(shown["headers"].clone()).unwrap();
    for [name, value] in &headers {
        let real = sent.header(name).unwrap_or_else(|| panic!("{name} is shown but not sent"));
        assert!(value == real || value.contains('<'), "{name}: {value} {real}");
    }
    let of_the_connection = ["host", "accept", "accept-encoding", "content-length"];
    for name in sent.headers.keys().filter(|name| !of_the_connection.contains(&name.as_str())) {
        assert!(headers.iter().any(|[shown, _]| shown == name.as_str()), "{name} is sent and not shown");
    }
}

#[apply(test)]
async fn message_refused_by_slack_becomes_a_dead_letter(app: &TestApp) {
    declare(app);
    app.run(&[]).await;
    let empty = lead().action(post(&app.receiver.url("/slack/empty"), &json!({"text": "$contact.street"})));
    app.broker.publish(&empty).await;
    let unknown_block = json!({"blocks": [{"text": "$name"}]});
    let strange = lead().action(post(&app.receiver.url("/slack/blocks"), &unknown_block));
    app.broker.publish(&strange).await;
    app.wait_for_dead_letters_because("webhook_rejected", 2).await;
    let bodies = "SELECT convert_from(response_body, 'UTF8') FROM all_webhook_attempts ORDER BY 1";
    let bodies: Vec<String> = sqlx::query_scalar(bodies).fetch_all(&app.pool).await.unwrap();
    assert_eq!(bodies, ["invalid_blocks", "no_text"]);
    let listed = app.json(&["dead-letter", "list"]).await.to_string();
    assert!(listed.contains("Slack answered 400 (the message is empty"), "{listed}");
}

#[apply(test)]
async fn answer_that_the_webhook_is_gone_disables_the_endpoint(app: &TestApp) {
    declare(app);
    app.run(&[]).await;
    app.broker.publish(&lead().action(post(&app.receiver.url("/slack/gone"), &json!("one")))).await;
    let disabled = "webhook_endpoints WHERE disabled_at IS NOT NULL
                    AND disabled_because LIKE '%Slack disabled%'";
    app.wait_for_rows(disabled, 1).await;
    app.wait_for_dead_letters_because("webhook_rejected", 1).await;
    app.broker.publish(&lead().action(post(&app.receiver.url("/slack/gone"), &json!("two")))).await;
    app.wait_for_rows("webhook_pending WHERE attempts = 0", 1).await;
    app.queues_are_empty().await;
    assert_eq!(app.receiver.requests().len(), 1, "sent to an endpoint that is gone");
}

#[apply(test)]
async fn rate_limited_messages_are_sent_later(app: &TestApp) {
    declare(app);
    app.run(&[]).await;
    let url = app.receiver.url("/slack/busy");
    let event = lead().action(post(&url, &json!("one"))).action(post(&url, &json!("two")));
    app.broker.publish(&event).await;
    app.wait_for_deliveries("delivered", 2).await;
}
