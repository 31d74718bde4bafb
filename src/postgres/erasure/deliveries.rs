//! Blanks deliveries, which stay without their contents, and removes the chains of their events.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    domain::event::Key,
    postgres::{deliveries, endpoints},
};

/// Maximum number of delivery ids of one statement.
const MAX_IDS: usize = 20_000;

/// Maximum number of deliveries in digests that one transaction blanks. The up to 99 others of each digest become due again.
const MAX_IN_DIGESTS: i64 = 20;

/// Deletes the chains of these events; their results are never published.
///
/// # Errors
/// When the database fails.
pub(super) async fn remove_chains(
    conn: &mut PgConnection,
    company: &str,
    events: &[Uuid],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "WITH locked AS MATERIALIZED (
             SELECT event_key FROM chain_results WHERE company_id = $1 AND event_key = ANY($2)
             ORDER BY event_key FOR UPDATE)
         DELETE FROM chain_results c USING locked WHERE c.company_id = $1 AND c.event_key = locked.event_key",
        company,
        events,
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps the first of these deliveries, in the order of their ids, until one transaction can blank them with their digests.
/// Returns the last one that it keeps, if others come after it.
///
/// # Errors
/// When the database fails.
pub(super) async fn keep_first(
    conn: &mut PgConnection,
    company: &str,
    ids: &mut Vec<Uuid>,
) -> Result<Option<Uuid>, sqlx::Error> {
    ids.sort_unstable();
    // Only digests have neither a contact nor a digest, and members.
    let next = sqlx::query_scalar!(
        "SELECT d.delivery_id FROM UNNEST($2::uuid[]) AS u(delivery_id)
         JOIN webhook_deliveries d ON d.company_id = $1 AND d.delivery_id = u.delivery_id
         WHERE d.source <> 'erased' AND (d.digest_id IS NOT NULL
             OR d.contact_id IS NULL AND EXISTS (SELECT FROM webhook_deliveries member
                 WHERE member.company_id = $1 AND member.digest_id = d.delivery_id))
         ORDER BY d.delivery_id OFFSET $3 LIMIT 1",
        company,
        ids.as_slice(),
        MAX_IN_DIGESTS,
    )
    .fetch_optional(conn)
    .await?;
    let Some(next) = next else { return Ok(None) };
    ids.retain(|id| *id < next);
    Ok(ids.last().copied())
}

/// Blanks these deliveries and the digests with them, and deletes their attempts and the chains of their events. An
/// unfinished delivery ends as discarded. It is no longer pending, so the outcome of a request in flight is not recorded,
/// and it gets a fault, so it is never sent even if an operator makes it due again. `contacts` are the person's ids.
///
/// # Errors
/// When the database fails.
pub(super) async fn blank_deliveries(
    conn: &mut PgConnection,
    company: &str,
    ids: &[Uuid],
    contacts: &[Uuid],
) -> Result<Blanked, sqlx::Error> {
    deliveries::lock_pending(conn, &vec![company; ids.len()], ids).await?;
    // From here on no new digest takes one of them.
    let digests = digests_of(conn, company, ids).await?;
    deliveries::lock_pending(conn, &vec![company; digests.len()], &digests).await?;
    let ids = [ids, &digests].concat();
    let mut blanked = Vec::new();
    for ids in ids.chunks(MAX_IDS) {
        blanked.extend(blank_rows(conn, company, ids).await?);
    }
    let any_undelivered = blanked.iter().any(|row| row.state != "delivered");
    // A delivery that an operator had discarded was not going to be sent.
    let unsent: Vec<Uuid> = blanked
        .iter()
        .filter(|row| ["pending", "dead"].contains(&row.state.as_str()))
        .map(|row| row.delivery_id)
        .collect();
    let first_attempts = blanked.iter().filter(|row| row.attempted).count() as u64;
    let created: Vec<OffsetDateTime> = blanked.iter().map(|row| row.created_at).collect();
    let (blanked, events): (Vec<Uuid>, Vec<Uuid>) =
        blanked.into_iter().map(|row| (row.delivery_id, row.event_key)).unzip();
    sqlx::query!(
        "DELETE FROM webhook_pending p USING UNNEST($2::uuid[]) AS u(delivery_id)
         WHERE p.company_id = $1 AND p.delivery_id = u.delivery_id",
        company,
        &blanked,
    )
    .execute(&mut *conn)
    .await?;
    revive_members(conn, company, &unsent, contacts).await?;
    remove_chains(conn, company, &events).await?;
    let attempts = sqlx::query!(
        "DELETE FROM webhook_attempts a USING UNNEST($2::uuid[], $3::timestamptz[]) AS u(delivery_id, created_at)
         WHERE a.company_id = $1 AND a.delivery_id = u.delivery_id AND a.created_at = u.created_at",
        company,
        &blanked,
        &created,
    )
    .execute(conn)
    .await?;
    let attempts = first_attempts + attempts.rows_affected();
    Ok(Blanked { deliveries: ids, count: blanked.len() as u64, attempts, any_undelivered })
}

