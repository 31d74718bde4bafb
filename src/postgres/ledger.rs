//! The ledger: proof that an event was applied, and what it said.

use std::collections::{BTreeMap, HashMap};

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{
    contact::{
        ContactId, Operation, Rejected,
        field::{Field, FieldMap},
    },
    event::{CompanyId, EventRef},
};

/// What the ledger keeps of one CRM step, or of an event without one (then `contact` is `None`).
pub struct Entry<'a> {
    /// The company.
    pub company: &'a CompanyId,
    /// The event.
    pub event: &'a EventRef,
    /// [`EventRef::key`] of the event.
    pub key: Uuid,
    /// Counts the entries of one event from 0.
    pub ordinal: u16,
    /// The step, counted from 1; 0 where there is no CRM step.
    pub step: u16,
    /// CloudEvents `time`.
    pub time: OffsetDateTime,
    /// SHA-256 of the body.
    pub digest: [u8; 32],
    /// Name of the trigger.
    pub trigger: &'a str,
    /// Id of the assistant.
    pub assistant: Option<&'a str>,
    /// Id of the session.
    pub session: Option<&'a str>,
    /// W3C trace context of the message.
    pub traceparent: Option<&'a str>,
    /// W3C trace context of the message.
    pub tracestate: Option<&'a str>,
    /// Steps beyond `maxInteractions`.
    pub skipped: u16,
    /// Its place in the batch: events are applied again in the order of batches and places.
    pub position: usize,
    /// The person has been erased: only the proof that the event was seen is kept.
    pub erased: bool,
    /// The effect of the CRM step.
    pub contact: Option<Effect<'a>>,
}

/// What a CRM step did.
pub struct Effect<'a> {
    /// The contact, as of then.
    pub id: ContactId,
    /// Created, updated or unchanged.
    pub operation: Operation,
    /// The contact's version afterwards.
    pub version: i64,
    /// The fields whose value changed.
    pub changed: &'a [Field],
    /// The contacts merged into this one.
    pub merged: &'a [ContactId],
    /// The accepted values.
    pub values: &'a FieldMap<String>,
    /// What was not taken.
    pub rejected: &'a [Rejected],
    /// The key that was accepted as such and belongs to another contact.
    pub kept_apart: Option<Rejected>,
}

/// Stands for the ids of an event of an erased person.
pub const ERASED: &str = "erased";

/// What the ledger knows of an event.
pub enum Known {
    /// It was applied, and this is the SHA-256 of its body.
    Digest(Vec<u8>),
    /// It was about a person who has been erased.
    Erased,
}

/// Those of the events that are in the ledger already.
pub async fn known(
    conn: &mut PgConnection,
    events: &[(&CompanyId, Uuid)],
) -> Result<HashMap<(String, Uuid), Known>, sqlx::Error> {
    let companies: Vec<String> = events.iter().map(|(company, _)| company.to_string()).collect();
    let keys: Vec<Uuid> = events.iter().map(|(_, key)| *key).collect();
    let rows = sqlx::query!(
        "SELECT t.company_id, t.event_key, t.body_hash, t.erased
         FROM UNNEST($1::text[], $2::uuid[]) AS k(company_id, event_key)
         JOIN trigger_events t USING (company_id, event_key)",
        &companies,
        &keys
    )
    .fetch_all(conn)
    .await?;
    let known = |erased, digest| if erased { Known::Erased } else { Known::Digest(digest) };
    Ok(rows
        .into_iter()
        .map(|row| ((row.company_id, row.event_key), known(row.erased, row.body_hash)))
        .collect())
}

/// Inserts entries, sorted by the caller, after their contacts are locked, and returns how many of them are new: fewer than given
/// means that another worker applied one of the events meanwhile, and the transaction must not commit.
pub async fn insert(conn: &mut PgConnection, entries: &[Entry<'_>]) -> Result<u64, sqlx::Error> {
    let mut columns = Columns::default();
    for entry in entries {
        columns.push(entry);
    }
    let c = columns;
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
        &c.company as &[&str],
        &c.key,
        &c.step,
        &c.source as &[&str],
        &c.event as &[&str],
        &c.time,
        &c.digest as &[&[u8]],
        &c.trigger as &[&str],
        &c.assistant as &[Option<&str>],
        &c.session as &[Option<&str>],
        &c.traceparent as &[Option<&str>],
        &c.tracestate as &[Option<&str>],
        &c.skipped,
        &c.contact as &[Option<Uuid>],
        &c.operation as &[Option<&str>],
        &c.version as &[Option<i64>],
        &c.changed as &[Option<String>],
        &c.merged as &[Option<String>],
        &c.fields as &[Option<String>],
        &c.rejected as &[Option<String>],
        &c.ordinal,
        &c.position,
        &c.erased,
    )
    .execute(conn)
    .await?;
    Ok(inserted.rows_affected())
}

#[derive(Default)]
struct Columns<'a> {
    company: Vec<&'a str>,
    key: Vec<Uuid>,
    ordinal: Vec<i16>,
    step: Vec<i16>,
    source: Vec<&'a str>,
    event: Vec<&'a str>,
    time: Vec<OffsetDateTime>,
    digest: Vec<&'a [u8]>,
    trigger: Vec<&'a str>,
    assistant: Vec<Option<&'a str>>,
    session: Vec<Option<&'a str>>,
    traceparent: Vec<Option<&'a str>>,
    tracestate: Vec<Option<&'a str>>,
    skipped: Vec<i16>,
    contact: Vec<Option<Uuid>>,
    operation: Vec<Option<&'a str>>,
    version: Vec<Option<i64>>,
    changed: Vec<Option<String>>,
    merged: Vec<Option<String>>,
    fields: Vec<Option<String>>,
    rejected: Vec<Option<String>>,
    position: Vec<i32>,
    erased: Vec<bool>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, entry: &'a Entry<'a>) {
        self.company.push(entry.company.as_str());
        self.key.push(entry.key);
        self.ordinal.push(small(entry.ordinal));
        self.step.push(small(entry.step));
        // Platforms put phone numbers into ids.
        self.source.push(if entry.erased { ERASED } else { entry.event.source() });
        self.event.push(if entry.erased { ERASED } else { entry.event.id() });
        self.time.push(entry.time);
        self.digest.push(&entry.digest);
        self.trigger.push(entry.trigger);
        self.assistant.push(entry.assistant);
        self.session.push(entry.session);
        self.traceparent.push(entry.traceparent);
        self.tracestate.push(entry.tracestate);
        self.skipped.push(small(entry.skipped));
        let effect = entry.contact.as_ref();
        self.contact.push(effect.map(|effect| effect.id.0));
        self.operation.push(effect.map(|effect| effect.operation.name()));
        self.version.push(effect.map(|effect| effect.version));
        self.changed.push(effect.map(|effect| joined(effect.changed)));
        self.merged.push(effect.map(|effect| joined(effect.merged)));
        self.fields.push(effect.map(fields_json));
        self.rejected.push(effect.map(rejected_json));
        // A batch has at most some thousand steps.
        self.position.push(i32::try_from(entry.position).unwrap_or(i32::MAX));
        self.erased.push(entry.erased);
    }
}

/// Steps are at most 110 (11 triggers of 10 actions), so nothing is ever cut here.
fn small(step: u16) -> i16 {
    i16::try_from(step).unwrap_or(i16::MAX)
}

fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

/// What was taken: a key that belongs to another contact is none of this one's values.
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
