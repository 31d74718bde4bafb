//! Erasure: finds and removes the data of a person.
//!
//! [`find`] locks the contact and reads what identifies the person; [`erase`] removes the contact in the same
//! transaction. [`Sweep`] finds rows that mention the person and belong to no contact. Both lock rows in the order of
//! all processes.

mod effects;
mod removal;
mod sweep;

use std::collections::BTreeSet;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

pub use removal::erase;
pub use sweep::{Sweep, Table};

use super::living::{self, Living};
use crate::domain::{
    contact::{ContactId, Identifier, erasure::Person, field::Field},
    event::{CompanyId, EventRef},
    value::{
        email::Email,
        phone::{Phone, Region},
    },
};

/// How many rows an erasure removed or blanked, by table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Contacts, 0 or 1.
    pub contacts: u64,
    /// Identifiers of the contact.
    pub identifiers: u64,
    /// Ids that had been merged into it.
    pub aliases: u64,
    /// Events whose history is removed.
    pub ledger_events: u64,
    /// Deliveries that are now blank.
    pub deliveries: u64,
    /// Attempts of those deliveries.
    pub attempts: u64,
    /// Events that had not been published.
    pub outbox_messages: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Identifiers that a late redelivery cannot bring back.
    pub suppressed_keys: u64,
}

impl std::ops::AddAssign for Counts {
    fn add_assign(&mut self, more: Self) {
        self.contacts += more.contacts;
        self.identifiers += more.identifiers;
        self.aliases += more.aliases;
        self.ledger_events += more.ledger_events;
        self.deliveries += more.deliveries;
        self.attempts += more.attempts;
        self.outbox_messages += more.outbox_messages;
        self.dead_letters += more.dead_letters;
        self.suppressed_keys += more.suppressed_keys;
    }
}

/// A contact to be erased, and what identifies its person.
#[derive(Clone, Debug)]
pub struct Dossier {
    /// The living contact.
    pub contact: ContactId,
    /// The ids that were merged into it.
    pub aliases: Vec<ContactId>,
    /// Recognizes messages that mention the person.
    pub person: Person,
    /// The person's identifiers, former ones included.
    keys: Vec<Identifier>,
    /// The events that were applied to it, as far as its history reaches.
    events: BTreeSet<EventRef>,
}

impl Dossier {
    fn ids(&self) -> Vec<Uuid> {
        self.aliases.iter().chain([&self.contact]).map(|id| id.0).collect()
    }
}

/// The person behind a contact id.
pub enum Found {
    /// The living contact, locked until the transaction ends.
    Contact(Dossier),
    /// The person was erased at this time.
    Erased(OffsetDateTime),
    /// No contact has or had this id.
    Unknown,
}

/// Locks the living contact of `id` and reads everything known about its person. Parses national phone
/// numbers as numbers of `region`.
///
/// # Errors
/// When the database fails, or holds an unreadable contact.
pub async fn find(
    conn: &mut PgConnection,
    company: &CompanyId,
    id: ContactId,
    region: Region,
) -> Result<Found, sqlx::Error> {
    match living::lock(conn, company, id).await? {
        Some(living) => Ok(Found::Contact(read(conn, living, region).await?)),
        None => Ok(erased_at(conn, company, id).await?.map_or(Found::Unknown, Found::Erased)),
    }
}

/// When the person with this contact id was erased.
///
/// # Errors
/// When the database fails.
pub async fn erased_at(
    conn: &mut PgConnection,
    company: &CompanyId,
    id: ContactId,
) -> Result<Option<OffsetDateTime>, sqlx::Error> {
    sqlx::query_scalar!(
        "SELECT erased_at FROM contact_erasures WHERE company_id = $1 AND contact_id = $2",
        company.as_str(),
        id.0,
    )
    .fetch_optional(conn)
    .await
}

async fn read(conn: &mut PgConnection, living: Living, region: Region) -> Result<Dossier, sqlx::Error> {
    let Living { contact, aliases, .. } = living;
    let (company, id) = (&contact.company, contact.id);
    let mut evidence = Evidence { region, keys: BTreeSet::new(), documents: BTreeSet::new() };
    evidence.keys.extend(contact.keys.iter().cloned());
    let value = |field| contact.values.get(field).map(|stamped| stamped.value.clone());
    evidence.add(value(Field::Phone), value(Field::Email), value(Field::Identity));
    let ids: Vec<Uuid> = aliases.iter().chain([&id]).map(|id| id.0).collect();
    let entries = sqlx::query!(
        "SELECT source, event_id, fields::json->>'phone' AS phone, fields::json->>'email' AS email,
             fields::json->>'identity' AS identity
         FROM trigger_events WHERE company_id = $1 AND contact_id = ANY($2)",
        company.as_str(),
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut events = BTreeSet::new();
    for entry in entries {
        events.extend(EventRef::new(&entry.source, &entry.event_id));
        evidence.add(entry.phone, entry.email, entry.identity);
    }
    let keys = without_keys_of_others(conn, company, id, evidence.keys).await?;
    let person = Person::new(region, keys.clone(), evidence.documents.iter().map(String::as_str));
    Ok(Dossier { contact: id, aliases, person, keys, events })
}

/// Values that identify the person. Every identifier of a contact came with one of its events.
struct Evidence {
    region: Region,
    keys: BTreeSet<Identifier>,
    /// Documents, and phone values that are not canonical.
    documents: BTreeSet<String>,
}

impl Evidence {
    fn add(&mut self, phone: Option<String>, email: Option<String>, identity: Option<String>) {
        self.documents.extend(identity);
        self.keys.extend(email.and_then(|text| Email::parse(&text)).map(Identifier::Email));
        if let Some(text) = phone {
            match Phone::parse(&text, self.region) {
                Some(phone) => self.keys.extend([Identifier::Phone(phone)]),
                None => self.documents.extend([text]),
            }
        }
    }
}

/// The keys without those of other contacts: an event of this person may have named them.
async fn without_keys_of_others(
    conn: &mut PgConnection,
    company: &CompanyId,
    contact: ContactId,
    keys: BTreeSet<Identifier>,
) -> Result<Vec<Identifier>, sqlx::Error> {
    let (kinds, values) = key_columns(&keys);
    let others = sqlx::query!(
        "SELECT i.kind, i.value FROM UNNEST($2::text[], $3::text[]) AS u(kind, value)
         JOIN contact_identifiers i ON i.company_id = $1 AND i.kind = u.kind AND i.value = u.value
         WHERE i.contact_id <> $4",
        company.as_str(),
        &kinds as &[&str],
        &values as &[&str],
        contact.0,
    )
    .fetch_all(conn)
    .await?;
    let others: BTreeSet<(String, String)> = others.into_iter().map(|row| (row.kind, row.value)).collect();
    let is_own = |key: &Identifier| !others.contains(&(key.kind().to_owned(), key.value().to_owned()));
    Ok(keys.into_iter().filter(is_own).collect())
}

/// The columns of identifiers.
fn key_columns<'a>(keys: impl IntoIterator<Item = &'a Identifier>) -> (Vec<&'a str>, Vec<&'a str>) {
    keys.into_iter().map(|key| (key.kind(), key.value())).unzip()
}
