//! Spans: what the service did for an event, and when. [`super::otlp`] exports them.
//!
//! Recording a span takes no lock and never waits: the span goes into a bounded queue, and is dropped and counted if
//! that is full. A span has ids, times and values of closed lists. The only text from strangers is a company's id,
//! which logs have as well.

use std::{sync::Arc, time::SystemTime};

use tokio::sync::mpsc;
use uuid::Uuid;

use crate::{
    domain::trace_context::{self, Ids, TraceContext},
    metrics::{Metrics, Spans},
};

/// Spans that wait to be exported. More are dropped.
pub(super) const QUEUE: usize = 8192;

/// Maximum number of links of a span.
const MAX_LINKS: usize = 1000;

/// Records spans, unless traces are switched off: then it does nothing.
#[derive(Clone, Debug, Default)]
pub struct Traces(Option<Arc<Recorder>>);

#[derive(Debug)]
struct Recorder {
    queue: mpsc::Sender<Box<Record>>,
    /// Of the events that come without a trace.
    sample_ratio: f64,
    metrics: Arc<Metrics>,
}

/// The part that the service has in what a span is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It processes messages of a queue.
    Consumer,
    /// It publishes a message.
    Producer,
    /// It sends a request.
    Client,
    /// It answers a request.
    Server,
}

/// A fact about a span.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// The company that it concerns.
    Company(String),
    /// The key that is derived from source and id of an event.
    Event(Uuid),
    /// The delivery that an attempt belongs to.
    Delivery(Uuid),
    /// The dead letter that is replayed.
    ReplayOf(Uuid),
    /// The operation that replays it.
    Operation(Uuid),
    /// The number of an attempt, counted from 1.
    Attempt(u32),
    /// What an attempt came to.
    Class(&'static str),
    /// The status of an HTTP answer.
    Status(u16),
    /// The path of a route, with names in the place of values.
    Route(String),
    /// Why something failed, from a closed list.
    Error(&'static str),
    /// How many messages a batch has.
    Messages(usize),
    /// How many of them became dead letters.
    DeadLetters(usize),
}

/// What is exported of a span.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) ids: Ids,
    pub(super) parent: Option<u64>,
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) started: SystemTime,
    pub(super) ended: SystemTime,
    pub(super) links: Vec<Ids>,
    pub(super) left_out: usize,
    pub(super) attributes: Vec<Attribute>,
}

/// A span that has begun. It is exported once it [ends](Span::end), and forgotten if it is dropped.
#[derive(Debug)]
pub struct Span {
    recorder: Arc<Recorder>,
    record: Box<Record>,
}

impl Traces {
    /// Records into a queue.
    pub(super) fn new(sample_ratio: f64, metrics: Arc<Metrics>) -> (Self, mpsc::Receiver<Box<Record>>) {
        let (queue, records) = mpsc::channel(QUEUE);
        (Self(Some(Arc::new(Recorder { queue, sample_ratio, metrics }))), records)
    }

    /// Whether anything is recorded.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Begins a span that `parent` has caused, if that trace is recorded.
    #[must_use]
    pub fn child(&self, parent: &TraceContext, name: &'static str, kind: Kind) -> Option<Span> {
        let recorder = self.0.as_ref()?;
        let parent = parent.ids().filter(|ids| ids.is_sampled())?;
        Some(Span::begin(recorder, (parent.trace, parent.flags), Some(parent.span), name, kind))
    }

    /// Begins the span of an event that came with this trace. If it came with none, some of them begin a trace.
    #[must_use]
    pub fn event(
        &self,
        came_with: &TraceContext,
        event: Uuid,
        name: &'static str,
        kind: Kind,
    ) -> Option<Span> {
        let recorder = self.0.as_ref()?;
        let span = if came_with.ids().is_some() {
            self.child(came_with, name, kind)?
        } else {
            let trace = trace_context::derived_trace(event);
            let is_sampled = trace_context::is_among(trace, recorder.sample_ratio);
            let trace = is_sampled.then_some((trace, trace_context::BEGUN))?;
            Span::begin(recorder, trace, None, name, kind)
        };
        Some(span.with(Attribute::Event(event)))
    }

    /// Begins the span of an HTTP request that came with this trace, or else some of them begin a trace. `method` is one that
    /// we know.
    #[must_use]
    pub fn request(&self, came_with: &TraceContext, method: &'static str) -> Option<Span> {
        let recorder = self.0.as_ref()?;
        if came_with.ids().is_some() {
            return self.child(came_with, method, Kind::Server);
        }
        let trace = rand::random::<u128>().max(1);
        let is_sampled = trace_context::is_among(trace, recorder.sample_ratio);
        is_sampled.then(|| Span::begin(recorder, (trace, trace_context::BEGUN), None, method, Kind::Server))
    }

    /// Begins the span of a batch of these spans, in a trace of its own, which started before. `None` if there are no such
    /// spans.
    #[must_use]
    pub fn batch(&self, mut members: Vec<Ids>, name: &'static str, started: SystemTime) -> Option<Span> {
        let recorder = self.0.as_ref().filter(|_| !members.is_empty())?;
        let trace = (rand::random::<u128>().max(1), trace_context::BEGUN);
        let mut span = Span::begin(recorder, trace, None, name, Kind::Consumer);
        span.record.left_out = members.len().saturating_sub(MAX_LINKS);
        members.truncate(MAX_LINKS);
        span.record.links = members;
        span.record.started = started;
        Some(span)
    }
}

