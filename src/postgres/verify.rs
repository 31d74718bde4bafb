//! Looks for rows that contradict each other, one page of a table at a time. Nothing here changes or locks a row.
//!
//! A page is read in one snapshot, and every transaction of the service preserves what is checked here, so work in
//! progress contradicts nothing. What depends on the clock, such as the takeover from a dead process, may need a
//! second look.
//!
//! `OFFSET 0` makes Postgres look up each row; otherwise it would hash a whole table.

mod contacts;
mod events;
mod owners;
mod webhooks;

use sqlx::PgConnection;
use time::{Date, Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    clock,
    partitions::{self, TABLES},
};
use crate::settings::Settings;

/// Rows of a page.
const PAGE: i64 = 1_000;

/// After all companies: longer than any id, and greater.
const LAST: char = '\u{10FFFF}';

/// The checks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::IntoStaticStr, strum::VariantArray)]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "`proves` describes them, once")]
pub enum Check {
    RefusedEvents,
    OneEnd,
    DeadLetterStates,
    HistoryEvents,
    HistoryContacts,
    WebhookSteps,
    Provenance,
    ContactIdentifiers,
    IdentifierOwners,
    SuppressedIdentifiers,
    Aliases,
    ErasedContacts,
    DeliveryStates,
    PendingDeliveries,
    DeadDeliveries,
    RetryClocks,
    Lanes,
    ChainResults,
    EffectsOwners,
    LaneOwners,
}

impl Check {
    /// The name in reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// What it proves if it finds nothing.
    #[must_use]
    pub const fn proves(self) -> &'static str {
        match self {
            Self::RefusedEvents => "every event that was refused has a dead letter",
            Self::OneEnd => {
                "the ledger knows the event of every dead letter, and no event that was applied has an unresolved one, unless that has other contents and says so"
            }
            Self::DeadLetterStates => "the columns of every dead letter agree with its state",
            Self::HistoryEvents => "every event in the history was applied",
            Self::HistoryContacts => {
                "every row of the history belongs to a contact of its company, an id merged into one, or an erased one"
            }
            Self::WebhookSteps => {
                "every webhook step of an event in the history has a delivery, or waits to be sent, or has left by retention"
            }
            Self::Provenance => {
                "every value of a contact is what its event gave; the event was applied and, unless retention.history is set, is in the history"
            }
            Self::ContactIdentifiers => "every phone and email on a contact finds that contact",
            Self::IdentifierOwners => {
                "every phone and email that finds a contact is on that contact, in its company"
            }
            Self::SuppressedIdentifiers => {
                "no identifier of an erased person was stored again by an earlier event"
            }
            Self::Aliases => {
                "every id that was merged leads to a living contact in one step, by an event that was applied"
            }
            Self::ErasedContacts => "no erased id is a contact or leads to one",
            Self::DeliveryStates => "the end of every delivery agrees with its state",
            Self::PendingDeliveries => "every pending delivery has a retry clock",
            Self::DeadDeliveries => {
                "every dead delivery has a dead letter that can be replayed, and no delivered one has"
            }
            Self::RetryClocks => "every retry clock belongs to a pending delivery",
            Self::Lanes => {
                "every retry clock is in a lane that a process owns or will claim, or that an operator has stopped"
            }
            Self::ChainResults => {
                "every result waits for exactly the webhooks of its chain that have not ended"
            }
            Self::EffectsOwners => {
                "no dead process owns events or webhooks that others should have taken over"
            }
            Self::LaneOwners => "no dead process owns a lane that others should have taken over",
        }
    }

    /// The table that it reads.
    #[must_use]
    pub const fn scan(self) -> Scan {
        match self {
            Self::RefusedEvents => Scan::Ledger,
            Self::OneEnd | Self::DeadLetterStates => Scan::DeadLetters,
            Self::HistoryEvents | Self::HistoryContacts | Self::WebhookSteps => Scan::History,
            Self::Provenance | Self::ContactIdentifiers => Scan::Contacts,
            Self::IdentifierOwners | Self::SuppressedIdentifiers => Scan::Identifiers,
            Self::Aliases => Scan::Aliases,
            Self::ErasedContacts => Scan::Erased,
            Self::DeliveryStates | Self::PendingDeliveries | Self::DeadDeliveries => Scan::Deliveries,
            Self::RetryClocks | Self::Lanes => Scan::Pending,
            Self::ChainResults => Scan::Chains,
            Self::EffectsOwners => Scan::Effects,
            Self::LaneOwners => Scan::Endpoints,
        }
    }
}

/// A table to read. Several checks share one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, strum::VariantArray)]
#[expect(missing_docs, reason = "each is a table")]
pub enum Scan {
    Ledger,
    DeadLetters,
    History,
    Contacts,
    Identifiers,
    Aliases,
    Erased,
    Deliveries,
    Pending,
    Chains,
    Effects,
    Endpoints,
}

