//! Spans of requests to the API and the console. Health checks and metrics have none: they come every few seconds.
//!
//! A span has the method, the route with names in place of values, and the status. It never has the URL, whose path
//! and query may name a person.

use axum::{
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method, StatusCode},
    middleware::Next,
    response::Response,
};

use crate::{
    amqp::headers::{TRACEPARENT, TRACESTATE},
    domain::trace_context::TraceContext,
    telemetry::traces::{Attribute, Span, Traces},
};

/// Records a request, if traces are switched on.
pub(super) async fn record(State(traces): State<Traces>, request: Request, next: Next) -> Response {
    let Some(span) = begin(&traces, &request) else { return next.run(request).await };
    let mut open = Open(Some(span));
    let response = next.run(request).await;
    open.answered(response.status());
    response
}

fn begin(traces: &Traces, request: &Request) -> Option<Span> {
    if !traces.is_on() {
        return None;
    }
    let span = traces.request(&came_with(request.headers()), method(request.method()))?;
    let route = request.extensions().get::<MatchedPath>();
    Some(route.into_iter().fold(span, |span, route| span.with(Attribute::Route(route.as_str().to_owned()))))
}

fn came_with(headers: &HeaderMap) -> TraceContext {
    let text = |name| headers.get(name)?.to_str().ok();
    TraceContext::new(text(TRACEPARENT), text(TRACESTATE))
}

/// The methods of OpenTelemetry's conventions; a client may make up others.
fn method(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "HEAD" => "HEAD",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "_OTHER",
    }
}

/// The span of an unanswered request. If it is never answered, its client has disconnected.
struct Open(Option<Span>);

impl Open {
    fn answered(&mut self, status: StatusCode) {
        let Some(span) = self.0.take() else { return };
        let error = status.is_server_error().then_some(Attribute::Error("http_status"));
        error.into_iter().fold(span.with(Attribute::Status(status.as_u16())), Span::with).end();
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        if let Some(span) = self.0.take() {
            span.with(Attribute::Error("canceled")).end();
        }
    }
}
