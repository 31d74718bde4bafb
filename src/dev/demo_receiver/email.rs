//! Imitates the usual JSON API of a service that sends email, and is as strict as those are.

use axum::{
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use serde_json::Value;

use super::Received;

/// Accepts a message, or says what is wrong with it.
pub(super) fn answer(request: &Received) -> Response {
    match check(request) {
        Ok(()) => (StatusCode::ACCEPTED, r#"{"status":"queued"}"#).into_response(),
        Err((status, message)) => (status, message).into_response(),
    }
}

fn check(request: &Received) -> Result<(), (StatusCode, &'static str)> {
    let bad = |message| (StatusCode::BAD_REQUEST, message);
    if !request.header("authorization").is_some_and(|value| value.starts_with("Bearer ")) {
        return Err((StatusCode::UNAUTHORIZED, "no token"));
    }
    if request.method != "POST" || request.header("content-type") != Some("application/json") {
        return Err(bad("not a JSON object"));
    }
    let message = request.json().ok().filter(Value::is_object).ok_or(bad("not a JSON object"))?;
    let text = |pointer: &str| message.pointer(pointer).and_then(Value::as_str).filter(|it| !it.is_empty());
    for pointer in ["/from/email", "/to/0/email", "/reply_to/email"] {
        if !text(pointer).is_some_and(|address| address.contains('@')) {
            return Err(bad("an address is missing"));
        }
    }
    if text("/subject").is_none_or(|subject| subject.contains(['\r', '\n'])) {
        return Err(bad("the subject is missing, or has more than one line"));
    }
    text("/text").map(|_| ()).ok_or(bad("there is no text"))
}

#[cfg(test)]
mod tests {
    use axum::{
        body::Bytes,
        http::{HeaderMap, HeaderValue, Method},
    };
    use serde_json::json;

    use super::*;

    fn status(token: Option<&'static str>, body: &Value) -> u16 {
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("application/json"));
        if let Some(token) = token {
            headers.insert("authorization", HeaderValue::from_static(token));
        }
        let body = Bytes::from(body.to_string());
        let (method, path) = (Method::POST, "/email/v1".to_owned());
        answer(&Received { method, path, headers, body }).status().as_u16()
    }

    #[test]
    fn invalid_message_is_refused() {
        let address = json!({"email": "a@x.example"});
        let fine =
            json!({"from": address, "to": [address], "reply_to": address, "subject": "s", "text": "t"});
        assert_eq!(status(Some("Bearer x"), &fine), 202);
        assert_eq!(status(None, &fine), 401);
        assert_eq!(status(Some("Bearer x"), &json!([])), 400);
        for (pointer, value) in [
            ("/from", json!("a")),
            ("/to", json!([])),
            ("/reply_to/email", json!("")),
            ("/subject", json!("a\nb")),
            ("/text", json!("")),
        ] {
            let mut message = fine.clone();
            *message.pointer_mut(pointer).unwrap() = value;
            assert_eq!(status(Some("Bearer x"), &message), 400, "{pointer}");
        }
    }
}
