//! Erasures whose contact is gone while other rows may still be about the person. Each keeps its search terms until
//! everything is removed and `contact.erased` can be published.

use std::{collections::BTreeSet, time::Duration};

use sqlx::PgConnection;
use strum::VariantArray as _;
use time::OffsetDateTime;
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    Counts, Dossier, Evidence, Reading, Sweep, Table,
    effects::are_in_memory,
    history::{Deletion, blank_links},
    key_columns,
    recalls::recall,
};
use crate::{
    domain::{
        chain::outgoing::Publisher,
        contact::{ContactId, Identifier},
        event::CompanyId,
        value::{
            email::Email,
            phone::{Phone, Region},
        },
    },
    postgres::{Database, columns::column, effects::events},
};

/// Time between two checks of what processes have in memory.
const POLL: Duration = Duration::from_millis(100);

/// An erasure that is not finished.
#[derive(Clone)]
pub struct Unfinished {
    /// The company's id.
    pub company: CompanyId,
    /// The contact.
    pub contact: ContactId,
    /// The ids that had been merged into it.
    pub aliases: Vec<ContactId>,
    /// When the contact was erased.
    pub erased_at: OffsetDateTime,
    keys: BTreeSet<Identifier>,
    documents: BTreeSet<String>,
}

pub(super) async fn insert(
    conn: &mut PgConnection,
    company: &CompanyId,
    dossier: &Dossier,
    erased_at: OffsetDateTime,
) -> Result<(), sqlx::Error> {
    let (kinds, keys) = key_columns(&dossier.keys);
    let documents: Vec<&str> = dossier.documents.iter().map(String::as_str).collect();
    sqlx::query!(
        "INSERT INTO erasures (company_id, contact_id, aliases, erased_at, kinds, keys, documents)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        company.as_str(),
        dossier.contact.0,
        &column(&dossier.aliases, |id| id.0),
        erased_at,
        &kinds as &[&str],
        &keys as &[&str],
        &documents as &[&str],
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The unfinished erasure of the person with this contact id.
///
/// # Errors
/// When the database fails, or the row is unreadable.
pub async fn unfinished(
    conn: &mut PgConnection,
    company: &CompanyId,
    id: ContactId,
) -> Result<Option<Unfinished>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        "SELECT company_id, contact_id, aliases, erased_at, kinds, keys, documents FROM erasures
         WHERE company_id = $1 AND (contact_id = $2 OR $2 = ANY(aliases))",
        company.as_str(),
        id.0,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::read).transpose()
}

/// The next unfinished erasure that began before `before` and is due at `now`. No other process gets it for 5 minutes, and then
/// for longer with each try, because every try searches all tables of the company.
///
/// # Errors
/// When the database fails, or the row is unreadable.
pub async fn claim_unfinished(
    conn: &mut PgConnection,
    before: OffsetDateTime,
    now: OffsetDateTime,
) -> Result<Option<Unfinished>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        "UPDATE erasures e
         SET tries = e.tries + 1, next_try_at = $2 + power(2, least(e.tries, 3)) * interval '5 minutes'
         FROM (SELECT company_id, contact_id FROM erasures WHERE erased_at < $1 AND next_try_at <= $2
               ORDER BY erased_at LIMIT 1 FOR UPDATE SKIP LOCKED) due
         WHERE e.company_id = due.company_id AND e.contact_id = due.contact_id
         RETURNING e.company_id, e.contact_id, e.aliases, e.erased_at, e.kinds, e.keys, e.documents",
        before,
        now,
    )
    .fetch_optional(conn)
    .await?;
    row.map(Row::read).transpose()
}

struct Row {
    company_id: String,
    contact_id: Uuid,
    aliases: Vec<Uuid>,
    erased_at: OffsetDateTime,
    kinds: Vec<String>,
    keys: Vec<String>,
    documents: Vec<String>,
}

