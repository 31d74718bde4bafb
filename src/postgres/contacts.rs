//! Contacts for operators: by identifier, by id, and with the history of their events. Nothing here changes a row.

use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::{columns::column, contact_row::ContactRow, living};
use crate::domain::{
    contact::{Contact, ContactId, Identifier, field::FieldMap},
    event::{CompanyId, Stamp, to_micros},
    value::text::folded,
};

/// A contact and the ids that lead to it.
#[derive(Clone, Debug)]
pub struct Known {
    /// The contact.
    pub contact: Contact,
    /// The ids that were merged into it.
    pub aliases: Vec<Alias>,
}

/// An id that was merged into another contact.
#[derive(Clone, Debug)]
pub struct Alias {
    /// The id.
    pub id: Uuid,
    /// When it was merged.
    pub merged_at: OffsetDateTime,
}

/// One step of one event in a contact's history.
#[derive(Clone, Debug)]
pub struct HistoryRow {
    /// When the event was applied.
    pub applied_at: OffsetDateTime,
    /// `CloudEvents` `time`, in microseconds.
    pub event_time: OffsetDateTime,
    /// The rest of it, 0 to 999.
    pub nanos: i16,
    /// `CloudEvents` `source`.
    pub source: String,
    /// `CloudEvents` `id`.
    pub event_id: String,
    /// The step within the chain, counted from 1.
    pub step: i16,
    /// The trigger's name.
    pub trigger: String,
    /// The contact's id at the time.
    pub contact_id: Uuid,
    /// `created`, `updated` or `unchanged`.
    pub operation: String,
    /// The contact's version after it.
    pub version: i64,
    /// The names of the fields whose value was accepted.
    pub accepted: Vec<String>,
    /// The rejected values: `[{"field": "phone", "reason": "…"}]`.
    pub rejected: Option<serde_json::Value>,
    /// The names of the fields whose value it changed.
    pub changed: Vec<String>,
    /// The contacts that it merged into this one.
    pub merged: Vec<Uuid>,
    /// The id of the trace that the event belongs to.
    pub trace_id: Option<Uuid>,
}

/// Begins a transaction that does not see later commits.
///
/// # Errors
/// When the database is unreachable.
pub async fn snapshot(conn: &mut PgConnection) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
}

/// The contacts of `company` that any of the identifiers finds, by id. A weak phone also finds contacts that have it
/// only as a value; no index contains such numbers, so this reads all contacts of the company.
///
/// # Errors
/// When the database fails, or holds an unreadable contact.
pub async fn find(
    conn: &mut PgConnection,
    company: &CompanyId,
    keys: &[Identifier],
) -> Result<Vec<Contact>, sqlx::Error> {
    let mut ids = sqlx::query_scalar!(
        "SELECT DISTINCT i.contact_id FROM contact_identifiers i
         JOIN UNNEST($2::text[], $3::text[]) AS u(kind, value) USING (kind, value)
         WHERE i.company_id = $1",
        company.as_str(),
        &column(keys, Identifier::kind) as &[&str],
        &column(keys, Identifier::value) as &[&str],
    )
    .fetch_all(&mut *conn)
    .await?;
    for key in keys.iter().filter(|key| key.is_weak()) {
        let same_value = sqlx::query_scalar!(
            "SELECT contact_id FROM contacts WHERE company_id = $1 AND phone = $2",
            company.as_str(),
            key.value(),
        );
        ids.extend(same_value.fetch_all(&mut *conn).await?);
    }
    read(conn, company, &ids).await
}

/// Contacts that one search by name reads.
const MAX_SEARCHED: usize = 20_000;

/// Contacts that one statement of a search reads.
const PORTION: usize = 2_000;

