//! A dead letter keeps the message's bytes, AMQP properties and headers, whatever they contain, and counts attempts.
//! A replay sends them again.

use std::collections::BTreeMap;

use contact_relay::amqp::properties::{DEAD_LETTER_HEADER, is_broker_header, to_text};
use lapin::{
    BasicProperties,
    types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString},
};
use macro_rules_attribute::apply;
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    event::Event,
    eventually,
    raw::{self, HEADERS, MESSAGE_ID, RawMessage, long, short},
    test,
};

fn to_json(properties: &BasicProperties) -> Value {
    serde_json::from_str(&to_text(properties)).unwrap()
}

fn text(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text.as_bytes()))
}

fn table(members: &[(&str, AMQPValue)]) -> FieldTable {
    let members = members.iter().map(|(name, value)| (ShortString::from(*name), value.clone()));
    FieldTable::from(members.collect::<BTreeMap<_, _>>())
}

/// A header of each type, some with values that neither databases nor JSON can store.
fn every_header() -> FieldTable {
    let list = vec![AMQPValue::Void, text("x"), AMQPValue::FieldTable(table(&[("n\0", text("\0"))]))];
    let mut deep = text("deepest");
    for _ in 0..12 {
        deep = AMQPValue::FieldTable(table(&[("down", AMQPValue::FieldArray(FieldArray::from(vec![deep])))]));
    }
    table(&[
        ("nul", text("a\0b")),
        ("binary", AMQPValue::LongString(LongString::from([0, 0xff, 0xfe, 0x80].as_slice()))),
        ("surrogate", AMQPValue::LongString(LongString::from(b"\xed\xa0\x80".as_slice()))),
        ("bytes", AMQPValue::ByteArray(ByteArray::from(vec![0, 159, 146, 150]))),
        ("control", text("\u{1}\u{7f}\u{9b}\u{202e}\u{ffff}")),
        ("json", text(r#"{"\ud800": 1e400}"#)),
        ("bool", AMQPValue::Boolean(true)),
        ("small", AMQPValue::ShortShortInt(i8::MIN)),
        ("long", AMQPValue::LongLongInt(i64::MIN)),
        ("double", AMQPValue::Double(f64::MAX)),
        ("time", AMQPValue::Timestamp(u64::MAX)),
        ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 255, value: u32::MAX })),
        ("list", AMQPValue::FieldArray(FieldArray::from(list))),
        ("deep", deep),
        ("", text("no name")),
        ("traceparent", text("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
    ])
}

fn every_property() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("application/json\0".into())
        .with_content_encoding("x".repeat(255).into())
        .with_correlation_id("correlation \u{1f600}".into())
        .with_reply_to("answers".into())
        .with_message_id("id".into())
        .with_type("type".into())
        .with_user_id("guest".into())
        .with_app_id("app".into())
        .with_cluster_id("cluster".into())
        .with_delivery_mode(2)
        .with_priority(9)
        .with_timestamp(u64::MAX)
        .with_headers(every_header())
}

/// Brokers of different versions add different ones.
fn without_headers_of_the_broker(headers: &mut Value) {
    headers.as_object_mut().unwrap().retain(|name, _| !is_broker_header(name));
}

#[apply(test)]
async fn bytes_and_properties_are_kept_and_replayed(app: &TestApp) {
    app.broker.declare().await;
    let body: Vec<u8> = (0..=255).collect();
    app.broker.publish_bytes("trigger.fired.any.thing", &body, every_property()).await;
    let service = app.run(&[]).await;
    let dead = app.wait_for_dead_letter().await;
    assert_eq!((dead.body, dead.routing_key.as_str()), (body.clone(), "trigger.fired.any.thing"));
    assert_eq!(dead.properties, to_json(&every_property()));
    let shown = app.json(&["dead-letter", "show", &dead.id.to_string()]).await;
    assert_eq!(shown["properties"], to_json(&every_property()));
    assert_eq!(shown["bodyBase64"].as_str().map(str::len), Some(344));
    service.sigterm();
    service.ended().await;
    let replay = app.json(&["dead-letter", "replay", &dead.id.to_string(), "--yes"]).await;
    assert_eq!(replay, json!({"replayed": 1, "skipped": 0, "failed": 0}));
    let message = app.broker.take("trigger-fired").await;
    assert_eq!((message.data.as_slice(), message.exchange.as_str()), (body.as_slice(), ""));
    let mut expected = to_json(&every_property());
    let object = expected.as_object_mut().unwrap();
    object.remove("userId");
    object["headers"][DEAD_LETTER_HEADER] = json!({"string": dead.id.to_string()});
    // Only a short string with NUL changes.
    object["contentType"] = json!("application/json\u{fffd}");
    let mut replayed = to_json(&message.properties);
    without_headers_of_the_broker(&mut replayed["headers"]);
    assert_eq!(replayed, expected);
}

