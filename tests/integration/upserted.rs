//! `contact.upserted` and `contact.merged` as a subscriber receives them.

use std::collections::BTreeSet;

use lapin::types::{AMQPValue, FieldTable};
use macro_rules_attribute::apply;
use serde_json::{Value, json};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::support::{app::TestApp, broker::Heard, event::Event, only, test};

const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An event with a value for each of the 15 fields and a secret everywhere else.
fn full(app: &TestApp) -> Event {
    let fields = [
        ("identity", "123.456.789-09"),
        ("phone", "(11) 98765-4321"),
        ("email", " Ada@Analytical.Example "),
        ("company", "Analytical"),
        ("position", "Countess"),
        ("birthday", "1985-12-10"),
        ("zipCode", "01310-100"),
        ("country", "Brazil"),
        ("state", "SP"),
        ("city", "São Paulo"),
        ("district", "Bela Vista"),
        ("street", "Avenida Paulista"),
        ("number", "1578"),
        ("complement", "2nd floor"),
        ("interest", "secret-interest"),
    ];
    let event = fields
        .into_iter()
        .fold(Event::lead("Ada Lovelace"), |event, (name, value)| event.argument(name, value));
    event
        .time("2026-11-22T10:00:00.123Z")
        .with("/data/clientData", json!({"plan": "secret-plan"}))
        .with("/data/images", json!(["https://cdn.example/secret-image.png"]))
        .action(json!({
            "type": "WEBHOOK", "method": "PUT", "url": app.receiver.url("/hook?key=secret-key"),
            "headers": [{"key": "Authorization", "value": "Bearer secret-token"}],
            "body": {"told": "secret-body $interest"}, "responseDirective": "secret-directive",
        }))
}

#[apply(test)]
async fn event_has_exactly_the_documented_members(app: &TestApp) {
    app.run(&[]).await;
    let event = full(app);
    app.broker.publish(&event).await;
    let upserted = only(app.broker.hear(1).await);

    let members: BTreeSet<&str> = upserted.body.as_object().unwrap().keys().map(String::as_str).collect();
    let agreed = ["specversion", "id", "source", "type", "subject", "time", "datacontenttype", "data"];
    assert_eq!(members, BTreeSet::from(agreed));
    assert_eq!(upserted.at("/specversion"), "1.0");
    assert_eq!(upserted.at("/source"), "/contact-relay");
    assert_eq!(upserted.at("/type"), "contact.upserted");
    assert_eq!(upserted.at("/datacontenttype"), "application/json");
    let id = upserted.at("/subject");
    assert!(id.as_str().is_some_and(|id| uuid::Uuid::parse_str(id).is_ok()), "{id}");
    let data = json!({
        "operation": "created",
        "contact": {
            "id": id, "companyId": "acme", "version": 1, "name": "Ada Lovelace", "phone": "+5511987654321",
            "email": "ada@analytical.example", "company": "Analytical", "position": "Countess", "birthday": "1985-12-10",
            "zipCode": "01310-100", "country": "BR", "state": "SP", "city": "São Paulo", "district": "Bela Vista",
            "street": "Avenida Paulista", "number": "1578", "complement": "2nd floor",
            "createdAt": "2026-11-22T10:00:00.123Z", "updatedAt": "2026-11-22T10:00:00.123Z",
        },
        "changed": [
            "birthday", "city", "company", "complement", "country", "district", "email", "identity", "name",
            "number", "phone", "position", "state", "street", "zipCode",
        ],
        "mergedContactIds": [],
        "rejected": [],
        "trigger": {
            "name": "register_lead", "eventId": event.event_id(), "eventSource": event.text("/source")
        },
        "session": {"id": event.text("/data/session/id")},
        "assistant": {"id": "sales"},
        "interaction": {"index": 1, "max": 10},
    });
    assert_eq!(upserted.at("/data"), &data);

    let everything = format!("{} {:?}", upserted.body, upserted.properties);
    assert!(!everything.contains("secret"), "{everything}");
    assert!(!everything.contains("123.456.789-09"), "{everything}");
    let webhook = only(app.webhooks(1).await);
    assert_eq!(webhook.json().unwrap(), json!({"told": "secret-body secret-interest"}));
}

