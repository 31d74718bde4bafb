//! Keeps this process registered, and releases what dead processes own.
//!
//! Effects and lanes have an owner. While the owner renews its row in time, they belong to it alone; once the row has
//! expired, others release them. A process that others have buried continues under a new id: it no longer owns
//! anything, and what it still finishes is harmless, because ids and unique keys decide.
//!
//! Each renewal also compares the clocks, because all processes use the database's, and learns of recalls: webhooks
//! that an erasure has removed and that must not be sent from memory.

mod recalls;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio::{
    sync::watch,
    time::{MissedTickBehavior, interval, timeout},
};
use tracing::{info, warn};
use uuid::Uuid;

use self::recalls::Recalls;
use super::{
    component::{CLOCK, PRESENCE},
    retry::{self, DatabaseWait},
};
use crate::{
    health::Health,
    postgres::{
        Database, clock,
        erasure::{self, Recall},
        processes,
    },
    telemetry::chain,
};

/// How long a renewal lasts. Others wait this long before they take over from a process that was killed.
const TERM: Duration = Duration::from_secs(10);

/// How often the row is renewed: several renewals may fail before it expires.
const RENEWAL_INTERVAL: Duration = Duration::from_secs(2);

/// Deadline of a renewal, shorter than that of other work, so that one silent connection does not cost the term.
const RENEWAL_TIMEOUT: Duration = Duration::from_secs(3);

/// The end of the term in which a process no longer counts as alive for itself: what it decided before that has
/// this much time to take effect before others take over.
const MARGIN: Duration = Duration::from_secs(2);

/// How often to look for what belongs to processes without a row.
const SEARCH_INTERVAL: Duration = Duration::from_mins(1);

/// A clock that differs by more than this is reported, until it differs by less than [`FINE_OFFSET`].
const MAX_OFFSET: time::Duration = time::Duration::seconds(30);
const FINE_OFFSET: time::Duration = time::Duration::seconds(25);

/// A slower answer is not precise enough: the time may be wrong by half of that.
const MAX_ROUND_TRIP: Duration = Duration::from_secs(2);

/// Maximum wait for deregistering at the end. Otherwise the row expires.
const FAREWELL_TIMEOUT: Duration = Duration::from_secs(2);

/// What a process knows about its own row.
#[derive(Clone, Copy, Debug)]
struct Registration {
    id: Uuid,
    /// When the last successful renewal began, which is before the database counted its term.
    renewed_at: Option<Instant>,
    senders: u32,
    /// The database's clock minus that of this process.
    offset: time::Duration,
}

impl Registration {
    /// Whether the row cannot have expired by now, and will not within [`MARGIN`]. A process on a machine that was suspended
    /// does not notice that it has, because its clock had stopped, too. Until it fails to renew it may go on under an id that
    /// others have buried; they release what it then owns.
    fn is_alive(&self, now: Instant) -> bool {
        self.renewed_at.is_some_and(|began| now.saturating_duration_since(began) + MARGIN < TERM)
    }
}

/// What a renewal has read.
struct Renewed {
    id: Uuid,
    senders: u32,
    offset: time::Duration,
    recalls: Vec<Recall>,
    /// When it began, by the database's clock. `None` for a new registration.
    began_at: Option<OffsetDateTime>,
}

/// The registration of this process, for its components. Cheap to clone. The process stays registered until all
/// clones are dropped.
#[derive(Clone)]
pub struct Presence {
    registration: watch::Receiver<Registration>,
    recalls: Arc<Recalls>,
}

impl Presence {
    /// The id under which the process owns rows. It changes if the registration expires.
    #[must_use]
    pub fn id(&self) -> Uuid {
        self.registration.borrow().id
    }

    /// Waits until the process is registered, and so knows the database's clock. `false` if its keeper has ended before that.
    pub async fn registered(&self) -> bool {
        self.registration.clone().wait_for(|now| now.renewed_at.is_some()).await.is_ok()
    }

    /// Whether nobody can have taken over what this process owns.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.registration.borrow().is_alive(Instant::now())
    }

    /// Whether an erasure may have removed a delivery of this company since it was read at `read_at`.
    #[must_use]
    pub fn is_recalled(&self, company: &str, read_at: Instant) -> bool {
        self.recalls.include(company, read_at)
    }

    /// The owner of rows that the process inserts. `None` while it may not own any, because nobody would notice its
    /// death: the rows are then left to any process.
    #[must_use]
    pub fn owner(&self) -> Option<Uuid> {
        let registration = *self.registration.borrow();
        registration.is_alive(Instant::now()).then_some(registration.id)
    }

    /// The time by the database's clock, so that processes agree, and signatures and events depend on a clock that
    /// somebody watches.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.registration.borrow().offset
    }

    /// The number of live processes that send webhooks when the row was last renewed, at least 1.
    #[must_use]
    pub fn senders(&self) -> u32 {
        self.registration.borrow().senders
    }
}

