//! Dead letters with their messages.

use serde_json::{Value, json};

use super::{Sight, bytes, moment};
use crate::operator::dead_letters::{self, Shown};

/// A dead letter as [`dead_letter`] shows it, with the message as it is. For callers who can read the database anyway.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn whole(shown: &Shown) -> serde_json::Result<Value> {
    let (mut value, dead_letter) = (dead_letter(shown, Sight::Masked)?, &shown.dead_letter);
    if let Value::Object(members) = &mut value {
        members.extend([
            ("properties".to_owned(), dead_letter.properties.clone()),
            ("difference".to_owned(), json!(dead_letter.difference)),
            bytes("body", &dead_letter.body),
        ]);
    }
    Ok(value)
}

/// One dead letter, the newest of its recorded changes, and the note on its group. Its message is shown without identity
/// documents.
///
/// # Errors
/// When it cannot be written as JSON.
pub fn dead_letter(Shown { dead_letter, changes, note }: &Shown, sight: Sight) -> serde_json::Result<Value> {
    let mut value = serde_json::to_value(&dead_letter.summary)?;
    let Value::Object(members) = &mut value else { return Ok(value) };
    members.extend([
        ("source".to_owned(), json!(dead_letter.source)),
        ("deliveryId".to_owned(), json!(dead_letter.delivery_id)),
        ("routingKey".to_owned(), json!(dead_letter.routing_key)),
        ("settledAt".to_owned(), json!(dead_letter.settled_at.map(moment))),
        ("settledBy".to_owned(), json!(dead_letter.settled_by)),
        ("contactId".to_owned(), json!(dead_letter.contact_id)),
        ("traceId".to_owned(), json!(dead_letters::trace_id(dead_letter))),
        ("editedFrom".to_owned(), json!(dead_letter.edited_from)),
        ("supersededBy".to_owned(), json!(dead_letter.superseded_by)),
        ("note".to_owned(), json!(note)),
        ("changes".to_owned(), json!(changes)),
    ]);
    if sight == Sight::Full {
        let seen = dead_letters::seen(dead_letter);
        members.extend([
            ("properties".to_owned(), dead_letter.properties.clone()),
            ("difference".to_owned(), json!(seen.difference)),
            match seen.body {
                Some(body) => bytes("body", &body),
                None => ("bodyWithheld".to_owned(), true.into()),
            },
        ]);
    }
    Ok(value)
}
