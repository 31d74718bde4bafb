//! Finds and shows contacts. The results are personal data, which the surface must mask where necessary.

mod history;
pub mod names;

use sqlx::PgConnection;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

use super::audit::{self, Actor};
use crate::{
    domain::{
        chain::{
            plan::{NoKey, read_key},
            rules::Rules,
        },
        contact::{
            Contact, ContactId, Identifier,
            field::{Field, FieldMap},
            placeholder::Why,
            quality,
        },
        event::{CompanyId, EventRef},
        value::{
            email::Email,
            phone::{Phone, Region},
            wrapping::{Kind, Unwrapped, clean_key},
        },
    },
    postgres::{
        Database,
        contacts::{self as store, Alias, HistoryRow, Known},
        erasure,
        links::{self, LinkRow, Separation},
    },
};

pub use history::{Order, Position, history};

/// Why the search failed.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// Neither a phone nor an email was given.
    #[error("give a phone number or an email address")]
    NoIdentifier,
    /// The text is not a phone number.
    #[error(
        "not a phone number; a national number needs the right region in contacts.regions or contacts.default_region"
    )]
    Phone,
    /// The text is not an email address.
    #[error("not an email address")]
    Email,
    /// The text is a link whose label and target are different values.
    #[error("the label of the link and its target differ; give one of the two")]
    LinkDiffers,
    /// The words beside it say that it belongs to somebody else.
    #[error("the words beside the {0} say that it is another person's; give the {0} alone")]
    OfAnotherPerson(Field),
    /// The text is a placeholder.
    #[error("the {field} counts as no value: {}", why.sentence())]
    NoValue {
        /// Phone or email.
        field: Field,
        /// Which kind of placeholder.
        why: Why,
    },
    /// The database failed.
    #[error("could not read the contacts")]
    Database(#[from] sqlx::Error),
}

/// Why a contact cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// No contact has or had this id.
    #[error("there is no such contact")]
    Unknown,
    /// The person was erased; only the time is known.
    #[error("the person behind this contact was erased at {}", .0.format(&Rfc3339).unwrap_or_default())]
    Erased(OffsetDateTime),
    /// The database failed.
    #[error("could not read the contact")]
    Database(#[from] sqlx::Error),
}

/// A contact with the origin of its values.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its values and identifiers.
    pub contact: Contact,
    /// Ids that were merged into it.
    pub aliases: Vec<Alias>,
    /// The name of the trigger that set each value.
    pub triggers: FieldMap<String>,
    /// The contacts that it is never merged with.
    pub separations: Vec<Separation>,
}

impl Profile {
    /// Whether an identifier finds the contact but is not, or no longer, its phone or email.
    #[must_use]
    pub fn is_former(&self, identifier: &Identifier) -> bool {
        let current = self.contact.values.get(identifier.field());
        current.is_none_or(|current| current.value != identifier.value())
    }

    /// Whether the field's value is stored as given because it could not be normalized.
    #[must_use]
    pub fn is_unverified(&self, field: Field) -> bool {
        let value = self.contact.values.get(field);
        value.is_some_and(|value| !quality::is_verified(field, &value.value, value.stamp.time))
    }
}

/// One entry of a contact's history.
#[derive(Clone, Debug)]
pub enum HistoryEntry {
    /// One step of an event.
    Event {
        /// Its row in the ledger.
        row: HistoryRow,
        /// The accepted fields whose value another event has replaced since, and that event.
        superseded: Vec<(String, EventRef)>,
    },
    /// A merge, an unmerge, or a conflict.
    Link(LinkRow),
}

impl HistoryEntry {
    /// The event's own time, or when the link happened.
    #[must_use]
    pub const fn time(&self) -> OffsetDateTime {
        match self {
            Self::Event { row, .. } => row.event_time,
            Self::Link(row) => row.happened_at,
        }
    }
}

