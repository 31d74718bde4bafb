//! Spans of attempts.

use crate::{
    domain::webhook::{
        attempt::{Class, Outcome},
        delivery::{Delivery, Progress},
    },
    telemetry::traces::{Attribute, Kind, Span, Traces},
};

/// Begins the span of an attempt.
pub(super) fn begin(traces: &Traces, delivery: &Delivery, progress: Progress) -> Option<Span> {
    let span = traces.child(&delivery.trace, "webhook attempt", Kind::Client)?;
    let facts = [
        Attribute::Company(delivery.key.company.clone()),
        Attribute::Event(delivery.event_key),
        Attribute::Delivery(delivery.key.id),
        Attribute::Attempt(progress.attempts.saturating_add(1)),
    ];
    Some(facts.into_iter().fold(span, Span::with))
}

/// Ends it with the outcome of the attempt.
pub(super) fn end(span: Option<Span>, outcome: &Outcome) {
    let Some(span) = span else { return };
    let class = outcome.class.name();
    let error = (outcome.class != Class::Delivered).then_some(Attribute::Error(class));
    let facts = outcome.status.map(Attribute::Status).into_iter().chain(error);
    facts.fold(span.with(Attribute::Class(class)), Span::with).end();
}
