//! The chain from a `trigger.fired` event to its webhooks: which steps run, and in which order.

use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::support::{app::TestApp, event::Event, only, test};

/// A complete event as the platform publishes it, with the webhook sent to `url`.
fn example(url: &str) -> Event {
    Event::from_json(json!({
        "specversion": "1.0",
        "id": "0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11",
        "source": "/companies/acme/assistants/sales",
        "type": "trigger.fired",
        "time": "2026-11-22T10:00:00.123Z",
        "datacontenttype": "application/json",
        "data": {
            "company":   { "id": "acme" },
            "assistant": { "id": "sales", "maxInteractions": 2 },
            "session":   { "id": "5e0c4a36-90c4-4b0c-8a4e-0d6f5b8f2f55" },
            "clientData": { "plan": "enterprise", "user_id": "usr_999" },
            "images": ["https://cdn.example/1.png"],
            "trigger": {
                "name": "register_qualified_lead",
                "description": "Registers the lead in the CRM after collecting the necessary data.",
                "parameters": {
                    "properties": {
                        "name": {"type": "string"}, "email": {"type": "string"}, "company": {"type": "string"},
                        "interest": {"type": "string", "enum": ["starter", "growth", "enterprise"]}
                    },
                    "required": ["name", "email", "company"]
                },
                "interpretResponse": false,
                "actions": [
                    { "type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email", "company": "company" },
                    { "type": "WEBHOOK", "url": url, "method": "POST",
                      "headers": [ { "key": "Authorization", "value": "Bearer my_token" } ],
                      "body": { "text": "New $interest lead: $name ($email), session $session.id" } }
                ]
            },
            "arguments": {
                "name": "Ada Lovelace", "email": "ada@analytical.example", "company": "Analytical", "interest": "growth"
            }
        }
    }))
}

#[apply(test)]
async fn documented_example_upserts_and_sends(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&example(&app.receiver.url("/sales"))).await;

    let upserted = only(app.broker.hear(1).await);
    assert_eq!(upserted.routing_key, "contact.upserted.created");
    assert_eq!(upserted.at("/data/changed"), &json!(["company", "email", "name"]));
    assert_eq!(upserted.at("/data/interaction"), &json!({"index": 1, "max": 2}));

    let webhook = only(app.webhooks(1).await);
    assert_eq!((webhook.method.as_str(), webhook.path.as_str()), ("POST", "/sales"));
    assert_eq!(webhook.header("authorization"), Some("Bearer my_token"));
    assert_eq!(webhook.header("content-type"), Some("application/json"));
    let text = "New growth lead: Ada Lovelace (ada@analytical.example), session 5e0c4a36-90c4-4b0c-8a4e-0d6f5b8f2f55";
    assert_eq!(webhook.json().unwrap(), json!({ "text": text }));

    app.wait_for_deliveries("delivered", 1).await;
    let found =
        app.json(&["contact", "find", "--company", "acme", "--email", "ada@analytical.example"]).await;
    let contact = only(found.as_array().unwrap());
    for (member, value) in [("name", "Ada Lovelace"), ("company", "Analytical"), ("companyId", "acme")] {
        assert_eq!(contact.get(member), Some(&value.into()), "{member}");
    }
    assert_eq!(contact.get("id"), Some(upserted.at("/subject")));
    assert_eq!(app.rows("dead_letters").await, 0);
    assert_eq!((app.broker.heard().await.len(), app.receiver.requests().len()), (1, 1));
}

/// An upsert and two webhooks, to `/NAME/2` and `/NAME/3`.
fn three_steps(app: &TestApp, name: &str) -> Event {
    let [second, third] = [2, 3].map(|step| app.receiver.url(&format!("/{name}/{step}")));
    Event::lead("Ada").id(name).email(&format!("{name}@x.example")).webhook(&second).webhook(&third)
}

