//! Properties of any client survive the round trip through the database.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn to_json(properties: &BasicProperties) -> Value {
    serde_json::from_str(&to_text(properties)).unwrap()
}

/// A short string without NUL, which is replaced on purpose.
fn text() -> impl Strategy<Value = ShortString> {
    "[^\0]{0,40}".prop_map(|text| ShortString::try_new(text).unwrap())
}

fn header_value() -> impl Strategy<Value = AMQPValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(AMQPValue::Boolean),
        any::<i8>().prop_map(AMQPValue::ShortShortInt),
        any::<u8>().prop_map(AMQPValue::ShortShortUInt),
        any::<i16>().prop_map(AMQPValue::ShortInt),
        any::<u16>().prop_map(AMQPValue::ShortUInt),
        any::<i32>().prop_map(AMQPValue::LongInt),
        any::<u32>().prop_map(AMQPValue::LongUInt),
        any::<i64>().prop_map(AMQPValue::LongLongInt),
        any::<f32>().prop_map(AMQPValue::Float),
        any::<f64>().prop_map(AMQPValue::Double),
        (any::<u8>(), any::<u32>())
            .prop_map(|(scale, value)| AMQPValue::DecimalValue(DecimalValue { scale, value })),
        text().prop_map(AMQPValue::ShortString),
        any::<Vec<u8>>().prop_map(|bytes| AMQPValue::LongString(LongString::from(bytes))),
        any::<String>().prop_map(|text| AMQPValue::LongString(LongString::from(text.into_bytes()))),
        any::<u64>().prop_map(AMQPValue::Timestamp),
        any::<Vec<u8>>().prop_map(|bytes| AMQPValue::ByteArray(ByteArray::from(bytes))),
        Just(AMQPValue::Void),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| AMQPValue::FieldArray(FieldArray::from(items))),
            prop::collection::btree_map(text(), inner, 0..4)
                .prop_map(|map| AMQPValue::FieldTable(FieldTable::from(map))),
        ]
    })
}

prop_compose! {
    fn properties()(
        texts in prop::array::uniform10(prop::option::of(text())),
        mode in prop::option::of(any::<u8>()),
        priority in prop::option::of(any::<u8>()),
        timestamp in prop::option::of(any::<u64>()),
        headers in prop::option::of(prop::collection::btree_map(text(), header_value(), 0..6)),
    ) -> BasicProperties {
        let names = ["contentType", "contentEncoding", "correlationId", "replyTo", "expiration", "messageId",
            "type", "userId", "appId", "clusterId"];
        let mut object = Map::new();
        for (name, text) in names.iter().zip(texts) {
            if let Some(text) = text {
                object.insert((*name).to_owned(), json!(text.as_str()));
            }
        }
        let mut properties = from_json(&Value::Object(object));
        if let Some(mode) = mode {
            properties = properties.with_delivery_mode(mode);
        }
        if let Some(priority) = priority {
            properties = properties.with_priority(priority);
        }
        if let Some(timestamp) = timestamp {
            properties = properties.with_timestamp(timestamp);
        }
        if let Some(headers) = headers {
            properties = properties.with_headers(FieldTable::from(headers));
        }
        properties
    }
}

proptest! {
    #[test]
    fn properties_survive_the_round_trip(properties in properties()) {
        let written = to_text(&properties);
        prop_assert!(!written.contains("\\u0000"));
        let read = from_json(&serde_json::from_str(&written).unwrap());
        // Compared as text, because NaN is not equal to itself.
        prop_assert_eq!(format!("{read:?}"), format!("{properties:?}"));
    }
}

fn table(members: &[(&str, AMQPValue)]) -> FieldTable {
    let map: BTreeMap<ShortString, AMQPValue> =
        members.iter().map(|(name, value)| (ShortString::from(*name), value.clone())).collect();
    FieldTable::from(map)
}

