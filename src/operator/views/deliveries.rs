//! Deliveries, their requests and attempts. Secrets in headers and queries have already been removed.

use serde_json::{Map, Value, json};
use time::format_description::well_known::Rfc3339;

use super::{Sight, bytes};
use crate::{
    operator::{
        deliveries::{Delivery, Listed},
        endpoints::shortened,
    },
    postgres::attempts::Attempt,
};

/// One line of a listing.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn listed(listed: &Listed, sight: Sight) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(listed)?;
    if let (Sight::Masked, Value::Object(members), Some(url)) =
        (sight, &mut value, &listed.summary.endpoint_url)
    {
        // Authors put values into paths.
        members.insert("endpointUrl".to_owned(), shortened(url).into());
    }
    Ok(value)
}

/// One delivery with its request and attempts.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn delivery(delivery: &Delivery, sight: Sight) -> serde_json::Result<Value> {
    let mut value = listed(&delivery.listed, sight)?;
    let view = &delivery.request;
    let request = match sight {
        Sight::Full => {
            let mut members = request(&view.method, &view.url, &view.headers, view.body.as_deref());
            members.insert("curl".to_owned(), view.curl().into());
            members
        }
        Sight::Masked => {
            // As its author wrote it: the rendered one has values of the contact.
            let url = delivery.listed.summary.endpoint_url.as_deref().map(shortened).unwrap_or_default();
            let members = [("method", view.method.clone()), ("url", url)];
            members.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect()
        }
    };
    if let Value::Object(members) = &mut value {
        members.extend([
            ("source".to_owned(), json!(delivery.source)),
            ("step".to_owned(), json!(delivery.step)),
            ("fault".to_owned(), json!(delivery.fault)),
            ("deadLetter".to_owned(), json!(delivery.dead_letter)),
            ("digestMembers".to_owned(), json!(delivery.members)),
            ("request".to_owned(), Value::Object(request)),
            ("attemptLog".to_owned(), delivery.attempts.iter().map(|one| attempt(one, sight)).collect()),
        ]);
    }
    Ok(value)
}

/// The members of a request; a body that is not text is in base64.
#[must_use]
pub fn request(
    method: &str,
    url: &str,
    headers: &[(String, String)],
    body: Option<&[u8]>,
) -> Map<String, Value> {
    let mut request = Map::new();
    request.insert("method".to_owned(), method.into());
    request.insert("url".to_owned(), url.into());
    request.insert("headers".to_owned(), json!(headers));
    request.extend(body.map(|body| bytes("body", body)));
    request
}

/// One attempt with all its members.
#[must_use]
pub fn attempt(attempt: &Attempt, sight: Sight) -> Value {
    let mut value = json!({
        "deliveryId": attempt.delivery_id,
        "attempt": attempt.attempt,
        "startedAt": attempt.started_at.format(&Rfc3339).unwrap_or_default(),
        "durationMs": attempt.duration_ms,
        "connectMs": attempt.connect_ms,
        "answerMs": attempt.answer_ms,
        "class": attempt.class,
        "status": attempt.status,
        "error": attempt.error,
        "responseBytes": attempt.response_body.as_ref().map_or(0, Vec::len),
    });
    if let (Sight::Full, Value::Object(members)) = (sight, &mut value) {
        members.extend(attempt.response_body.as_deref().map(|body| bytes("responseBody", body)));
    }
    value
}
