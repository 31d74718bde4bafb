//! One delivery with its request, its attempts, its dead letter, and the members of a digest. Nothing here changes a row.

use sqlx::PgConnection;
use uuid::Uuid;

use super::{Summary, read::unrecorded_one, read_headers};
use crate::{
    domain::{
        event::Key,
        webhook::{delivery::Delivery, requested::DeliveryMessage},
    },
    postgres::attempts::{self, Attempt},
};

/// Everything that a summary leaves out.
#[derive(Clone)]
pub struct Details {
    /// `CloudEvents` `source` of the event.
    pub source: String,
    /// The step within the event's chain, counted from 1.
    pub step: i16,
    /// The HTTP method.
    pub method: String,
    /// The rendered URL. May hold personal data and secrets.
    pub url: String,
    /// Names and values; `None` if they are unreadable. May hold secrets.
    pub headers: Option<Vec<(String, String)>>,
    /// The exact bytes.
    pub body: Option<Vec<u8>>,
    /// Why it is never sent.
    pub fault: Option<String>,
    /// Its dead letter, settled or not.
    pub dead_letter: Option<DeadLetterRef>,
    /// The deliveries that this digest combines.
    pub members: Vec<Uuid>,
    /// Every attempt, oldest first.
    pub attempts: Vec<Attempt>,
}

/// The dead letter of a delivery.
#[derive(Clone, Debug, serde::Serialize)]
pub struct DeadLetterRef {
    /// Its id.
    pub id: Uuid,
    /// The name of its state.
    pub state: String,
    /// The name of its reason.
    pub reason: String,
}

impl From<Delivery> for Details {
    /// Of a delivery that has no row yet.
    fn from(delivery: Delivery) -> Self {
        Self {
            source: delivery.source,
            step: i16::try_from(delivery.step).unwrap_or(i16::MAX),
            method: delivery.request.method.name().to_owned(),
            url: delivery.request.url,
            headers: Some(delivery.request.headers),
            body: delivery.request.body,
            fault: delivery.fault,
            dead_letter: None,
            members: Vec::new(),
            attempts: Vec::new(),
        }
    }
}

/// One delivery, with its line of a listing. One without a row is found only if those could all be searched.
///
/// # Errors
/// When the database fails.
pub async fn details(conn: &mut PgConnection, key: &Key) -> Result<Option<(Summary, Details)>, sqlx::Error> {
    if let Some(found) = with_row(conn, key).await? {
        return Ok(Some(found));
    }
    if let Some(unsent) = unrecorded_one(conn, key).await? {
        return Ok(Some((Summary::unsent(&unsent), unsent.delivery.into())));
    }
    // It may have been recorded between the two reads.
    with_row(conn, key).await
}

async fn with_row(conn: &mut PgConnection, key: &Key) -> Result<Option<(Summary, Details)>, sqlx::Error> {
    let Some(details) = recorded(conn, key).await? else { return Ok(None) };
    let summary = super::summaries(conn, std::slice::from_ref(key)).await?.pop();
    Ok(summary.map(|summary| (summary, details)))
}

/// Of a delivery that has a row.
async fn recorded(conn: &mut PgConnection, key: &Key) -> Result<Option<Details>, sqlx::Error> {
    let row = sqlx::query!(
        "SELECT created_at, source, event_id, trigger_name, step, method, url, headers, body, fault
         FROM webhook_deliveries WHERE company_id = $1 AND delivery_id = $2",
        key.company,
        key.id,
    )
    .fetch_optional(&mut *conn)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let (trigger, event_id, source) = (&row.trigger_name, &row.event_id, &row.source);
    let meaning = DeliveryMessage { delivery: key, trigger, event_id, source }.meaning();
    let dead_letter = sqlx::query_as!(
        DeadLetterRef,
        "SELECT dead_letter_id AS id, state, reason FROM dead_letters
         WHERE company_id = $1 AND stage = 'webhook' AND meaning = $2",
        key.company,
        meaning.as_slice(),
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
    let attempts = attempts::of_delivery(conn, key, row.created_at).await?;
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
