//! AMQP messages from committed events.

use lapin::{BasicProperties, types::FieldTable};

use crate::{
    amqp::{Message, headers},
    domain::chain::{
        completed,
        outgoing::{OutgoingEvent, rfc3339},
    },
};

/// The event, for the topic exchange.
pub(super) fn to_amqp(exchange: &str, message: OutgoingEvent) -> Message {
    // These events may have no subscriber; all others are routed to the webhook queue.
    let optional = ["contact.merged", "contact.unmerged", "contact.erased", completed::KIND];
    Message {
        exchange: exchange.to_owned(),
        mandatory: !optional.contains(&message.routing_key.as_str()),
        properties: properties(&message, Some(&message.correlation_id)),
        routing_key: message.routing_key,
        body: message.body,
    }
}

/// The same event for the queue in its `reply_to`, if it has one, with the correlation id of the request.
pub(super) fn answer(message: &OutgoingEvent) -> Option<Message> {
    let reply_to = message.reply_to.as_ref()?;
    Some(Message {
        exchange: String::new(),
        routing_key: reply_to.queue.clone(),
        mandatory: false,
        body: message.body.clone(),
        properties: properties(message, reply_to.correlation_id.as_deref()),
    })
}

fn properties(message: &OutgoingEvent, correlation_id: Option<&str>) -> BasicProperties {
    let mut table = FieldTable::default();
    let mut header = |name: &str, value: &str| {
        table.insert(name.into(), lapin::types::AMQPValue::LongString(value.into()));
    };
    header(headers::ID, &message.id.to_string());
    header(headers::SOURCE, &message.source);
    header(headers::TYPE, &message.kind);
    header(headers::TIME, &rfc3339(message.time));
    if let Some(subject) = &message.subject {
        header(headers::SUBJECT, subject);
    }
    for (name, value) in [
        (headers::TRACEPARENT, message.trace.traceparent()),
        (headers::TRACESTATE, message.trace.tracestate()),
    ] {
        if let Some(value) = value {
            header(name, value);
        }
    }
    let properties = BasicProperties::default()
        .with_message_id(message.id.to_string().into())
        .with_type(message.kind.as_str().into())
        .with_timestamp(u64::try_from(message.time.unix_timestamp()).unwrap_or_default())
        .with_content_type("application/cloudevents+json".into())
        .with_delivery_mode(2)
        .with_headers(table);
    // A short string has at most 255 bytes; a longer event id is in the body only.
    match correlation_id.filter(|id| id.len() <= 255) {
        Some(id) => properties.with_correlation_id(id.into()),
        None => properties,
    }
}