/// The task that keeps the registration.
pub struct PresenceKeeper {
    /// Not shared: if others could use up its connections, a busy process would count as dead.
    database: Database,
    health: Health,
    sends_webhooks: bool,
    registration: watch::Sender<Registration>,
    recalls: Arc<Recalls>,
}

impl PresenceKeeper {
    /// Prepares the task, and the registration that it keeps.
    #[must_use]
    pub fn new(database: Database, health: Health, sends_webhooks: bool) -> (Self, Presence) {
        let unregistered =
            Registration { id: Uuid::now_v7(), renewed_at: None, senders: 1, offset: time::Duration::ZERO };
        let (sender, registration) = watch::channel(unregistered);
        let recalls = Arc::<Recalls>::default();
        let presence = Presence { registration, recalls: Arc::clone(&recalls) };
        (Self { database, health, sends_webhooks, registration: sender, recalls }, presence)
    }

    /// Renews until every [`Presence`] has been dropped, so until all other work has ended, and then deregisters.
    pub async fn run(self) {
        tokio::select! {
            () = self.registration.closed() => {}
            () = self.renew_forever() => {}
        }
        let Registration { id, renewed_at, .. } = *self.registration.borrow();
        if renewed_at.is_some() {
            let farewell = self.database.unit(async |conn| processes::retire(conn, id).await);
            match timeout(FAREWELL_TIMEOUT, farewell).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    info!(component = PRESENCE, error = chain(&error), "could not deregister the process");
                }
                Err(_) => info!(component = PRESENCE, "could not deregister the process in time"),
            }
        }
        info!(component = PRESENCE, "{PRESENCE} stopped");
    }

    async fn renew_forever(&self) {
        let mut tick = interval(RENEWAL_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut wait = DatabaseWait::new(PRESENCE, &self.health);
        let mut is_off = false;
        let mut next_search = Instant::now();
        // The last renewal whose recalls this process knows.
        let mut heard_at = None;
        loop {
            tick.tick().await;
            let began = Instant::now();
            let renew = self.database.unit(async |conn| self.renew(conn, heard_at).await);
            let renewed = timeout(RENEWAL_TIMEOUT, renew).await.unwrap_or(Err(sqlx::Error::PoolTimedOut));
            let Renewed { id, senders, offset, recalls, began_at } = match renewed {
                Ok(renewed) => renewed,
                Err(error) => {
                    retry::report_failure(PRESENCE, &self.health, &chain(&error));
                    continue;
                }
            };
            if self.recalls.hear(recalls, Instant::now()) {
                // An erasure waits for the next renewal, which says that this process knows.
                tick.reset_immediately();
            }
            heard_at = began_at;
            self.registration.send_replace(Registration { id, renewed_at: Some(began), senders, offset });
            self.report_clock(offset, &mut is_off);
            let buried = timeout(RENEWAL_TIMEOUT, self.bury(began, &mut next_search)).await;
            match buried.unwrap_or(Err(sqlx::Error::PoolTimedOut)) {
                Ok(()) => {
                    wait.recovered();
                    self.health.ready(PRESENCE);
                }
                Err(error) => retry::report_failure(PRESENCE, &self.health, &chain(&error)),
            }
        }
    }

    /// Reports a clock that is wrong, and logs each change.
    fn report_clock(&self, offset: time::Duration, is_off: &mut bool) {
        let was_off = std::mem::replace(is_off, exceeds(offset, *is_off));
        if !*is_off {
            if was_off {
                info!(component = CLOCK, "the clock of this process agrees with the database's again");
            }
            self.health.ready(CLOCK);
            return;
        }
        let (seconds, side) =
            (offset.whole_seconds().abs(), if offset.is_positive() { "behind" } else { "ahead of" });
        let text = format!("the clock of this process is {seconds} s {side} the database's");
        if !was_off {
            warn!(component = CLOCK, seconds, "{text}; set the clock of the machine that is wrong");
        }
        self.health.failing(CLOCK, text);
    }

    /// Renews or registers. The row then says that this process knows the recalls of its renewal at `heard_at`.
    async fn renew(
        &self,
        conn: &mut PgConnection,
        heard_at: Option<OffsetDateTime>,
    ) -> Result<Renewed, sqlx::Error> {
        let Registration { mut id, renewed_at, offset, .. } = *self.registration.borrow();
        let began_at = match renewed_at {
            Some(_) => processes::renew(conn, id, TERM, heard_at).await?,
            None => None,
        };
        if began_at.is_none() {
            // Always a new id: the answer to an earlier try may have been lost.
            let before = std::mem::replace(&mut id, Uuid::now_v7());
            processes::register(conn, id, self.sends_webhooks, TERM).await?;
            if renewed_at.is_some() {
                warn!(
                    component = PRESENCE,
                    process.id = %id,
                    "the registration of process {before} expired; others take over its work, and it continues as {id}"
                );
            }
        }
        // After the renewal, so that it sees what was recalled before.
        let recalls = erasure::recalls(conn).await?;
        let senders = processes::senders(conn).await?;
        let (asked_at, asked) = (OffsetDateTime::now_utc(), Instant::now());
        let answer = clock::now(conn).await?;
        let offset = difference(asked_at, asked.elapsed(), answer).unwrap_or(offset);
        let senders = u32::try_from(senders).unwrap_or(u32::MAX).max(1);
        Ok(Renewed { id, senders, offset, recalls, began_at })
    }

    /// Releases what dead processes own, until it is time for the next renewal.
    async fn bury(&self, began: Instant, next_search: &mut Instant) -> Result<(), sqlx::Error> {
        if *next_search <= began {
            self.database.unit(async |conn| processes::remember(conn).await).await?;
            *next_search = began + SEARCH_INTERVAL;
        }
        loop {
            let buried = self.database.unit(async |conn| processes::bury(conn).await).await?;
            if buried.effects + buried.lanes > 0 {
                let (batches, lanes) = (buried.effects, buried.lanes);
                info!(
                    component = PRESENCE,
                    batches,
                    lanes,
                    "released {batches} batches and {lanes} lanes of processes that have ended"
                );
            }
            if !buried.more || began.elapsed() >= RENEWAL_INTERVAL {
                return Ok(());
            }
        }
    }
}

