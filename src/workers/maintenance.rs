//! Creates partitions ahead, removes what `retention` no longer keeps, and finishes interrupted erasures.
//!
//! Every process with a worker runs it; an advisory lock lets only one at a time change a partition. If it does not
//! run, nothing is lost: rows without a partition go to the default one, and old rows stay.

mod old;

use std::{collections::BTreeSet, panic::resume_unwind, sync::Arc, time::Duration};

use time::{Date, OffsetDateTime};
use tokio::{runtime::Handle, task::spawn_blocking};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::old::{Old, PORTION};
use super::{
    component::{ERASURES, MAINTENANCE},
    retry::DatabaseWait,
};
use crate::{
    health::Health,
    postgres::{
        Database, Failure, classify, clock, endpoints, erasure,
        partitions::{self, Change, Deletion, TABLES, Table, Unfinished},
        refusal,
    },
    settings::Settings,
    telemetry::chain,
};

/// Time between two rounds.
const INTERVAL: Duration = Duration::from_hours(1);

/// Time until the next round after a lock was not available.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// Time between two searches for interrupted erasures.
const ERASURE_INTERVAL: Duration = Duration::from_mins(1);

/// How long an erasing command is left alone.
const ERASURE: time::Duration = time::Duration::minutes(5);

/// How long a message that crashed the process is remembered after its last start.
const SUSPECTS: time::Duration = time::Duration::days(30);

/// How long a client of the API can repeat a request and get the same answer.
const KEYS: time::Duration = time::Duration::days(1);

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Partitions that were created.
    pub made: u64,
    /// Partitions that were dropped.
    pub dropped: u64,
    /// Rows that were deleted.
    pub deleted: u64,
    /// Changes that wait for a lock or for another process.
    pub postponed: u64,
}

/// The task.
pub struct Maintenance {
    /// All settings.
    pub settings: Arc<Settings>,
    /// The database.
    pub database: Database,
    /// Receives the state of this component.
    pub health: Health,
}

impl Maintenance {
    /// Works until `stop`: a round at once and then every hour, and erasures every minute. They do not wait for each other: a round
    /// may take long, or fail.
    pub async fn run(self, stop: CancellationToken) {
        tokio::join!(self.run_rounds(&stop), self.run_erasures(&stop));
        info!(component = MAINTENANCE, "{MAINTENANCE} stopped");
    }

    async fn run_rounds(&self, stop: &CancellationToken) {
        let mut wait = DatabaseWait::new(MAINTENANCE, &self.health);
        while !stop.is_cancelled() {
            match self.next_round(stop).await {
                Ok(report) => {
                    wait.recovered();
                    self.health.ready(MAINTENANCE);
                    let interval = if report.postponed > 0 { RETRY_INTERVAL } else { INTERVAL };
                    stop.run_until_cancelled(tokio::time::sleep(interval)).await;
                }
                Err(error) => {
                    if !wait.failed(&chain(&error), stop).await {
                        break;
                    }
                }
            }
        }
    }

    async fn next_round(&self, stop: &CancellationToken) -> Result<Report, sqlx::Error> {
        let now = self.database.unit(async |conn| clock::now(conn).await).await?;
        self.round(now, stop).await
    }

    async fn run_erasures(&self, stop: &CancellationToken) {
        let mut wait = DatabaseWait::new(ERASURES, &self.health);
        while !stop.is_cancelled() {
            match self.finish_erasures(stop).await {
                Ok(()) => {
                    wait.recovered();
                    stop.run_until_cancelled(tokio::time::sleep(ERASURE_INTERVAL)).await;
                }
                Err(error) => {
                    if !wait.failed(&chain(&error), stop).await {
                        break;
                    }
                }
            }
        }
    }

