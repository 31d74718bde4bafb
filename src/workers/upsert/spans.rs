//! Spans of a committed portion: one for each event, in the event's trace, and one for all of them, with links.

use std::time::SystemTime;

use super::{portion::Portion, transaction::DeadLetters};
use crate::{
    domain::trace_context::Ids,
    telemetry::traces::{Attribute, Span, Traces},
    workers::spans,
};

/// Ends the spans of a portion whose transaction began then.
pub(super) fn end(traces: &Traces, portion: Portion, dead_letters: &DeadLetters, began: SystemTime) {
    if !traces.is_on() {
        return;
    }
    let messages = portion.accepted.len() + portion.rejected.len();
    let accepted = portion.accepted.into_iter().filter_map(|one| {
        let refused = dead_letters.reasons.get(&one.meaning).map(|reason| Attribute::Error(reason.name()));
        let facts = one.replay_of.map(Attribute::ReplayOf).into_iter().chain(refused);
        Some(facts.fold(one.span?, Span::with))
    });
    let rejected = portion.rejected.iter();
    let rejected = rejected.filter_map(|one| spans::dead_letter(traces, &one.dead, spans::UPSERT, began));
    let ended = accepted.chain(rejected).map(|span| {
        let ids = span.ids();
        span.end();
        ids
    });
    let members: Vec<Ids> = ended.collect();
    if let Some(batch) = traces.batch(members, "upsert batch", began) {
        batch.with(Attribute::Messages(messages)).with(Attribute::DeadLetters(dead_letters.count())).end();
    }
}
