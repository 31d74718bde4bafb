//! Contacts as operators look at them: by key, by id, and what each event did. Read only.

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::domain::{
    contact::{Contact, ContactId, Identifier, Stamped},
    event::{CompanyId, EventRef, Stamp},
    field::{Field, FieldMap},
};

/// A contact with all that leads to it.
#[derive(Clone, Debug)]
pub struct Known {
    /// The contact.
    pub contact: Contact,
    /// Its phones and emails, former ones included. Values are personal data.
    pub identifiers: Vec<KnownIdentifier>,
    /// Ids that lost a merge into it.
    pub aliases: Vec<Alias>,
}

/// A key that finds a contact.
#[derive(Clone)]
pub struct KnownIdentifier {
    /// `phone` or `email`.
    pub kind: String,
    /// The canonical value. Personal data.
    pub value: String,
}

impl std::fmt::Debug for KnownIdentifier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KnownIdentifier").field("kind", &self.kind).finish_non_exhaustive()
    }
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
    /// Contacts that it merged into this one.
    pub merged: Vec<Uuid>,
}

/// The contacts of `company` that any of the keys finds, by id.
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
    let ids = sqlx::query_scalar!(
        r#"SELECT DISTINCT contact_id FROM contact_identifiers
           JOIN UNNEST($2::text[], $3::text[]) AS wanted (kind, value) USING (kind, value)
           WHERE company_id = $1"#,
        company.as_str(),
        &kinds,
        &values,
    )
    .fetch_all(&mut *conn)
    .await?;
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
    let identifiers = sqlx::query_as!(
        KnownIdentifier,
        "SELECT kind, value FROM contact_identifiers WHERE company_id = $1 AND contact_id = $2 ORDER BY 1, 2",
        company.as_str(),
        living,
    )
    .fetch_all(&mut *conn)
    .await?;
    let aliases = sqlx::query_as!(
        Alias,
        "SELECT alias_id AS id, merged_at FROM contact_aliases
         WHERE company_id = $1 AND contact_id = $2 ORDER BY 2, 1",
        company.as_str(),
        living,
    )
    .fetch_all(conn)
    .await?;
    Ok(Some(Known { contact, identifiers, aliases }))
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
               version, COALESCE(merged, '{}') AS "merged!", rejected,
               ARRAY(SELECT jsonb_object_keys(COALESCE(fields, '{}'))) AS "accepted!"
           FROM trigger_events WHERE company_id = $1 AND contact_id = ANY($2)
           ORDER BY event_time, event_id, source, step"#,
        company.as_str(),
        ids,
    )
    .fetch_all(conn)
    .await
}

async fn read(
    conn: &mut PgConnection,
    company: &CompanyId,
    ids: &[Uuid],
) -> Result<Vec<Contact>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        "SELECT contact_id, version, name, identity, phone, email, company, position, birthday, zip_code, country,
             state, city, district, street, number, complement, provenance, created_at, updated_at
         FROM contacts WHERE company_id = $1 AND contact_id = ANY($2) ORDER BY contact_id",
        company.as_str(),
        ids,
    )
    .fetch_all(conn)
    .await?;
    rows.into_iter().map(|row| row.into_contact(company.clone())).collect()
}

/// The columns, as they are.
struct Row {
    contact_id: Uuid,
    version: i64,
    name: Option<String>,
    identity: Option<String>,
    phone: Option<String>,
    email: Option<String>,
    company: Option<String>,
    position: Option<String>,
    birthday: Option<String>,
    zip_code: Option<String>,
    country: Option<String>,
    state: Option<String>,
    city: Option<String>,
    district: Option<String>,
    street: Option<String>,
    number: Option<String>,
    complement: Option<String>,
    provenance: serde_json::Value,
    created_at: OffsetDateTime,
    updated_at: OffsetDateTime,
}

impl Row {
    fn into_contact(self, company: CompanyId) -> Result<Contact, sqlx::Error> {
        let columns = [
            (Field::Name, self.name),
            (Field::Identity, self.identity),
            (Field::Phone, self.phone),
            (Field::Email, self.email),
            (Field::Company, self.company),
            (Field::Position, self.position),
            (Field::Birthday, self.birthday),
            (Field::ZipCode, self.zip_code),
            (Field::Country, self.country),
            (Field::State, self.state),
            (Field::City, self.city),
            (Field::District, self.district),
            (Field::Street, self.street),
            (Field::Number, self.number),
            (Field::Complement, self.complement),
        ];
        let mut values = FieldMap::default();
        for (field, value) in columns {
            if let Some(value) = value {
                let stamp = stamp(&self.provenance, field)
                    .ok_or_else(|| sqlx::Error::Decode(format!("no provenance of `{field}`").into()))?;
                values.insert(field, Stamped { value, stamp });
            }
        }
        Ok(Contact {
            id: ContactId(self.contact_id),
            company,
            version: self.version,
            values,
            created_at: self.created_at,
            updated_at: self.updated_at,
        })
    }
}

/// The stamp of a field in a provenance column; its shape stands in the schema.
fn stamp(provenance: &serde_json::Value, field: Field) -> Option<Stamp> {
    let index = usize::try_from(provenance.get("fields")?.get(field.name())?.as_u64()?).ok()?;
    let event = provenance.get("events")?.get(index)?;
    let text = |name: &str| event.get(name)?.as_str();
    let microseconds = event.get("time")?.as_i64()?;
    Some(Stamp {
        time: OffsetDateTime::from_unix_timestamp_nanos(i128::from(microseconds) * 1_000).ok()?,
        event: EventRef::new(text("source")?, text("id")?).ok()?,
        step: event.get("step")?.as_u64()?.try_into().ok()?,
    })
}
