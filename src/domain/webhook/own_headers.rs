//! The headers that the service adds to each request, after those of the author.

use uuid::Uuid;

use crate::domain::{
    trace_context::TraceContext,
    webhook::{
        request::USER_AGENT,
        signature::{self, SigningSecret},
    },
};

/// The header with the id of the delivery, the same for every attempt.
pub const WEBHOOK_ID: &str = "webhook-id";

/// The values of these headers, real ones or those of a preview.
#[derive(Clone, Copy, Debug)]
pub struct OwnHeaders<'a> {
    /// `traceparent` of W3C Trace Context.
    pub traceparent: &'a str,
    /// `tracestate` of W3C Trace Context.
    pub tracestate: Option<&'a str>,
    /// `webhook-timestamp`: when the attempt began, in Unix seconds.
    pub timestamp: &'a str,
    /// `webhook-signature`; `None` if the request is not signed.
    pub signature: Option<&'a str>,
    /// `webhook-id`.
    pub id: &'a str,
}

impl OwnHeaders<'_> {
    /// Names and values, in the order in which they are sent.
    #[must_use]
    pub fn list(&self) -> Vec<(String, String)> {
        let headers = [
            ("user-agent", Some(USER_AGENT)),
            ("traceparent", Some(self.traceparent)),
            ("tracestate", self.tracestate),
            ("webhook-timestamp", Some(self.timestamp)),
            ("webhook-signature", self.signature),
            (WEBHOOK_ID, Some(self.id)),
        ];
        let present = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
        present.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }
}

/// The headers of one attempt. `trace` is that of the event; if it has none, the delivery begins a trace.
/// `timestamp` is in Unix seconds.
#[must_use]
pub fn of_attempt(
    delivery: Uuid,
    trace: &TraceContext,
    timestamp: i64,
    secrets: &[SigningSecret],
    body: Option<&[u8]>,
) -> Vec<(String, String)> {
    let id = delivery.to_string();
    let own_traceparent;
    let traceparent = match trace.traceparent() {
        Some(traceparent) => traceparent,
        None => {
            own_traceparent = traceparent_of(delivery);
            &own_traceparent
        }
    };
    let signature = signature::header(secrets, &id, timestamp, body.unwrap_or_default());
    let timestamp = timestamp.to_string();
    let tracestate = trace.tracestate();
    OwnHeaders { traceparent, tracestate, timestamp: &timestamp, signature: signature.as_deref(), id: &id }
        .list()
}

/// The trace of a delivery whose event has none: not sampled, and the same for every attempt.
fn traceparent_of(delivery: Uuid) -> String {
    // The specification forbids zeros; the version and variant bits of a UUID prevent them.
    format!("00-{}-{:016x}-00", delivery.simple(), delivery.as_u64_pair().1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn sent(trace: (Option<&str>, Option<&str>), secrets: &[SigningSecret]) -> Vec<(String, String)> {
        let id = Uuid::parse_str("0193f5a0-7c1e-8b8a-9a55-3f6f1f0c2b11").unwrap();
        of_attempt(id, &TraceContext::new(trace.0, trace.1), 1_700_000_000, secrets, Some(b"{}"))
    }

    fn value<'a>(headers: &'a [(String, String)], name: &str) -> Option<&'a str> {
        headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    #[test]
    fn each_attempt_is_identified_timed_and_signed() {
        let headers = sent((None, None), &[]);
        assert_eq!(value(&headers, "user-agent"), Some(USER_AGENT));
        assert_eq!(value(&headers, "webhook-id"), Some("0193f5a0-7c1e-8b8a-9a55-3f6f1f0c2b11"));
        assert_eq!(value(&headers, "webhook-timestamp"), Some("1700000000"));
        assert_eq!(value(&headers, "webhook-signature"), None);
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let headers = sent((None, None), &[secret.clone(), secret]);
        assert_eq!(value(&headers, "webhook-signature").unwrap().split(' ').count(), 2);
    }

    #[test]
    fn a_trace_is_passed_on_or_begun() {
        let headers = sent((Some(TRACEPARENT), Some("a=b")), &[]);
        assert_eq!(value(&headers, "traceparent"), Some(TRACEPARENT));
        assert_eq!(value(&headers, "tracestate"), Some("a=b"));
        let headers = sent((None, None), &[]);
        let own = "00-0193f5a07c1e8b8a9a553f6f1f0c2b11-9a553f6f1f0c2b11-00";
        assert_eq!(value(&headers, "traceparent"), Some(own));
        assert_eq!(value(&headers, "tracestate"), None);
    }

    #[test]
    fn headers_are_listed_in_the_order_of_sending() {
        let secret = SigningSecret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let names: Vec<_> =
            sent((Some(TRACEPARENT), Some("a=b")), &[secret]).into_iter().map(|(name, _)| name).collect();
        assert_eq!(
            names,
            [
                "user-agent",
                "traceparent",
                "tracestate",
                "webhook-timestamp",
                "webhook-signature",
                "webhook-id"
            ]
        );
    }
}