/// A place in a table, as far as its key needs it. It may hold an identifier, so it has no `Debug`.
#[derive(Clone)]
pub struct Place {
    company: String,
    id: Uuid,
    kind: String,
    value: String,
    time: OffsetDateTime,
    order: i64,
}

impl Place {
    fn at(company: String, id: Uuid) -> Self {
        let (kind, value) = (String::new(), String::new());
        Self { company, id, kind, value, time: OffsetDateTime::UNIX_EPOCH, order: 0 }
    }
}

/// What to read, and what the settings say about it.
pub struct Scope {
    /// Companies from here on.
    from: String,
    /// Companies up to here.
    to: String,
    pepper: String,
    /// No part of the history has left.
    history_is_complete: bool,
    /// Deliveries of events that were applied after that are still kept.
    deliveries_since: OffsetDateTime,
}

impl Scope {
    /// Everything, or what one company has. `now` is the time of the database.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn new(
        conn: &mut PgConnection,
        settings: &Settings,
        company: Option<&str>,
    ) -> Result<Self, sqlx::Error> {
        let now = clock::now(conn).await?;
        let mut since = now - settings.retention.deliveries + MARGIN;
        // Other settings may have removed more.
        for table in TABLES.iter().filter(|table| table.name == "webhook_deliveries") {
            let first = partitions::list(conn, table).await?.into_iter().next();
            since = first.map(Date::midnight).map_or(since, |first| since.max(first.assume_utc()));
        }
        let all = || (String::new(), LAST.to_string().repeat(64));
        let (from, to) = company.map_or_else(all, |company| (company.to_owned(), company.to_owned()));
        let pepper = settings.contacts.suppression_pepper.clone();
        Ok(Self {
            from,
            to,
            pepper: secrecy::ExposeSecret::expose_secret(&pepper).to_owned(),
            history_is_complete: settings.retention.history.is_none(),
            deliveries_since: since,
        })
    }

    /// Where every table begins.
    #[must_use]
    pub fn start(&self) -> Place {
        Place { time: OffsetDateTime::UNIX_EPOCH - EARLIER, ..Place::at(self.from.clone(), Uuid::nil()) }
    }
}

/// A delivery is created before the transaction of its event has a time, and its retention ends that much earlier.
const MARGIN: Duration = Duration::HOUR;

/// Before all event times, which begin with the year 0.
const EARLIER: Duration = Duration::days(1970 * 366);

/// A contradiction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Violation {
    /// The check that it violates.
    pub check: Check,
    /// The company's id.
    pub company: String,
    /// The row's id, or that of its contact: never personal data.
    pub id: Uuid,
    /// What is wrong with it.
    pub found: &'static str,
}

/// A page.
#[derive(Default)]
pub struct Page {
    /// How many rows it has.
    pub rows: u64,
    /// What is wrong with them.
    pub violations: Vec<Violation>,
    /// Where the next one begins; `None` after the last one.
    pub next: Option<Place>,
}

impl Page {
    /// Adds a row, and whether the next page begins after it.
    fn row(&mut self, place: impl FnOnce() -> Place) {
        self.rows += 1;
        if self.rows == PAGE.unsigned_abs() {
            self.next = Some(place());
        }
    }

    fn unless(&mut self, fine: bool, check: Check, (company, id): (&str, Uuid), found: &'static str) {
        if !fine {
            self.violations.push(Violation { check, company: company.to_owned(), id, found });
        }
    }
}

/// `ORDINALITY` counts from 1.
fn indexes(ordinals: Vec<i64>) -> Vec<usize> {
    ordinals.into_iter().filter_map(|n| usize::try_from(n - 1).ok()).collect()
}

/// Reads a page of a table. The connection is in a transaction with one snapshot.
///
/// # Errors
/// When the database fails.
pub async fn page(
    conn: &mut PgConnection,
    scan: Scan,
    scope: &Scope,
    after: &Place,
) -> Result<Page, sqlx::Error> {
    match scan {
        Scan::Ledger => events::ledger(conn, scope, after).await,
        Scan::DeadLetters => events::dead_letters(conn, scope, after).await,
        Scan::History => events::history(conn, scope, after).await,
        Scan::Contacts => contacts::contacts(conn, scope, after).await,
        Scan::Identifiers => contacts::identifiers(conn, scope, after).await,
        Scan::Aliases => contacts::aliases(conn, scope, after).await,
        Scan::Erased => contacts::erased(conn, scope, after).await,
        Scan::Deliveries => webhooks::deliveries(conn, scope, after).await,
        Scan::Pending => webhooks::pending(conn, scope, after).await,
        Scan::Chains => webhooks::chains(conn, scope, after).await,
        Scan::Effects => owners::effects(conn, scope, after).await,
        Scan::Endpoints => owners::endpoints(conn, scope, after).await,
    }
}
