//! What operators do to dead letters: replay them and discard them. A dead letter of stage webhook
//! and its delivery row change together.

use sqlx::PgConnection;
use uuid::Uuid;

use super::read::Key;
use crate::{
    domain::fault::Stage,
    postgres::deliveries::{self, DeliveryKey, State},
};

/// A dead letter that is being replayed: what to publish, and where.
pub struct Replayable {
    /// Its key.
    pub key: Key,
    /// Where it goes back to.
    pub stage: Stage,
    /// The delivery that is due now, whether or not the message arrives; only for stage webhook.
    pub delivery_id: Option<Uuid>,
    /// The bytes as they came.
    pub body: Vec<u8>,
    /// AMQP properties, see `amqp::properties`.
    pub properties: serde_json::Value,
}

impl Replayable {
    /// Whether publishing the message is all of the replay: there is no delivery that is due anyway.
    #[must_use]
    pub fn is_its_message(&self) -> bool {
        self.delivery_id.is_none()
    }
}

/// Marks those of `keys` as replaying that are not settled, counts the replay, and makes their
/// webhook deliveries due now with a whole schedule ahead. To be committed before publishing: what
/// dies in between stays replayable.
///
/// Returns those that were marked, in the order of `keys`; the others are settled, gone, or of a
/// delivery that has been delivered.
///
/// # Errors
/// When the database refuses or is away.
pub async fn begin_replay(conn: &mut PgConnection, keys: &[Key]) -> Result<Vec<Replayable>, sqlx::Error> {
    let (companies, ids) = columns(keys);
    let rows = sqlx::query!(
        r#"UPDATE dead_letters AS dead SET state = 'replaying', replays = replays + 1
           FROM UNNEST($1::text[], $2::uuid[]) AS wanted (company_id, dead_letter_id)
           WHERE dead.company_id = wanted.company_id AND dead.dead_letter_id = wanted.dead_letter_id
             AND dead.state IN ('open', 'replaying')
             AND NOT EXISTS (
                 SELECT FROM webhook_deliveries AS delivery
                 WHERE dead.stage = 'webhook' AND delivery.company_id = dead.company_id
                   AND delivery.delivery_id = dead.delivery_id AND delivery.state = 'delivered')
           RETURNING dead.company_id, dead.dead_letter_id, dead.stage, dead.body, dead.properties,
               dead.delivery_id"#,
        &companies,
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    let deliveries: Vec<DeliveryKey> = rows
        .iter()
        .filter_map(|row| Some(DeliveryKey { company: row.company_id.clone(), id: row.delivery_id? }))
        .collect();
    // A delivery that is pending already keeps its lease and its clock: it is being worked on.
    deliveries::restart(conn, &deliveries, &[State::Dead, State::Discarded]).await?;
    let mut marked: Vec<Replayable> = rows
        .into_iter()
        .filter_map(|row| {
            // The schema allows no other stage.
            let stage = row.stage.parse().ok()?;
            let key = Key { company: row.company_id, id: row.dead_letter_id };
            let (body, properties) = (row.body, row.properties);
            Some(Replayable { key, stage, delivery_id: row.delivery_id, body, properties })
        })
        .collect();
    marked.sort_by_key(|dead_letter| keys.iter().position(|key| *key == dead_letter.key));
    Ok(marked)
}

/// Takes a replay back whose message could not be published. What has moved on stays as it is.
///
/// # Errors
/// When the database refuses or is away.
pub async fn mark_open_again(conn: &mut PgConnection, keys: &[Key]) -> Result<(), sqlx::Error> {
    let (companies, ids) = columns(keys);
    sqlx::query!(
        r#"UPDATE dead_letters AS dead SET state = 'open'
           FROM UNNEST($1::text[], $2::uuid[]) AS wanted (company_id, dead_letter_id)
           WHERE dead.company_id = wanted.company_id AND dead.dead_letter_id = wanted.dead_letter_id
             AND dead.state = 'replaying'"#,
        &companies,
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Gives up those of `keys` that are not settled, in the operator's name, and the webhook deliveries
/// behind them. In the caller's transaction. Returns how many were discarded.
///
/// # Errors
/// When the database refuses or is away.
pub async fn discard(conn: &mut PgConnection, keys: &[Key], operator: &str) -> Result<u64, sqlx::Error> {
    let (companies, ids) = columns(keys);
    let rows = sqlx::query!(
        r#"UPDATE dead_letters AS dead SET state = 'discarded', settled_at = now(), settled_by = $3
           FROM UNNEST($1::text[], $2::uuid[]) AS wanted (company_id, dead_letter_id)
           WHERE dead.company_id = wanted.company_id AND dead.dead_letter_id = wanted.dead_letter_id
             AND dead.state IN ('open', 'replaying')
           RETURNING dead.company_id, dead.delivery_id"#,
        &companies,
        &ids,
        operator,
    )
    .fetch_all(&mut *conn)
    .await?;
    let discarded = rows.len() as u64;
    let (companies, delivery_ids): (Vec<String>, Vec<Uuid>) =
        rows.into_iter().filter_map(|row| Some((row.company_id, row.delivery_id?))).unzip();
    sqlx::query!(
        r#"UPDATE webhook_deliveries AS delivery
           SET state = 'discarded', finished_at = now(), lease_token = NULL
           FROM UNNEST($1::text[], $2::uuid[]) AS wanted (company_id, delivery_id)
           WHERE delivery.company_id = wanted.company_id AND delivery.delivery_id = wanted.delivery_id
             AND delivery.state IN ('dead', 'pending')"#,
        &companies,
        &delivery_ids,
    )
    .execute(conn)
    .await?;
    Ok(discarded)
}

fn columns(keys: &[Key]) -> (Vec<String>, Vec<Uuid>) {
    keys.iter().map(|key| (key.company.clone(), key.id)).unzip()
}
