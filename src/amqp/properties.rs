//! Converts AMQP properties and headers to JSON and back, so that the database can store a dead letter and a replay
//! can rebuild its message.
//!
//! A property is a member of the object, named as in the AMQP specification but in camel case. A header value is an
//! object with one member, whose key is its AMQP type: `{"string": "x"}`. No text contains NUL, which Postgres
//! refuses.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use lapin::{
    BasicProperties,
    types::{AMQPValue, ByteArray, DecimalValue, FieldArray, FieldTable, LongString, ShortString},
};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::headers::{TRACEPARENT, TRACESTATE};
use crate::domain::{chain::outgoing::ReplyTo, trace_context::TraceContext, trigger::fired};

/// Header of a replayed message: the id of the dead letter.
pub const DEAD_LETTER_HEADER: &str = "x-contact-relay-dead-letter";

/// Maximum nesting of tables and arrays within headers; deeper ones become void. No real client nests that
/// deep, and the JSON parser has a limit, too.
const MAX_DEPTH: usize = 16;

/// Converts properties to the text of a JSON object that keeps the AMQP types of the headers. Headers are written value by
/// value: one without contents takes a byte in a message, and hundreds as an object in memory.
#[must_use]
pub fn to_text(properties: &BasicProperties) -> String {
    let mut object = Map::new();
    for (name, text) in [
        ("contentType", properties.content_type()),
        ("contentEncoding", properties.content_encoding()),
        ("correlationId", properties.correlation_id()),
        ("replyTo", properties.reply_to()),
        ("expiration", properties.expiration()),
        ("messageId", properties.message_id()),
        ("type", properties.kind()),
        ("userId", properties.user_id()),
        ("appId", properties.app_id()),
        ("clusterId", properties.cluster_id()),
    ] {
        if let Some(text) = text {
            object.insert(name.to_owned(), Value::String(without_nul(text.as_str())));
        }
    }
    for (name, number) in [("deliveryMode", properties.delivery_mode()), ("priority", properties.priority())]
    {
        if let Some(number) = number {
            object.insert(name.to_owned(), json!(number));
        }
    }
    if let Some(timestamp) = properties.timestamp() {
        object.insert("timestamp".to_owned(), json!(timestamp));
    }
    let members = object.iter().map(|(name, value)| (name.clone(), Member::Value(value)));
    let headers = properties.headers().iter().map(|headers| ("headers".to_owned(), Member::Table(headers)));
    let mut text = String::new();
    write_object(&mut text, members.chain(headers), |text, member| match member {
        Member::Value(value) => text.push_str(&value.to_string()),
        Member::Table(headers) => write_table(text, headers, 0),
    });
    text
}

