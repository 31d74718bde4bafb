//! Contacts as operators look at them. Personal data: whoever shows it masks what must be masked.

use sqlx::PgConnection;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use crate::{
    domain::{
        contact::{
            Contact, ContactId, Identifier,
            field::{Field, FieldMap},
            quality,
        },
        event::{CompanyId, EventRef},
        value::{
            email::Email,
            phone::{Phone, Region},
        },
    },
    postgres::{
        Database,
        contacts::{self as store, Alias, HistoryRow, Known},
        erasure,
        links::{self, LinkRow, Separation},
    },
};

/// Why no search could be made.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// Neither phone nor email.
    #[error("a phone or an email is needed")]
    NoKey,
    /// The text is no phone number.
    #[error(
        "not a phone number (a national one is read in the company's region, contacts.regions or contacts.default_region)"
    )]
    Phone,
    /// The text is no email address.
    #[error("not an email address")]
    Email,
    /// The database refused or is away.
    #[error("could not read the contacts")]
    Database(#[from] sqlx::Error),
}

/// Why there is no contact to look at.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No contact has or had this id.
    #[error("there is no such contact")]
    Unknown,
    /// The person was erased: that is all that is known.
    #[error("the person behind this contact was erased at {}", .0.format(&Rfc3339).unwrap_or_default())]
    Erased(OffsetDateTime),
    /// The database refused or is away.
    #[error("could not read the contact")]
    Database(#[from] sqlx::Error),
}

/// A contact with all that there is to know about it.
#[derive(Clone, Debug)]
pub struct Profile {
    /// The contact.
    pub contact: Contact,
    /// Ids that lost a merge into it.
    pub aliases: Vec<Alias>,
    /// The name of the trigger behind each value.
    pub triggers: FieldMap<String>,
    /// What it is kept apart from.
    pub separations: Vec<Separation>,
}

impl Profile {
    /// Whether a key is not, or no longer, the contact's phone or email: it only goes on finding it.
    #[must_use]
    pub fn is_former(&self, key: &Identifier) -> bool {
        self.contact.values.get(key.field()).is_none_or(|stands| stands.value != key.value())
    }

    /// Whether the field's value is kept as it was given and was not understood.
    #[must_use]
    pub fn is_unverified(&self, field: Field) -> bool {
        let value = self.contact.values.get(field);
        value.is_some_and(|value| !quality::is_verified(field, &value.value, value.stamp.time))
    }
}

/// One entry of a contact's history.
#[derive(Clone, Debug)]
pub enum HistoryEntry {
    /// What one step of an event did, and what of it no longer stands.
    Event {
        /// The ledger's row.
        row: HistoryRow,
        /// Those of its accepted fields whose value another event has replaced, and that event.
        superseded: Vec<(String, EventRef)>,
    },
    /// A merge, an unmerge, or a conflict.
    Link(LinkRow),
}

impl HistoryEntry {
    /// An event's own time; for the others when it happened.
    #[must_use]
    pub const fn time(&self) -> OffsetDateTime {
        match self {
            Self::Event { row, .. } => row.event_time,
            Self::Link(row) => row.happened_at,
        }
    }
}

/// The contacts that have this phone or this email, now or formerly, by the same normalization as
/// events. `region` is the company's. A weak phone finds everybody who has exactly this one.
///
/// # Errors
/// When a key is not usable, or the database refuses or is away.
pub async fn find(
    database: &Database,
    region: Region,
    company: &CompanyId,
    phone: Option<&str>,
    email: Option<&str>,
) -> Result<Vec<Contact>, FindError> {
    let phone = phone.map(|text| Phone::parse(text, region).ok_or(FindError::Phone)).transpose()?;
    let email = email.map(|text| Email::parse(text).ok_or(FindError::Email)).transpose()?;
    let keys: Vec<Identifier> =
        phone.map(Identifier::Phone).into_iter().chain(email.map(Identifier::Email)).collect();
    if keys.is_empty() {
        return Err(FindError::NoKey);
    }
    Ok(database.unit(async |conn| store::find(conn, company, &keys).await).await?)
}

/// The contact that `id` is, or has been merged into.
///
/// # Errors
/// When there is none, or the database refuses or is away.
pub async fn show(database: &Database, company: &CompanyId, id: ContactId) -> Result<Profile, LookupError> {
    let look = async |conn: &mut PgConnection| {
        let (known, ids) = get(conn, company, id).await?;
        let Known { contact, aliases } = known;
        let triggers = store::triggers(conn, &contact).await?;
        let separations = links::separations(conn, &contact, &ids).await?;
        Ok(Profile { contact, aliases, triggers, separations })
    };
    in_one_view(database, look).await
}

/// Everything that was done, or not done, to the contact that `id` is or has been merged into, and to
/// those merged into it, oldest first.
///
/// # Errors
/// When there is none, or the database refuses or is away.
pub async fn history(
    database: &Database,
    company: &CompanyId,
    id: ContactId,
) -> Result<Vec<HistoryEntry>, LookupError> {
    let look = async |conn: &mut PgConnection| {
        let (known, ids) = get(conn, company, id).await?;
        let events = store::history(conn, company, &ids).await?.into_iter();
        let links = links::of(conn, company, &ids).await?.into_iter().map(HistoryEntry::Link);
        let mut entries: Vec<_> = events.map(|row| entry(&known.contact, row)).chain(links).collect();
        // Stable: of the same time an event stands before what it led to.
        entries.sort_by_key(HistoryEntry::time);
        Ok(entries)
    };
    in_one_view(database, look).await
}

/// Looks without seeing half of what a worker does meanwhile: a contact that is being merged would
/// seem to be none.
async fn in_one_view<T>(
    database: &Database,
    look: impl AsyncFnOnce(&mut PgConnection) -> Result<T, LookupError>,
) -> Result<T, LookupError> {
    let unit = async |conn: &mut PgConnection| {
        let mut snapshot = store::snapshot(conn).await?;
        let seen = look(&mut snapshot).await?;
        snapshot.rollback().await?;
        Ok(seen)
    };
    database.unit(unit).await
}

/// The contact, and all ids that lead to it.
async fn get(
    conn: &mut PgConnection,
    company: &CompanyId,
    id: ContactId,
) -> Result<(Known, Vec<Uuid>), LookupError> {
    let Some(known) = store::get(conn, company, id).await? else {
        let erased = erasure::erased_at(conn, company, id).await?;
        return Err(erased.map_or(LookupError::Unknown, LookupError::Erased));
    };
    let aliases = known.aliases.iter().map(|alias| alias.id);
    let ids = aliases.chain([known.contact.id.0]).collect();
    Ok((known, ids))
}

fn entry(contact: &Contact, row: HistoryRow) -> HistoryEntry {
    let superseded = row.accepted.iter().filter_map(|name| {
        let stamp = &contact.values.get(name.parse().ok()?)?.stamp;
        let stands = stamp.event.id() == row.event_id
            && stamp.event.source() == row.source
            && i32::from(stamp.step) == i32::from(row.step);
        (!stands).then(|| (name.clone(), stamp.event.clone()))
    });
    HistoryEntry::Event { superseded: superseded.collect(), row }
}