/// The digests that contain these deliveries. They need not name anything that identifies the person.
async fn digests_of(conn: &mut PgConnection, company: &str, ids: &[Uuid]) -> Result<Vec<Uuid>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT DISTINCT d.digest_id AS "digest_id!" FROM UNNEST($2::uuid[]) AS u(delivery_id)
           JOIN webhook_deliveries d ON d.company_id = $1 AND d.delivery_id = u.delivery_id
           WHERE d.digest_id IS NOT NULL ORDER BY 1"#,
        company,
        ids,
    )
    .fetch_all(conn)
    .await
}

/// What an erasure has blanked.
#[derive(Default)]
pub(super) struct Blanked {
    /// The deliveries and the digests with them.
    pub(super) deliveries: Vec<Uuid>,
    /// How many of them were not blank before.
    pub(super) count: u64,
    /// The number of their attempts.
    pub(super) attempts: u64,
    /// Some of them were not delivered. A process may have read them before, even those that are not to be sent any more.
    pub(super) any_undelivered: bool,
}

/// A delivery that is blank now.
struct BlankRow {
    delivery_id: Uuid,
    created_at: OffsetDateTime,
    event_key: Uuid,
    /// Its state before.
    state: String,
    /// Its first attempt was on its row.
    attempted: bool,
}

async fn blank_rows(
    conn: &mut PgConnection,
    company: &str,
    ids: &[Uuid],
) -> Result<Vec<BlankRow>, sqlx::Error> {
    sqlx::query_as!(
        BlankRow,
        r#"WITH locked AS MATERIALIZED (
             SELECT d.delivery_id, d.created_at, d.state, d.started_at FROM UNNEST($2::uuid[]) AS u(delivery_id)
             JOIN webhook_deliveries d ON d.company_id = $1 AND d.delivery_id = u.delivery_id
             WHERE NOT (d.url = '' AND d.source = 'erased')
             ORDER BY d.delivery_id FOR UPDATE OF d)
         UPDATE webhook_deliveries d
         SET source = 'erased', event_id = 'erased', url = '', headers = '[]', body = NULL,
             fault = 'the person was erased', last_error = NULL, traceparent = NULL, tracestate = NULL,
             state = CASE WHEN d.state IN ('pending', 'dead') THEN 'discarded' ELSE d.state END,
             started_at = NULL, response_body = NULL, finished_at = coalesce(d.finished_at, now())
         FROM locked
         WHERE d.company_id = $1 AND d.delivery_id = locked.delivery_id AND d.created_at = locked.created_at
         RETURNING d.delivery_id, d.created_at, d.event_key, locked.state, locked.started_at IS NOT NULL AS "attempted!""#,
        company,
        ids,
    )
    .fetch_all(conn)
    .await
}

/// An undelivered digest has members about other people, too. They become due again, for a digest without this person,
/// whose own deliveries are blank by then or will be.
async fn revive_members(
    conn: &mut PgConnection,
    company: &str,
    digests: &[Uuid],
    contacts: &[Uuid],
) -> Result<(), sqlx::Error> {
    let due = sqlx::query!(
        "WITH due AS (
             UPDATE webhook_deliveries d SET state = 'pending', digest_id = NULL, finished_at = NULL
             FROM UNNEST($2::uuid[]) AS u(digest_id)
             WHERE d.company_id = $1 AND d.digest_id = u.digest_id AND d.state = 'digested' AND d.source <> 'erased'
               AND (d.contact_id IS NULL OR d.contact_id <> ALL($3))
             RETURNING d.company_id, d.delivery_id, d.created_at, d.endpoint_id)
         INSERT INTO webhook_pending (company_id, delivery_id, created_at, endpoint_id, due_at, attempts,
             schedule_from, round_started_at)
         SELECT company_id, delivery_id, created_at, endpoint_id, now(), 0, 0, now() FROM due
         RETURNING endpoint_id, due_at",
        company,
        digests,
        contacts,
    )
    .fetch_all(&mut *conn)
    .await?;
    let lane = |id| Key { company: company.to_owned(), id };
    let lanes = due.into_iter().map(|row| (lane(row.endpoint_id), row.due_at)).collect();
    endpoints::schedule(conn, &lanes).await
}
