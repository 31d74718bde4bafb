//! Endpoints, and their changes.

use serde_json::{Map, Value, json};

use super::{
    Sight,
    deliveries::{attempt, request},
    moment,
};
use crate::{
    domain::webhook::request::WebhookRequest,
    operator::endpoints::{Changed, Endpoint, Shown, shortened},
    postgres::attempts::Attempt,
};

/// One line of a listing.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn listed(endpoint: &Endpoint, sight: Sight) -> serde_json::Result<Value> {
    Ok(masked(serde_json::to_value(endpoint)?, endpoint, sight))
}

/// An endpoint after a change.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn changed(changed: &Changed, sight: Sight) -> serde_json::Result<Value> {
    Ok(masked(serde_json::to_value(changed)?, &changed.endpoint, sight))
}

/// One endpoint with its settings and last attempts.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn shown(shown: &Shown, sight: Sight) -> serde_json::Result<Value> {
    let mut value = listed(&shown.endpoint, sight)?;
    let states: Map<String, Value> =
        shown.states.iter().map(|(state, count)| (state.clone(), (*count).into())).collect();
    if let Value::Object(members) = &mut value {
        members.extend([
            ("settings".to_owned(), json!(shown.terms)),
            ("deliveriesOfTheDay".to_owned(), Value::Object(states)),
            ("deliveriesSince".to_owned(), moment(shown.states_since).into()),
            ("lastAttempts".to_owned(), shown.attempts.iter().map(|one| attempt(one, sight)).collect()),
        ]);
    }
    Ok(value)
}

/// A test event, and how it ended.
#[must_use]
pub fn test(sent: &WebhookRequest, outcome: &Attempt, sight: Sight) -> Value {
    let members = request(sent.method.name(), &sent.url, &sent.headers, sent.body.as_deref());
    json!({ "request": members, "attempt": attempt(outcome, sight) })
}

/// The path of an address may be a secret.
fn masked(mut value: Value, endpoint: &Endpoint, sight: Sight) -> Value {
    if let (Sight::Masked, Value::Object(members)) = (sight, &mut value) {
        members.insert("url".to_owned(), shortened(&endpoint.url).into());
    }
    value
}