#[apply(test)]
async fn forged_and_huge_headers_are_harmless(app: &TestApp) {
    app.broker.declare().await;
    let death = |queue: &str| {
        let death = table(&[("queue", text(queue)), ("reason", text("rejected")), ("count", text("x"))]);
        AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::FieldTable(death)]))
    };
    let forged = [
        table(&[("x-death", death("webhook")), ("x-first-death-queue", text("webhook"))]),
        table(&[("x-death", text("none")), ("x-delivery-count", text("many"))]),
        table(&[("x-death", AMQPValue::FieldArray(FieldArray::from(vec![AMQPValue::Void])))]),
        table(&[("x-delivery-count", AMQPValue::LongLongInt(i64::MAX))]),
        table(&[("x-delivery-count", AMQPValue::LongLongInt(-1))]),
        table(&[(DEAD_LETTER_HEADER, text("nonsense"))]),
        table(&[(DEAD_LETTER_HEADER, AMQPValue::Void)]),
        table(&[("traceparent", AMQPValue::LongString(LongString::from([0, 255].as_slice())))]),
        table(&[("traceparent", text("00-\r\nx: y")), ("tracestate", text("a\nb"))]),
        table(&[("huge", text(&"\u{1}".repeat(100_000)))]),
        (0..2_000)
            .map(|n| (ShortString::from(format!("h{n}")), text("x")))
            .collect::<BTreeMap<_, _>>()
            .into(),
    ];
    for (index, headers) in forged.iter().enumerate() {
        let event = Event::lead("Ada").email(&format!("{index}@analytical.example"));
        let properties = event.properties().with_headers(headers.clone());
        app.broker.publish_bytes("trigger.fired", &event.bytes(), properties.clone()).await;
        app.broker.publish_bytes("trigger.fired", format!("bad {index}").as_bytes(), properties).await;
    }
    let process = app.run(&[]).await;
    let count = i64::try_from(forged.len()).unwrap();
    app.wait_for_rows("contacts", count).await;
    app.wait_for_dead_letters_because("undecodable", count).await;
    for dead in app.dead_letters().await {
        assert_eq!((dead.stage.as_str(), dead.attempts), ("upsert", 1));
    }
    // A sender's own count of deliveries is not the broker's.
    let metrics = process.get("/metrics").await.unwrap();
    let redelivered = |line: &&str| line.starts_with("contact_relay_messages_redelivered_total{");
    let counts: Vec<&str> = metrics.lines().filter(redelivered).collect();
    assert!(!counts.is_empty() && counts.iter().all(|line| line.ends_with(" 0")), "{counts:?}");
    // Replayed with 100 kB of headers, they fail again and reopen the same dead letters.
    let replay = app.json(&["dead-letter", "replay", "--all", "--yes"]).await;
    assert_eq!(replay, json!({"replayed": count, "skipped": 0, "failed": 0}));
    app.wait_for_rows("dead_letters WHERE state = 'open' AND replays = 1 AND attempts = 2", count).await;
    assert_eq!(app.rows("dead_letters").await, count);
    assert!(app.broker.hear(forged.len()).await.iter().all(|heard| heard.header("traceparent").is_none()));
}