/// The source of a property.
enum Member<'a> {
    Value(&'a Value),
    Table(&'a FieldTable),
}

type SetText = fn(BasicProperties, ShortString) -> BasicProperties;

/// Reads the JSON of [`to_text`]. Leaves out members that it cannot read.
#[must_use]
pub fn from_json(value: &Value) -> BasicProperties {
    let text = |name: &str| value.get(name).and_then(Value::as_str).and_then(short_string);
    let number = |name: &str| value.get(name).and_then(Value::as_u64).and_then(|n| u8::try_from(n).ok());
    let mut properties = BasicProperties::default();
    let setters: [(&str, SetText); 10] = [
        ("contentType", BasicProperties::with_content_type),
        ("contentEncoding", BasicProperties::with_content_encoding),
        ("correlationId", BasicProperties::with_correlation_id),
        ("replyTo", BasicProperties::with_reply_to),
        ("expiration", BasicProperties::with_expiration),
        ("messageId", BasicProperties::with_message_id),
        ("type", BasicProperties::with_type),
        ("userId", BasicProperties::with_user_id),
        ("appId", BasicProperties::with_app_id),
        ("clusterId", BasicProperties::with_cluster_id),
    ];
    for (name, set) in setters {
        if let Some(text) = text(name) {
            properties = set(properties, text);
        }
    }
    if let Some(mode) = number("deliveryMode") {
        properties = properties.with_delivery_mode(mode);
    }
    if let Some(priority) = number("priority") {
        properties = properties.with_priority(priority);
    }
    if let Some(timestamp) = value.get("timestamp").and_then(Value::as_u64) {
        properties = properties.with_timestamp(timestamp);
    }
    if let Some(headers) = value.get("headers").and_then(Value::as_object) {
        properties = properties.with_headers(table_from_json(headers));
    }
    properties
}

/// The properties for a replay: persistent, marked with the dead letter's id, and without anything that makes a
/// broker drop, expire, refuse or copy the message.
///
/// `RabbitMQ` 3.10 drops a message whose `x-death` looks like a cycle, `CC` and `BCC` route it to further queues, and
/// `userId` must be the user of the publishing connection. With a `trace`, the message belongs to that one.
#[must_use]
pub fn for_replay(kept: &Value, dead_letter_id: Uuid, trace: Option<&TraceContext>) -> BasicProperties {
    let mut kept = kept.as_object().cloned().unwrap_or_default();
    kept.remove("expiration");
    kept.remove("userId");
    kept.insert("deliveryMode".to_owned(), json!(2));
    let mut headers = match kept.remove("headers") {
        Some(Value::Object(headers)) => headers,
        _ => Map::new(),
    };
    headers.retain(|name, _| !is_broker_header(name));
    headers.insert(DEAD_LETTER_HEADER.to_owned(), json!({ "string": dead_letter_id.to_string() }));
    let of_trace = [
        (TRACEPARENT, trace.map(TraceContext::traceparent)),
        (TRACESTATE, trace.map(TraceContext::tracestate)),
    ];
    for (name, value) in of_trace {
        match value {
            Some(Some(value)) => drop(headers.insert(name.to_owned(), json!({ "string": value }))),
            Some(None) => drop(headers.remove(name)),
            None => {}
        }
    }
    kept.insert("headers".to_owned(), Value::Object(headers));
    from_json(&Value::Object(kept))
}

/// The trace of a message that was kept: that of its headers, or else that of its envelope, see [`fired::trace_of`].
#[must_use]
pub fn trace(kept: &Value, body: &[u8]) -> TraceContext {
    let header = |name: &str| {
        let value = kept.get("headers")?.get(name)?;
        value.get("string").or_else(|| value.get("short_string"))?.as_str()
    };
    let headers = TraceContext::new(header(TRACEPARENT), header(TRACESTATE));
    if headers.traceparent().is_some() { headers } else { fired::trace_of(body) }
}

/// Where the sender waits for the result. `None` if the message names no queue that Postgres can store.
#[must_use]
pub fn reply_to(properties: &BasicProperties) -> Option<ReplyTo> {
    let queue = properties.reply_to().as_ref().map(ShortString::as_str).filter(|queue| !queue.is_empty())?;
    let correlation_id = properties.correlation_id().as_ref().map(ShortString::as_str);
    let is_storable = |text: &str| !text.contains('\0');
    let is_usable = is_storable(queue) && correlation_id.is_none_or(is_storable);
    is_usable.then(|| ReplyTo { queue: queue.to_owned(), correlation_id: correlation_id.map(str::to_owned) })
}

/// The dead letter that this message replays, if it is a replay.
#[must_use]
pub fn replayed_dead_letter(properties: &BasicProperties) -> Option<Uuid> {
    let value = properties.headers().as_ref()?.inner().get(DEAD_LETTER_HEADER)?;
    let AMQPValue::LongString(text) = value else { return None };
    Uuid::try_parse_ascii(text.as_bytes()).ok()
}

/// Whether a broker adds this header, or acts on it. Which ones it adds depends on its version.
#[must_use]
pub fn is_broker_header(name: &str) -> bool {
    ["x-death", "x-first-death-", "x-last-death-"].iter().any(|start| name.starts_with(start))
        || ["x-delivery-count", "CC", "BCC"].contains(&name)
}

fn write_object<T>(
    text: &mut String,
    members: impl Iterator<Item = (String, T)>,
    write: impl Fn(&mut String, T),
) {
    text.push('{');
    for (number, (name, value)) in members.enumerate() {
        if number > 0 {
            text.push(',');
        }
        text.push_str(&Value::String(name).to_string());
        text.push(':');
        write(text, value);
    }
    text.push('}');
}

fn write_table(text: &mut String, table: &FieldTable, depth: usize) {
    let members = table.inner().iter().map(|(name, value)| (without_nul(name.as_str()), value));
    write_object(text, members, |text, value| write_typed(text, value, depth + 1));
}

fn write_typed(text: &mut String, value: &AMQPValue, depth: usize) {
    match value {
        AMQPValue::FieldArray(array) if depth < MAX_DEPTH => {
            text.push_str("{\"array\":[");
            for (number, item) in array.as_slice().iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                write_typed(text, item, depth + 1);
            }
            text.push_str("]}");
        }
        AMQPValue::FieldTable(table) if depth < MAX_DEPTH => {
            text.push_str("{\"table\":");
            write_table(text, table, depth);
            text.push('}');
        }
        _ => text.push_str(&leaf(value).to_string()),
    }
}

