//! Erasing a person: everything that is kept of a contact, and what lies around and speaks of it.
//!
//! What lies around is swept first, while the contact still tells what to look for, so whatever dies
//! in the middle is finished by erasing again. The contact goes in one transaction, which also keeps
//! it from coming back. What was written meanwhile is swept last; nobody finishes that sweep if it is
//! interrupted, for the keys to look for are gone.

use std::time::Duration;

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    domain::{
        chain::outgoing::{OutgoingEvent, Publisher},
        contact::ContactId,
        event::CompanyId,
        value::phone::Region,
    },
    postgres::{
        Database,
        erasure::{self as store, Counts, Dossier, Found, Sweep, Table},
        outbox,
    },
};

/// How often a contact is read anew that gets another key while its traces are looked for.
const ROUNDS: u32 = 10;

/// Whom to erase, and how.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The company.
    pub company: &'a CompanyId,
    /// The contact, or one that was merged into it.
    pub id: ContactId,
    /// Who does it; kept with the erased ids.
    pub operator: &'a str,
    /// Where national phone numbers are read.
    pub region: Region,
    /// Setting `contacts.suppression_pepper`.
    pub pepper: &'a str,
    /// CloudEvents `source` of `contact.erased`.
    pub source: &'a str,
    /// Whether nothing is changed.
    pub dry_run: bool,
}

/// What was, or would be, removed.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The company.
    pub company_id: String,
    /// The contact; of one that had been erased before, the id that was asked for.
    pub contact_id: Uuid,
    /// Ids that had been merged into it.
    pub merged_contact_ids: Vec<Uuid>,
    /// When; events from then or before never bring the person back.
    #[serde(with = "time::serde::rfc3339")]
    pub erased_at: OffsetDateTime,
    /// Whether it had been erased before, so that there was nothing to do.
    pub already_erased: bool,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// What, by place.
    pub removed: Counts,
}

/// Why a person was not erased, or not wholly.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// No contact has or had this id.
    #[error("there is no such contact")]
    Unknown,
    /// The contact was given another key each time it was read.
    #[error("the contact changes all the time; try again")]
    Busy,
    /// The database refused or is away.
    #[error("could not erase the contact; erase it again to finish")]
    Database(#[from] sqlx::Error),
}

/// Erases a person, and says what was removed. A dry run does all the same and commits nothing.
///
/// # Errors
/// When there is no such contact, or the database refuses or is away. Erasing again then goes on.
pub async fn erase(database: &Database, request: &Request<'_>) -> Result<Report, EraseError> {
    for _ in 0..ROUNDS {
        let dossier = match find(database, request).await? {
            Found::Contact(dossier) => dossier,
            Found::Erased(at) => return Ok(already_erased(request, at)),
            Found::Unknown => return Err(EraseError::Unknown),
        };
        let mut removed = sweep(database, request, &dossier).await?;
        // Otherwise it was merged, erased or given another key meanwhile, and is looked for anew.
        if let Some((dossier, erased_at, counts)) = remove(database, request, &dossier).await? {
            removed += counts;
            if !request.dry_run {
                removed += sweep(database, request, &dossier).await?;
            }
            return Ok(report(request, &dossier, erased_at, removed));
        }
    }
    Err(EraseError::Busy)
}

fn report(request: &Request<'_>, dossier: &Dossier, erased_at: OffsetDateTime, removed: Counts) -> Report {
    Report {
        company_id: request.company.to_string(),
        contact_id: dossier.contact.0,
        merged_contact_ids: dossier.aliases.iter().map(|id| id.0).collect(),
        erased_at,
        already_erased: false,
        dry_run: request.dry_run,
        removed,
    }
}

fn already_erased(request: &Request<'_>, erased_at: OffsetDateTime) -> Report {
    Report {
        company_id: request.company.to_string(),
        contact_id: request.id.0,
        merged_contact_ids: Vec::new(),
        erased_at,
        already_erased: true,
        dry_run: request.dry_run,
        removed: Counts::default(),
    }
}

async fn find(database: &Database, request: &Request<'_>) -> Result<Found, sqlx::Error> {
    database.unit(async |conn| store::find(conn, request.company, request.id, request.region).await).await
}

/// The transaction. `None`, and nothing is changed, when the contact is no longer as it was swept for.
async fn remove(
    database: &Database,
    request: &Request<'_>,
    swept: &Dossier,
) -> Result<Option<(Dossier, OffsetDateTime, Counts)>, sqlx::Error> {
    let work = async |conn: &mut PgConnection| {
        let found = store::find(conn, request.company, request.id, request.region).await?;
        let Found::Contact(dossier) = found else { return Ok(None) };
        if dossier.person != swept.person {
            return Ok(None);
        }
        let (erased_at, counts) =
            store::erase(conn, request.company, &dossier, request.operator, request.pepper).await?;
        // Due at once: whichever relay runs, or will run, publishes it.
        outbox::insert(conn, &[erased_event(request, &dossier, erased_at)], Duration::ZERO).await?;
        Ok(Some((dossier, erased_at, counts)))
    };
    database.transact(|_| !request.dry_run, work).await
}

fn erased_event(request: &Request<'_>, dossier: &Dossier, erased_at: OffsetDateTime) -> OutgoingEvent {
    let publisher = Publisher { source: request.source, include_identity: false, now: erased_at };
    publisher.contact_erased(request.company, dossier.contact, &dossier.aliases)
}

/// Removes what belongs to no contact and speaks of the person, page by page.
async fn sweep(database: &Database, request: &Request<'_>, dossier: &Dossier) -> Result<Counts, sqlx::Error> {
    let mut sweep = Sweep::new(request.company, dossier);
    let mut removed = Counts::default();
    for table in Table::ALL {
        let mut from = Some(Uuid::nil());
        while let Some(after) = from {
            let page = async |conn: &mut PgConnection| sweep.page(conn, table, after).await;
            let (next, counts) = database.transact(|_| !request.dry_run, page).await?;
            removed += counts;
            from = next;
        }
    }
    Ok(removed)
}