    /// Creates partitions, and removes what is old at `now`, or until `stop`.
    ///
    /// # Errors
    /// When the database fails. The changes until then stay.
    pub async fn round(&self, now: OffsetDateTime, stop: &CancellationToken) -> Result<Report, sqlx::Error> {
        let mut report = Report::default();
        // First of all, because workers may be waiting for it.
        for table in &TABLES {
            self.make(table, now.date(), &mut report).await?;
        }
        let settled = self.database.unit(async |conn| partitions::settled_before(conn, now).await).await?;
        // The days of attempts that could not be removed. Their deliveries wait: see `TABLES`.
        let mut waiting = BTreeSet::new();
        for table in &TABLES {
            let Some(cutoff) = table.cutoff(&self.settings.retention, now) else { continue };
            let cutoff = cutoff.min(settled);
            let present = self.database.unit(async |conn| partitions::list(conn, table).await).await?;
            let old = present.into_iter().filter(|first| table.is_before(*first, cutoff));
            let old: Vec<Date> = old.filter(|first| !waiting.contains(first)).collect();
            waiting.extend(self.remove(table, (&old, cutoff), stop, &mut report).await?);
            report.deleted += self.delete_rows(table, None, cutoff, stop).await?;
        }
        let retention = &self.settings.retention;
        let deliveries = (now - retention.deliveries).min(settled);
        report.deleted += self.delete_endpoints(deliveries, stop).await?;
        if let Some(history) = retention.history {
            report.deleted += Old::Conflicts(now - history).delete(&self.database, stop).await?;
        }
        report.deleted += Old::DeadLetters(now - retention.dead_letters).delete(&self.database, stop).await?;
        report.deleted += Old::Operations(now - retention.dead_letters).delete(&self.database, stop).await?;
        report.deleted += Old::Suspects(now - SUSPECTS).delete(&self.database, stop).await?;
        report.deleted += Old::Keys(now - KEYS).delete(&self.database, stop).await?;
        report.log();
        Ok(report)
    }

    /// Finishes the erasures that were interrupted. One that meets an unreadable or locked row does not hold up the
    /// others.
    async fn finish_erasures(&self, stop: &CancellationToken) -> Result<(), sqlx::Error> {
        let now = self.database.unit(async |conn| clock::now(conn).await).await?;
        let due =
            || self.database.unit(async |conn| erasure::claim_unfinished(conn, now - ERASURE, now).await);
        while !stop.is_cancelled()
            && let Some(unfinished) = due().await?
        {
            let contact = unfinished.contact.0;
            let finished = self.finish_erasure(unfinished, stop.clone()).await;
            match finished {
                Ok(Some(_)) => {
                    info!(component = ERASURES, %contact, "finished the erasure of contact {contact}");
                }
                Ok(None) => {}
                Err(error) if classify(&error) == Failure::Systemic => return Err(error),
                Err(error) => {
                    let error = refusal(&error);
                    error!(
                        component = ERASURES,
                        %contact, error, "could not finish the erasure of contact {contact}: {error}"
                    );
                }
            }
        }
        Ok(())
    }

    /// On a thread for blocking work, because the search for a person is not a future that can move between threads.
    async fn finish_erasure(
        &self,
        unfinished: erasure::Unfinished,
        stop: CancellationToken,
    ) -> Result<Option<erasure::Counts>, sqlx::Error> {
        let (database, settings) = (self.database.clone(), Arc::clone(&self.settings));
        let finish = move || {
            let region = settings.contacts.regions().of(&unfinished.company);
            let (source, goes_on) = (&settings.events.source, || !stop.is_cancelled());
            let finished = erasure::complete(&database, &unfinished, region, source, Duration::ZERO, goes_on);
            Handle::current().block_on(finished)
        };
        match spawn_blocking(finish).await {
            Ok(finished) => finished,
            Err(ended) if ended.is_panic() => resume_unwind(ended.into_panic()),
            Err(_) => Ok(None),
        }
    }

    async fn make(&self, table: &Table, today: Date, report: &mut Report) -> Result<(), sqlx::Error> {
        let opened = self.database.unit(async |conn| partitions::open_default(conn, table).await).await?;
        report.count(table, today, opened, Task::Open);
        let present = self.database.unit(async |conn| partitions::list(conn, table).await).await?;
        for first in table.wanted(today).filter(|day| !present.contains(day)) {
            let made = self.database.unit(async |conn| partitions::create(conn, table, first, today).await);
            let made = made.await?;
            report.count(table, first, made, Task::Make);
            if made.is_refused() {
                break;
            }
        }
        Ok(())
    }