impl Span {
    fn begin(
        recorder: &Arc<Recorder>,
        (trace, flags): (u128, u8),
        parent: Option<u64>,
        name: &'static str,
        kind: Kind,
    ) -> Self {
        let ids = Ids { trace, span: rand::random::<u64>().max(1), flags };
        let now = SystemTime::now();
        let (links, attributes) = (Vec::new(), Vec::with_capacity(4));
        let record =
            Record { ids, parent, name, kind, started: now, ended: now, links, left_out: 0, attributes };
        Self { recorder: Arc::clone(recorder), record: Box::new(record) }
    }

    /// Adds a fact.
    #[must_use]
    pub fn with(mut self, attribute: Attribute) -> Self {
        self.record.attributes.push(attribute);
        self
    }

    /// Sets the time when it began.
    #[must_use]
    pub fn started(mut self, started: SystemTime) -> Self {
        self.record.started = started;
        self
    }

    /// Its ids.
    #[must_use]
    pub fn ids(&self) -> Ids {
        self.record.ids
    }

    /// Ends it now.
    pub fn end(mut self) {
        self.record.ended = SystemTime::now();
        if self.recorder.queue.try_send(self.record).is_err() {
            self.recorder.metrics.spans.add(Spans::Dropped, 1);
        }
    }
}

/// What the trace of a message is derived from if it came with none: its event, or the meaning of its contents.
#[must_use]
pub fn key_of(event: Option<Uuid>, meaning: &[u8]) -> Uuid {
    let of_contents = || Uuid::from_bytes(meaning.first_chunk().copied().unwrap_or_default());
    event.unwrap_or_else(of_contents)
}

/// The trace that what follows belongs to: it is caused by the span, if there is one.
#[must_use]
pub fn continued(trace: &TraceContext, span: Option<&Span>) -> TraceContext {
    span.map_or_else(|| trace.clone(), |span| trace.with(span.ids()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn traces(ratio: f64) -> (Traces, mpsc::Receiver<Box<Record>>, Arc<Metrics>) {
        let metrics = Metrics::new();
        let (traces, records) = Traces::new(ratio, Arc::clone(&metrics));
        (traces, records, metrics)
    }

    #[test]
    fn sampled_flag_of_the_event_counts_and_the_ratio_only_without_a_trace() {
        let (given, none) = (TraceContext::new(Some(PARENT), None), TraceContext::default());
        let unsampled = TraceContext::new(Some(&PARENT.replace("-01", "-00")), None);
        for (ratio, parent, expected) in [
            (0.0, &given, true),
            (1.0, &given, true),
            (0.0, &none, false),
            (1.0, &none, true),
            (0.0, &unsampled, false),
            (1.0, &unsampled, false),
        ] {
            let span = traces(ratio).0.event(parent, Uuid::from_u128(1), "upsert", Kind::Consumer);
            assert_eq!(span.is_some(), expected, "{ratio} {parent:?}");
        }
        assert!(
            Traces::default().event(&given, Uuid::nil(), "upsert", Kind::Consumer).is_none(),
            "switched off"
        );
        assert!(traces(1.0).0.child(&none, "attempt", Kind::Client).is_none(), "only events begin traces");
    }

    #[test]
    fn spans_form_a_tree_and_a_batch_links_to_them() {
        let (traces, mut records, _) = traces(1.0);
        let came_with = TraceContext::new(Some(PARENT), Some("a=b"));
        let upsert = traces.event(&came_with, Uuid::from_u128(1), "upsert", Kind::Consumer).unwrap();
        let trace = continued(&came_with, Some(&upsert));
        assert_eq!(trace.tracestate(), Some("a=b"));
        let attempt = traces.child(&trace, "attempt", Kind::Client).unwrap();
        assert_eq!(attempt.record.parent, Some(upsert.ids().span));
        assert_eq!(upsert.record.parent, came_with.ids().map(|ids| ids.span));
        assert_eq!(attempt.ids().trace, came_with.ids().unwrap().trace);
        let batch = traces.batch(vec![upsert.ids(); MAX_LINKS + 2], "batch", SystemTime::now()).unwrap();
        assert_eq!((batch.record.links.len(), batch.record.left_out), (MAX_LINKS, 2));
        assert_ne!(batch.ids().trace, upsert.ids().trace);
        batch.end();
        assert_eq!(records.try_recv().unwrap().name, "batch");
        drop(upsert);
        assert!(records.try_recv().is_err(), "a span that has not ended is not exported");
    }

    #[test]
    fn spans_without_room_are_dropped_and_counted() {
        let (traces, _records, metrics) = traces(1.0);
        for event in 0..=QUEUE {
            let event = Uuid::from_u128(event as u128);
            traces.event(&TraceContext::default(), event, "upsert", Kind::Consumer).unwrap().end();
        }
        let text = metrics.write(crate::metrics::Format::OpenMetrics);
        assert!(text.contains("contact_relay_spans_total{outcome=\"dropped\"} 1\n"), "{text}");
    }
}