/// The events with an upsert, each with its step; and the paths of the webhooks.
async fn what_ran(app: &TestApp, events: i64) -> (Vec<(String, i16)>, Vec<String>) {
    app.wait_for_rows("applied_events", events).await;
    app.wait_for_unsent(0).await;
    app.wait_for_rows("webhook_deliveries WHERE state <> 'delivered'", 0).await;
    let ledger = "SELECT event_id, step FROM trigger_events ORDER BY event_id";
    let ledger = sqlx::query_as(ledger).fetch_all(&app.pool).await.unwrap();
    let mut paths: Vec<String> = app.receiver.requests().into_iter().map(|request| request.path).collect();
    paths.sort();
    (ledger, paths)
}

#[apply(test)]
async fn steps_beyond_max_interactions_are_skipped(app: &TestApp) {
    app.run(&[]).await;
    let without = |pointer: &str, name: &str| three_steps(app, name).without(pointer);
    app.broker
        .publish_all(&[
            three_steps(app, "a-zero").max_interactions(0),
            three_steps(app, "b-one").max_interactions(1),
            three_steps(app, "c-two").max_interactions(2),
            three_steps(app, "d-three").max_interactions(3),
            three_steps(app, "e-more").max_interactions(100),
            without("/data/assistant/maxInteractions", "f-absent"),
            without("/data/assistant", "g-no-assistant"),
            three_steps(app, "h-null").with("/data/assistant/maxInteractions", Value::Null),
        ])
        .await;
    let (ledger, paths) = what_ran(app, 8).await;
    let expected = [
        ("b-one", 1),
        ("c-two", 1),
        ("d-three", 1),
        ("e-more", 1),
        ("f-absent", 1),
        ("g-no-assistant", 1),
        ("h-null", 1),
    ];
    assert_eq!(ledger, expected.map(|(name, step)| (name.to_owned(), step)));
    let expected = [
        "/c-two/2",
        "/d-three/2",
        "/d-three/3",
        "/e-more/2",
        "/e-more/3",
        "/f-absent/2",
        "/g-no-assistant/2",
        "/h-null/2",
    ];
    assert_eq!(paths, expected);
    assert_eq!(app.rows("contacts").await, 7);
    let heard = app.broker.hear(7).await;
    assert_eq!(heard.len(), 7, "{heard:#?}");
    let max = |event: &str| {
        let heard = heard.iter().find(|heard| heard.at("/data/trigger/eventId") == event);
        heard.map(|heard| heard.at("/data/interaction/max").clone())
    };
    assert_eq!([max("a-zero"), max("b-one"), max("f-absent")], [None, Some(json!(1)), Some(json!(2))]);
}

#[apply(test)]
async fn default_max_interactions_applies_without_one_in_the_event(app: &TestApp) {
    app.set("chain.default_max_interactions", "3");
    app.run(&[]).await;
    let absent = three_steps(app, "absent").without("/data/assistant/maxInteractions");
    app.broker.publish_all(&[absent, three_steps(app, "given").max_interactions(1)]).await;
    let (ledger, paths) = what_ran(app, 2).await;
    assert_eq!(ledger, [("absent".to_owned(), 1), ("given".to_owned(), 1)]);
    assert_eq!(paths, ["/absent/2", "/absent/3"]);
}

#[apply(test)]
async fn sequential_triggers_run_in_order(app: &TestApp) {
    app.run(&[]).await;
    let webhook = |path: &str| {
        let body = json!({"id": "$contact.id", "did": "$contact.operation", "who": "$name"});
        json!({"type": "WEBHOOK", "url": app.receiver.url(path), "method": "POST", "body": body})
    };
    // Triggers with one `action` each, and one with a list.
    let upsert = json!({"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email"});
    let event = Event::bare()
        .without("/data/trigger/actions")
        .with("/data/trigger/action", upsert)
        .with(
            "/data/next",
            json!([
                {"name": "notify_sales", "action": webhook("/sales")},
                {"name": "notify_more", "actions": [webhook("/third"), webhook("/fourth")]},
            ]),
        )
        .email("ada@x.example")
        .max_interactions(3);
    app.broker.publish(&event).await;

    let (ledger, mut paths) = what_ran(app, 1).await;
    assert_eq!(ledger, [(event.event_id().to_owned(), 1)]);
    paths.sort();
    assert_eq!(paths, ["/sales", "/third"]);
    let upserted = only(app.broker.hear(1).await);
    assert_eq!(upserted.at("/data/trigger/name"), "register_lead");
    let body = json!({"id": upserted.at("/subject"), "did": "created", "who": "nobody"});
    for webhook in app.receiver.requests() {
        assert_eq!(webhook.json().unwrap(), body);
    }
    let steps = "SELECT step, trigger_name FROM webhook_deliveries ORDER BY step";
    let steps: Vec<(i16, String)> = sqlx::query_as(steps).fetch_all(&app.pool).await.unwrap();
    assert_eq!(steps, [(2, "notify_sales".to_owned()), (3, "notify_more".to_owned())]);
}

