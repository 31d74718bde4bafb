//! The ledger: proof that an event was applied, and the values that it gave.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgConnection;
use uuid::Uuid;

use super::columns::column;
use crate::domain::{
    chain::entry::{Effect, Entry},
    contact::Rejected,
    event::CompanyId,
};

/// Replaces the ids of an event about an erased person.
pub const ERASED: &str = "erased";

/// An event that is in the ledger.
pub enum Known {
    /// It was applied; this is the SHA-256 of its body.
    Applied(Vec<u8>),
    /// It was about a person who has been erased.
    Erased,
}

/// Finds the events that are already in the ledger.
pub async fn known(
    conn: &mut PgConnection,
    events: &[(&CompanyId, Uuid)],
) -> Result<HashMap<(String, Uuid), Known>, sqlx::Error> {
    let companies: Vec<String> = events.iter().map(|(company, _)| company.to_string()).collect();
    let keys: Vec<Uuid> = events.iter().map(|(_, key)| *key).collect();
    let rows = sqlx::query!(
        "SELECT t.company_id, t.event_key, t.body_hash, t.erased
         FROM UNNEST($1::text[], $2::uuid[]) AS u(company_id, event_key)
         JOIN trigger_events t USING (company_id, event_key)",
        &companies,
        &keys
    )
    .fetch_all(conn)
    .await?;
    let known = |erased, body_hash| if erased { Known::Erased } else { Known::Applied(body_hash) };
    let known =
        rows.into_iter().map(|row| ((row.company_id, row.event_key), known(row.erased, row.body_hash)));
    Ok(known.collect())
}

/// Inserts the entries of one batch, given in the order in which they were applied. Their contacts must be
/// locked. Returns whether all of them are new; if not, another worker has applied one of the events meanwhile,
/// and the transaction must not commit.
pub async fn insert(conn: &mut PgConnection, entries: &[Entry<'_>]) -> Result<bool, sqlx::Error> {
    let mut rows: Vec<(usize, &Entry<'_>)> = entries.iter().enumerate().collect();
    // The one lock order of all workers.
    rows.sort_unstable_by_key(|(_, entry)| (entry.company, entry.key, entry.ordinal));
    let inserted = sqlx::query!(
        "INSERT INTO trigger_events (company_id, event_key, ordinal, step, source, event_id, event_time, body_hash, trigger_name,
             assistant_id, session_id, traceparent, tracestate, skipped_steps, contact_id, operation, version,
             changed, merged, fields, rejected, position, erased, batch)
         SELECT company_id, event_key, ordinal, step, source, event_id, event_time, body_hash, trigger_name, assistant_id,
             session_id, traceparent, tracestate, skipped_steps, contact_id, operation, version,
             string_to_array(changed, ','), string_to_array(merged, ',')::uuid[], fields::jsonb, rejected::jsonb,
             position, erased, (SELECT nextval('applied_batches'))
         FROM UNNEST($1::text[], $2::uuid[], $21::smallint[], $3::smallint[], $4::text[], $5::text[], $6::timestamptz[], $7::bytea[],
             $8::text[], $9::text[], $10::text[], $11::text[], $12::text[], $13::smallint[], $14::uuid[], $15::text[],
             $16::bigint[], $17::text[], $18::text[], $19::text[], $20::text[], $22::integer[], $23::boolean[])
             AS u(company_id, event_key, ordinal, step, source, event_id, event_time, body_hash, trigger_name, assistant_id,
                 session_id, traceparent, tracestate, skipped_steps, contact_id, operation, version, changed, merged,
                 fields, rejected, position, erased)
         ON CONFLICT DO NOTHING",
        &column(&rows, |(_, entry)| entry.company.as_str()) as &[&str],
        &column(&rows, |(_, entry)| entry.key),
        &column(&rows, |(_, entry)| small(entry.step)),
        &column(&rows, |(_, entry)| unless_erased(entry, entry.event.source())) as &[&str],
        &column(&rows, |(_, entry)| unless_erased(entry, entry.event.id())) as &[&str],
        &column(&rows, |(_, entry)| entry.time),
        &column(&rows, |(_, entry)| entry.body_hash.as_slice()) as &[&[u8]],
        &column(&rows, |(_, entry)| entry.trigger) as &[&str],
        &column(&rows, |(_, entry)| entry.assistant) as &[Option<&str>],
        &column(&rows, |(_, entry)| entry.session) as &[Option<&str>],
        &column(&rows, |(_, entry)| entry.trace?.traceparent()) as &[Option<&str>],
        &column(&rows, |(_, entry)| entry.trace?.tracestate()) as &[Option<&str>],
        &column(&rows, |(_, entry)| small(entry.skipped)),
        &column(&rows, |row| Some(row.1.effect.as_ref()?.id.0)) as &[Option<Uuid>],
        &column(&rows, |row| Some(row.1.effect.as_ref()?.operation.name())) as &[Option<&str>],
        &column(&rows, |row| Some(row.1.effect.as_ref()?.version)) as &[Option<i64>],
        &column(&rows, |row| Some(joined(row.1.effect.as_ref()?.changed))) as &[Option<String>],
        &column(&rows, |row| Some(joined(row.1.effect.as_ref()?.merged))) as &[Option<String>],
        &column(&rows, |row| Some(fields_json(row.1.effect.as_ref()?))) as &[Option<String>],
        &column(&rows, |row| Some(rejected_json(row.1.effect.as_ref()?))) as &[Option<String>],
        &column(&rows, |(_, entry)| small(entry.ordinal)),
        // A batch has a few thousand steps at most.
        &column(&rows, |(position, _)| i32::try_from(*position).unwrap_or(i32::MAX)),
        &column(&rows, |(_, entry)| entry.erased),
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected() == entries.len() as u64)
}

/// Platforms put phone numbers into ids.
fn unless_erased<'e>(entry: &Entry<'e>, id: &'e str) -> &'e str {
    if entry.erased { ERASED } else { id }
}

/// A chain has 110 steps at most (11 triggers of 10 actions), so nothing is ever cut off.
fn small(step: u16) -> i16 {
    i16::try_from(step).unwrap_or(i16::MAX)
}

fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// The accepted values. An identifier that belongs to another contact is not among them.
fn fields_json(effect: &Effect<'_>) -> String {
    let not_taken = effect.kept_apart.map(|rejected| rejected.field);
    let taken = effect.values.iter().filter(|(field, _)| Some(*field) != not_taken);
    let map: BTreeMap<&str, &str> = taken.map(|(field, value)| (field.name(), value.as_str())).collect();
    serde_json::to_string(&map).unwrap_or_default()
}

fn rejected_json(effect: &Effect<'_>) -> String {
    let rejected: Vec<&Rejected> = effect.rejected.iter().chain(&effect.kept_apart).collect();
    serde_json::to_string(&rejected).unwrap_or_default()
}