#[apply(test)]
async fn hostile_headers_of_an_expired_message_are_kept(app: &TestApp) {
    app.broker.declare().await;
    let properties = every_property().with_expiration("1".into());
    app.broker.publish_bytes("trigger.fired", b"\0 no event", properties).await;
    eventually("it has expired", async || (app.broker.depth("dead-letters").await == 1).then_some(())).await;
    app.run(&[]).await;
    let dead = app.wait_for_dead_letter().await;
    assert_eq!((dead.reason.as_str(), dead.body.as_slice()), ("broker", b"\0 no event".as_slice()));
    let mut headers = dead.properties["headers"].clone();
    assert!(headers["x-death"]["array"].is_array(), "{headers:#}");
    without_headers_of_the_broker(&mut headers);
    assert_eq!(headers, to_json(&every_property())["headers"]);
    // A replay drops the properties that would make a broker expire it again. Nobody takes it before it could.
    app.stop().await;
    let replay = ["dead-letter", "replay", &dead.id.to_string(), "--yes"];
    app.json(&replay).await;
    let message = app.broker.take("trigger-fired").await;
    assert_eq!((message.data.as_slice(), message.properties.expiration()), (dead.body.as_slice(), &None));
    app.run(&[]).await;
    app.json(&replay).await;
    let dead = app.the_dead_letter("open again", |dead| dead.state == "open" && dead.replays == 2).await;
    assert_eq!((dead.reason.as_str(), dead.attempts), ("undecodable", 2));
}

#[apply(test)]
async fn attempts_and_replays_are_counted(app: &TestApp) {
    app.run(&[]).await;
    let bad = Event::lead("Ada").phone("12");
    app.broker.publish(&bad).await;
    let first = app.the_dead_letter("there", |dead| dead.attempts == 1).await;
    assert_eq!((first.replays, first.seen_again, first.state.as_str()), (0, false, "open"));
    app.broker.publish_all(&[bad.clone(), bad.clone()]).await;
    let second = app.the_dead_letter("seen again", |dead| dead.attempts == 3).await;
    assert_eq!((second.id, second.replays, second.seen_again), (first.id, 0, true));
    for replays in 1..=3 {
        let id = first.id.to_string();
        let done: Value = app.json(&["dead-letter", "replay", &id, "--yes"]).await;
        assert_eq!(done["replayed"], 1);
        let again =
            |dead: &crate::support::dead_letters::Dead| dead.state == "open" && dead.replays == replays;
        let dead = app.the_dead_letter("open again", again).await;
        assert_eq!((dead.id, dead.attempts), (first.id, 3 + replays));
    }
}

/// Names that are not UTF-8 and tables nested thousands deep. `RabbitMQ` forwards them, and with every redelivery
/// the client library would close its connection or end the process.
#[apply(test)]
async fn bytes_that_crash_the_client_library_become_dead_letters(app: &TestApp) {
    app.run(&[]).await;
    let bad = |routing_key, flag, property, body| RawMessage { routing_key, flag, property, body };
    let key = b"trigger.fired".as_slice();
    let levels =
        (0..4_000_u32).rev().flat_map(|below| [b"\x01kF".as_slice(), &(7 * below).to_be_bytes()].concat());
    let deep = long(&levels.collect::<Vec<u8>>());
    let named = long(&[short(b"na\xefve"), vec![b'S'], long(b"\xff")].concat());
    raw::publish(app, bad(key, MESSAGE_ID, short(b"\xff\xfe"), b"an id")).await;
    raw::publish(app, bad(key, HEADERS, named, b"a name")).await;
    raw::publish(app, bad(b"trigger.fired.\xff", MESSAGE_ID, short(b"x"), b"a key")).await;
    raw::publish(app, bad(key, HEADERS, deep, b"depth")).await;
    app.broker.publish(&Event::lead("Ada").email("ada@analytical.example")).await;
    app.wait_for_dead_letters_because("undecodable", 4).await;
    app.wait_for_rows("contacts", 1).await;
    let all = app.dead_letters().await;
    let of = |body: &[u8]| all.iter().find(|dead| dead.body == body).expect("its bytes");
    assert_eq!(of(b"an id").properties["messageId"], "??");
    assert_eq!(of(b"a name").properties["headers"]["na?ve"], json!({"string_base64": "/w=="}));
    assert_eq!(of(b"a key").routing_key, "trigger.fired.?");
    assert!(of(b"depth").properties["headers"]["k"]["table"].is_object());
    assert!(all.iter().all(|dead| dead.attempts == 1));
}