#[apply(test)]
async fn identity_document_is_published_only_where_allowed(app: &TestApp) {
    app.set("events.include_identity", "true");
    app.run(&[]).await;
    let body = json!({"document": "$contact.identity"});
    let tell = json!({"type": "WEBHOOK", "url": app.receiver.url("/"), "method": "POST", "body": body});
    app.broker.publish(&Event::lead("Ada").argument("identity", "123.456.789-09").action(tell)).await;
    let upserted = only(app.broker.hear(1).await);
    assert_eq!(upserted.at("/data/contact/identity"), "123.456.789-09");
    let webhook = only(app.webhooks(1).await);
    assert_eq!(webhook.json().unwrap(), json!({"document": "123.456.789-09"}));
}

#[apply(test)]
async fn message_has_the_documented_properties_and_headers(app: &TestApp) {
    app.run(&[]).await;
    let event = Event::lead("Ada");
    let before = OffsetDateTime::now_utc().unix_timestamp();
    app.broker.publish(&event).await;
    let upserted = only(app.broker.hear(1).await);
    let after = OffsetDateTime::now_utc().unix_timestamp();

    let text = |pointer: &str| upserted.at(pointer).as_str().unwrap().to_owned();
    let properties = &upserted.properties;
    let property = |value: &Option<lapin::types::ShortString>| value.as_ref().map(ToString::to_string);
    assert_eq!(property(properties.message_id()), Some(text("/id")));
    assert_eq!(property(properties.kind()), Some("contact.upserted".to_owned()));
    assert_eq!(property(properties.content_type()), Some("application/cloudevents+json".to_owned()));
    assert_eq!(property(properties.correlation_id()), Some(event.event_id().to_owned()));
    assert_eq!(*properties.delivery_mode(), Some(2), "persistent");
    let time = OffsetDateTime::parse(&text("/time"), &Rfc3339).unwrap().unix_timestamp();
    // The service goes by the database's clock, which it knows to within a second.
    assert!((before - 1..=after + 1).contains(&time), "{before} {time} {after}");
    assert_eq!(*properties.timestamp(), u64::try_from(time).ok());
    let header = |name: &str| upserted.header(name);
    assert_eq!(header("cloudEvents_id"), Some(text("/id")));
    assert_eq!(header("cloudEvents_source"), Some(text("/source")));
    assert_eq!(header("cloudEvents_type"), Some(text("/type")));
    assert_eq!(header("cloudEvents_time"), Some(text("/time")));
    assert_eq!(header("cloudEvents_subject"), Some(text("/subject")));
    assert_eq!(properties.headers().as_ref().map(|headers| headers.inner().len()), Some(5));
}

/// Publishes an event to `/NAME` with these headers.
async fn publish_traced(app: &TestApp, name: &str, headers: &[(&str, &str)]) {
    let event = Event::lead("Ada").id(name).webhook(&app.receiver.url(&format!("/{name}")));
    let mut table = FieldTable::default();
    for (header, value) in headers {
        table.insert((*header).into(), AMQPValue::LongString((*value).into()));
    }
    let properties = event.properties().with_headers(table);
    app.broker.publish_bytes("trigger.fired", &event.bytes(), properties).await;
}

#[apply(test)]
async fn trace_continues_in_messages_and_requests(app: &TestApp) {
    app.run(&[]).await;
    publish_traced(app, "traced", &[("traceparent", TRACEPARENT), ("tracestate", "vendor=1")]).await;
    let upserted = only(app.broker.hear(1).await);
    assert_eq!(upserted.header("traceparent").as_deref(), Some(TRACEPARENT));
    assert_eq!(upserted.header("tracestate").as_deref(), Some("vendor=1"));
    let webhook = only(app.webhooks(1).await);
    assert_eq!(webhook.header("traceparent"), Some(TRACEPARENT));
    assert_eq!(webhook.header("tracestate"), Some("vendor=1"));
}