    /// Drops old partitions, and deletes the finished rows of those that stay. Returns those that could not be
    /// changed.
    async fn remove(
        &self,
        table: &'static Table,
        (old, cutoff): (&[Date], OffsetDateTime),
        stop: &CancellationToken,
        report: &mut Report,
    ) -> Result<Vec<Date>, sqlx::Error> {
        let mut left = Vec::new();
        for (place, first) in old.iter().enumerate() {
            let dropped =
                if stop.is_cancelled() { Change::Busy } else { self.drop(table, *first, stop).await? };
            report.count(table, *first, dropped, Task::Drop);
            if matches!(dropped, Change::Unfinished | Change::Slow) {
                report.deleted += self.delete_rows(table, Some(*first), cutoff, stop).await?;
            }
            match dropped {
                // Each further try would hold up the workers as well.
                Change::Busy => {
                    left.extend_from_slice(old.get(place..).unwrap_or_default());
                    break;
                }
                // Other days do not wait for this one: it may be slow in every round.
                Change::Slow => left.push(*first),
                Change::Done | Change::Gone | Change::Occupied | Change::Crowded | Change::Unfinished => {}
            }
        }
        Ok(left)
    }

    async fn drop(
        &self,
        table: &Table,
        first: Date,
        stop: &CancellationToken,
    ) -> Result<Change, sqlx::Error> {
        let begin = self.database.unit(async |conn| Unfinished::begin(conn, table, first).await);
        let mut unfinished = begin.await?;
        while !unfinished.is_complete() {
            if stop.is_cancelled() {
                return Ok(Change::Busy);
            }
            let read = self.database.unit(async |conn| unfinished.read(conn, table, first).await).await?;
            if read != Change::Done {
                return Ok(read);
            }
        }
        self.database.unit(async |conn| partitions::drop(conn, table, first, &unfinished).await).await
    }

    /// Deletes the finished rows from before `before`: of the partition that began on `first`, or of the default partition.
    async fn delete_rows(
        &self,
        table: &'static Table,
        first: Option<Date>,
        before: OffsetDateTime,
        stop: &CancellationToken,
    ) -> Result<u64, sqlx::Error> {
        let begin = self.database.unit(async |conn| Deletion::begin(conn, table, first, before).await);
        let (mut deletion, mut all) = (begin.await?, 0);
        while !deletion.is_complete() && !stop.is_cancelled() {
            match self.database.unit(async |conn| deletion.portion(conn, PORTION).await).await? {
                Ok(deleted) => all += deleted,
                // The next round removes the rest.
                Err(_) => break,
            }
        }
        Ok(all)
    }

    /// Deletes the endpoints that have not been used since `cutoff`, before which deliveries are removed.
    async fn delete_endpoints(
        &self,
        cutoff: OffsetDateTime,
        stop: &CancellationToken,
    ) -> Result<u64, sqlx::Error> {
        let (mut after, mut all) = (None, 0);
        loop {
            let removed = self
                .database
                .unit(async |conn| endpoints::delete_idle(conn, after.as_ref(), cutoff).await)
                .await?;
            if removed.has_given_up {
                warn!(
                    component = MAINTENANCE,
                    "unused endpoints stay: too many deliveries are older than retention.deliveries"
                );
            }
            all += removed.deleted;
            after = removed.next;
            if after.is_none() || stop.is_cancelled() {
                return Ok(all);
            }
        }
    }
}

/// A kind of change.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Task {
    Open,
    Make,
    Drop,
}

impl Report {
    fn count(&mut self, table: &Table, first: Date, change: Change, task: Task) {
        let table = table.name;
        match change {
            Change::Done if task == Task::Drop => self.dropped += 1,
            Change::Done if task == Task::Make => self.made += 1,
            Change::Done | Change::Gone => {}
            Change::Busy => self.postponed += 1,
            Change::Slow => warn!(
                component = MAINTENANCE,
                table, "the partition {first} of {table} was left alone: the change took too long"
            ),
            Change::Occupied => warn!(
                component = MAINTENANCE,
                table, "the default partition of {table} has rows of {first}, so that time gets no partition"
            ),
            Change::Crowded => warn!(
                component = MAINTENANCE,
                table,
                "the default partition of {table} is large, so its rows of {first} are removed by age; later days get partitions"
            ),
            Change::Unfinished => warn!(
                component = MAINTENANCE,
                table,
                "the partition {first} of {table} stays with its unfinished rows, which are too many to move"
            ),
        }
    }

    fn log(&self) {
        let Self { made, dropped, deleted, postponed } = *self;
        if *self != Self::default() {
            info!(
                component = MAINTENANCE,
                made,
                dropped,
                deleted,
                postponed,
                "made {made} partitions, dropped {dropped}, deleted {deleted} rows, postponed {postponed} changes"
            );
        }
    }
}
