//! Finds and removes the rows of a person's events, and others that mention the person: dead letters, and the deliveries
//! and messages of chains without a CRM step.
//!
//! Reads each table in pages by primary key, so no statement takes long, however large the table is.

mod dead_letters;

use std::collections::HashSet;

use futures_util::TryStreamExt as _;
use sqlx::PgConnection;
use strum::VariantArray;
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    Counts, Dossier,
    deliveries::{Blanked, blank_deliveries, keep_first, remove_chains},
    effects::{self, PAGE},
    history::Events,
    recalls,
};
use crate::{
    domain::{
        chain::{
            completed,
            outgoing::{self, OutgoingEvent},
        },
        contact::{ContactId, erasure::Person},
        event::CompanyId,
        webhook::delivery::Delivery,
    },
    postgres::{Database, effects::EffectsKey},
};

/// The tables with such rows, in the order in which they must be swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub enum Table {
    /// Webhooks to send. Before the deliveries, which a process may insert until then.
    Requests,
    /// Deliveries of the person's events, without a contact, of an event that is no longer the contact's, or of an event for
    /// another contact that named an identifier of this one.
    Deliveries,
    /// Chains whose webhooks have not all ended.
    ChainResults,
    /// Events to publish. After the chains, whose results are inserted until then.
    Events,
    /// Dead letters of the company.
    DeadLetters,
    /// Dead letters whose company could not be read.
    StrayDeadLetters,
}

impl Table {
    /// The table's name, its key, and the rows of a page: fewer where each row has a large body.
    const fn page(self) -> (&'static str, &'static str, i64) {
        match self {
            Self::Deliveries => ("webhook_deliveries", "delivery_id", 2_000),
            Self::ChainResults => ("chain_results", "event_key", PAGE),
            Self::Requests | Self::Events => ("effects", "batch", PAGE),
            Self::DeadLetters | Self::StrayDeadLetters => ("dead_letters", "dead_letter_id", 100),
        }
    }
}

/// How far the clock of a process may be ahead.
const MAX_OFFSET: Duration = Duration::seconds(5);

/// A search for one person.
pub struct Sweep<'a> {
    company: &'a CompanyId,
    contact: ContactId,
    person: &'a Person,
    ids: Vec<Uuid>,
    /// The person's events.
    events: &'a Events,
    /// Later rows that only mention the person are about what they did after coming back.
    until: Option<OffsetDateTime>,
    /// The deliveries found so far. Their dead letters are removed as well.
    deliveries: HashSet<Uuid>,
    /// Rows of events that a live process is about to publish.
    unpublished: Vec<EffectsKey>,
    is_complete: bool,
}

/// The rows of a table after one key, up to and including another.
struct Page<'a> {
    company: &'a str,
    after: Uuid,
    last: Uuid,
}

impl<'a> Sweep<'a> {
    /// Starts a search for the person of this dossier, who was erased at `until`, if that is done.
    #[must_use]
    pub fn new(company: &'a CompanyId, dossier: &'a Dossier, until: Option<OffsetDateTime>) -> Self {
        Self {
            company,
            contact: dossier.contact,
            person: &dossier.person,
            ids: dossier.ids(),
            events: &dossier.events,
            until,
            deliveries: HashSet::new(),
            unpublished: Vec::new(),
            is_complete: false,
        }
    }

    /// Whether the last sweep of a table came to its end.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// The rows that the last sweep of [`Table::Events`] has left, because a live process is about to publish them.
    #[must_use]
    pub fn unpublished(&self) -> &[EffectsKey] {
        &self.unpublished
    }

    /// Sweeps a table from its beginning, as long as it `goes_on`. Changes nothing unless it `keeps` the changes.
    ///
    /// # Errors
    /// When the database fails; the table can be swept again.
    pub async fn table(
        &mut self,
        database: &Database,
        table: Table,
        keeps: bool,
        goes_on: impl Fn() -> bool,
    ) -> Result<Counts, sqlx::Error> {
        if table == Table::Events {
            self.unpublished.clear();
        }
        let mut removed = Counts::default();
        let mut start = Some(Uuid::nil());
        while let Some(last) = start
            && goes_on()
        {
            let page = async |conn: &mut PgConnection| self.page(conn, table, last).await;
            let (next, counts) = database.transact(|_| keeps, page).await?;
            removed += counts;
            start = next;
        }
        self.is_complete = start.is_none();
        Ok(removed)
    }

