//! A collector of traces: an HTTP server that decodes what it receives.

use std::collections::BTreeMap;

use contact_relay::dev::demo_receiver::DemoReceiver;
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, any_value::Value},
    trace::v1,
};
use prost::Message as _;

use crate::support::{WAIT_TIMEOUT, app::TestApp, eventually};

pub(super) struct Collector {
    server: DemoReceiver,
}

/// A span as it arrived, with its ids in hex digits.
#[derive(Clone, Debug)]
pub(super) struct Span {
    pub(super) name: String,
    pub(super) trace: String,
    pub(super) id: String,
    /// Empty if it has none.
    pub(super) parent: String,
    /// Trace and span of each.
    pub(super) links: Vec<(String, String)>,
    pub(super) attributes: BTreeMap<String, String>,
    started: u64,
}

impl Collector {
    /// Starts one and lets the services of this test export to it.
    pub(super) async fn start(app: &TestApp) -> Self {
        Self::at(app, "").await
    }

    /// The same, with the path of a [`DemoReceiver`] that decides how it answers.
    pub(super) async fn at(app: &TestApp, path: &str) -> Self {
        let server = DemoReceiver::start().await.expect("a server");
        app.set("telemetry.otlp_endpoint", &server.url(path));
        Self { server }
    }

    pub(super) fn requests(&self) -> usize {
        self.server.requests().len()
    }

    /// Waits for the first request.
    pub(super) async fn is_asked(&self) {
        let asked = self.server.wait_for(WAIT_TIMEOUT, |all| !all.is_empty()).await;
        asked.expect("a request");
    }

    /// All spans so far, in the order in which they began.
    pub(super) fn all(&self) -> Vec<Span> {
        let mut spans = Vec::new();
        for request in self.server.requests() {
            assert_eq!(request.header("content-type"), Some("application/x-protobuf"));
            let request = ExportTraceServiceRequest::decode(request.body).expect("protobuf");
            let scopes = request.resource_spans.into_iter().flat_map(|resource| {
                let attributes = resource.resource.expect("a resource").attributes;
                assert!(attributes.iter().any(|attribute| attribute.key == "service.name"), "{attributes:?}");
                resource.scope_spans
            });
            spans.extend(scopes.flat_map(|scope| scope.spans).map(Span::from));
        }
        spans.sort_by_key(|span| span.started);
        spans
    }

    /// Waits until there are so many spans of that name.
    pub(super) async fn spans(&self, name: &str, count: usize) -> Vec<Span> {
        eventually(&format!("{count} spans are called {name}"), async || {
            let spans: Vec<Span> = self.all().into_iter().filter(|span| span.name == name).collect();
            assert!(spans.len() <= count, "{spans:?}");
            (spans.len() == count).then_some(spans)
        })
        .await
    }

    /// Waits for the span with this parent.
    pub(super) async fn child(&self, parent: &str) -> Span {
        eventually(&format!("a span has the parent {parent}"), async || {
            self.all().into_iter().find(|span| span.parent == parent)
        })
        .await
    }

    /// Waits for the only span of that name.
    pub(super) async fn span(&self, name: &str) -> Span {
        self.spans(name, 1).await.remove(0)
    }
}

impl Span {
    /// An attribute.
    pub(super) fn text(&self, key: &str) -> String {
        self.attributes.get(key).cloned().unwrap_or_else(|| panic!("{key} of {self:?}"))
    }

    /// `error.type`, if it has one.
    pub(super) fn error(&self) -> Option<String> {
        self.attributes.get("error.type").cloned()
    }
}

impl From<v1::Span> for Span {
    fn from(span: v1::Span) -> Self {
        assert_eq!(span.trace_state, "", "it is text of strangers");
        assert!(span.start_time_unix_nano <= span.end_time_unix_nano);
        let text = |value: Option<AnyValue>| match value.and_then(|value| value.value) {
            Some(Value::StringValue(text)) => text,
            Some(Value::IntValue(number)) => number.to_string(),
            other => panic!("{other:?}"),
        };
        Self {
            name: span.name,
            trace: hex(&span.trace_id),
            id: hex(&span.span_id),
            parent: hex(&span.parent_span_id),
            links: span.links.iter().map(|link| (hex(&link.trace_id), hex(&link.span_id))).collect(),
            attributes: span.attributes.into_iter().map(|one| (one.key, text(one.value))).collect(),
            started: span.start_time_unix_nano,
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"))
}