/// At most `limit` contacts of `company` whose name begins with `name`, or with `is_whole` is `name`, the newest first, before
/// the contact `before`; and where the search stopped, if it did not reach the first contact. Neither case nor accents count.
///
/// # Errors
/// When the database fails, or holds an unreadable contact.
pub async fn by_name(
    conn: &mut PgConnection,
    company: &CompanyId,
    name: &str,
    is_whole: bool,
    before: Option<ContactId>,
    limit: usize,
) -> Result<(Vec<Contact>, Option<ContactId>), sqlx::Error> {
    let wanted = folded(name);
    let is_wanted = |name: &str| {
        let name = folded(name);
        if is_whole { name == wanted } else { name.starts_with(&wanted) }
    };
    let (mut ids, mut last, mut searched) = (Vec::new(), before.map_or(Uuid::max(), |id| id.0), 0);
    let mut is_over = false;
    while !is_over && searched < MAX_SEARCHED && ids.len() < limit {
        let names = names_before(conn, company, last).await?;
        is_over = names.len() < PORTION;
        searched += names.len();
        for (id, name) in names {
            last = id;
            if name.is_some_and(|name| is_wanted(&name)) {
                ids.push(id);
                if ids.len() == limit {
                    is_over = false;
                    break;
                }
            }
        }
    }
    let mut found = read(conn, company, &ids).await?;
    found.reverse();
    Ok((found, Some(ContactId(last)).filter(|_| !is_over)))
}

/// The names of the newest contacts before this one. Folding accents takes Postgres several times as long as sending the names.
async fn names_before(
    conn: &mut PgConnection,
    company: &CompanyId,
    before: Uuid,
) -> Result<Vec<(Uuid, Option<String>)>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT contact_id, name FROM contacts WHERE company_id = $1 AND contact_id < $2
         ORDER BY contact_id DESC LIMIT $3",
        company.as_str(),
        before,
        i64::try_from(PORTION).unwrap_or(i64::MAX),
    )
    .fetch_all(conn)
    .await?;
    Ok(rows.into_iter().map(|row| (row.contact_id, row.name)).collect())
}

/// The living contact of `id`.
///
/// # Errors
/// When the database fails, or holds an unreadable contact.
pub async fn get(
    conn: &mut PgConnection,
    company: &CompanyId,
    id: ContactId,
) -> Result<Option<Known>, sqlx::Error> {
    let ContactId(living) = living::resolve(conn, company, id).await?;
    let Some(contact) = read(conn, company, &[living]).await?.pop() else { return Ok(None) };
    let aliases = sqlx::query_as!(
        Alias,
        "SELECT alias_id AS id, merged_at FROM contact_aliases
         WHERE company_id = $1 AND contact_id = $2 ORDER BY 2, 1",
        company.as_str(),
        living,
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(Known { contact, aliases }))
}

/// Where a page of a contact's history begins: after this entry, whichever way it is read. At the same time, an event comes
/// before a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The time of the entry, in microseconds.
    pub time: OffsetDateTime,
    /// The rest of it, up to 999; less than 0 or more than that is before or after every event of this time.
    pub nanos: i16,
    /// `CloudEvents` `id` of an event.
    pub event_id: String,
    /// Its `source`.
    pub source: String,
    /// The step within its chain.
    pub step: i16,
    /// The id of a link; nil and the largest one are before and after every link of this time.
    pub link: Uuid,
}

/// What events did to a contact, at most `limit` of them after this place: oldest event first, or with `newest_first` the
/// other way round. `ids` are its own and its aliases.
///
/// # Errors
/// When the database fails.
pub async fn history(
    conn: &mut PgConnection,
    company: &CompanyId,
    ids: &[Uuid],
    after: &Place,
    newest_first: bool,
    limit: i64,
) -> Result<Vec<HistoryRow>, sqlx::Error> {
    if newest_first {
        return older(conn, company, ids, after, limit).await;
    }
    // A page for each id; the first rows of all are the page.
    sqlx::query_as!(
        HistoryRow,
        r#"SELECT t.applied_at AS "applied_at!", t.event_time AS "event_time!", t.event_nanos AS "nanos!",
               t.source AS "source!", t.event_id AS "event_id!", t.step AS "step!", t.trigger_name AS "trigger!",
               t.contact_id AS "contact_id!", t.operation AS "operation!", t.version AS "version!", t.trace_id,
               t.rejected::jsonb AS rejected, string_to_array(coalesce(t.changed, ''), ',') AS "changed!",
               string_to_array(coalesce(t.merged, ''), ',')::uuid[] AS "merged!",
               ARRAY(SELECT jsonb_object_keys(t.fields::jsonb)) AS "accepted!"
           FROM UNNEST($2::uuid[]) AS u(id) CROSS JOIN LATERAL (
               SELECT * FROM trigger_events e WHERE e.company_id = $1 AND e.contact_id = u.id AND e.event_time >= $3
                 AND (e.event_time, e.event_nanos, e.event_id, e.source, e.step)
                     > ($3::timestamptz, $4::smallint, $5::text, $6::text, $7::smallint)
               ORDER BY e.event_time, e.event_nanos, e.event_id, e.source, e.step LIMIT $8) t
           ORDER BY t.event_time, t.event_nanos, t.event_id, t.source, t.step LIMIT $8"#,
        company.as_str(),
        ids,
        after.time,
        after.nanos,
        after.event_id,
        after.source,
        after.step,
        limit,
    )
    .fetch_all(conn)
    .await
}

