//! Sends one test event to one endpoint, with the client, the settings and the signatures of the worker. It
//! ignores the lane and records nothing: an operator wants the outcome now.

use std::time::Duration;

use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use super::{
    own_services,
    routes::{Routes, SetUpError},
};
use crate::{
    domain::trace_context::TraceContext,
    domain::webhook::{
        attempt::Outcome,
        endpoint::Profile,
        own_headers,
        request::{Method, WebhookRequest},
        slack,
    },
    http_client::Sending,
    postgres::attempts::Attempt,
    settings::Settings,
};

/// A test request and its outcome.
#[derive(Debug)]
pub struct EndpointTest {
    /// Its `webhook-id`.
    pub id: Uuid,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// The request, with the service's own headers.
    pub request: WebhookRequest,
    /// How it ended.
    pub outcome: Outcome,
}

impl EndpointTest {
    /// The test as a recorded attempt.
    #[must_use]
    pub fn attempt(&self) -> Attempt {
        let ms = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let outcome = &self.outcome;
        Attempt {
            delivery_id: self.id,
            attempt: 1,
            started_at: self.started_at,
            duration_ms: ms(outcome.duration),
            connect_ms: outcome.timing.connect.map(ms),
            answer_ms: outcome.timing.answer.map(ms),
            class: outcome.class.name().to_owned(),
            status: outcome.status.map(i32::from),
            error: outcome.error.clone(),
            response_body: Some(outcome.response_body.clone()).filter(|body| !body.is_empty()),
        }
    }
}

/// Sends a test event to `url` under the settings and egress rules for webhooks of `company`, at `started_at`.
///
/// # Errors
/// When the settings are not usable. A failed request is an [`Outcome`], not an error.
pub async fn run(
    settings: &Settings,
    company: &str,
    url: &str,
    started_at: OffsetDateTime,
) -> Result<EndpointTest, SetUpError> {
    let route = Routes::new(&settings.webhook)?.of(company, address(url));
    let id = Uuid::now_v7();
    let body = match route.profile(address(url)) {
        Profile::Slack => json!({ "text": "A test of contact-relay: webhooks reach this channel." }),
        Profile::Plain => json!({
            "specversion": "1.0",
            "id": id,
            "source": settings.events.source,
            "type": "contact-relay.test",
            "time": started_at.format(&Rfc3339).unwrap_or_default(),
            "datacontenttype": "application/json",
            "data": { "company": { "id": company } },
        }),
    };
    let body = body.to_string().into_bytes();
    let timestamp = started_at.unix_timestamp();
    let own = own_headers::of_attempt(id, &TraceContext::default(), timestamp, &route.secrets, Some(&body));
    let content_type = ("content-type".to_owned(), "application/json".to_owned());
    let request = WebhookRequest {
        method: Method::Post,
        url: url.to_owned(),
        headers: std::iter::once(content_type).chain(own).collect(),
        body: Some(body),
    };
    let sending = Sending { company, headers: &[], now: started_at, awaits_body: true, is_wanted: &|| true };
    let mut outcome = own_services::guarded_client(settings).send(&request, &sending, &route.http).await;
    if route.profile(address(url)) == Profile::Slack {
        slack::explain(&mut outcome);
    }
    outcome.class = route.rule.class(&outcome);
    Ok(EndpointTest { id, started_at, request, outcome })
}

/// The part of a URL that identifies an endpoint.
fn address(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}
