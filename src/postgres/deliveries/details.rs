//! One delivery with everything: its request, its attempts, what it became. Nothing here changes a row.

use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{DeliveryKey, claim::read_headers, message::message};

/// What a listing does not tell.
#[derive(Clone)]
pub struct Details {
    /// `CloudEvents` `source` of the trigger event.
    pub source: String,
    /// The step within the event's chain, counted from 1.
    pub step: i16,
    /// The method.
    pub method: String,
    /// The URL, rendered. Personal data and secrets may stand in it.
    pub url: String,
    /// Names and values; `None` when they cannot be read. Secrets may stand in them.
    pub headers: Option<Vec<(String, String)>>,
    /// The exact bytes.
    pub body: Option<Vec<u8>>,
    /// Why it is never sent.
    pub fault: Option<String>,
    /// Its dead letter, settled or not.
    pub dead_letter: Option<DeadLetterRef>,
    /// The deliveries that went out as parts of this one.
    pub members: Vec<Uuid>,
    /// Every attempt, the first one first.
    pub attempts: Vec<Attempt>,
}

/// The dead letter that a delivery became.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DeadLetterRef {
    /// Its id.
    pub id: Uuid,
    /// Its state.
    pub state: String,
    /// Its reason.
    pub reason: String,
}

/// One HTTP request as it is recorded.
#[derive(Clone)]
pub struct Attempt {
    /// The delivery.
    pub delivery_id: Uuid,
    /// Counted from 1.
    pub attempt: i32,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// How long it took, in milliseconds.
    pub duration_ms: i32,
    /// Until the connection stood, in milliseconds; none where a kept one was used.
    pub connect_ms: Option<i32>,
    /// Until the head of the answer was there, in milliseconds.
    pub answer_ms: Option<i32>,
    /// Class name, `delivered` or what was wrong.
    pub class: String,
    /// The HTTP status.
    pub status: Option<i32>,
    /// What was wrong, for a person.
    pub error: Option<String>,
    /// The beginning of the answer's body. May be personal data.
    pub response_body: Option<Vec<u8>>,
}

/// One delivery with everything but what a listing tells.
///
/// # Errors
/// When the database refuses or is away.
pub async fn details(conn: &mut PgConnection, key: &DeliveryKey) -> Result<Option<Details>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT source, event_id, trigger_name, step, method, url, headers, body, fault
         FROM webhook_deliveries WHERE company_id = $1 AND delivery_id = $2",
        key.company,
        key.id,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let digest: [u8; 32] = Sha256::digest(message(key, &row.trigger_name, &row.event_id, &row.source)).into();
    let dead_letter = sqlx::query_as!(
        DeadLetterRef,
        "SELECT dead_letter_id AS id, state, reason FROM dead_letters
         WHERE company_id = $1 AND stage = 'webhook' AND digest = $2",
        key.company,
        digest.as_slice(),
    )
    .fetch_optional(&mut *conn)
    .await?;
    let members = sqlx::query_scalar!(
        "SELECT delivery_id FROM webhook_deliveries WHERE company_id = $1 AND digest_id = $2 ORDER BY created_at",
        key.company,
        key.id,
    )
    .fetch_all(&mut *conn)
    .await?;
    let attempts = attempts(conn, key).await?;
    Ok(Some(Details {
        source: row.source,
        step: row.step,
        method: row.method,
        url: row.url,
        headers: read_headers(&row.headers),
        body: row.body,
        fault: row.fault,
        dead_letter,
        members,
        attempts,
    }))
}

async fn attempts(conn: &mut PgConnection, key: &DeliveryKey) -> Result<Vec<Attempt>, sqlx::Error> {
    sqlx::query_as!(
        Attempt,
        "SELECT delivery_id, attempt, started_at, duration_ms, connect_ms, answer_ms, outcome AS class, status, error,
             response_body
         FROM webhook_attempts WHERE company_id = $1 AND delivery_id = $2 ORDER BY attempt",
        key.company,
        key.id,
    )
    .fetch_all(conn)
    .await
}