/// A value without nested ones. Values nested too deep are void.
fn leaf(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(value) => json!({ "bool": value }),
        AMQPValue::ShortShortInt(value) => json!({ "i8": value }),
        AMQPValue::ShortShortUInt(value) => json!({ "u8": value }),
        AMQPValue::ShortInt(value) => json!({ "i16": value }),
        AMQPValue::ShortUInt(value) => json!({ "u16": value }),
        AMQPValue::LongInt(value) => json!({ "i32": value }),
        AMQPValue::LongUInt(value) => json!({ "u32": value }),
        AMQPValue::LongLongInt(value) => json!({ "i64": value }),
        // As text, because JSON has neither NaN nor infinity.
        AMQPValue::Float(value) => json!({ "f32": value.to_string() }),
        AMQPValue::Double(value) => json!({ "f64": value.to_string() }),
        AMQPValue::DecimalValue(value) => json!({ "decimal": [value.scale, value.value] }),
        AMQPValue::ShortString(value) => json!({ "short_string": without_nul(value.as_str()) }),
        AMQPValue::LongString(value) => match std::str::from_utf8(value.as_bytes()) {
            Ok(text) if !text.contains('\0') => json!({ "string": text }),
            _ => json!({ "string_base64": STANDARD.encode(value.as_bytes()) }),
        },
        AMQPValue::Timestamp(value) => json!({ "timestamp": value }),
        AMQPValue::ByteArray(value) => json!({ "bytes": STANDARD.encode(value.as_slice()) }),
        AMQPValue::FieldArray(_) | AMQPValue::FieldTable(_) | AMQPValue::Void => json!({ "void": null }),
    }
}

fn table_from_json(object: &Map<String, Value>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in object {
        if let (Some(name), Some(value)) = (short_string(name), from_typed(value)) {
            table.insert(name, value);
        }
    }
    table
}

fn from_typed(value: &Value) -> Option<AMQPValue> {
    let (kind, value) = value.as_object()?.iter().next()?;
    let bytes = || value.as_str().and_then(|text| STANDARD.decode(text).ok());
    Some(match kind.as_str() {
        "bool" => AMQPValue::Boolean(value.as_bool()?),
        "i8" => AMQPValue::ShortShortInt(value.as_i64()?.try_into().ok()?),
        "u8" => AMQPValue::ShortShortUInt(value.as_u64()?.try_into().ok()?),
        "i16" => AMQPValue::ShortInt(value.as_i64()?.try_into().ok()?),
        "u16" => AMQPValue::ShortUInt(value.as_u64()?.try_into().ok()?),
        "i32" => AMQPValue::LongInt(value.as_i64()?.try_into().ok()?),
        "u32" => AMQPValue::LongUInt(value.as_u64()?.try_into().ok()?),
        "i64" => AMQPValue::LongLongInt(value.as_i64()?),
        "f32" => AMQPValue::Float(value.as_str()?.parse().ok()?),
        "f64" => AMQPValue::Double(value.as_str()?.parse().ok()?),
        "decimal" => AMQPValue::DecimalValue(DecimalValue {
            scale: value.get(0)?.as_u64()?.try_into().ok()?,
            value: value.get(1)?.as_u64()?.try_into().ok()?,
        }),
        "short_string" => AMQPValue::ShortString(short_string(value.as_str()?)?),
        "string" => AMQPValue::LongString(LongString::from(value.as_str()?.as_bytes())),
        "string_base64" => AMQPValue::LongString(LongString::from(bytes()?)),
        "timestamp" => AMQPValue::Timestamp(value.as_u64()?),
        "bytes" => AMQPValue::ByteArray(ByteArray::from(bytes()?)),
        "array" => {
            let items: Vec<AMQPValue> = value.as_array()?.iter().filter_map(from_typed).collect();
            AMQPValue::FieldArray(FieldArray::from(items))
        }
        "table" => AMQPValue::FieldTable(table_from_json(value.as_object()?)),
        "void" => AMQPValue::Void,
        _ => return None,
    })
}

/// `None` if the text is longer than a short string can be (255 bytes).
fn short_string(text: &str) -> Option<ShortString> {
    ShortString::try_new(text).ok()
}

fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

#[cfg(test)]
mod tests;
