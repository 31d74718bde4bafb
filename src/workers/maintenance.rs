//! Makes partitions ahead, and removes what `retention` no longer keeps.
//!
//! Every process with a worker runs it; an advisory lock lets one at a time change a partition. It loses nothing when it
//! does not run: rows without a partition go to the default one, and what should have left stays.

use std::{sync::Arc, time::Duration};

use sqlx::PgConnection;
use time::{Date, OffsetDateTime};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{component::MAINTENANCE, retry::DatabaseWait};
use crate::{
    health::Health,
    postgres::{
        Database, clock, dead_letters,
        partitions::{self, Change, TABLES, Table, Unfinished},
        suspects,
    },
    settings::Settings,
    telemetry::chain,
};

/// Time between two rounds.
const INTERVAL: Duration = Duration::from_hours(1);

/// Time until the next round when a lock was not to be had.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);

/// Maximum rows that one transaction deletes.
const PORTION: i64 = 1000;

/// How long a message that crashed the process is remembered after its last start.
const SUSPECTS: time::Duration = time::Duration::days(30);

/// What a round did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Partitions that were made.
    pub made: u64,
    /// Partitions that were dropped.
    pub dropped: u64,
    /// Rows that were deleted.
    pub deleted: u64,
    /// Changes that have to wait for a lock or for another process.
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
    /// Works at once and then every hour, until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut wait = DatabaseWait::new(MAINTENANCE, &self.health);
        while !stop.is_cancelled() {
            let now = self.database.unit(async |conn| clock::now(conn).await).await;
            let round = match now {
                Ok(now) => self.round(now, &stop).await,
                Err(error) => Err(error),
            };
            let pause = match round {
                Ok(report) => {
                    wait.recovered();
                    self.health.ready(MAINTENANCE);
                    if report.postponed > 0 { RETRY_INTERVAL } else { INTERVAL }
                }
                Err(error) => {
                    if wait.failed(&chain(&error), &stop).await {
                        continue;
                    }
                    break;
                }
            };
            stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        }
        info!(component = MAINTENANCE, "{MAINTENANCE} stopped");
    }

    /// Does all that is to be done at the time `now`, or until `stop`.
    ///
    /// # Errors
    /// When the database fails. What was done until then stays done.
    pub async fn round(&self, now: OffsetDateTime, stop: &CancellationToken) -> Result<Report, sqlx::Error> {
        let mut report = Report::default();
        let settled = self.database.unit(async |conn| partitions::settled_before(conn, now).await).await?;
        for table in &TABLES {
            let present = self.database.unit(async |conn| partitions::list(conn, table).await).await?;
            let missing: Vec<Date> = table.wanted(now.date()).filter(|day| !present.contains(day)).collect();
            for first in missing {
                let made =
                    self.database.unit(async |conn| partitions::create(conn, table, first).await).await?;
                report.count(table, first, made, false);
                if made.is_refused() {
                    break;
                }
            }
            let Some(cutoff) = table.cutoff(&self.settings.retention, now) else { continue };
            let cutoff = cutoff.min(settled);
            let old: Vec<Date> =
                present.into_iter().filter(|first| table.is_before(*first, cutoff)).collect();
            for first in old {
                if stop.is_cancelled() {
                    return Ok(report);
                }
                let dropped = self.drop(table, first, stop).await?;
                report.count(table, first, dropped, true);
                if dropped.is_refused() {
                    // Each further one would hold up the workers as well.
                    break;
                }
            }
            report.deleted += self.delete(&Old::Unpartitioned(table, cutoff), stop).await?;
        }
        let dead_letters = Old::DeadLetters(now - self.settings.retention.dead_letters);
        report.deleted += self.delete(&dead_letters, stop).await?;
        report.deleted += self.delete(&Old::Suspects(now - SUSPECTS), stop).await?;
        report.log();
        Ok(report)
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

    /// Deletes in portions until one is not full.
    async fn delete(&self, old: &Old, stop: &CancellationToken) -> Result<u64, sqlx::Error> {
        let mut all = 0;
        loop {
            let deleted = self.database.unit(async |conn| old.delete(conn).await).await?;
            all += deleted;
            if deleted < PORTION.unsigned_abs() || stop.is_cancelled() {
                return Ok(all);
            }
        }
    }
}

/// Rows that leave one by one, from before a time.
enum Old {
    Unpartitioned(&'static Table, OffsetDateTime),
    DeadLetters(OffsetDateTime),
    Suspects(OffsetDateTime),
}

impl Old {
    async fn delete(&self, conn: &mut PgConnection) -> Result<u64, sqlx::Error> {
        match *self {
            Self::Unpartitioned(table, before) => {
                partitions::delete_from_default(conn, table, before, PORTION).await
            }
            Self::DeadLetters(before) => dead_letters::delete_settled(conn, before, PORTION).await,
            Self::Suspects(before) => suspects::forget(conn, before, PORTION).await,
        }
    }
}

impl Report {
    fn count(&mut self, table: &Table, first: Date, change: Change, is_drop: bool) {
        let table = table.name;
        match change {
            Change::Done if is_drop => self.dropped += 1,
            Change::Done => self.made += 1,
            Change::Gone => {}
            Change::Busy => self.postponed += 1,
            Change::Slow => warn!(
                component = MAINTENANCE,
                table, "the partition {first} of {table} was left alone: the change took too long"
            ),
            Change::Occupied => warn!(
                component = MAINTENANCE,
                table, "the default partition of {table} has rows of {first}, so that time gets no partition"
            ),
            Change::Unfinished => warn!(
                component = MAINTENANCE,
                table, "the partition {first} of {table} stays: too many of its deliveries are unfinished"
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
