//! Spans of replays. Each belongs to the trace of its dead letter and is the parent of what the replayed message
//! does.

use uuid::Uuid;

use crate::{
    amqp::{Unpublished, properties},
    domain::{fault::Stage, trace_context::TraceContext},
    postgres::dead_letters::Replayable,
    telemetry::traces::{Attribute, Kind, Span, Traces, continued, key_of},
};

const NAME: &str = "replay";

/// Where replays are recorded, and the operation that they belong to.
#[derive(Clone, Copy)]
pub(in crate::operator) struct Recording<'a> {
    pub(in crate::operator) traces: &'a Traces,
    pub(in crate::operator) operation: Option<Uuid>,
}

/// Begins the span of a replay. Its message carries the trace that is returned with it.
pub(super) fn begin(recording: Recording<'_>, replayable: &Replayable) -> Option<(Span, TraceContext)> {
    let Recording { traces, operation } = recording;
    if !traces.is_on() {
        return None;
    }
    let Replayable { key, stage, properties, body, event_key, meaning, .. } = replayable;
    let came_with = properties::trace(properties, body);
    let span = match stage {
        Stage::Upsert => traces.event(&came_with, key_of(*event_key, meaning), NAME, Kind::Producer),
        // Its event has begun the trace, if it has one.
        Stage::Webhook => traces.child(&came_with, NAME, Kind::Producer),
    }?;
    let trace = continued(&came_with, Some(&span));
    let company = (!key.company.is_empty()).then(|| Attribute::Company(key.company.clone()));
    let facts = company.into_iter().chain(operation.map(Attribute::Operation));
    Some((facts.fold(span.with(Attribute::ReplayOf(key.id)), Span::with), trace))
}

/// Ends it with the broker's answer.
pub(super) fn end(span: Span, outcome: Result<(), Unpublished>) {
    outcome.err().map(|why| Attribute::Error(why.name())).into_iter().fold(span, Span::with).end();
}