impl Row {
    fn read(self) -> Result<Unfinished, sqlx::Error> {
        let key = |(kind, value): (String, String)| match kind.as_str() {
            "phone" => Identifier::Phone(Phone::from_stored(value)),
            _ => Identifier::Email(Email::from_stored(value)),
        };
        Ok(Unfinished {
            company: CompanyId::new(&self.company_id).map_err(|error| sqlx::Error::Decode(error.into()))?,
            contact: ContactId(self.contact_id),
            aliases: self.aliases.into_iter().map(ContactId).collect(),
            erased_at: self.erased_at,
            keys: self.kinds.into_iter().zip(self.keys).map(key).collect(),
            documents: self.documents.into_iter().collect(),
        })
    }
}

/// Finishes an erasure, page by page: removes what is left, then the history, and queues `contact.erased`, with `source`,
/// last. May be repeated at any time, also by several processes at once. Leaves what the person did after coming back.
///
/// An event that a live process is about to publish from memory cannot be removed. It waits up to `patience` until it is
/// published and has been searched for once more, and until every process knows which webhooks it must not send. `None` if
/// that was not enough, or if it no longer `goes_on`: then the erasure stays unfinished.
///
/// # Errors
/// When the database fails; the erasure is unfinished.
pub async fn complete(
    database: &Database,
    unfinished: &Unfinished,
    region: Region,
    source: &str,
    patience: Duration,
    goes_on: impl Fn() -> bool,
) -> Result<Option<Counts>, sqlx::Error> {
    let Unfinished { company, contact, aliases, .. } = unfinished;
    let dossier = dossier(database, unfinished, region).await?;
    let ids = dossier.ids();
    let mut sweep = Sweep::new(company, &dossier, Some(unfinished.erased_at));
    let mut removed = Counts::default();
    for table in Table::VARIANTS.iter().copied() {
        removed += sweep.table(database, table, true, &goes_on).await?;
    }
    if !recall(database, company, *contact, &goes_on).await? {
        return Ok(None);
    }
    let deadline = Instant::now() + patience;
    let is_in_time = || goes_on() && Instant::now() < deadline;
    while !sweep.unpublished().is_empty() {
        if !is_in_time() {
            return Ok(None);
        }
        tokio::time::sleep(POLL).await;
        // A sweep reads everything that the company has to publish, which may take long.
        let left = sweep.unpublished();
        if !database.unit(async |conn| are_in_memory(conn, left).await).await? {
            removed += sweep.table(database, Table::Events, true, &is_in_time).await?;
            if !sweep.is_complete() {
                return Ok(None);
            }
        }
    }
    let mut history = Deletion::of(company, ids.clone());
    while !history.is_complete() && goes_on() {
        let next = database.transact(|_| true, async |conn| history.portion(conn).await).await?;
        history.advance(next);
    }
    while goes_on()
        && database.transact(|_| true, async |conn| blank_links(conn, company, &ids).await).await?
    {}
    if !goes_on() {
        return Ok(None);
    }
    let finish = async |conn: &mut PgConnection| {
        let finished = sqlx::query!(
            "DELETE FROM erasures WHERE company_id = $1 AND contact_id = $2",
            company.as_str(),
            contact.0,
        );
        // Another process may have been faster.
        if finished.execute(&mut *conn).await?.rows_affected() == 0 {
            return Ok(());
        }
        let publisher = Publisher { source, include_identity: false, now: unfinished.erased_at };
        let event = publisher.contact_erased(company, *contact, aliases);
        // Without an owner: the relay of any process publishes it.
        events::insert(conn, Uuid::now_v7(), None, vec![event]).await?;
        Ok(())
    };
    database.transact(|()| true, finish).await?;
    Ok(Some(removed))
}

/// Everything known about the person, including the rest of the history.
async fn dossier(
    database: &Database,
    unfinished: &Unfinished,
    region: Region,
) -> Result<Dossier, sqlx::Error> {
    let Unfinished { company, contact, aliases, keys, documents, .. } = unfinished.clone();
    let own = keys.clone();
    let mut reading = Reading::with(&company, (contact, aliases), own, Evidence { region, keys, documents });
    while !reading.is_complete() {
        database.unit(async |conn| reading.page(conn).await).await?;
    }
    database.unit(async |conn| reading.dossier(conn).await).await
}
