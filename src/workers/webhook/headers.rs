//! The headers that the service adds to each attempt.

use uuid::Uuid;

use crate::domain::webhook::{
    request::{USER_AGENT, WebhookRequest},
    signature::{self, SigningSecret},
};

/// What a request belongs to.
#[derive(Clone, Copy)]
pub(super) struct Belonging<'a> {
    /// The delivery, `webhook-id`.
    pub(super) id: Uuid,
    /// W3C trace context of the trigger message.
    pub(super) traceparent: Option<&'a str>,
    /// W3C trace context of the trigger message.
    pub(super) tracestate: Option<&'a str>,
}

/// The request of one attempt. `timestamp` is in Unix seconds.
pub(super) fn with_own_headers(
    mut request: WebhookRequest,
    of: Belonging<'_>,
    timestamp: i64,
    secrets: &[SigningSecret],
) -> WebhookRequest {
    let id = of.id.to_string();
    let signature = signature::header(secrets, &id, timestamp, request.body.as_deref().unwrap_or_default());
    let mut add = |name: &str, value: String| request.headers.push((name.to_owned(), value));
    add("user-agent", USER_AGENT.to_owned());
    add("traceparent", of.traceparent.map_or_else(|| own_traceparent(of.id), str::to_owned));
    if let Some(tracestate) = of.tracestate {
        add("tracestate", tracestate.to_owned());
    }
    add("webhook-timestamp", timestamp.to_string());
    if let Some(signature) = signature {
        add("webhook-signature", signature);
    }
    add("webhook-id", id);
    request
}

/// A trace of its own for a delivery whose event came without one: the same for every attempt, and
/// not sampled.
fn own_traceparent(id: Uuid) -> String {
    // Never zero, which is not allowed: a UUID has its version and variant bits.
    format!("00-{}-{:016x}-00", id.simple(), id.as_u64_pair().1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::webhook::request::Method;

    const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn sent(
        traceparent: Option<&str>,
        tracestate: Option<&str>,
        secrets: &[SigningSecret],
    ) -> Vec<(String, String)> {
        let headers = vec![("content-type".to_owned(), "text/plain".to_owned())];
        let url = "https://hooks.example/".to_owned();
        let request = WebhookRequest { method: Method::Post, url, headers, body: Some(b"{}".to_vec()) };
        let id = Uuid::parse_str("0193f5a0-7c1e-8b8a-9a55-3f6f1f0c2b11").unwrap();
        let of = Belonging { id, traceparent, tracestate };
        with_own_headers(request, of, 1_700_000_000, secrets).headers
    }

    fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
        headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn each_attempt_says_who_what_and_when() {
        let headers = sent(None, None, &[]);
        assert_eq!(value(&headers, "content-type"), Some("text/plain"));
        assert_eq!(value(&headers, "user-agent"), Some(USER_AGENT));
        assert_eq!(value(&headers, "webhook-id"), Some("0193f5a0-7c1e-8b8a-9a55-3f6f1f0c2b11"));
        assert_eq!(value(&headers, "webhook-timestamp"), Some("1700000000"));
        assert_eq!(value(&headers, "webhook-signature"), None);
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let headers = sent(None, None, &[secret.clone(), secret]);
        assert_eq!(value(&headers, "webhook-signature").unwrap().split(' ').count(), 2);
    }

    #[test]
    fn a_trace_is_passed_on_or_begun() {
        let headers = sent(Some(TRACEPARENT), Some("a=b"), &[]);
        assert_eq!(value(&headers, "traceparent"), Some(TRACEPARENT));
        assert_eq!(value(&headers, "tracestate"), Some("a=b"));
        let headers = sent(None, None, &[]);
        let own = "00-0193f5a07c1e8b8a9a553f6f1f0c2b11-9a553f6f1f0c2b11-00";
        assert_eq!(value(&headers, "traceparent"), Some(own));
        assert_eq!(value(&headers, "tracestate"), None);
    }
}
