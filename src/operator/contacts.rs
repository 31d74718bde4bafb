//! Contacts as operators look at them. Personal data: whoever shows it masks what must be masked.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::{
    domain::{
        contact::{Contact, ContactId, Identifier},
        email::Email,
        event::CompanyId,
        field::Field,
        phone::{Phone, Region},
    },
    postgres::{
        Database,
        contacts::{self as store, HistoryRow, Known},
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

/// One event in a contact's history, and what of it still stands.
#[derive(Clone, Debug)]
pub struct HistoryEntry {
    /// The ledger's row.
    pub row: HistoryRow,
    /// Those of its accepted fields whose value another event has replaced.
    pub superseded: Vec<String>,
}

/// The contacts that have this phone or this email, now or formerly, by the same normalization as
/// events. `region` is the company's. A weak phone finds whom it was given for without an email.
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
/// When the database refuses or is away.
pub async fn show(
    database: &Database,
    company: &CompanyId,
    id: ContactId,
) -> Result<Option<Known>, sqlx::Error> {
    database.unit(async |conn| store::get(conn, company, id).await).await
}

/// What each event did to the contact that `id` is or has been merged into, those of its aliases
/// included, oldest event first.
///
/// # Errors
/// When the database refuses or is away.
pub async fn history(
    database: &Database,
    company: &CompanyId,
    id: ContactId,
) -> Result<Option<Vec<HistoryEntry>>, sqlx::Error> {
    database
        .unit(async |conn| {
            let Some(known) = store::get(conn, company, id).await? else { return Ok(None) };
            let mut ids: Vec<Uuid> = known.aliases.iter().map(|alias| alias.id).collect();
            ids.push(known.contact.id.0);
            let rows = store::history(conn, company, &ids).await?;
            Ok(Some(rows.into_iter().map(|row| entry(&known.contact, row)).collect()))
        })
        .await
}

fn entry(contact: &Contact, row: HistoryRow) -> HistoryEntry {
    let standing: BTreeMap<Field, _> =
        contact.values.iter().map(|(field, value)| (field, &value.stamp)).collect();
    let superseded = row.accepted.iter().filter(|name| {
        let stamp = Field::from_name(name).and_then(|field| standing.get(&field));
        !stamp.is_some_and(|stamp| {
            stamp.event.id() == row.event_id
                && stamp.event.source() == row.source
                && i32::from(stamp.step) == i32::from(row.step)
        })
    });
    HistoryEntry { superseded: superseded.cloned().collect(), row }
}
