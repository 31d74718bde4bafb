//! One test event to one endpoint, sent with what the worker sends with. It records nothing and asks no lane:
//! an operator who tries an endpoint wants to know now.

use serde_json::json;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use super::{
    SetUpError, client,
    headers::{Belonging, with_own_headers},
    routes::Routes,
};
use crate::{
    domain::webhook::{
        attempt::Outcome,
        endpoint::Profile,
        request::{Method, WebhookRequest},
        slack,
    },
    settings::Settings,
};

/// What a test came to.
#[derive(Debug)]
pub struct EndpointTest {
    /// Its `webhook-id`.
    pub id: Uuid,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// What was sent, with the headers that each attempt has.
    pub request: WebhookRequest,
    /// How it ended.
    pub outcome: Outcome,
}

/// Sends a test event to `url`, which settings and egress rules judge as they do any webhook of `company`.
///
/// # Errors
/// When the settings cannot be used. Whatever the receiver does is an outcome.
pub async fn run(settings: &Settings, company: &str, url: &str) -> Result<EndpointTest, SetUpError> {
    let route = Routes::new(&settings.webhook)?.of(company, address(url));
    let (id, started_at) = (Uuid::now_v7(), OffsetDateTime::now_utc());
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
    let request = WebhookRequest {
        method: Method::Post,
        url: url.to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: Some(body.to_string().into_bytes()),
    };
    let of = Belonging { id, traceparent: None, tracestate: None };
    let request = with_own_headers(request, of, started_at.unix_timestamp(), &route.secrets);
    let mut outcome = client(settings).send(request.clone(), &route.http).await;
    if route.profile(address(url)) == Profile::Slack {
        slack::explain(&mut outcome);
    }
    outcome.class = route.rule.class(&outcome);
    Ok(EndpointTest { id, started_at, request, outcome })
}

/// What an endpoint's address is of this URL.
fn address(url: &str) -> &str {
    url.split(['?', '#']).next().unwrap_or(url)
}
