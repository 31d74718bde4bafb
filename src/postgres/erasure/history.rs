//! The history of a contact, in pages: it may have any number of events.
//!
//! The proofs that events were applied stay, so a redelivery does not bring the person back. Event ids are removed, because
//! platforms build them from phone numbers.

use std::collections::{BTreeSet, HashSet};

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{Dossier, Evidence, Living, without_keys_of_others};
use crate::domain::{
    chain::completed,
    contact::{ContactId, Identifier, erasure::Person},
    event::{CompanyId, EventRef},
    value::phone::Region,
};

/// Rows that one statement reads.
const PAGE: i64 = 5_000;

/// Rows that one statement deletes or changes.
const PORTION: i64 = 1_000;

/// The events of a person.
#[derive(Clone, Default)]
pub(super) struct Events {
    /// [`EventRef::key`].
    pub(super) keys: HashSet<Uuid>,
    /// The ids of their results. A result may have another contact of the same chain as its subject.
    pub(super) results: HashSet<Uuid>,
}

/// A place in the histories of several contacts, which are ordered by event time.
struct Place {
    contacts: Vec<Uuid>,
    /// In the history of the last of them.
    after: Option<(OffsetDateTime, i64)>,
}

impl Place {
    fn start(contacts: Vec<Uuid>) -> Self {
        Self { contacts, after: None }
    }

    fn advance(&mut self, next: Option<(OffsetDateTime, i64)>) {
        self.after = next;
        if next.is_none() {
            self.contacts.pop();
        }
    }
}

/// The evidence of a contact and its history, as far as it is read.
pub struct Reading {
    company: CompanyId,
    contact: ContactId,
    aliases: Vec<ContactId>,
    /// Its identifiers. Others that its history names may belong to somebody else.
    own: BTreeSet<Identifier>,
    contact_evidence: Evidence,
    evidence: Evidence,
    events: Events,
    place: Place,
}

impl Reading {
    pub(super) fn new(company: &CompanyId, living: &Living, region: Region) -> Self {
        let evidence = Evidence::of(&living.contact, region);
        let own = living.contact.keys.iter().cloned().collect();
        Self::with(company, (living.contact.id, living.aliases.clone()), own, evidence)
    }

    /// Reads what the history adds to what is known about a person, whose identifiers are `own`.
    pub(super) fn with(
        company: &CompanyId,
        (contact, aliases): (ContactId, Vec<ContactId>),
        own: BTreeSet<Identifier>,
        evidence: Evidence,
    ) -> Self {
        let ids = aliases.iter().chain([&contact]).map(|id| id.0).collect();
        Self {
            company: company.clone(),
            contact,
            aliases,
            own,
            contact_evidence: evidence.clone(),
            evidence,
            events: Events::default(),
            place: Place::start(ids),
        }
    }

    /// Whether there is no further page.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.place.contacts.is_empty()
    }

    /// Reads a page.
    ///
    /// # Errors
    /// When the database fails; the same page can be read again.
    pub async fn page(&mut self, conn: &mut PgConnection) -> Result<(), sqlx::Error> {
        let Some(contact) = self.place.contacts.last().copied() else { return Ok(()) };
        let (time, order) = self.place.after.unzip();
        let rows = sqlx::query!(
            "SELECT event_time, applied_order, source, event_id, fields::json->>'phone' AS phone,
                 fields::json->>'email' AS email, fields::json->>'identity' AS identity
             FROM trigger_events
             WHERE company_id = $1 AND contact_id = $2
               AND (event_time, applied_order) > (coalesce($3, '-infinity'::timestamptz), coalesce($4, 0::bigint))
             ORDER BY event_time, applied_order LIMIT $5",
            self.company.as_str(),
            contact,
            time,
            order,
            PAGE,
        )
        .fetch_all(conn)
        .await?;
        let is_full = i64::try_from(rows.len()).is_ok_and(|rows| rows >= PAGE);
        let last = rows.last().filter(|_| is_full).map(|row| (row.event_time, row.applied_order));
        for row in rows {
            if let Ok(event) = EventRef::new(&row.source, &row.event_id) {
                self.events.keys.insert(event.key());
                self.events.results.insert(event.id_of(&self.company, completed::KIND, 0));
            }
            self.evidence.add(row.phone, row.email, row.identity);
        }
        self.place.advance(last);
        Ok(())
    }

    /// All that is known about the person, once the reading is complete.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn dossier(self, conn: &mut PgConnection) -> Result<Dossier, sqlx::Error> {
        let Self { company, contact, aliases, own, contact_evidence, evidence, events, .. } = self;
        let named: Vec<&Identifier> = evidence.keys.difference(&own).collect();
        let mut keys = without_keys_of_others(conn, &company, contact, &named).await?;
        keys.extend(own);
        let documents: BTreeSet<String> = evidence.documents;
        let person = Person::new(evidence.region, keys.clone(), documents.iter().map(String::as_str));
        Ok(Dossier { contact, aliases, person, keys, documents, evidence: contact_evidence, events })
    }
}