#[apply(test)]
async fn second_upsert_of_a_chain_updates_the_contact(app: &TestApp) {
    app.run(&[]).await;
    let again =
        json!({"type": "CRM", "subtype": "UPSERT_CONTACT", "email": "email", "complement": "interest"});
    let tell = json!({"type": "WEBHOOK", "url": app.receiver.url("/"), "method": "POST"});
    let event = Event::lead("Ada").email("ada@x.example").argument("interest", "growth");
    app.broker.publish(&event.next(&again).next(&tell)).await;

    let heard = app.broker.hear(2).await;
    let [first, second] = heard.as_slice() else { panic!("{heard:#?}") };
    assert_eq!(first.routing_key, "contact.upserted.created");
    assert_eq!(first.at("/data/interaction/index"), 1);
    assert_eq!(second.routing_key, "contact.upserted.updated");
    assert_eq!(second.at("/data/interaction/index"), 2);
    assert_eq!(second.at("/data/trigger/name"), "next");
    assert_eq!(second.at("/data/changed"), &json!(["complement"]));
    assert_eq!(second.at("/data/contact/version"), 2);
    assert_eq!(first.at("/subject"), second.at("/subject"));
    assert_ne!(first.at("/id"), second.at("/id"));
    let webhook = only(app.webhooks(1).await);
    assert_eq!(webhook.json().unwrap(), second.body, "the webhook sends the latest");
    assert_eq!(app.rows("contacts").await, 1);
}

#[apply(test)]
async fn webhook_without_an_upsert_is_requested(app: &TestApp) {
    app.run(&[]).await;
    let event = Event::bare().webhook(&app.receiver.url("/alone")).max_interactions(1);
    app.broker.publish(&event).await;

    let requested = only(app.broker.hear(1).await);
    assert_eq!(requested.routing_key, "webhook.requested");
    assert_eq!(requested.at("/type"), "webhook.requested");
    assert_eq!(requested.at("/subject"), &Value::Null);
    let data = json!({
        "company": {"id": "acme"},
        "trigger": {
            "name": "register_lead", "eventId": event.event_id(), "eventSource": event.text("/source")
        },
        "session": {"id": event.text("/data/session/id")},
        "assistant": {"id": "sales"},
        "interaction": {"index": 1, "max": 1},
    });
    assert_eq!(requested.at("/data"), &data);
    let webhook = only(app.webhooks(1).await);
    assert_eq!(webhook.json().unwrap(), requested.body);
    let (ledger, _) = what_ran(app, 1).await;
    assert_eq!(ledger, []);
    assert_eq!(app.rows("contacts").await, 0);
    assert_eq!(app.broker.heard().await.len(), 1);
}

#[apply(test)]
async fn failing_webhook_does_not_delay_the_next(app: &TestApp) {
    // The first would wait an hour for its second attempt.
    app.set("webhook.retry_schedule", "1h");
    app.run(&[]).await;
    let event = Event::lead("Ada")
        .webhook(&app.receiver.url("/status/503"))
        .webhook("http://127.0.0.1:9/nobody-listens")
        .webhook(&app.receiver.url("/ok"));
    app.broker.publish(&event).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.wait_for_rows("webhook_pending WHERE attempts = 1", 2).await;
    let mut paths: Vec<String> = app.receiver.requests().into_iter().map(|request| request.path).collect();
    paths.sort();
    assert_eq!(paths, ["/ok", "/status/503"]);
}
