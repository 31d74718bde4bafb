//! Removes the data of a person, in the caller's transaction.
//!
//! The proofs that events were applied stay, so a redelivery does not bring the person back, and deliveries stay, blank.
//! Event ids are removed, because platforms build them from phone numbers.

use std::collections::HashSet;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Counts, Dossier, effects, key_columns};
use crate::{
    domain::{
        chain::{completed, outgoing::OutgoingEvent},
        event::{CompanyId, EventRef, Key},
        webhook::delivery::{Delivery, delivery_id},
    },
    postgres::{deliveries, endpoints, suppressions},
};

/// Maximum number of steps of an event: 11 triggers of 10 actions.
const MAX_STEPS: u16 = 110;
/// Maximum number of delivery ids of one statement.
const MAX_IDS: usize = 20_000;

/// Erases the contact that [`super::find`] found in this transaction, on behalf of `operator`, and suppresses its
/// identifiers. Returns the time of the erasure, which is later than every change that it erases.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub async fn erase(
    conn: &mut PgConnection,
    company: &CompanyId,
    dossier: &Dossier,
    operator: &str,
    pepper: &str,
) -> Result<(OffsetDateTime, Counts), sqlx::Error> {
    // now() is the start of the transaction, before the wait for the lock.
    let erased_at =
        sqlx::query_scalar!(r#"SELECT clock_timestamp() AS "now!""#).fetch_one(&mut *conn).await?;
    let ids = dossier.ids();
    suppressions::insert(conn, pepper, company, &dossier.keys, erased_at).await?;
    sqlx::query!(
        "INSERT INTO contact_erasures (company_id, contact_id, erased_at, operator)
         SELECT $1, id, $3, $4 FROM UNNEST($2::uuid[]) AS u(id) ON CONFLICT DO NOTHING",
        company.as_str(),
        &ids,
        erased_at,
        operator,
    )
    .execute(&mut *conn)
    .await?;
    let mut counts = contact(conn, company, dossier).await?;
    counts.suppressed_keys = dossier.keys.len() as u64;
    counts.ledger_events = dossier.events.len() as u64;
    ledger(conn, company, dossier, &ids).await?;
    let deliveries = delivery_ids(company, dossier);
    // Before the rows: until then a process may insert them.
    let is_theirs = |delivery: &Delivery| deliveries.binary_search(&delivery.key.id).is_ok();
    counts.deliveries = effects::remove_all(conn, company.as_str(), is_theirs).await?;
    let (blanked, attempts) = blank_deliveries(conn, company.as_str(), &deliveries, &ids).await?;
    counts.deliveries += blanked;
    counts.attempts += attempts;
    // After the chains, whose results are inserted until then.
    let subjects: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    // The result of a chain may have another contact of the same chain as its subject.
    let results: HashSet<Uuid> =
        dossier.events.iter().map(|event| event.id_of(company, completed::KIND, 0)).collect();
    let concerns = |event: &OutgoingEvent| {
        event.subject.as_ref().is_some_and(|subject| subjects.contains(subject))
            || results.contains(&event.id)
    };
    counts.outbox_messages = effects::remove_all(conn, company.as_str(), concerns).await?;
    Ok((erased_at, counts))
}

async fn contact(
    conn: &mut PgConnection,
    company: &CompanyId,
    dossier: &Dossier,
) -> Result<Counts, sqlx::Error> {
    let contacts = sqlx::query!(
        "DELETE FROM contacts WHERE company_id = $1 AND contact_id = $2",
        company.as_str(),
        dossier.contact.0,
    )
    .execute(&mut *conn)
    .await?;
    let (kinds, values) = key_columns(&dossier.keys);
    let identifiers = sqlx::query!(
        "DELETE FROM contact_identifiers i USING UNNEST($2::text[], $3::text[]) AS u(kind, value)
         WHERE i.company_id = $1 AND i.kind = u.kind AND i.value = u.value AND i.contact_id = $4",
        company.as_str(),
        &kinds as &[&str],
        &values as &[&str],
        dossier.contact.0,
    )
    .execute(&mut *conn)
    .await?;
    let aliases = sqlx::query!(
        "DELETE FROM contact_aliases WHERE company_id = $1 AND contact_id = $2",
        company.as_str(),
        dossier.contact.0,
    )
    .execute(conn)
    .await?;
    Ok(Counts {
        contacts: contacts.rows_affected(),
        identifiers: identifiers.rows_affected(),
        aliases: aliases.rows_affected(),
        ..Counts::default()
    })
}

async fn ledger(
    conn: &mut PgConnection,
    company: &CompanyId,
    dossier: &Dossier,
    ids: &[Uuid],
) -> Result<(), sqlx::Error> {
    let mut events: Vec<Uuid> = dossier.events.iter().map(EventRef::key).collect();
    events.sort_unstable();
    sqlx::query!(
        "UPDATE applied_events ae SET erased = true FROM UNNEST($2::uuid[]) AS u(event_key)
         WHERE ae.company_id = $1 AND ae.event_key = u.event_key",
        company.as_str(),
        &events,
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM trigger_events WHERE company_id = $1 AND contact_id = ANY($2)",
        company.as_str(),
        ids,
    )
    .execute(&mut *conn)
    .await?;
    for column in ["contact_id", "other_id"] {
        // One of the two names above, and each has an index.
        let statement = format!(
            "UPDATE contact_links SET source = NULL, event_id = NULL WHERE company_id = $1 AND {column} = ANY($2)"
        );
        sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(company.as_str())
            .bind(ids)
            .execute(&mut *conn)
            .await?;
    }
    Ok(())
}

/// The ids of all deliveries that the person's events can have, derived from event and step. An index by event would
/// find them too, but every insert would pay for it.
fn delivery_ids(company: &CompanyId, dossier: &Dossier) -> Vec<Uuid> {
    let of_event = |event: &EventRef| -> Vec<Uuid> {
        (1..=MAX_STEPS).map(|step| delivery_id(event, company, step)).collect()
    };
    let mut ids: Vec<Uuid> = dossier.events.iter().flat_map(of_event).collect();
    ids.sort_unstable();
    ids
}

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

/// Blanks these deliveries, and deletes their attempts and the chains of their events. An unfinished delivery ends
/// as discarded. It is no longer pending, so the outcome of a request in flight is not recorded, and it gets a fault,
/// so it is never sent even if an operator makes it due again. `contacts` are the person's ids. Returns the numbers of
/// deliveries and attempts.
///
/// # Errors
/// When the database fails.
pub(super) async fn blank_deliveries(
    conn: &mut PgConnection,
    company: &str,
    ids: &[Uuid],
    contacts: &[Uuid],
) -> Result<(u64, u64), sqlx::Error> {
    deliveries::lock_pending(conn, &vec![company; ids.len()], ids).await?;
    let mut blanked = Vec::new();
    for ids in ids.chunks(MAX_IDS) {
        blanked.extend(blank_rows(conn, company, ids).await?);
    }
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
    Ok((blanked.len() as u64, first_attempts + attempts.rows_affected()))
}

/// A delivery that is blank now.
struct Blanked {
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
) -> Result<Vec<Blanked>, sqlx::Error> {
    sqlx::query_as!(
        Blanked,
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