async fn older(
    conn: &mut PgConnection,
    company: &CompanyId,
    ids: &[Uuid],
    before: &Place,
    limit: i64,
) -> Result<Vec<HistoryRow>, sqlx::Error> {
    sqlx::query_as!(
        HistoryRow,
        r#"SELECT t.event_time AS "event_time!", t.event_nanos AS "nanos!", t.applied_at AS "applied_at!",
               t.source AS "source!", t.event_id AS "event_id!", t.step AS "step!", t.trigger_name AS "trigger!",
               t.contact_id AS "contact_id!", t.operation AS "operation!", t.version AS "version!", t.trace_id,
               t.rejected::jsonb AS rejected, string_to_array(coalesce(t.changed, ''), ',') AS "changed!",
               string_to_array(coalesce(t.merged, ''), ',')::uuid[] AS "merged!",
               ARRAY(SELECT jsonb_object_keys(t.fields::jsonb)) AS "accepted!"
           FROM UNNEST($2::uuid[]) AS u(id) CROSS JOIN LATERAL (
               SELECT * FROM trigger_events e WHERE e.company_id = $1 AND e.contact_id = u.id AND e.event_time <= $3
                 AND (e.event_time, e.event_nanos, e.event_id, e.source, e.step)
                     < ($3::timestamptz, $4::smallint, $5::text, $6::text, $7::smallint)
               ORDER BY e.event_time DESC, e.event_nanos DESC, e.event_id DESC, e.source DESC, e.step DESC LIMIT $8) t
           ORDER BY t.event_time DESC, t.event_nanos DESC, t.event_id DESC, t.source DESC, t.step DESC LIMIT $8"#,
        company.as_str(),
        ids,
        before.time,
        before.nanos,
        before.event_id,
        before.source,
        before.step,
        limit,
    )
    .fetch_all(conn)
    .await
}

/// The name of the trigger that set each value of a contact, from the ledger. `ids` are its own and its aliases.
///
/// # Errors
/// When the database fails.
pub async fn triggers(
    conn: &mut PgConnection,
    contact: &Contact,
    ids: &[Uuid],
) -> Result<FieldMap<String>, sqlx::Error> {
    let times: Vec<OffsetDateTime> =
        contact.values.iter().map(|(_, value)| to_micros(value.stamp.time)).collect();
    let rows = sqlx::query!(
        "SELECT source, event_id, step, trigger_name FROM trigger_events
         WHERE company_id = $1 AND contact_id = ANY($2) AND event_time = ANY($3)",
        contact.company.as_str(),
        ids,
        &times,
    )
    .fetch_all(conn)
    .await?;
    let mut triggers = FieldMap::default();
    for (field, value) in contact.values.iter() {
        let Stamp { event, step, .. } = &value.stamp;
        let is_origin = |source: &str, id: &str, of: i16| {
            event.source() == source && event.id() == id && i32::from(of) == i32::from(*step)
        };
        if let Some(row) = rows.iter().find(|row| is_origin(&row.source, &row.event_id, row.step)) {
            triggers.insert(field, row.trigger_name.clone());
        }
    }
    Ok(triggers)
}

async fn read(
    conn: &mut PgConnection,
    company: &CompanyId,
    ids: &[Uuid],
) -> Result<Vec<Contact>, sqlx::Error> {
    let rows = sqlx::query_as!(
        ContactRow,
        r#"SELECT company_id, contact_id, version, name, identity, phone, email, company, position, birthday, zip_code,
             country, state, city, district, street, number, complement, provenance, phones,
             emails, separations, created_at, updated_at
         FROM contacts WHERE company_id = $1 AND contact_id = ANY($2) ORDER BY contact_id"#,
        company.as_str(),
        ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Contact::try_from).collect()
}
