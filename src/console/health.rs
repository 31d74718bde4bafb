//! `/healthz`: the process is alive. `/readyz`: whether every component is ready, and if not, why.
//!
//! Liveness does not depend on broker or database, because a restart would not end their outage.

use axum::{Router, extract::State, http::StatusCode, http::header, response::IntoResponse, routing::get};

use crate::health::Health;

pub(super) fn routes(health: Health) -> Router {
    Router::new().route("/healthz", get(healthz)).route("/readyz", get(readyz)).with_state(health)
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(health): State<Health>) -> impl IntoResponse {
    let (report, ready) = (health.report(), health.is_ready());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let components: serde_json::Map<_, _> = report
        .into_iter()
        .map(|(component, failing)| (component, failing.unwrap_or_else(|| "ready".to_owned()).into()))
        .collect();
    let body = serde_json::json!({ "ready": ready, "parts": components }).to_string();
    (status, [(header::CONTENT_TYPE, "application/json")], body)
}