    /// Sweeps the page of `table` after the key `after`. Returns the key after which the next page begins, `None` at
    /// the end.
    async fn page(
        &mut self,
        conn: &mut PgConnection,
        table: Table,
        after: Uuid,
    ) -> Result<(Option<Uuid>, Counts), sqlx::Error> {
        let company = if table == Table::StrayDeadLetters { "" } else { self.company.as_str() };
        let (name, key, rows) = table.page();
        // Both names come from `Table::page`.
        let statement = format!(
            "SELECT {key} FROM {name} WHERE company_id = $1 AND {key} > $2 ORDER BY {key} OFFSET $3 LIMIT 1"
        );
        let mut next: Option<Uuid> = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .bind(company)
            .bind(after)
            .bind(rows - 1)
            .fetch_optional(&mut *conn)
            .await?;
        let page = Page { company, after, last: next.unwrap_or(Uuid::max()) };
        let mut counts = Counts::default();
        let mut may_be_sent = false;
        match table {
            Table::Deliveries => {
                let (blanked, last) = self.deliveries(conn, &page).await?;
                next = last.or(next);
                counts.attempts = blanked.attempts;
                counts.deliveries = blanked.count;
                may_be_sent = blanked.any_undelivered;
                self.deliveries.extend(blanked.deliveries);
            }
            Table::ChainResults => self.chain_results(conn, &page).await?,
            Table::Requests => {
                counts.deliveries = self.requests(conn, &page).await?;
                may_be_sent = counts.deliveries > 0;
            }
            Table::Events => counts.outbox_messages = self.events(conn, &page).await?,
            Table::DeadLetters | Table::StrayDeadLetters => {
                counts.dead_letters = self.dead_letters(conn, &page).await?;
            }
        }
        if may_be_sent {
            recalls::note(conn, self.company, self.contact).await?;
        }
        Ok((next, counts))
    }

    /// Whether a row with this time, which a process's clock gave, is from after the erasure.
    fn is_later(&self, time: OffsetDateTime) -> bool {
        self.until.is_some_and(|until| time > until + MAX_OFFSET)
    }

    fn in_texts<const N: usize>(&self, texts: [Option<&str>; N]) -> bool {
        texts.into_iter().flatten().any(|text| self.person.is_mentioned(text.as_bytes()))
    }

    fn in_bytes(&self, bytes: Option<&[u8]>) -> bool {
        bytes.is_some_and(|bytes| self.person.is_mentioned(bytes))
    }

    /// Also returns the last delivery that it has looked at, if it does not get to the end of the page.
    async fn deliveries(
        &self,
        conn: &mut PgConnection,
        page: &Page<'_>,
    ) -> Result<(Blanked, Option<Uuid>), sqlx::Error> {
        let mut found = self.deliveries_of_events(conn, page).await?;
        found.extend(self.other_deliveries(conn, page).await?);
        if found.is_empty() {
            return Ok((Blanked::default(), None));
        }
        let last = keep_first(conn, page.company, &mut found).await?;
        Ok((blank_deliveries(conn, page.company, &found, &self.ids).await?, last))
    }

    /// The deliveries of the person's events, which may be for another contact of the same chain. There is no index by
    /// event, because every insert would pay for it.
    async fn deliveries_of_events(
        &self,
        conn: &mut PgConnection,
        page: &Page<'_>,
    ) -> Result<Vec<Uuid>, sqlx::Error> {
        let rows = sqlx::query!(
            "SELECT delivery_id, event_key FROM webhook_deliveries
             WHERE company_id = $1 AND delivery_id > $2 AND delivery_id <= $3",
            page.company,
            page.after,
            page.last,
        )
        .fetch_all(conn)
        .await?;
        let found = rows.into_iter().filter(|row| self.events.keys.contains(&row.event_key));
        Ok(found.map(|row| row.delivery_id).collect())
    }

