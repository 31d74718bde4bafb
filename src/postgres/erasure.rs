//! Erasure: finds and removes the data of a person.
//!
//! [`find`] reads what identifies the person. [`Sweep`] removes rows that mention the person, page by page. [`erase`]
//! removes the contact in one short transaction; from then on [`Unfinished`] has the search terms, until a sweep has
//! reached its end. All of them follow the common lock order.

mod deliveries;
mod effects;
mod history;
mod recalls;
mod removal;
mod sweep;
mod unfinished;

use std::collections::BTreeSet;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

pub use history::Reading;
pub use recalls::{Recall, recalls};
pub use removal::erase;
pub use sweep::{Sweep, Table};
pub use unfinished::{Unfinished, claim_unfinished, complete, unfinished};

use super::living::{self, Living};
use crate::domain::{
    contact::{Contact, ContactId, Identifier, erasure::Person, field::Field},
    event::CompanyId,
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
pub struct Dossier {
    /// The living contact.
    pub contact: ContactId,
    /// The ids that were merged into it.
    pub aliases: Vec<ContactId>,
    /// Recognizes messages that mention the person.
    person: Person,
    /// The person's identifiers, former ones included.
    keys: Vec<Identifier>,
    documents: BTreeSet<String>,
    /// What the contact itself has.
    evidence: Evidence,
    /// The events that were applied to it, as far as its history reaches.
    events: history::Events,
}

impl Dossier {
    fn ids(&self) -> Vec<Uuid> {
        self.aliases.iter().chain([&self.contact]).map(|id| id.0).collect()
    }

    /// Whether the contact still has the same values and ids.
    fn is_of(&self, Living { contact, aliases, .. }: &Living) -> bool {
        let evidence = Evidence::of(contact, self.evidence.region);
        self.contact == contact.id && self.aliases == *aliases && self.evidence == evidence
    }
}

/// The person behind a contact id.
pub enum Found {
    /// The living contact. [`Reading`] completes what is known about its person.
    Contact(Box<Reading>),
    /// The person was erased at this time.
    Erased(OffsetDateTime),
    /// No contact has or had this id.
    Unknown,
}

/// Reads the living contact of `id`. Parses national phone numbers as numbers of `region`.
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
        Some(living) => Ok(Found::Contact(Box::new(Reading::new(company, &living, region)))),
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

/// Values that identify the person. Every identifier of a contact came with one of its events.
#[derive(Clone, PartialEq, Eq)]
struct Evidence {
    region: Region,
    keys: BTreeSet<Identifier>,
    /// Documents, and phone values that are not canonical.
    documents: BTreeSet<String>,
}

impl Evidence {
    fn of(contact: &Contact, region: Region) -> Self {
        let mut evidence = Self { region, keys: BTreeSet::new(), documents: BTreeSet::new() };
        evidence.keys.extend(contact.keys.iter().cloned());
        let value = |field| contact.values.get(field).map(|stamped| stamped.value.clone());
        evidence.add(value(Field::Phone), value(Field::Email), value(Field::Identity));
        evidence
    }

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

/// The keys except those of other contacts, which an event of this person may have named.
async fn without_keys_of_others(
    conn: &mut PgConnection,
    company: &CompanyId,
    contact: ContactId,
    keys: &[&Identifier],
) -> Result<Vec<Identifier>, sqlx::Error> {
    let (kinds, values) = key_columns(keys.iter().copied());
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
    Ok(keys.iter().filter(|key| is_own(key)).map(|key| (*key).clone()).collect())
}

/// The columns of identifiers.
fn key_columns<'a>(keys: impl IntoIterator<Item = &'a Identifier>) -> (Vec<&'a str>, Vec<&'a str>) {
    keys.into_iter().map(|key| (key.kind(), key.value())).unzip()
}
