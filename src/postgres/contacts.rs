//! Contacts as operators look at them: by key, by id, and what each event did. Read only.

use sqlx::{Connection as _, PgConnection, Postgres, Transaction};
use time::OffsetDateTime;
use uuid::Uuid;

use super::contact_row::ContactRow;
use crate::domain::{
    contact::{Contact, ContactId, Identifier, field::FieldMap},
    event::CompanyId,
};

/// A contact with all that leads to it.
#[derive(Clone, Debug)]
pub struct Known {
    /// The contact.
    pub contact: Contact,
    /// Ids that lost a merge into it.
    pub aliases: Vec<Alias>,
}

/// An id that lost a merge.
#[derive(Clone, Debug)]
pub struct Alias {
    /// The id.
    pub id: Uuid,
    /// When its contact was merged away.
    pub merged_at: OffsetDateTime,
}

/// One step of one event in a contact's history.
#[derive(Clone, Debug)]
pub struct HistoryRow {
    /// When the event was applied.
    pub applied_at: OffsetDateTime,
    /// The event's own time.
    pub event_time: OffsetDateTime,
    /// `CloudEvents` `source`.
    pub source: String,
    /// `CloudEvents` `id`.
    pub event_id: String,
    /// The step of the chain, from 1.
    pub step: i16,
    /// The trigger's name.
    pub trigger: String,
    /// The contact's id as of then.
    pub contact_id: Option<Uuid>,
    /// `created`, `updated` or `unchanged`.
    pub operation: Option<String>,
    /// The contact's version after it.
    pub version: Option<i64>,
    /// Names of the fields that it gave and that were accepted.
    pub accepted: Vec<String>,
    /// What it gave and what was not taken: `[{"field": "phone", "reason": "…"}]`.
    pub rejected: Option<serde_json::Value>,
    /// Names of the fields whose value it changed.
    pub changed: Vec<String>,
    /// Contacts that it merged into this one.
    pub merged: Vec<Uuid>,
}

/// A transaction that sees the database as it is now, whatever others commit meanwhile.
///
/// # Errors
/// When the database is away.
pub async fn snapshot(conn: &mut PgConnection) -> Result<Transaction<'_, Postgres>, sqlx::Error> {
    conn.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await
}

/// The contacts of `company` that any of the keys finds, by id. A weak phone finds those as well that have
/// it as a value only: that reads the company's whole table, for such numbers are in no index.
///
/// # Errors
/// When the database refuses, is away, or holds a contact that cannot be read.
pub async fn find(
    conn: &mut PgConnection,
    company: &CompanyId,
    keys: &[Identifier],
) -> Result<Vec<Contact>, sqlx::Error> {
    let (kinds, values): (Vec<String>, Vec<String>) =
        keys.iter().map(|key| (key.kind().to_owned(), key.value().to_owned())).unzip();
    let mut ids = sqlx::query_scalar!(
        r#"SELECT DISTINCT contact_id FROM contact_identifiers
           JOIN UNNEST($2::text[], $3::text[]) AS wanted (kind, value) USING (kind, value)
           WHERE company_id = $1"#,
        company.as_str(),
        &kinds,
        &values,
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

/// The contact that `id` is, or has been merged into.
///
/// # Errors
/// When the database refuses, is away, or holds a contact that cannot be read.
pub async fn get(
    conn: &mut PgConnection,
    company: &CompanyId,
    id: ContactId,
) -> Result<Option<Known>, sqlx::Error> {
    let living = sqlx::query_scalar!(
        "SELECT contact_id FROM contact_aliases WHERE company_id = $1 AND alias_id = $2",
        company.as_str(),
        id.0,
    )
    .fetch_optional(&mut *conn)
    .await?
    .unwrap_or(id.0);
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

/// What events did to the contacts with these ids (a contact's own and its aliases), oldest event
/// first.
///
/// # Errors
/// When the database refuses or is away.
pub async fn history(
    conn: &mut PgConnection,
    company: &CompanyId,
    ids: &[Uuid],
) -> Result<Vec<HistoryRow>, sqlx::Error> {
    sqlx::query_as!(
        HistoryRow,
        r#"SELECT applied_at, event_time, source, event_id, step, trigger_name AS trigger, contact_id, operation,
               version, COALESCE(changed, '{}') AS "changed!", COALESCE(merged, '{}') AS "merged!", rejected,
               ARRAY(SELECT jsonb_object_keys(COALESCE(fields, '{}'))) AS "accepted!"
           FROM trigger_events WHERE company_id = $1 AND contact_id = ANY($2) AND NOT erased
           ORDER BY event_time, event_id, source, step"#,
        company.as_str(),
        ids,
    )
    .fetch_all(conn)
    .await
}

/// The name of the trigger behind each value of a contact, from the ledger.
///
/// # Errors
/// When the database refuses or is away.
pub async fn triggers(conn: &mut PgConnection, contact: &Contact) -> Result<FieldMap<String>, sqlx::Error> {
    let keys: Vec<Uuid> = contact.values.iter().map(|(_, value)| value.stamp.event.key()).collect();
    let rows = sqlx::query!(
        "SELECT event_key, step, trigger_name FROM trigger_events
         WHERE company_id = $1 AND event_key = ANY($2)",
        contact.company.as_str(),
        &keys,
    )
    .fetch_all(conn)
    .await?;
    let mut triggers = FieldMap::default();
    for (field, value) in contact.values.iter() {
        let (key, step) = (value.stamp.event.key(), i32::from(value.stamp.step));
        if let Some(row) = rows.iter().find(|row| row.event_key == key && i32::from(row.step) == step) {
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
             country, state, city, district, street, number, complement, provenance::text AS "provenance!", phones,
             emails, separations, created_at, updated_at
         FROM contacts WHERE company_id = $1 AND contact_id = ANY($2) ORDER BY contact_id"#,
        company.as_str(),
        ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(Contact::try_from).collect()
}
