//! Sends spans to a collector: OTLP over HTTP, protobuf.
//!
//! If the collector hangs, refuses or is gone, spans are dropped and counted. Nothing waits for the export.

mod client;

use std::{borrow::Cow, collections::HashMap, sync::Arc, time::Duration};

use opentelemetry::{
    InstrumentationScope, KeyValue,
    trace::{Link, SpanContext, SpanId, SpanKind, Status, TraceFlags, TraceId, TraceState},
};
use opentelemetry_otlp::{WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{SpanData, SpanEvents, SpanExporter as _, SpanLinks},
};
use secrecy::ExposeSecret as _;
use tokio::{
    sync::mpsc,
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::client::Client;
pub use self::client::StartError;
use super::traces::{Attribute, Kind, Record, Traces};
use crate::{
    domain::trace_context::Ids,
    metrics::{Metrics, Spans},
    settings,
};

/// Maximum number of spans in a request.
const BATCH: usize = 1024;

/// How long the first span of a batch waits for others. The queue has room for 40,000 spans a second.
const GATHER: Duration = Duration::from_millis(200);

/// Deadline of a request.
const EXPORT_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the process waits at its end until the last spans are exported.
const SHUTDOWN: Duration = Duration::from_secs(2);

/// Exports what [`Traces`] records.
#[derive(Debug)]
pub struct Exporter {
    records: mpsc::Receiver<Box<Record>>,
    collector: opentelemetry_otlp::SpanExporter,
    scope: InstrumentationScope,
    metrics: Arc<Metrics>,
    /// Taken from the queue and not exported.
    taken: usize,
    is_failing: bool,
}

/// Prepares traces; `None` if the settings name no collector. `namespace` distinguishes deployments.
///
/// # Errors
/// When the address is not one, or TLS cannot be prepared.
pub fn start(
    settings: &settings::Telemetry,
    namespace: &str,
    metrics: &Arc<Metrics>,
) -> Result<Option<(Traces, Exporter)>, StartError> {
    let Some(endpoint) = settings.traces_url() else { return Ok(None) };
    let headers = settings.otlp_headers.iter().filter_map(|header| header.expose_secret().split_once('='));
    let headers: HashMap<String, String> =
        headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
    let builder = opentelemetry_otlp::SpanExporter::builder().with_http();
    let builder = builder.with_http_client(Client::new(&endpoint)?).with_headers(headers);
    let builder = builder.with_endpoint(endpoint).with_timeout(EXPORT_TIMEOUT);
    let mut collector = builder.build().map_err(StartError::Exporter)?;
    let resource = Resource::builder_empty().with_attributes([
        KeyValue::new("service.name", "contact-relay"),
        KeyValue::new("service.namespace", namespace.to_owned()),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("service.instance.id", uuid::Uuid::now_v7().to_string()),
    ]);
    collector.set_resource(&resource.build());
    let (traces, records) = Traces::new(settings.sample_ratio, Arc::clone(metrics));
    let scope = InstrumentationScope::builder("contact-relay").build();
    let metrics = Arc::clone(metrics);
    Ok(Some((traces, Exporter { records, collector, scope, metrics, taken: 0, is_failing: false })))
}

impl Exporter {
    /// Exports until `stop`, and then the rest for a short time.
    pub async fn run(mut self, stop: CancellationToken) {
        let deadline = async {
            stop.cancelled().await;
            sleep(SHUTDOWN).await;
        };
        tokio::select! {
            () = self.export_all(&stop) => {}
            () = deadline => {}
        }
        self.records.close();
        let left = self.taken + self.records.len();
        if left > 0 {
            self.metrics.spans.add(Spans::Failed, left);
            warn!(spans = left, "stopped before {left} spans were exported");
        }
    }

    async fn export_all(&mut self, stop: &CancellationToken) {
        loop {
            let mut batch = Vec::new();
            tokio::select! {
                _ = self.records.recv_many(&mut batch, BATCH) => {}
                () = stop.cancelled() => {}
            }
            if batch.len() < BATCH && !stop.is_cancelled() {
                let _ = timeout(GATHER, stop.cancelled()).await;
            }
            while batch.len() < BATCH
                && let Ok(record) = self.records.try_recv()
            {
                batch.push(record);
            }
            if batch.is_empty() {
                if stop.is_cancelled() || self.records.is_closed() {
                    return;
                }
                continue;
            }
            let batch = batch.into_iter().map(|record| span_data(*record, &self.scope)).collect();
            self.export(batch).await;
        }
    }

    async fn export(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len();
        self.taken = spans;
        let exported = timeout(EXPORT_TIMEOUT, self.collector.export(batch)).await;
        self.taken = 0;
        // The library's errors have a status or a kind of failure, never an answer.
        let error = match exported {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(super::chain(&error)),
            Err(_) => Some(format!("the collector did not answer within {} s", EXPORT_TIMEOUT.as_secs())),
        };
        let outcome = if error.is_none() { Spans::Exported } else { Spans::Failed };
        self.metrics.spans.add(outcome, spans);
        let was_failing = std::mem::replace(&mut self.is_failing, error.is_some());
        match error {
            Some(error) if !was_failing => {
                warn!(
                    error,
                    "could not export traces: {error}; spans are dropped until the collector accepts them"
                );
            }
            None if was_failing => info!("the collector takes traces again"),
            _ => {}
        }
    }
}

fn span_data(record: Record, scope: &InstrumentationScope) -> SpanData {
    let error = record.attributes.iter().find_map(|attribute| match attribute {
        Attribute::Error(reason) => Some(*reason),
        _ => None,
    });
    let name = name(&record);
    let mut attributes: Vec<KeyValue> = record.attributes.into_iter().map(key_value).collect();
    match record.kind {
        Kind::Consumer | Kind::Producer => attributes.push(KeyValue::new("messaging.system", "rabbitmq")),
        Kind::Server => attributes.push(KeyValue::new("http.request.method", record.name)),
        Kind::Client => {}
    }
    let mut links = SpanLinks::default();
    links.links = record.links.into_iter().map(|ids| Link::new(span_context(ids), Vec::new(), 0)).collect();
    links.dropped_count = u32::try_from(record.left_out).unwrap_or(u32::MAX);
    SpanData {
        span_context: span_context(record.ids),
        parent_span_id: record.parent.map_or(SpanId::INVALID, SpanId::from),
        parent_span_is_remote: record.parent.is_some(),
        span_kind: match record.kind {
            Kind::Consumer => SpanKind::Consumer,
            Kind::Producer => SpanKind::Producer,
            Kind::Client => SpanKind::Client,
            Kind::Server => SpanKind::Server,
        },
        name,
        start_time: record.started,
        end_time: record.ended.max(record.started),
        attributes,
        dropped_attributes_count: 0,
        events: SpanEvents::default(),
        links,
        status: error.map_or(Status::Unset, Status::error),
        instrumentation_scope: scope.clone(),
    }
}

/// The name of the span. That of a request consists of its method and, if there is one, its route.
fn name(record: &Record) -> Cow<'static, str> {
    let route = record.attributes.iter().find_map(|attribute| match attribute {
        Attribute::Route(route) => Some(route),
        _ => None,
    });
    route.map_or(Cow::Borrowed(record.name), |route| format!("{} {route}", record.name).into())
}

