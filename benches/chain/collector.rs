//! A collector of traces that takes everything and keeps only the number of spans. It runs in this process, which is not
//! counted as the service's.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{Router, body::Bytes, extract::State, routing::post};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use prost::Message as _;
use tokio::{net::TcpListener, task::JoinSet};

/// Requests that nobody has looked at yet.
type Requests = Arc<Mutex<Vec<Bytes>>>;

/// It serves until it is dropped.
pub(crate) struct Collector {
    pub(crate) url: String,
    requests: Requests,
    _server: JoinSet<()>,
}

impl Collector {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}", listener.local_addr()?);
        let requests = Requests::default();
        let routes = Router::new().route("/v1/traces", post(take)).with_state(Arc::clone(&requests));
        let mut server = JoinSet::new();
        server.spawn(async { drop(axum::serve(listener, routes).await) });
        Ok(Self { url, requests, _server: server })
    }

    /// The spans since the last call. They are counted only now, because decoding would take time from the service.
    pub(crate) fn spans(&self) -> anyhow::Result<usize> {
        let requests = std::mem::take(&mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner));
        let mut spans = 0;
        for request in requests {
            let resources = ExportTraceServiceRequest::decode(request)?.resource_spans;
            let scopes = resources.iter().flat_map(|resource| &resource.scope_spans);
            spans += scopes.map(|scope| scope.spans.len()).sum::<usize>();
        }
        Ok(spans)
    }
}

async fn take(State(requests): State<Requests>, body: Bytes) {
    requests.lock().unwrap_or_else(PoisonError::into_inner).push(body);
}
