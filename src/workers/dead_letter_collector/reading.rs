//! What a message in the broker's dead-letter queue says about itself.

use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;

use crate::{
    amqp::{Received, Topology},
    domain::{
        event::{CompanyId, EventRef},
        fault::{Fault, Reason, Stage},
        trigger::fired,
    },
    postgres::dead_letters::NewDeadLetter,
    workers::dead_letter,
};

/// The dead letter of a message.
pub(super) fn dead_letter(topology: &Topology, message: &Received) -> NewDeadLetter {
    let death = Death::of(message);
    let stage = if death.queue.as_deref() == Some(topology.webhook().as_str()) {
        Stage::Webhook
    } else {
        Stage::Upsert
    };
    let text = match death.reason.as_deref() {
        Some("delivery_limit") => "the broker delivered it too often without an ack (delivery limit)",
        Some("expired") => "it expired in the queue",
        Some("maxlen") => "the queue was full",
        Some("rejected") => "a consumer other than contact-relay rejected it",
        _ => "the broker gave no reason",
    };
    let fault = Fault::new(Reason::Broker, text);
    let fault = match stage {
        // Not decoded: it may be here because decoding it crashed the process.
        Stage::Upsert => fired::with_origin(&message.body, fault),
        Stage::Webhook => with_origin(fault, &message.body),
    };
    dead_letter::of_message(message, stage, fault)
}

/// Adds company, event and trigger of a message that this service published to the webhook queue.
fn with_origin(fault: Fault, body: &[u8]) -> Fault {
    let event: Value = serde_json::from_slice(body).unwrap_or_default();
    let text = |pointer| event.pointer(pointer).and_then(Value::as_str);
    let company = text("/data/contact/companyId").or_else(|| text("/data/company/id"));
    let cause = text("/data/trigger/eventSource").zip(text("/data/trigger/eventId"));
    Fault {
        company: company.and_then(|id| CompanyId::new(id).ok()),
        event: cause.and_then(|(source, id)| EventRef::new(source, id).ok()),
        // Postgres refuses a zero byte, and the batch would be tried for ever.
        trigger: text("/data/trigger/name").filter(|name| !name.contains('\0')).map(str::to_owned),
        ..fault
    }
}

/// The most recent entry of the `x-death` header.
#[derive(Default)]
struct Death {
    queue: Option<String>,
    reason: Option<String>,
}

impl Death {
    fn of(message: &Received) -> Self {
        let headers = message.properties.headers().as_ref();
        let deaths = headers.and_then(|headers| headers.inner().get("x-death"));
        let Some(AMQPValue::FieldArray(deaths)) = deaths else { return Self::default() };
        let Some(AMQPValue::FieldTable(latest)) = deaths.as_slice().first() else { return Self::default() };
        Self { queue: text(latest, "queue"), reason: text(latest, "reason") }
    }
}

fn text(table: &FieldTable, key: &str) -> Option<String> {
    match table.inner().get(key)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}