#[test]
fn each_text_property_keeps_its_name() {
    let properties = BasicProperties::default()
        .with_content_type("a".into())
        .with_content_encoding("b".into())
        .with_correlation_id("c".into())
        .with_reply_to("d".into())
        .with_expiration("e".into())
        .with_message_id("f".into())
        .with_type("g".into())
        .with_user_id("h".into())
        .with_app_id("i".into())
        .with_cluster_id("j".into());
    assert_eq!(from_json(&to_json(&properties)), properties);
    assert_eq!(to_json(&properties)["messageId"], "f");
    assert_eq!(to_json(&properties)["type"], "g");
}

#[test]
fn replay_drops_headers_that_make_a_broker_drop_or_copy_it() {
    let yes = AMQPValue::Boolean(true);
    let headers = table(&[
        ("x-death", yes.clone()),
        ("x-death-count", yes.clone()),
        ("x-first-death-queue", yes.clone()),
        ("x-last-death-reason", yes.clone()),
        ("x-delivery-count", AMQPValue::LongLongInt(3)),
        ("CC", yes.clone()),
        ("BCC", yes.clone()),
        ("traceparent", AMQPValue::LongString("00-ab".into())),
        (DEAD_LETTER_HEADER, AMQPValue::LongString("forged".into())),
    ]);
    let kept = to_json(
        &BasicProperties::default()
            .with_headers(headers)
            .with_expiration("1".into())
            .with_user_id("u".into())
            .with_delivery_mode(1)
            .with_message_id("m".into()),
    );
    let id = uuid::Uuid::now_v7();
    let replay = for_replay(&kept, id, None);
    assert_eq!(
        replay,
        BasicProperties::default().with_delivery_mode(2).with_message_id("m".into()).with_headers(table(&[
            ("traceparent", AMQPValue::LongString("00-ab".into())),
            (DEAD_LETTER_HEADER, AMQPValue::LongString(id.to_string().into())),
        ]))
    );
    assert_eq!(replayed_dead_letter(&replay), Some(id));
    assert_eq!(replayed_dead_letter(&BasicProperties::default()), None);
}

#[test]
fn nul_is_replaced_and_deep_nesting_is_cut() {
    let mut deep = AMQPValue::Void;
    for _ in 0..500 {
        deep = AMQPValue::FieldArray(FieldArray::from(vec![deep]));
    }
    let properties = BasicProperties::default()
        .with_message_id("a\0b".into())
        .with_headers(table(&[("n\0", AMQPValue::ShortString("\0".into())), ("deep", deep)]));
    let written = to_text(&properties);
    assert!(!written.contains("\\u0000"));
    serde_json::from_str::<Value>(&written).unwrap();
}

#[test]
fn unreadable_json_gives_empty_properties() {
    for value in
        [json!(null), json!([]), json!({ "headers": 1, "priority": 300, "messageId": "x".repeat(256) })]
    {
        assert_eq!(from_json(&value), BasicProperties::default());
    }
}

#[test]
fn reply_to_without_a_storable_queue_wants_no_answer() {
    let of = |queue: &str, id: Option<&str>| {
        let properties = BasicProperties::default().with_reply_to(queue.into());
        let properties = match id {
            Some(id) => properties.with_correlation_id(id.into()),
            None => properties,
        };
        reply_to(&properties).map(|reply_to| (reply_to.queue, reply_to.correlation_id))
    };
    assert_eq!(reply_to(&BasicProperties::default().with_correlation_id("7".into())), None);
    assert_eq!(of("q", Some("7")), Some(("q".to_owned(), Some("7".to_owned()))));
    assert_eq!(of("q", Some("")), Some(("q".to_owned(), Some(String::new()))));
    assert_eq!(of("q", None), Some(("q".to_owned(), None)));
    let longest = "q".repeat(255);
    assert_eq!(of(&longest, None), Some((longest.clone(), None)));
    for (queue, id) in [("", None), ("a\0", None), ("q", Some("\0"))] {
        assert_eq!(of(queue, id), None, "{queue:?} {id:?}");
    }
}
