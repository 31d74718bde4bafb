//! What an operation checks before it replays, why it leaves a dead letter alone, and when it continues after a crash.

use sqlx::PgConnection;

use super::settle::Replayable;
use crate::{domain::event::Key, postgres::columns::key_columns};

/// Those of these dead letters that were replayed at least `limit` times.
///
/// # Errors
/// When the database fails.
pub async fn looping(conn: &mut PgConnection, keys: &[Key], limit: i32) -> Result<Vec<Key>, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    sqlx::query_as!(
        Key,
        "SELECT dl.company_id AS company, dl.dead_letter_id AS id
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, dead_letter_id)
         JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.dead_letter_id = u.dead_letter_id
         WHERE dl.replays >= $3",
        &companies as &[&str],
        &ids,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// Those of these dead letters whose number of replays differs: somebody has replayed them since.
///
/// # Errors
/// When the database fails.
pub async fn replayed_since(
    conn: &mut PgConnection,
    keys: &[Key],
    replays: &[i32],
) -> Result<Vec<Key>, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    sqlx::query_as!(
        Key,
        "SELECT dl.company_id AS company, dl.dead_letter_id AS id
         FROM UNNEST($1::text[], $2::uuid[], $3::integer[]) AS u(company_id, dead_letter_id, replays)
         JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.dead_letter_id = u.dead_letter_id
         WHERE dl.replays <> u.replays",
        &companies as &[&str],
        &ids,
        replays,
    )
    .fetch_all(conn)
    .await
}

/// Those of these dead letters that are not resolved and whose delivery has left.
///
/// # Errors
/// When the database fails.
pub async fn without_delivery(conn: &mut PgConnection, keys: &[Key]) -> Result<Vec<Key>, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    sqlx::query_as!(
        Key,
        "SELECT dl.company_id AS company, dl.dead_letter_id AS id
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, dead_letter_id)
         JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.dead_letter_id = u.dead_letter_id
         WHERE dl.state <> 'resolved' AND dl.delivery_id IS NOT NULL AND NOT EXISTS (
             SELECT FROM webhook_deliveries d WHERE d.company_id = dl.company_id AND d.delivery_id = dl.delivery_id)",
        &companies as &[&str],
        &ids,
    )
    .fetch_all(conn)
    .await
}

/// Those of these dead letters that are being replayed, in the order of `keys`.
///
/// # Errors
/// When the database fails.
pub async fn replaying(conn: &mut PgConnection, keys: &[Key]) -> Result<Vec<Replayable>, sqlx::Error> {
    let (companies, ids) = key_columns(keys);
    let rows = sqlx::query!(
        "SELECT dl.company_id, dl.dead_letter_id, dl.stage, dl.body, dl.properties, dl.delivery_id, dl.event_key,
             dl.meaning, dl.state
         FROM UNNEST($1::text[], $2::uuid[]) WITH ORDINALITY AS u(company_id, dead_letter_id, place)
         JOIN dead_letters dl ON dl.company_id = u.company_id AND dl.dead_letter_id = u.dead_letter_id
         WHERE dl.state = 'replaying' ORDER BY u.place",
        &companies as &[&str],
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let replayables = rows.into_iter().filter_map(|row| {
        Some(Replayable {
            key: Key { company: row.company_id, id: row.dead_letter_id },
            // The schema allows no other stage.
            stage: row.stage.parse().ok()?,
            delivery_id: row.delivery_id,
            body: row.body,
            properties: row.properties,
            event_key: row.event_key,
            meaning: row.meaning,
            was: row.state,
        })
    });
    Ok(replayables.collect())
}
