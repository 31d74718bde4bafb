//! The HTTP client for webhooks: one request, one answer, one deadline.
//!
//! Whatever a receiver does (hang, drip, lie, redirect, close) is an [`Outcome`], never an error and never
//! more memory than a bounded head and 64 KiB of body. Nothing here decides what happens next, knows
//! the database or follows a redirect, a proxy setting of the environment, or a name into a private network.

mod failure;
mod resolver;
mod retry_after;

use std::time::{Duration, Instant};

use reqwest::{
    Client, Method, Response,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
    redirect,
};
use tokio::time::timeout_at;
use url::Url;

use crate::domain::{
    attempt::{Class, Outcome},
    egress::Policy,
    webhook_request::{self, WebhookRequest},
};
use resolver::Resolver;

/// How much of an answer is read.
const MAX_RESPONSE_BODY: usize = 64 * 1024;

/// How long an idle connection is kept. Shorter than the usual 5 s of servers: a request on a
/// connection that the server is closing is a failed attempt.
const IDLE: Duration = Duration::from_secs(4);

/// Sends webhooks. Cheap to clone; clones share connections.
#[derive(Clone, Debug)]
pub struct HttpClient {
    client: Client,
    policy: Policy,
    timeout: Duration,
}

/// The client could not be made: no TLS provider is installed or the system has no CA certificates.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up the HTTP client (are the system's CA certificates installed?)")]
pub struct SetUpError(#[source] reqwest::Error);

impl HttpClient {
    /// `timeout` is the one deadline over name resolution, connection, TLS, headers and body.
    ///
    /// # Errors
    /// When the system has no CA certificates.
    pub fn new(policy: Policy, timeout: Duration) -> Result<Self, SetUpError> {
        let client = Client::builder()
            .dns_resolver(Resolver::new(policy.clone()))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .retry(reqwest::retry::never())
            .referer(false)
            .pool_idle_timeout(IDLE)
            .tcp_nodelay(true)
            .build()
            .map_err(SetUpError)?;
        Ok(Self { client, policy, timeout })
    }

    /// Sends one request and reads the answer.
    pub async fn send(&self, request: WebhookRequest) -> Outcome {
        let started = Instant::now();
        let deadline = started + self.timeout;
        let mut outcome = match timeout_at(deadline.into(), self.exchange(request)).await {
            Ok(Ok(response)) => read(response, deadline).await,
            Ok(Err(outcome)) => outcome,
            Err(_) => without_answer(Class::Timeout, "the receiver did not answer in time"),
        };
        outcome.duration = started.elapsed();
        outcome
    }

    /// Sends the request and waits for the head of the answer.
    async fn exchange(&self, request: WebhookRequest) -> Result<Response, Outcome> {
        let url =
            Url::parse(&request.url).map_err(|_| without_answer(Class::Invalid, "the url is not valid"))?;
        self.policy.check_url(&url).map_err(|blocked| without_answer(Class::Blocked, blocked.to_string()))?;
        let headers =
            header_map(&request).ok_or_else(|| without_answer(Class::Invalid, "a header is not valid"))?;
        let mut builder = self.client.request(method(request.method), url).headers(headers);
        if let Some(body) = request.body {
            builder = builder.body(body);
        }
        builder.send().await.map_err(|error| {
            let (class, message) = failure::classify(&error);
            without_answer(class, message)
        })
    }
}

fn method(method: webhook_request::Method) -> Method {
    match method {
        webhook_request::Method::Get => Method::GET,
        webhook_request::Method::Post => Method::POST,
        webhook_request::Method::Put => Method::PUT,
        webhook_request::Method::Patch => Method::PATCH,
        webhook_request::Method::Delete => Method::DELETE,
    }
}

fn without_answer(class: Class, message: impl Into<String>) -> Outcome {
    Outcome::without_answer(class, Duration::ZERO, message)
}

fn header_map(request: &WebhookRequest) -> Option<HeaderMap> {
    let mut headers = HeaderMap::with_capacity(request.headers.len() + 1);
    headers.insert("accept-encoding", HeaderValue::from_static("identity"));
    for (name, value) in &request.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        headers.append(name, HeaderValue::from_bytes(value.as_bytes()).ok()?);
    }
    Some(headers)
}

/// Reads the body up to its bound; what is beyond stays unread and the connection is closed.
///
/// A body that breaks off does not undo the status, which is the receiver's answer. One that does not
/// end in time does: the deadline is over the whole attempt.
async fn read(mut response: Response, deadline: Instant) -> Outcome {
    let status = response.status().as_u16();
    let now = time::OffsetDateTime::now_utc();
    let retry_after =
        response.headers().get(RETRY_AFTER).and_then(|value| retry_after::parse(value.as_bytes(), now));
    let mut response_body = Vec::new();
    let in_time = timeout_at(deadline.into(), async {
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = MAX_RESPONSE_BODY.saturating_sub(response_body.len());
            response_body.extend_from_slice(chunk.get(..room).unwrap_or(&chunk));
            if response_body.len() >= MAX_RESPONSE_BODY {
                break;
            }
        }
    })
    .await
    .is_ok();
    let class = if in_time { Class::of_status(status) } else { Class::Timeout };
    let error = match class {
        Class::Delivered => None,
        Class::Timeout => {
            Some(format!("the receiver answered {status} and did not finish its answer in time"))
        }
        _ => Some(format!("the receiver answered {status}")),
    };
    Outcome { class, status: Some(status), retry_after, response_body, duration: Duration::ZERO, error }
}

#[cfg(test)]
mod tests;
