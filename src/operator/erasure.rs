//! Erases a person: the contact with everything that belongs to it, and other rows that mention the person.
//!
//! The other rows are swept first, while the contact still has the identifiers to look for, so erasing again
//! completes an interrupted erasure. Then one transaction removes the contact and suppresses its identifiers. A
//! second sweep removes rows that were written meanwhile; if it is interrupted nothing completes it, because the
//! identifiers are gone.

use sqlx::PgConnection;
use strum::VariantArray as _;
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
        effects::events,
        erasure::{self as store, Counts, Dossier, Found, Sweep, Table},
        suppressions,
    },
};

/// Maximum number of sweeps for a contact that changes during each of them.
const MAX_ROUNDS: u32 = 10;

/// The contact to erase, and the settings that apply.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The company's id.
    pub company: &'a CompanyId,
    /// The contact, or one that was merged into it.
    pub id: ContactId,
    /// The operator's name, which is stored with the erased ids.
    pub operator: &'a str,
    /// The region of national phone numbers.
    pub region: Region,
    /// Setting `contacts.suppression_pepper`.
    pub pepper: &'a str,
    /// CloudEvents `source` of `contact.erased`.
    pub source: &'a str,
    /// Counts and changes nothing.
    pub dry_run: bool,
}

/// The result of an erasure, or of its dry run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The company's id.
    pub company_id: String,
    /// The contact; if it had been erased before, the requested id.
    pub contact_id: Uuid,
    /// Ids that had been merged into it.
    pub merged_contact_ids: Vec<Uuid>,
    /// When it was erased. Earlier events never create the person again.
    #[serde(with = "time::serde::rfc3339")]
    pub erased_at: OffsetDateTime,
    /// Whether it had been erased before and nothing was left to do.
    pub already_erased: bool,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Number of removed rows by table.
    pub removed: Counts,
}

/// Why a person was not erased completely.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// No contact has or had this id.
    #[error("there is no such contact")]
    Unknown,
    /// The contact changed during every round.
    #[error("the contact kept changing while it was being erased; try again")]
    Busy,
    /// The database failed.
    #[error("could not erase the contact; erase it again to finish")]
    Database(#[from] sqlx::Error),
}

/// Erases a person and counts what was removed. A dry run does the same work and rolls it back.
///
/// # Errors
/// When there is no such contact, or the database fails. Erasing again continues, except for an
/// interrupted second sweep.
pub async fn erase(database: &Database, request: &Request<'_>) -> Result<Report, EraseError> {
    for _ in 0..MAX_ROUNDS {
        let dossier = match find(database, request).await? {
            Found::Contact(dossier) => dossier,
            Found::Erased(at) => return Ok(already_erased(request, at)),
            Found::Unknown => return Err(EraseError::Unknown),
        };
        let mut removed = sweep(database, request, &dossier).await?;
        // `None`: the contact has been merged, erased or changed since. Start over.
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

/// Removes the contact in one transaction. `None`, without a change, if it is no longer the contact that was swept
/// for.
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
        // Without an owner: the relay of any process publishes it.
        let event = erased_event(request, &dossier, erased_at);
        events::insert(conn, Uuid::now_v7(), None, vec![event]).await?;
        // The second sweep finds the dead letters of those that it waits for.
        suppressions::await_dead_letters(conn, request.company).await?;
        Ok(Some((dossier, erased_at, counts)))
    };
    database.transact(|_| !request.dry_run, work).await
}

fn erased_event(request: &Request<'_>, dossier: &Dossier, erased_at: OffsetDateTime) -> OutgoingEvent {
    let publisher = Publisher { source: request.source, include_identity: false, now: erased_at };
    publisher.contact_erased(request.company, dossier.contact, &dossier.aliases)
}

/// Removes rows that do not belong to a contact but mention the person, page by page.
async fn sweep(database: &Database, request: &Request<'_>, dossier: &Dossier) -> Result<Counts, sqlx::Error> {
    let mut sweep = Sweep::new(request.company, dossier);
    let mut removed = Counts::default();
    for table in Table::VARIANTS.iter().copied() {
        let mut start = Some(Uuid::nil());
        while let Some(last) = start {
            let page = async |conn: &mut PgConnection| sweep.page(conn, table, last).await;
            let (next, counts) = database.transact(|_| !request.dry_run, page).await?;
            removed += counts;
            start = next;
        }
    }
    Ok(removed)
}