/// How far another clock is ahead, which answered `answer` when it was asked. Assumes that both ways took equally long.
fn difference(asked_at: OffsetDateTime, took: Duration, answer: OffsetDateTime) -> Option<time::Duration> {
    (took <= MAX_ROUND_TRIP).then(|| answer - (asked_at + took / 2))
}

/// Whether the offset is worth a report. It may fluctuate at the limit, so a report ends at a lower limit than it begins.
fn exceeds(offset: time::Duration, was_off: bool) -> bool {
    offset.abs() > if was_off { FINE_OFFSET } else { MAX_OFFSET }
}

#[cfg(test)]
mod tests {
    use super::*;

    const IN_TIME: time::Duration = time::Duration::ZERO;

    #[test]
    fn registration_counts_from_the_beginning_of_its_renewal_and_ends_before_its_row() {
        let began = Instant::now();
        let at = |seconds| began + Duration::from_millis(seconds);
        let renewed = Registration { id: Uuid::nil(), renewed_at: Some(began), senders: 1, offset: IN_TIME };
        for (now, expected) in [(0, true), (7_999, true), (8_000, false), (10_000, false), (3_600_000, false)]
        {
            assert_eq!(renewed.is_alive(at(now)), expected, "after {now} ms");
        }
        let unregistered = Registration { renewed_at: None, ..renewed };
        assert!(!unregistered.is_alive(began), "before the first renewal");
        let long_past = Registration { renewed_at: Some(at(1)), ..renewed };
        assert!(long_past.is_alive(began), "a renewal that began after the question");
    }

    #[test]
    fn several_renewals_fit_into_the_term() {
        assert!(RENEWAL_INTERVAL + 2 * RENEWAL_TIMEOUT + MARGIN <= TERM);
    }

    #[test]
    fn an_unregistered_process_owns_nothing_and_counts_one_sender() {
        let (state, registration) = watch::channel(Registration {
            id: Uuid::from_u128(7),
            renewed_at: None,
            senders: 1,
            offset: IN_TIME,
        });
        let presence = Presence { registration, recalls: Arc::default() };
        assert_eq!((presence.owner(), presence.is_alive(), presence.senders()), (None, false, 1));
        let renewed_at = Some(Instant::now());
        state.send_replace(Registration { id: Uuid::from_u128(8), renewed_at, senders: 3, offset: IN_TIME });
        assert_eq!((presence.owner(), presence.senders()), (Some(Uuid::from_u128(8)), 3));
    }

    #[test]
    fn clocks_are_compared_at_the_middle_of_the_round_trip() {
        let asked_at = OffsetDateTime::UNIX_EPOCH;
        let answer = asked_at + Duration::from_secs(61);
        let differ = |took| difference(asked_at, Duration::from_millis(took), answer);
        assert_eq!(differ(2000), Some(time::Duration::minutes(1)));
        assert_eq!(differ(0), Some(time::Duration::seconds(61)));
        assert_eq!(differ(2001), None, "it took too long");
        assert_eq!(difference(answer, Duration::ZERO, asked_at), Some(time::Duration::seconds(-61)));
    }

    #[test]
    fn clock_is_reported_beyond_30_s_until_it_is_within_25() {
        let exceeds = |seconds, was_off| exceeds(time::Duration::seconds(seconds), was_off);
        for sign in [1, -1] {
            assert_eq!([30, 31].map(|seconds| exceeds(sign * seconds, false)), [false, true]);
            assert_eq!([25, 26].map(|seconds| exceeds(sign * seconds, true)), [false, true]);
        }
    }
}