#[apply(test)]
async fn invalid_trace_is_dropped(app: &TestApp) {
    app.run(&[]).await;
    let bad = [
        String::new(),
        "nonsense".to_owned(),
        TRACEPARENT.to_uppercase(),
        TRACEPARENT.replacen("00-", "ff-", 1),
        format!("{TRACEPARENT}\r\nx-evil: 1"),
        "00-00000000000000000000000000000000-b7ad6b7169203331-01".to_owned(),
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01".to_owned(),
    ];
    publish_traced(app, "absent", &[]).await;
    for (index, traceparent) in bad.iter().enumerate() {
        publish_traced(app, &format!("bad-{index}"), &[("traceparent", traceparent), ("tracestate", "a=b")])
            .await;
    }
    let count = bad.len() + 1;
    for heard in app.broker.hear(count).await {
        let of = heard.at("/data/trigger/eventId");
        assert_eq!((heard.header("traceparent"), heard.header("tracestate")), (None, None), "{of}");
    }
    // Every request has a traceparent: this one starts at the service.
    let mut traces = BTreeSet::new();
    for webhook in app.webhooks(count).await {
        let own = webhook.header("traceparent").unwrap();
        let parts: Vec<&str> = own.split('-').collect();
        let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
        assert_eq!(lengths, [2, 32, 16, 2], "{}: {own}", webhook.path);
        assert!(
            own.bytes().all(|byte| byte == b'-' || byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
        );
        assert_eq!(webhook.header("tracestate"), None);
        traces.insert(own.to_owned());
    }
    assert_eq!(traces.len(), count, "one trace for each");
}

#[apply(test)]
async fn routing_key_names_the_operation(app: &TestApp) {
    app.run(&[]).await;
    let lead = |name: &str, time: &str| Event::lead(name).email("ada@x.example").time(time);
    let events = [
        lead("Ada", "2026-11-22T10:00:00Z"),
        lead("Ada Lovelace", "2026-11-22T11:00:00Z"),
        lead("Ada Lovelace", "2026-11-22T12:00:00Z"),
        lead("Late", "2026-11-22T09:00:00Z").argument("city", "London"),
        lead("Later still", "2026-11-22T08:00:00Z"),
    ];
    for (index, event) in events.iter().enumerate() {
        app.broker.publish(event).await;
        app.broker.hear(index + 1).await;
    }
    let seen = |heard: &Heard| {
        let contact = [&heard.body].map(|body| body.pointer("/data/contact").unwrap());
        let [contact] = contact;
        let member = |name: &str| contact.get(name).cloned().unwrap_or_default();
        (
            heard.routing_key.clone(),
            heard.at("/data/operation").clone(),
            member("version"),
            member("name"),
            heard.at("/data/changed").clone(),
        )
    };
    let seen: Vec<_> = app.broker.heard().await.iter().map(seen).collect();
    let expected = [
        ("created", 1, "Ada", json!(["email", "name"])),
        ("updated", 2, "Ada Lovelace", json!(["name"])),
        ("unchanged", 2, "Ada Lovelace", json!([])),
        ("updated", 3, "Ada Lovelace", json!(["city"])),
        ("unchanged", 3, "Ada Lovelace", json!([])),
    ];
    let expected = expected.map(|(operation, version, name, changed)| {
        (format!("contact.upserted.{operation}"), json!(operation), json!(version), json!(name), changed)
    });
    assert_eq!(seen, expected);
}

#[apply(test)]
async fn batch_is_applied_in_order_of_arrival(app: &TestApp) {
    app.broker.declare().await;
    let names: Vec<String> = (0..9).map(|n| format!("Ada {n}")).collect();
    let events: Vec<Event> = names.iter().map(|name| Event::lead(name).email("ada@x.example")).collect();
    app.broker.publish_all(&events).await;
    app.run(&[]).await;
    let heard = app.broker.hear(names.len()).await;
    let seen: Vec<_> = heard.iter().map(|heard| heard.at("/data/contact/name")).collect();
    assert_eq!(seen, names.iter().collect::<Vec<_>>());
    let operations = heard.iter().map(|heard| heard.at("/data/operation"));
    assert!(operations.eq(["created"].iter().chain(&["updated"; 8])), "{heard:#?}");
}

#[apply(test)]
async fn values_left_out_are_listed(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ada").email("ada@x.example").phone("call me maybe")).await;
    let upserted = only(app.broker.hear(1).await);
    assert_eq!(upserted.at("/data/rejected"), &json!([{"field": "phone", "reason": "not_a_phone_number"}]));
    assert_eq!(upserted.at("/data/contact/phone"), &Value::Null);
    assert_eq!(upserted.at("/data/changed"), &json!(["email", "name"]));
}

/// As after the restore of an old backup: the events are published again with the same ids, and the webhooks sent
/// again with the same `webhook-id`.
#[apply(test)]
async fn same_event_always_yields_the_same_ids(app: &TestApp) {
    app.run(&[]).await;
    let event = Event::lead("Ada").email("ada@x.example").webhook(&app.receiver.url("/"));
    app.broker.publish(&event).await;
    app.webhooks(1).await;
    app.wait_for_deliveries("delivered", 1).await;
    app.wait_for_unpublished(0).await;
    let forget = "TRUNCATE contacts, contact_identifiers, applied_events, trigger_events, webhook_deliveries,
                  webhook_pending, webhook_attempts";
    sqlx::query(forget).execute(&app.pool).await.unwrap();
    app.broker.publish(&event).await;
    // The same names in another company are another event.
    app.broker.publish(&event.clone().company("other")).await;

    let webhooks = app.webhooks(3).await;
    let heard = app.broker.hear(3).await;
    let ids: BTreeSet<_> =
        heard.iter().map(|heard| heard.properties.message_id().as_ref().unwrap().to_string()).collect();
    assert_eq!((heard.len(), ids.len()), (3, 2), "{heard:#?}");
    let ids: BTreeSet<_> = webhooks.iter().map(|webhook| webhook.header("webhook-id").unwrap()).collect();
    assert_eq!((webhooks.len(), ids.len()), (3, 2), "{webhooks:#?}");
}

#[apply(test)]
async fn merge_is_published(app: &TestApp) {
    app.run(&[]).await;
    let events = [
        Event::lead("Ada").phone("+55 11 98765-4321").time("2026-11-22T10:00:00Z"),
        Event::lead("Ada L.").email("ada@x.example").argument("city", "London").time("2026-11-22T11:00:00Z"),
        Event::lead("Ada L.").phone("+55 11 98765-4321").email("ada@x.example").time("2026-11-22T12:00:00Z"),
    ];
    for (index, event) in events.iter().enumerate() {
        app.broker.publish(event).await;
        app.broker.hear(index + 1).await;
    }
    let heard = app.broker.hear(4).await;
    let [first, second, others @ ..] = heard.as_slice() else { panic!("{heard:#?}") };
    let of_kind = |kind: &str| others.iter().find(|heard| heard.at("/type") == kind).unwrap();
    let (merged, upserted) = (of_kind("contact.merged"), of_kind("contact.upserted"));
    assert_eq!(heard.len(), 4, "{heard:#?}");
    assert_eq!(merged.routing_key, "contact.merged");
    assert_eq!(upserted.routing_key, "contact.upserted.updated");
    for event in [merged, upserted] {
        assert_eq!(event.at("/subject"), first.at("/subject"), "the older contact lives on");
        assert_eq!(event.at("/data/mergedContactIds"), &json!([second.at("/subject")]));
        assert_eq!(event.at("/data/contact"), upserted.at("/data/contact"));
        assert_eq!(event.at("/data/contact/name"), "Ada L.");
        assert_eq!(event.at("/data/contact/city"), "London");
    }
    assert_eq!(upserted.at("/data/contact/version"), 2);
    // Fields new to a subscriber that follows the older contact.
    assert_eq!(upserted.at("/data/changed"), &json!(["city", "email", "name"]));
    assert_ne!(merged.at("/id"), upserted.at("/id"));
    assert_eq!(merged.header("cloudEvents_type").as_deref(), Some("contact.merged"));
    assert_eq!(merged.at("/data/trigger"), upserted.at("/data/trigger"));
}