    /// The deliveries of other events that mention the person.
    async fn other_deliveries(
        &self,
        conn: &mut PgConnection,
        page: &Page<'_>,
    ) -> Result<Vec<Uuid>, sqlx::Error> {
        let mut found = Vec::new();
        let mut rows = sqlx::query!(
            r#"SELECT d.delivery_id, d.created_at, d.event_key, d.source, d.event_id, d.url, d.headers, d.body,
                   d.fault, d.last_error, d.tracestate,
                   ARRAY(SELECT convert_to(coalesce(a.error, ''), 'UTF8') || '\x0a' || coalesce(a.response_body, '')
                         FROM all_webhook_attempts a
                         WHERE a.company_id = d.company_id AND a.delivery_id = d.delivery_id
                           AND a.created_at = d.created_at) AS "answers!",
                   coalesce(d.contact_id = ANY($4), false)
                       AND NOT EXISTS (SELECT FROM contact_links l WHERE l.company_id = $1 AND l.kind = 'unmerged'
                           AND l.contact_id = ANY($4))
                       AND NOT EXISTS (SELECT FROM contact_links l WHERE l.company_id = $1 AND l.kind = 'unmerged'
                           AND l.other_id = ANY($4)) AS "is_theirs!"
               FROM webhook_deliveries d
               WHERE d.company_id = $1 AND d.delivery_id > $2 AND d.delivery_id <= $3
                 AND (d.contact_id IS NULL OR d.contact_id = ANY($4)
                      -- An event for another contact that named an identifier of this person.
                      OR d.event_key = ANY(ARRAY(SELECT l.event_key FROM contact_links l
                          WHERE l.company_id = $1 AND l.contact_id = ANY($4) AND l.event_key IS NOT NULL
                          UNION ALL
                          SELECT l.event_key FROM contact_links l
                          WHERE l.company_id = $1 AND l.other_id = ANY($4) AND l.event_key IS NOT NULL)))"#,
            page.company,
            page.after,
            page.last,
            &self.ids,
        )
        .fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            let errors = [&row.fault, &row.last_error, &row.tracestate];
            // Without an unmerge, every delivery of the contact is theirs, though its event may have left the history.
            let is_found = !self.events.keys.contains(&row.event_key)
                && (row.is_theirs
                    || !self.is_later(row.created_at)
                        && (self.in_texts(
                            [&row.source, &row.event_id, &row.url, &row.headers].map(|t| Some(t.as_str())),
                        ) || self.in_texts(errors.map(Option::as_deref))
                            || self.in_bytes(row.body.as_deref())
                            || row.answers.iter().any(|answer| self.in_bytes(Some(answer)))));
            if is_found {
                found.push(row.delivery_id);
            }
        }
        Ok(found)
    }

    async fn chain_results(&self, conn: &mut PgConnection, page: &Page<'_>) -> Result<(), sqlx::Error> {
        let mut found = Vec::new();
        // Row by row: a chain may have some MiB.
        let mut rows = sqlx::query!(
            r#"SELECT event_key, chain::text AS "chain!", reply_to, correlation_id, traceparent, tracestate,
                   created_at
               FROM chain_results WHERE company_id = $1 AND event_key > $2 AND event_key <= $3"#,
            page.company,
            page.after,
            page.last,
        )
        .fetch(&mut *conn);
        while let Some(row) = rows.try_next().await? {
            let optional = [&row.reply_to, &row.correlation_id, &row.traceparent, &row.tracestate];
            let is_found = self.events.keys.contains(&row.event_key)
                || !self.is_later(row.created_at)
                    && (self.in_texts([Some(&row.chain)]) || self.in_texts(optional.map(Option::as_deref)));
            if is_found {
                found.push(row.event_key);
            }
        }
        drop(rows);
        remove_chains(conn, page.company, &found).await
    }

    /// The person's events, and those without a contact and results, which may be about several people. Leaves those that a
    /// live process is about to publish: `contact.erased` must come after them.
    async fn events(&mut self, conn: &mut PgConnection, page: &Page<'_>) -> Result<u64, sqlx::Error> {
        let subjects: Vec<String> = self.ids.iter().map(Uuid::to_string).collect();
        let concerns = |event: &OutgoingEvent| {
            let reply_to = event.reply_to.as_ref();
            let optional = [
                event.trace.tracestate(),
                reply_to.map(|reply| reply.queue.as_str()),
                reply_to.and_then(|reply| reply.correlation_id.as_deref()),
            ];
            let is_theirs = event.subject.as_ref().is_some_and(|subject| subjects.contains(subject));
            // Another process that finishes the same erasure may have queued its event.
            is_theirs && event.kind != outgoing::ERASED
                || self.events.results.contains(&event.id)
                || (event.subject.is_none() || event.kind == completed::KIND)
                    && !self.is_later(event.time)
                    && (self.in_texts([Some(&event.correlation_id)])
                        || self.in_texts(optional)
                        || self.in_bytes(Some(&event.body)))
        };
        let found = effects::find(conn, page.company, (page.after, page.last), concerns).await?;
        if found.is_empty() {
            return Ok(0);
        }
        let unpublished = effects::in_memory(conn, &found).await?;
        let (left, removable): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|key| unpublished.contains(&key.batch));
        let removed = effects::remove(conn, &removable, concerns).await?;
        self.unpublished.extend(left);
        Ok(removed)
    }

    /// Webhooks of the chains that [`Self::deliveries`] looks at.
    async fn requests(&self, conn: &mut PgConnection, page: &Page<'_>) -> Result<u64, sqlx::Error> {
        let named = sqlx::query_scalar!(
            r#"SELECT l.event_key AS "event_key!" FROM contact_links l
               WHERE l.company_id = $1 AND l.contact_id = ANY($2) AND l.event_key IS NOT NULL
               UNION ALL
               SELECT l.event_key FROM contact_links l
               WHERE l.company_id = $1 AND l.other_id = ANY($2) AND l.event_key IS NOT NULL"#,
            page.company,
            &self.ids,
        )
        .fetch_all(&mut *conn)
        .await?;
        let concerns = |delivery: &Delivery| {
            let request = &delivery.request;
            let headers = request.headers.iter().map(|(_, value)| value);
            let may_mention = delivery.contact.is_none_or(|(contact, _)| {
                self.ids.contains(&contact.0) || named.contains(&delivery.event_key)
            });
            self.events.keys.contains(&delivery.event_key)
                || may_mention
                    && !self.is_later(delivery.created_at)
                    && (self.in_texts(
                        [&delivery.source, &delivery.event_id, &request.url].map(|t| Some(t.as_str())),
                    ) || self.in_texts([delivery.trace.tracestate()])
                        || headers.into_iter().any(|value| self.in_bytes(Some(value.as_bytes())))
                        || self.in_bytes(request.body.as_deref()))
        };
        let found = effects::find(conn, page.company, (page.after, page.last), concerns).await?;
        effects::remove(conn, &found, concerns).await
    }
}