/// Finds the contacts that have or had this phone or this email, cleaned and parsed as for events by these rules. A weak
/// phone finds every contact with exactly this number.
///
/// # Errors
/// When an identifier is not valid, or the database fails.
pub async fn find(
    database: &Database,
    rules: &Rules,
    company: &CompanyId,
    phone: Option<&str>,
    email: Option<&str>,
) -> Result<Vec<Contact>, FindError> {
    let given = [(Field::Phone, phone), (Field::Email, email)];
    let given = given.into_iter().filter_map(|(field, text)| Some((field, text?)));
    let identifiers = given.map(|(field, text)| identifier(field, text, rules, company));
    let identifiers: Vec<Identifier> = identifiers.collect::<Result<_, _>>()?;
    if identifiers.is_empty() {
        return Err(FindError::NoIdentifier);
    }
    Ok(database.unit(async |conn| store::find(conn, company, &identifiers).await).await?)
}

fn identifier(field: Field, text: &str, rules: &Rules, company: &CompanyId) -> Result<Identifier, FindError> {
    let region = rules.region_of(company);
    let not_valid = || if field == Field::Phone { FindError::Phone } else { FindError::Email };
    read_key(field, text, region, rules).or_else(|reason| match reason {
        NoKey::NoValue(why) => as_it_stands(field, text, region)
            .ok_or_else(|| why.map_or_else(not_valid, |why| FindError::NoValue { field, why })),
        NoKey::Rejected("link_differs") => Err(FindError::LinkDiffers),
        NoKey::Rejected("of_another_person") => Err(FindError::OfAnotherPerson(field)),
        NoKey::Rejected(_) => Err(not_valid()),
    })
}

/// A placeholder that has the form of an identifier. A contact may have one from before it was recognized.
fn as_it_stands(field: Field, text: &str, region: Region) -> Option<Identifier> {
    let kind = if field == Field::Phone { Kind::Phone(region) } else { Kind::Email };
    let Unwrapped::Bare(text) = clean_key(kind, text) else { return None };
    if field == Field::Phone {
        Phone::parse_one_of(&text, region).map(|(phone, _)| Identifier::Phone(phone))
    } else {
        Email::parse_repeated(&text).map(Identifier::Email)
    }
}

/// The contact with this id, or the one that it was merged into.
///
/// # Errors
/// When no such contact exists, or the database fails.
pub async fn show(database: &Database, company: &CompanyId, id: ContactId) -> Result<Profile, LookupError> {
    let read = async |conn: &mut PgConnection| {
        let (known, ids) = get(conn, company, id).await?;
        let Known { contact, aliases } = known;
        let triggers = store::triggers(conn, &contact, &ids).await?;
        let separations = links::separations(conn, &contact, &ids).await?;
        Ok(Profile { contact, aliases, triggers, separations })
    };
    in_snapshot(database, read).await
}

/// The identity document of a contact, if it has one. The request is recorded.
///
/// # Errors
/// When no such contact exists, or the database fails.
pub async fn reveal(
    database: &Database,
    actor: &Actor,
    company: &CompanyId,
    id: ContactId,
) -> Result<Option<String>, LookupError> {
    let reveal = async |conn: &mut PgConnection| match get(conn, company, id).await {
        Err(LookupError::Database(error)) => Err(error),
        Err(other) => Ok(Err(other)),
        Ok((Known { contact, .. }, _)) => {
            let change = audit::Change {
                action: audit::CONTACT_REVEAL,
                company: company.as_str(),
                object: contact.id.to_string(),
                before: None,
                after: Some(serde_json::json!({ "field": Field::Identity.name() })),
            };
            audit::record(conn, actor, &change).await?;
            Ok(Ok(contact.values.get(Field::Identity).map(|stamped| stamped.value.clone())))
        }
    };
    database.transact(Result::is_ok, reveal).await?
}

/// Reads in one snapshot. Otherwise a contact that is being merged could seem not to exist.
async fn in_snapshot<T>(
    database: &Database,
    read: impl AsyncFnOnce(&mut PgConnection) -> Result<T, LookupError>,
) -> Result<T, LookupError> {
    let unit = async |conn: &mut PgConnection| {
        let mut snapshot = store::snapshot(conn).await?;
        let seen = read(&mut snapshot).await?;
        snapshot.rollback().await?;
        Ok(seen)
    };
    database.unit(unit).await
}

/// The contact, and all ids that resolve to it.
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
        let is_current = stamp.event.id() == row.event_id
            && stamp.event.source() == row.source
            && i32::from(stamp.step) == i32::from(row.step);
        (!is_current).then(|| (name.clone(), stamp.event.clone()))
    });
    HistoryEntry::Event { superseded: superseded.collect(), row }
}
