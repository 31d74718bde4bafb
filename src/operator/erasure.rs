//! Erases a person: the contact with everything that belongs to it, and other rows that mention the person.
//!
//! The other rows are swept first, while the contact still has the identifiers to look for, so erasing again
//! completes an interrupted erasure. Then one transaction removes the contact and suppresses its identifiers. A
//! second sweep removes rows that were written in the meantime, and then `contact.erased` is published. After an
//! interruption, erasing again continues, and so does any process with a worker.

use std::time::Duration;

use serde_json::json;
use sqlx::PgConnection;
use strum::VariantArray as _;
use time::OffsetDateTime;
use uuid::Uuid;

use super::audit::{self, Actor, Change};
use crate::{
    domain::{contact::ContactId, event::CompanyId, value::phone::Region},
    postgres::{
        Database,
        erasure::{self as store, Counts, Dossier, Found, Sweep, Table, Unfinished},
    },
};

/// Maximum number of sweeps for a contact that changes during each of them.
const MAX_ROUNDS: u32 = 10;

/// Maximum time to wait for events about the person that are being published, and to search for them once more.
const PATIENCE: Duration = Duration::from_secs(30);

/// The contact to erase, and the settings that apply.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// The company's id.
    pub company: &'a CompanyId,
    /// The contact, or one that was merged into it.
    pub id: ContactId,
    /// Who erases. The name is stored with the erased ids.
    pub actor: &'a Actor,
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
    /// Whether it had been erased before and nothing was left to do. If something was, `removed.contacts` is 0.
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
    /// The contact is gone; its history and `contact.erased` wait for what a live process has in memory.
    #[error(
        "the contact is erased, but a process has events about it that the broker does not accept, or does not say that it \
         sends no more webhooks, or the last search for such events takes longer than half a minute; the history is removed and `contact.erased` is published afterwards: any process finishes \
         the erasure"
    )]
    Unpublished,
    /// The database failed.
    #[error("could not erase the contact; erase it again to finish")]
    Database(#[from] sqlx::Error),
}

/// Erases a person and counts what was removed. A dry run does the same work and rolls it back.
///
/// # Errors
/// When the contact does not exist, or the database fails. Erasing again continues.
pub async fn erase(database: &Database, request: &Request<'_>) -> Result<Report, EraseError> {
    for _ in 0..MAX_ROUNDS {
        let found = database
            .unit(async |conn| store::find(conn, request.company, request.id, request.region).await)
            .await?;
        let mut reading = match found {
            Found::Contact(reading) => reading,
            Found::Erased(at) => return finish(database, request, at).await,
            Found::Unknown => return Err(EraseError::Unknown),
        };
        while !reading.is_complete() {
            database.unit(async |conn| reading.page(conn).await).await?;
        }
        let dossier = database.unit(async |conn| reading.dossier(conn).await).await?;
        let mut removed = Counts::default();
        let mut sweep = Sweep::new(request.company, &dossier, None);
        // The contact may still be kept: nothing of its own is removed before it is. The rest follows then.
        let first =
            |table: &Table| request.dry_run || matches!(table, Table::DeadLetters | Table::StrayDeadLetters);
        for table in Table::VARIANTS.iter().copied().filter(first) {
            removed += sweep.table(database, table, !request.dry_run, || true).await?;
        }
        // `None`: the contact has been merged, erased or changed since. Start over.
        if let Some((erased_at, counts)) = remove(database, request, &dossier).await? {
            removed += counts;
            if !request.dry_run
                && let Some(unfinished) = unfinished(database, request).await?
            {
                removed += complete(database, request, &unfinished).await?;
            }
            return Ok(report(request, &dossier, erased_at, removed));
        }
    }
    Err(EraseError::Busy)
}

/// Finishes an erasure that was interrupted. A dry run does not count what that would remove.
async fn finish(
    database: &Database,
    request: &Request<'_>,
    erased_at: OffsetDateTime,
) -> Result<Report, EraseError> {
    let mut report = already_erased(request, erased_at);
    if let Some(unfinished) = unfinished(database, request).await? {
        if !request.dry_run {
            report.removed = complete(database, request, &unfinished).await?;
        }
        report.contact_id = unfinished.contact.0;
        report.merged_contact_ids = unfinished.aliases.iter().map(|id| id.0).collect();
        report.already_erased = false;
    }
    Ok(report)
}

async fn unfinished(database: &Database, request: &Request<'_>) -> Result<Option<Unfinished>, sqlx::Error> {
    database.unit(async |conn| store::unfinished(conn, request.company, request.id).await).await
}

async fn complete(
    database: &Database,
    request: &Request<'_>,
    unfinished: &Unfinished,
) -> Result<Counts, EraseError> {
    store::complete(database, unfinished, request.region, request.source, PATIENCE, || true)
        .await?
        .ok_or(EraseError::Unpublished)
}

/// Removes the contact in one transaction. `None`, and no change, if the contact has changed since the sweep.
async fn remove(
    database: &Database,
    request: &Request<'_>,
    dossier: &Dossier,
) -> Result<Option<(OffsetDateTime, Counts)>, sqlx::Error> {
    let erase = async |conn: &mut PgConnection| {
        let (name, pepper) = (&request.actor.name, request.pepper);
        let erased = store::erase(conn, request.company, dossier, name, pepper).await?;
        if erased.is_some() {
            let change = Change {
                action: audit::CONTACT_ERASE,
                company: request.company.as_str(),
                object: dossier.contact.to_string(),
                before: Some(json!({ "mergedContacts": dossier.aliases.len() })),
                after: None,
            };
            audit::record(conn, request.actor, &change).await?;
        }
        Ok(erased)
    };
    database.transact(|_| !request.dry_run, erase).await
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
