//! Making deliveries due again, for operators: what has ended with a whole schedule ahead, what is pending at
//! once. Whether one may be is decided above, between [`hold`] and the others, in one transaction.

use sha2::{Digest as _, Sha256};
use sqlx::PgConnection;
use uuid::Uuid;

use super::{DeliveryKey, State, message::message};

/// How a delivery stands that an operator wants to be sent again.
#[derive(Clone)]
pub struct Held {
    /// Which.
    pub key: DeliveryKey,
    /// Its state; `None` is one of a later version.
    pub state: Option<State>,
    /// Why it is never sent.
    pub fault: Option<String>,
    /// Whether a worker has it in hand, with a lease that has not ended.
    pub in_flight: bool,
    /// Whether an older version of the contact must not follow a newer one.
    pub newest_only: bool,
    /// SHA-256 of the message of its dead letter, which that is found by.
    digest: [u8; 32],
}

/// Locks deliveries, in the order of their keys, and says how they stand. Those that are not there are left out.
///
/// # Errors
/// When the database refuses or is away; the caller's transaction is then lost.
pub async fn hold(conn: &mut PgConnection, keys: &[DeliveryKey]) -> Result<Vec<Held>, sqlx::Error> {
    let (companies, ids) = columns(keys);
    let rows = sqlx::query!(
        r#"SELECT d.company_id, d.delivery_id, d.state, d.fault, d.newest_only, d.trigger_name, d.event_id, d.source,
               d.lease_token IS NOT NULL AND d.next_attempt_at > now() AS "in_flight!"
           FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, delivery_id)
           JOIN webhook_deliveries d ON d.company_id = u.company_id AND d.delivery_id = u.delivery_id
           ORDER BY d.company_id, d.delivery_id FOR UPDATE OF d"#,
        &companies,
        &ids,
    )
    .fetch_all(conn)
    .await?;
    let held = rows.into_iter().map(|row| {
        let key = DeliveryKey { company: row.company_id, id: row.delivery_id };
        let digest = Sha256::digest(message(&key, &row.trigger_name, &row.event_id, &row.source)).into();
        Held {
            key,
            state: State::from_name(&row.state),
            fault: row.fault,
            in_flight: row.in_flight,
            newest_only: row.newest_only,
            digest,
        }
    });
    Ok(held.collect())
}

/// Makes deliveries pending and due that ended in one of these states, with a whole schedule ahead. The end of
/// their chain has been told, or will be by what is left of it, so nobody is told theirs once more.
///
/// # Errors
/// When the database refuses or is away; the caller's transaction is then lost.
pub async fn restart(
    conn: &mut PgConnection,
    keys: &[DeliveryKey],
    ended: &[State],
) -> Result<(), sqlx::Error> {
    let (companies, ids) = columns(keys);
    let states: Vec<String> = ended.iter().map(|state| state.name().to_owned()).collect();
    sqlx::query!(
        "UPDATE webhook_deliveries AS delivery
         SET state = 'pending', schedule_from = attempts, next_attempt_at = now(), round_started_at = now(),
             finished_at = NULL, lease_token = NULL, awaited = false
         FROM UNNEST($1::text[], $2::uuid[]) AS wanted (company_id, delivery_id)
         WHERE delivery.company_id = wanted.company_id AND delivery.delivery_id = wanted.delivery_id
           AND delivery.state = ANY($3)",
        &companies,
        &ids,
        &states,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Makes pending deliveries due at once; their schedule goes on where it is. Those that a worker has in hand
/// stay as they are.
///
/// # Errors
/// When the database refuses or is away; the caller's transaction is then lost.
pub async fn hasten(conn: &mut PgConnection, keys: &[DeliveryKey]) -> Result<(), sqlx::Error> {
    let (companies, ids) = columns(keys);
    // IS NOT DISTINCT FROM keeps the planner from walking the index of all pending deliveries.
    sqlx::query!(
        "UPDATE webhook_deliveries AS delivery SET next_attempt_at = now(), lease_token = NULL
         FROM UNNEST($1::text[], $2::uuid[]) AS wanted (company_id, delivery_id)
         WHERE delivery.company_id = wanted.company_id AND delivery.delivery_id = wanted.delivery_id
           AND delivery.state IS NOT DISTINCT FROM 'pending'
           AND (delivery.lease_token IS NULL OR delivery.next_attempt_at <= now())",
        &companies,
        &ids,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Marks the dead letters of these deliveries as replaying, those that were given up with them, and counts
/// the replay.
///
/// # Errors
/// When the database refuses or is away; the caller's transaction is then lost.
pub async fn replay_dead_letters(conn: &mut PgConnection, held: &[&Held]) -> Result<(), sqlx::Error> {
    let companies: Vec<&str> = held.iter().map(|one| one.key.company.as_str()).collect();
    let digests: Vec<&[u8]> = held.iter().map(|one| one.digest.as_slice()).collect();
    sqlx::query!(
        "UPDATE dead_letters AS dead
         SET state = 'replaying', replays = replays + 1, settled_at = NULL, settled_by = NULL
         FROM UNNEST($1::text[], $2::bytea[]) AS wanted (company_id, digest)
         WHERE dead.company_id = wanted.company_id AND dead.stage = 'webhook' AND dead.digest = wanted.digest
           AND dead.state IN ('open', 'replaying', 'discarded')",
        &companies as &[&str],
        &digests as &[&[u8]],
    )
    .execute(conn)
    .await?;
    Ok(())
}

fn columns(keys: &[DeliveryKey]) -> (Vec<String>, Vec<Uuid>) {
    keys.iter().map(|key| (key.company.clone(), key.id)).unzip()
}
