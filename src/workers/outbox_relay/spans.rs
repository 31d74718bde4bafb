//! Spans of published events.

use crate::{
    amqp::Unpublished,
    domain::{
        chain::{completed, outgoing::OutgoingEvent},
        webhook::requested::WEBHOOK_REQUESTED,
    },
    telemetry::traces::{Attribute, Kind, Span, Traces, continued},
};

/// Begins the span of an event, and makes it the parent in the event's message.
pub(super) fn begin(traces: &Traces, event: &mut OutgoingEvent) -> Option<Span> {
    let span = traces.child(&event.trace, name(&event.kind), Kind::Producer)?;
    event.trace = continued(&event.trace, Some(&span));
    Some(span.with(Attribute::Company(event.company.clone())))
}

/// Ends it with what the broker said.
pub(super) fn end(span: Option<Span>, outcome: Result<(), Unpublished>) {
    if let Some(span) = span {
        outcome.err().map(|why| Attribute::Error(why.name())).into_iter().fold(span, Span::with).end();
    }
}

fn name(kind: &str) -> &'static str {
    match kind {
        "contact.upserted" => "publish contact.upserted",
        "contact.merged" => "publish contact.merged",
        WEBHOOK_REQUESTED => "publish webhook.requested",
        completed::KIND => "publish trigger.completed",
        _ => "publish",
    }
}
