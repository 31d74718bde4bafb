//! Erasure: what is kept of a person, and its removal.
//!
//! [`find`] locks the contact and tells what must go, [`erase`] removes it, both in one transaction.
//! What lies around without a contact and speaks of the person is found by [`Sweep`]. Lock order as
//! everywhere: contacts, identifiers, ledger; then deliveries.

mod removal;
mod sweep;

use std::collections::BTreeSet;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

pub use removal::erase;
pub use sweep::{Sweep, Table};

use super::directory;
use crate::domain::{
    contact::{ContactId, Identifier, erasure::Person},
    event::{CompanyId, EventRef},
    value::{
        email::Email,
        phone::{Phone, Region},
    },
};

/// How often a contact is looked for that is merged or parted while its lock is waited for.
const TRIES: usize = 10;

/// What has been, or would be, removed, by place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Contacts.
    pub contacts: u64,
    /// Phones and emails that found the contact.
    pub identifiers: u64,
    /// Ids that had been merged into it.
    pub aliases: u64,
    /// Events whose entries in the ledger are blank now.
    pub ledger_events: u64,
    /// Webhook deliveries that are blank now.
    pub deliveries: u64,
    /// Attempts of these.
    pub attempts: u64,
    /// Messages that were waiting to be published.
    pub outbox_messages: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Phones and emails that cannot come back by a late redelivery.
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

/// What is known of a contact that is to be erased.
#[derive(Clone, Debug)]
pub struct Dossier {
    /// The living contact.
    pub contact: ContactId,
    /// The ids that were merged into it.
    pub aliases: Vec<ContactId>,
    /// By what messages are recognized that speak of this person.
    pub person: Person,
    /// Its phones and emails, former ones included.
    keys: Vec<Identifier>,
    /// The events that were applied to it.
    events: BTreeSet<EventRef>,
}

impl Dossier {
    fn ids(&self) -> Vec<Uuid> {
        self.aliases.iter().chain([&self.contact]).map(|id| id.0).collect()
    }
}

/// What an id leads to.
pub enum Found {
    /// A contact, locked until the transaction ends.
    Contact(Dossier),
    /// Somebody who was erased then.
    Erased(OffsetDateTime),
    /// Nobody.
    Unknown,
}

/// Locks the contact that `id` is or has been merged into, and reads what is known of it. National
/// phone numbers are read in `region`.
///
/// # Errors
/// When the database refuses or is away.
pub async fn find(
    conn: &mut PgConnection,
    company: &CompanyId,
    id: ContactId,
    region: Region,
) -> Result<Found, sqlx::Error> {
    let mut last = None;
    for _ in 0..TRIES {
        let contact = directory::living(conn, company, id).await?;
        if let Some(row) = lock(conn, company, contact).await? {
            // It was parted from what the id leads to while its lock was waited for.
            if directory::living(conn, company, id).await? != contact {
                continue;
            }
            return Ok(Found::Contact(read(conn, company, contact, row, region).await?));
        }
        // It was merged away while its lock was waited for, or is not there.
        if last.replace(contact) == Some(contact) {
            break;
        }
    }
    Ok(erased_at(conn, company, id).await?.map_or(Found::Unknown, Found::Erased))
}

/// When the person with this contact id was erased, if that is so.
///
/// # Errors
/// When the database refuses or is away.
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

/// The columns of a contact, or the fields of an entry of the ledger, that hold keys.
#[derive(Default)]
struct Values {
    phone: Option<String>,
    email: Option<String>,
    identity: Option<String>,
    phones: Vec<String>,
    emails: Vec<String>,
}

async fn lock(
    conn: &mut PgConnection,
    company: &CompanyId,
    id: ContactId,
) -> Result<Option<Values>, sqlx::Error> {
    sqlx::query_as!(
        Values,
        "SELECT phone, email, identity, phones, emails FROM contacts
         WHERE company_id = $1 AND contact_id = $2 FOR UPDATE",
        company.as_str(),
        id.0,
    )
    .fetch_optional(conn)
    .await
}

async fn read(
    conn: &mut PgConnection,
    company: &CompanyId,
    contact: ContactId,
    row: Values,
    region: Region,
) -> Result<Dossier, sqlx::Error> {
    let aliases = sqlx::query_scalar!(
        "SELECT alias_id FROM contact_aliases WHERE company_id = $1 AND contact_id = $2 ORDER BY 1",
        company.as_str(),
        contact.0,
    )
    .fetch_all(&mut *conn)
    .await?;
    let aliases: Vec<ContactId> = aliases.into_iter().map(ContactId).collect();
    let mut told = Told { region, keys: BTreeSet::new(), documents: BTreeSet::new() };
    told.add(row);
    let ids: Vec<Uuid> = aliases.iter().chain([&contact]).map(|id| id.0).collect();
    let entries = sqlx::query!(
        "SELECT source, event_id, fields->>'phone' AS phone, fields->>'email' AS email,
             fields->>'identity' AS identity
         FROM trigger_events
         WHERE company_id = $1 AND contact_id = ANY($2) AND contact_id IS NOT NULL AND NOT erased",
        company.as_str(),
        &ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    let mut events = BTreeSet::new();
    for entry in entries {
        events.extend(EventRef::new(&entry.source, &entry.event_id));
        let (phone, email, identity) = (entry.phone, entry.email, entry.identity);
        told.add(Values { phone, email, identity, ..Values::default() });
    }
    let keys = without_those_of_others(conn, company, contact, told.keys).await?;
    let person = Person::new(region, keys.clone(), told.documents.iter().map(String::as_str));
    Ok(Dossier { contact, aliases, person, keys, events })
}

/// What a person was told apart by: every key of a contact came with one of its events.
struct Told {
    region: Region,
    keys: BTreeSet<Identifier>,
    /// Documents, and what stands for a phone without being a key.
    documents: BTreeSet<String>,
}

impl Told {
    fn add(&mut self, values: Values) {
        self.keys.extend(values.phones.into_iter().map(|text| Identifier::Phone(Phone::from_stored(text))));
        self.keys.extend(values.emails.into_iter().map(|text| Identifier::Email(Email::from_stored(text))));
        self.documents.extend(values.identity);
        self.keys.extend(values.email.and_then(|text| Email::parse(&text)).map(Identifier::Email));
        if let Some(text) = values.phone {
            match Phone::parse(&text, self.region) {
                Some(phone) => self.keys.extend([Identifier::Phone(phone)]),
                None => self.documents.extend([text]),
            }
        }
    }
}

/// The keys without those that find another contact: an event may have named them, and still they
/// are not this person's.
async fn without_those_of_others(
    conn: &mut PgConnection,
    company: &CompanyId,
    contact: ContactId,
    keys: BTreeSet<Identifier>,
) -> Result<Vec<Identifier>, sqlx::Error> {
    let (kinds, values) = columns(&keys);
    let others = sqlx::query!(
        "SELECT i.kind, i.value FROM UNNEST($2::text[], $3::text[]) AS k(kind, value)
         JOIN contact_identifiers i ON i.company_id = $1 AND i.kind = k.kind AND i.value = k.value
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

/// Kinds and values, for `UNNEST`.
fn columns<'a>(keys: impl IntoIterator<Item = &'a Identifier>) -> (Vec<&'a str>, Vec<&'a str>) {
    keys.into_iter().map(|key| (key.kind(), key.value())).unzip()
}