/// Deletes the history of a contact that is gone.
pub(super) struct Deletion<'a> {
    company: &'a CompanyId,
    place: Place,
}

impl<'a> Deletion<'a> {
    pub(super) fn of(company: &'a CompanyId, contacts: Vec<Uuid>) -> Self {
        Self { company, place: Place::start(contacts) }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.place.contacts.is_empty()
    }

    /// Deletes a portion, and marks its events as erased. Returns where the next one begins, for [`Self::advance`].
    ///
    /// # Errors
    /// When the database fails; the caller's transaction is then lost.
    pub(super) async fn portion(
        &self,
        conn: &mut PgConnection,
    ) -> Result<Option<(OffsetDateTime, i64)>, sqlx::Error> {
        let Some(contact) = self.place.contacts.last().copied() else { return Ok(None) };
        let (time, order) = self.place.after.unzip();
        let next = sqlx::query!(
            "SELECT event_time, applied_order FROM trigger_events
             WHERE company_id = $1 AND contact_id = $2
               AND (event_time, applied_order) > (coalesce($3, '-infinity'::timestamptz), coalesce($4, 0::bigint))
             ORDER BY event_time, applied_order OFFSET $5 LIMIT 1",
            self.company.as_str(),
            contact,
            time,
            order,
            PORTION - 1,
        )
        .fetch_optional(&mut *conn)
        .await?
        .map(|row| (row.event_time, row.applied_order));
        let (last_time, last_order) = next.unzip();
        let deleted = sqlx::query!(
            "DELETE FROM trigger_events
             WHERE company_id = $1 AND contact_id = $2
               AND (event_time, applied_order) > (coalesce($3, '-infinity'::timestamptz), coalesce($4, 0::bigint))
               AND (event_time, applied_order) <= (coalesce($5, 'infinity'::timestamptz), coalesce($6, 0::bigint))
             RETURNING source, event_id",
            self.company.as_str(),
            contact,
            time,
            order,
            last_time,
            last_order,
        )
        .fetch_all(&mut *conn)
        .await?;
        let events = deleted.iter().filter_map(|row| EventRef::new(&row.source, &row.event_id).ok());
        let mut events: Vec<Uuid> = events.map(|event| event.key()).collect();
        events.sort_unstable();
        sqlx::query!(
            "UPDATE applied_events ae SET erased = true FROM UNNEST($2::uuid[]) AS u(event_key)
             WHERE ae.company_id = $1 AND ae.event_key = u.event_key",
            self.company.as_str(),
            &events,
        )
        .execute(conn)
        .await?;
        Ok(next)
    }

    pub(super) fn advance(&mut self, next: Option<(OffsetDateTime, i64)>) {
        self.place.advance(next);
    }
}

/// Removes the event ids from a portion of the links of these contacts. `false` once none is left.
///
/// # Errors
/// When the database fails; the caller's transaction is then lost.
pub(super) async fn blank_links(
    conn: &mut PgConnection,
    company: &CompanyId,
    contacts: &[Uuid],
) -> Result<bool, sqlx::Error> {
    let mut blanked = 0;
    for column in ["contact_id", "other_id"] {
        // One of the two names above, and each has an index.
        let statement = format!(
            "UPDATE contact_links SET source = NULL, event_id = NULL
             WHERE company_id = $1 AND link_id IN (
                 SELECT link_id FROM contact_links WHERE company_id = $1 AND {column} = ANY($2) AND source IS NOT NULL
                 LIMIT $3)"
        );
        blanked += sqlx::query(sqlx::AssertSqlSafe(statement))
            .bind(company.as_str())
            .bind(contacts)
            .bind(PORTION)
            .execute(&mut *conn)
            .await?
            .rows_affected();
    }
    Ok(blanked > 0)
}
