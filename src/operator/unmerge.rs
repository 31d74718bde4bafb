//! Parting two contacts that were merged and are two people.
//!
//! The contacts are made anew from the ledger, as if they had never been merged, and no event merges
//! them again.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    domain::{
        chain::outgoing::{OutgoingEvent, Publisher},
        contact::{
            Contact, ContactId,
            directory::Conflict,
            rebuild::{Rebuilt, Said, Separation, rebuild},
        },
        event::CompanyId,
    },
    postgres::{Database, outbox, unmerge as store},
    settings::Events,
};

/// What an unmerge did, or would do.
#[derive(Clone, Debug)]
pub struct Unmerged {
    /// The contact that had absorbed the other.
    pub contact: ContactId,
    /// The contact that stands again.
    pub restored: ContactId,
    /// All contacts that stand now in place of the one.
    pub contacts: Vec<Contact>,
    /// How many events were looked at.
    pub events: usize,
    /// How many of them are for another contact now than they were.
    pub moved_events: usize,
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum UnmergeError {
    /// No contact has, or had, this id.
    #[error("there is no such contact")]
    NotFound,
    /// The id is a contact that nothing was merged into.
    #[error("nothing was merged into this contact")]
    NotMerged,
    /// Several contacts were merged into this one.
    #[error("several contacts were merged into this one; give the id of the one to part from it: {}", list(.0))]
    Ambiguous(Vec<ContactId>),
    /// The ledger does not give the contact that stands.
    #[error("the ledger no longer holds every event of this contact, so it cannot be parted")]
    Incomplete,
    /// The events conflict with each other.
    #[error("the events of this contact conflict ({})", .0.rule.name())]
    Conflict(Conflict),
    /// The database refused or is away.
    #[error("could not part the contacts")]
    Database(#[from] sqlx::Error),
}

fn list(ids: &[ContactId]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// Parts the contact that `id` was from the one that absorbed it. An id that lives on will do where only
/// one contact was merged into it. Of a `dry_run` nothing stays.
///
/// # Errors
/// See [`UnmergeError`]; then nothing has changed.
pub async fn unmerge(
    database: &Database,
    events: &Events,
    company: &CompanyId,
    id: ContactId,
    operator: &str,
    dry_run: bool,
) -> Result<Unmerged, UnmergeError> {
    let work = async |conn: &mut PgConnection| match part(conn, events, company, id, operator).await {
        Err(UnmergeError::Database(error)) => Err(error),
        ended => Ok(ended),
    };
    database.transact(|ended| ended.is_ok() && !dry_run, work).await?
}

async fn part(
    conn: &mut PgConnection,
    events: &Events,
    company: &CompanyId,
    id: ContactId,
    operator: &str,
) -> Result<Unmerged, UnmergeError> {
    let (living, aliases) = store::lock(conn, company, id).await?.ok_or(UnmergeError::NotFound)?;
    let merged = match (id == living.id, aliases.as_slice()) {
        (false, _) => id,
        (true, []) => return Err(UnmergeError::NotMerged),
        (true, [only]) => *only,
        (true, _) => return Err(UnmergeError::Ambiguous(aliases)),
    };
    let ids: Vec<Uuid> = aliases.iter().chain([&living.id]).map(|id| id.0).collect();
    let steps = store::steps(conn, company, &ids).await?;
    let said: Vec<Said> = steps.iter().map(|step| step.said.clone()).collect();
    let mut separations = store::separations(conn, company, &ids).await?;
    let as_it_is = rebuild(company, &said, &separations).map_err(UnmergeError::Conflict)?;
    if !gives(&as_it_is, &living) {
        return Err(UnmergeError::Incomplete);
    }
    // As it stands now: an unmerge may have changed who absorbed whom.
    let merge = as_it_is.merges.iter().find(|merge| merge.loser == merged);
    let absorber = merge.ok_or(UnmergeError::Incomplete)?.into;
    let separation = Separation { id: Uuid::now_v7(), one: absorber, other: merged };
    separations.push(separation);
    let mut rebuilt = rebuild(company, &said, &separations).map_err(UnmergeError::Conflict)?;
    // Every id goes on leading to a contact, and these two to two of them.
    let (Some(contact), Some(restored)) = (rebuilt.living(absorber), rebuilt.living(merged)) else {
        return Err(UnmergeError::Incomplete);
    };
    if contact == restored || ids.iter().any(|id| rebuilt.living(ContactId(*id)).is_none()) {
        return Err(UnmergeError::Incomplete);
    }
    // Whoever knows any of these ids knows a version that is not greater.
    for contact in &mut rebuilt.contacts {
        contact.version = living.version + 1;
    }
    if !store::replace(conn, &living, &steps, &rebuilt).await? {
        return Err(UnmergeError::Incomplete);
    }
    store::record(conn, company, &separation, operator).await?;
    let message = message(events, &rebuilt, separation.id, contact);
    outbox::insert(conn, message.as_slice(), Duration::ZERO).await?;
    let moved = said.iter().zip(&rebuilt.steps).filter(|(said, (now, _))| said.contact != *now);
    let moved_events = moved.count();
    Ok(Unmerged { contact, restored, contacts: rebuilt.contacts, events: said.len(), moved_events })
}

/// Whether the events make exactly this contact.
fn gives(rebuilt: &Rebuilt, living: &Contact) -> bool {
    matches!(rebuilt.contacts.as_slice(),
        [only] if only.id == living.id && only.keys == living.keys && only.values == living.values)
}

fn message(events: &Events, rebuilt: &Rebuilt, separation: Uuid, id: ContactId) -> Option<OutgoingEvent> {
    let now = OffsetDateTime::now_utc();
    let publisher = Publisher { source: &events.source, include_identity: events.include_identity, now };
    let contact = rebuilt.contacts.iter().find(|contact| contact.id == id)?;
    let restored: Vec<&Contact> = rebuilt.contacts.iter().filter(|contact| contact.id != id).collect();
    let aliases: Vec<_> = rebuilt.merges.iter().map(|merge| (merge.loser, merge.winner)).collect();
    Some(publisher.contact_unmerged(separation, contact, &restored, &aliases))
}