/// Without a `tracestate`: it is text of strangers.
fn span_context(ids: Ids) -> SpanContext {
    let flags = TraceFlags::new(ids.flags);
    SpanContext::new(TraceId::from(ids.trace), SpanId::from(ids.span), flags, false, TraceState::NONE)
}

/// The names of OpenTelemetry's conventions, where it has some.
fn key_value(attribute: Attribute) -> KeyValue {
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    match attribute {
        Attribute::Company(id) => KeyValue::new("company.id", id),
        Attribute::Event(key) => KeyValue::new("event.key", key.to_string()),
        Attribute::Delivery(id) => KeyValue::new("delivery.id", id.to_string()),
        Attribute::ReplayOf(id) => KeyValue::new("dead_letter.id", id.to_string()),
        Attribute::Operation(id) => KeyValue::new("operation.id", id.to_string()),
        Attribute::Route(route) => KeyValue::new("http.route", route),
        Attribute::Attempt(number) => KeyValue::new("delivery.attempt", i64::from(number)),
        Attribute::Class(class) => KeyValue::new("delivery.outcome", class),
        Attribute::Status(status) => KeyValue::new("http.response.status_code", i64::from(status)),
        Attribute::Error(reason) => KeyValue::new("error.type", reason),
        Attribute::Messages(messages) => KeyValue::new("messaging.batch.message_count", count(messages)),
        Attribute::DeadLetters(dead) => KeyValue::new("dead_letters", count(dead)),
    }
}
