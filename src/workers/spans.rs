//! Spans that more than one worker records.

use std::time::SystemTime;

use serde_json::Value;

use crate::{
    amqp::properties,
    postgres::dead_letters::NewDeadLetter,
    telemetry::traces::{Attribute, Kind, Span, Traces, key_of},
};

/// What worker 1 does with one event.
pub(super) const UPSERT: &str = "upsert";

/// What the collector does with a message that the broker has dead-lettered.
pub(super) const COLLECT: &str = "collect dead letter";

/// The span of a message that has become a dead letter, in the trace that the message came with. One without a trace has that
/// of its event, or of its contents.
pub(super) fn dead_letter(
    traces: &Traces,
    dead: &NewDeadLetter,
    name: &'static str,
    began: SystemTime,
) -> Option<Span> {
    if !traces.is_on() {
        return None;
    }
    let kept: Value = serde_json::from_str(&dead.properties).unwrap_or_default();
    let came_with = properties::trace(&kept, &dead.body);
    let span = traces.event(&came_with, key_of(dead.event_key, &dead.meaning), name, Kind::Consumer)?;
    let company = (!dead.company.is_empty()).then(|| Attribute::Company(dead.company.clone()));
    let facts = company.into_iter().chain(dead.replay_of.map(Attribute::ReplayOf));
    Some(facts.fold(span.started(began), Span::with).with(Attribute::Error(dead.reason.name())))
}
