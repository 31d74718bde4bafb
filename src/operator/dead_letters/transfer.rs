//! Exports and imports complete dead letters.

mod export;
mod import;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::postgres::dead_letters::DeadLetter;

pub use export::Export;
pub use import::{Importer, Outcome, Tally, Terms};

/// A complete dead letter. Personal data.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Record {
    id: Uuid,
    company: String,
    stage: String,
    reason: String,
    state: String,
    message: String,
    trigger: Option<String>,
    event_id: Option<String>,
    source: Option<String>,
    delivery_id: Option<Uuid>,
    endpoint_id: Option<Uuid>,
    attempts: i32,
    replays: i32,
    #[serde(with = "time::serde::rfc3339")]
    first_seen_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    last_seen_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339::option")]
    settled_at: Option<OffsetDateTime>,
    settled_by: Option<String>,
    edited_from: Option<Uuid>,
    superseded_by: Option<Uuid>,
    difference: Option<Value>,
    routing_key: String,
    properties: Value,
    /// The bytes, if they are UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
    /// The bytes, if they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    /// The contents were not kept.
    is_blank: bool,
}

impl From<DeadLetter> for Record {
    fn from(dead_letter: DeadLetter) -> Self {
        let summary = dead_letter.summary;
        let (body, body_base64) = match String::from_utf8(dead_letter.body) {
            Ok(text) => (Some(text), None),
            Err(error) => (None, Some(STANDARD.encode(error.as_bytes()))),
        };
        Self {
            id: summary.id,
            company: summary.company,
            stage: summary.stage,
            reason: summary.reason,
            state: summary.state,
            message: summary.message,
            trigger: summary.trigger,
            event_id: summary.event_id,
            source: dead_letter.source,
            delivery_id: dead_letter.delivery_id,
            endpoint_id: summary.endpoint_id,
            attempts: summary.attempts,
            replays: summary.replays,
            first_seen_at: summary.first_seen_at,
            last_seen_at: summary.last_seen_at,
            settled_at: dead_letter.settled_at,
            settled_by: dead_letter.settled_by,
            edited_from: dead_letter.edited_from,
            superseded_by: dead_letter.superseded_by,
            difference: dead_letter.difference,
            routing_key: dead_letter.routing_key,
            properties: dead_letter.properties,
            body,
            body_base64,
            is_blank: dead_letter.is_blank,
        }
    }
}
