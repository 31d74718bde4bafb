//! Imitates Slack's incoming webhooks, and is as strict about bodies and rate as Slack is.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    http::{StatusCode, header},
    response::{IntoResponse as _, Response},
};
use serde_json::Value;

use super::Received;

/// Slack accepts one message per second and webhook. The tolerance is for messages sent exactly a second apart.
const MIN_INTERVAL: Duration = Duration::from_millis(900);

/// The time at which each webhook accepted its last message.
#[derive(Default)]
pub(super) struct Slack(Mutex<HashMap<String, Instant>>);

impl Slack {
    /// The response that Slack would give.
    pub(super) fn answer(&self, request: &Received, now: Instant) -> Response {
        if request.path.starts_with("/slack/gone") {
            return (StatusCode::NOT_FOUND, "no_service").into_response();
        }
        if let Err(word) = check(request) {
            return (StatusCode::BAD_REQUEST, word).into_response();
        }
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.get(&request.path).is_some_and(|last| now.duration_since(*last) < MIN_INTERVAL) {
            return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")], "rate_limited")
                .into_response();
        }
        taken.insert(request.path.clone(), now);
        "ok".into_response()
    }
}

/// Slack's error code for an invalid message.
fn check(request: &Received) -> Result<(), &'static str> {
    let kind = request.header("content-type").and_then(|kind| kind.split(';').next());
    let body = request.json().ok().filter(|_| request.method == "POST" && kind == Some("application/json"));
    let Some(Value::Object(message)) = body else { return Err("invalid_payload") };
    let mut has_content = false;
    match message.get("text") {
        None | Some(Value::Null) => {}
        Some(Value::String(text)) => has_content |= !text.trim().is_empty(),
        Some(_) => return Err("invalid_payload"),
    }
    match message.get("blocks") {
        None => {}
        Some(Value::Array(blocks)) if blocks.len() > 50 || !blocks.iter().all(has_type) => {
            return Err("invalid_blocks");
        }
        Some(Value::Array(blocks)) => has_content |= !blocks.is_empty(),
        Some(_) => return Err("invalid_blocks_format"),
    }
    match message.get("attachments") {
        None => {}
        Some(Value::Array(attachments)) if attachments.len() > 100 => return Err("too_many_attachments"),
        Some(Value::Array(attachments)) => has_content |= !attachments.is_empty(),
        Some(_) => return Err("invalid_attachments"),
    }
    if has_content { Ok(()) } else { Err("no_text") }
}

fn has_type(block: &Value) -> bool {
    block.get("type").is_some_and(Value::is_string)
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Bytes,
        http::{HeaderMap, HeaderValue, Method},
    };
    use serde_json::json;

    use super::*;

    fn request(path: &str, body: &str) -> Received {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        let body = Bytes::from(body.to_owned());
        Received { method: Method::POST, path: path.to_owned(), headers, body }
    }

    #[test]
    fn invalid_message_is_refused() {
        for (body, expected) in [
            (json!({"text": "x"}), Ok(())),
            (json!({"blocks": [{"type": "divider"}]}), Ok(())),
            (json!({"attachments": [{}]}), Ok(())),
            (json!({}), Err("no_text")),
            (json!({"text": " ", "blocks": []}), Err("no_text")),
            (json!({"text": 1}), Err("invalid_payload")),
            (json!([]), Err("invalid_payload")),
            (json!({"blocks": {}}), Err("invalid_blocks_format")),
            (json!({"blocks": [{}]}), Err("invalid_blocks")),
            (json!({"blocks": vec![json!({"type": "divider"}); 51]}), Err("invalid_blocks")),
            (json!({"attachments": vec![json!({}); 101]}), Err("too_many_attachments")),
            (json!({"attachments": "x"}), Err("invalid_attachments")),
        ] {
            assert_eq!(check(&request("/slack/a", &body.to_string())), expected, "{body}");
        }
        assert_eq!(check(&request("/slack/a", "not JSON")), Err("invalid_payload"));
        let undeclared = Received { headers: HeaderMap::new(), ..request("/slack/a", r#"{"text": "x"}"#) };
        assert_eq!(check(&undeclared), Err("invalid_payload"));
    }

    #[test]
    fn webhook_accepts_one_message_per_second() {
        let slack = Slack::default();
        let start = Instant::now();
        let status = |path: &str, after: u64| {
            let request = request(path, r#"{"text": "x"}"#);
            let answer = slack.answer(&request, start + Duration::from_millis(after));
            (answer.status().as_u16(), answer.headers().contains_key("retry-after"))
        };
        assert_eq!(status("/slack/a", 0), (200, false));
        assert_eq!(status("/slack/a", 500), (429, true));
        assert_eq!(status("/slack/b", 500), (200, false));
        assert_eq!(status("/slack/a", 950), (200, false));
        assert_eq!(status("/slack/gone", 0), (404, false));
    }
}
