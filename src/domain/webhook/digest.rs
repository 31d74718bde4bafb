//! Digests: deliveries to one endpoint, collected for a while and sent as one request.
//!
//! A digest is itself a delivery: its bytes are stored, and it is retried, dead-lettered and replayed as a whole.

use serde::de::IgnoredAny;
use serde_json::{Value, json};

use crate::domain::{
    json,
    webhook::{
        endpoint::Profile,
        request::{MAX_BODY, WebhookRequest},
        slack,
    },
};

/// Deliveries per digest.
pub const MAX_MEMBERS: usize = 100;

const EVENT: &str = "application/cloudevents+json";
/// CloudEvents JSON Batch Format
/// (<https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/formats/json-format.md#4-json-batch-format>).
const EVENTS: &str = "application/cloudevents-batch+json";
const JSON: &str = "application/json";

/// Whether the request can be part of a digest: it has a JSON body; for Slack, one with nothing but `text`.
#[must_use]
pub fn is_digestible(profile: Profile, request: &WebhookRequest) -> bool {
    let Some(body) = &request.body else { return false };
    match profile {
        Profile::Plain => {
            content_type(request).is_some_and(|kind| [JSON, EVENT].contains(&kind))
                && serde_json::from_slice::<IgnoredAny>(body).is_ok()
        }
        Profile::Slack => slack_text(body).is_some(),
    }
}

/// Whether two requests can be in one digest: they differ only in their bodies.
#[must_use]
pub fn fit_together(one: &WebhookRequest, other: &WebhookRequest) -> bool {
    one.method == other.method && one.url == other.url && one.headers == other.headers
}

/// Combines as many of the first members as the limits allow, at least one. Returns the request and the
/// number of members in it. All members must [fit together](fit_together).
///
/// Events become a CloudEvents batch, other bodies a list; for Slack the texts become one.
///
/// `None` if a member cannot be part of a digest.
#[must_use]
pub fn combine(profile: Profile, members: &[&WebhookRequest]) -> Option<(WebhookRequest, usize)> {
    let first = *members.first()?;
    let mut taken = 0;
    let mut body = Vec::new();
    for member in members.iter().take(MAX_MEMBERS) {
        let bytes = member.body.as_deref()?;
        let longer = match profile {
            Profile::Plain => [if body.is_empty() { b"[" } else { &b","[..] }, bytes].concat(),
            Profile::Slack => match slack_text(bytes) {
                Some(text) if taken == 0 => text.into_bytes(),
                Some(text) => [b"\n", text.as_bytes()].concat(),
                None => return None,
            },
        };
        if taken > 0 && body.len() + longer.len() + 1 > limit(profile) {
            break;
        }
        body.extend(longer);
        taken += 1;
    }
    let mut headers = first.headers.clone();
    match profile {
        Profile::Plain => {
            body.push(b']');
            for (name, value) in &mut headers {
                if name == "content-type" && value == EVENT {
                    EVENTS.clone_into(value);
                }
            }
        }
        Profile::Slack => body = json!({ "text": String::from_utf8(body).ok()? }).to_string().into_bytes(),
    }
    Some((WebhookRequest { headers, body: Some(body), ..first.clone() }, taken))
}

/// In bytes. Slack counts characters, each of which has at least one byte.
const fn limit(profile: Profile) -> usize {
    match profile {
        Profile::Plain => MAX_BODY,
        Profile::Slack => slack::MAX_TEXT,
    }
}

fn content_type(request: &WebhookRequest) -> Option<&str> {
    request.headers.iter().find(|(name, _)| name == "content-type").map(|(_, value)| value.as_str())
}

/// The text of a message without any other member.
fn slack_text(body: &[u8]) -> Option<String> {
    let Value::Object(mut members) = json::parse(body)? else { return None };
    match (members.remove("text"), members.is_empty()) {
        (Some(Value::String(text)), true) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::webhook::request::Method;

    fn request(kind: &str, body: &str) -> WebhookRequest {
        let headers = vec![("content-type".to_owned(), kind.to_owned()), ("x".to_owned(), "1".to_owned())];
        let url = "https://hooks.example/".to_owned();
        WebhookRequest { method: Method::Post, url, headers, body: Some(body.as_bytes().to_vec()) }
    }

    fn combined(profile: Profile, members: &[WebhookRequest]) -> (String, String, usize) {
        let (request, taken) = combine(profile, &members.iter().collect::<Vec<_>>()).unwrap();
        let kind = content_type(&request).unwrap().to_owned();
        (kind, String::from_utf8(request.body.unwrap()).unwrap(), taken)
    }

    #[test]
    fn bodies_are_listed_byte_for_byte() {
        let members = [request(JSON, r#"{"b":1, "a":2}"#), request(JSON, "[]"), request(JSON, r#""x""#)];
        let expected = (JSON.to_owned(), r#"[{"b":1, "a":2},[],"x"]"#.to_owned(), 3);
        assert_eq!(combined(Profile::Plain, &members), expected);
        let events = [request(EVENT, r#"{"id":"1"}"#), request(EVENT, r#"{"id":"2"}"#)];
        let expected = (EVENTS.to_owned(), r#"[{"id":"1"},{"id":"2"}]"#.to_owned(), 2);
        assert_eq!(combined(Profile::Plain, &events), expected);
    }

    #[test]
    fn slack_texts_are_joined() {
        let members =
            [request(JSON, r#"{"text":"New: Ada"}"#), request(JSON, r#"{"text":"New: \"Grace\""}"#)];
        let expected = (JSON.to_owned(), r#"{"text":"New: Ada\nNew: \"Grace\""}"#.to_owned(), 2);
        assert_eq!(combined(Profile::Slack, &members), expected);
    }

    #[test]
    fn digests_are_limited_in_members_and_bytes() {
        let many = vec![request(JSON, "1"); MAX_MEMBERS + 5];
        assert_eq!(combined(Profile::Plain, &many).2, MAX_MEMBERS);
        let long = vec![request(JSON, &format!("\"{}\"", "x".repeat(MAX_BODY / 3))); 4];
        let (_, body, taken) = combined(Profile::Plain, &long);
        assert!(taken == 2 && body.len() <= MAX_BODY, "{taken}");
        let text = json!({ "text": "x".repeat(30_000) }).to_string();
        assert_eq!(combined(Profile::Slack, &vec![request(JSON, &text); 3]).2, 1);
    }

    #[test]
    fn only_json_and_plain_slack_texts_are_digestible() {
        let check = |profile, kind: &str, body: &str, expected: bool| {
            assert_eq!(is_digestible(profile, &request(kind, body)), expected, "{body}");
        };
        check(Profile::Plain, JSON, "{}", true);
        check(Profile::Plain, EVENT, "{}", true);
        check(Profile::Plain, JSON, "{", false);
        check(Profile::Plain, "text/plain", "hello", false);
        check(Profile::Slack, JSON, r#"{"text":"x"}"#, true);
        check(Profile::Slack, JSON, r#"{"text":"x","blocks":[]}"#, false);
        assert!(!is_digestible(Profile::Plain, &WebhookRequest { body: None, ..request(JSON, "") }));
    }

    #[test]
    fn only_requests_with_the_same_method_url_and_headers_fit_together() {
        let one = request(JSON, "1");
        assert!(fit_together(&one, &request(JSON, "2")));
        assert!(!fit_together(&one, &request(EVENT, "2")));
        assert!(!fit_together(
            &one,
            &WebhookRequest { url: "https://other.example/".to_owned(), ..one.clone() }
        ));
        assert!(!fit_together(&one, &WebhookRequest { method: Method::Put, ..one.clone() }));
    }
}
