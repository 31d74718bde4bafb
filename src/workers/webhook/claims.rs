//! Owns lanes whose deliveries are due, loads these deliveries into the queue, and releases the lanes. Also takes
//! batches that no process works on.
//!
//! It runs on a wake-up, when a lane is due or has room, and at least every `poll_interval`, but never while outcomes
//! cannot be recorded.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, debug_span, error};
use uuid::Uuid;

use super::{direct::DirectSender, lanes::Owned, limits};
use crate::{
    domain::{event::Key, webhook::lane::Gate},
    postgres::endpoints::{self, BUCKETS, ClaimLimits},
    settings::{EndpointTerms, Settings},
    telemetry::chain,
    workers::{backoff, component::WEBHOOK_WORKER, retry::DatabaseWait, wake_ups::WakeUp},
};

/// Minimum time between two polls for a lane that another process is about to claim.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// Maximum number of lanes of one claim.
const MAX_LANES: usize = 256;

/// A request that has waited longer for its turn becomes a row, so that others find it.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// The same while other batches of its company are not taken because of it: they may be for endpoints that are free.
const MAX_WAIT_BEFORE_OTHERS: Duration = Duration::from_secs(1);

/// How often useless wake-ups are answered: a process that sends what it commits itself is woken by its own
/// events.
const IDLE_INTERVAL: Duration = Duration::from_millis(50);

/// How often the state of lanes is read again, of those that are owned or have deliveries waiting in memory.
const REFRESH: Duration = Duration::from_secs(1);

/// Maximum number of lanes that a process owns.
const MAX_OWNED: usize = 1_024;

/// Wait between two searches for work when this process has no room.
const FULL_POLL_INTERVAL: Duration = Duration::from_millis(250);

/// How often the queue is searched for requests that have waited too long.
const WAIT_INTERVAL: Duration = Duration::from_millis(500);

/// The claiming task of the worker.
pub(super) struct Claims {
    pub(super) direct: DirectSender,
    terms: EndpointTerms,
    /// `None` once every sender is gone.
    wake_ups: Option<mpsc::Receiver<WakeUp>>,
    /// Wake-ups that the next claim answers.
    unanswered: Vec<WakeUp>,
    pub(super) max_age: Duration,
    /// CloudEvents `source` of published events.
    pub(super) source: String,
    poll_interval: Duration,
    /// When to claim without a wake-up.
    next_poll: Instant,
    /// When to read the state of lanes again.
    next_refresh: Instant,
    /// When to look for batches that never arrived here.
    pub(super) next_release: Instant,
    /// Notified when a lane may need an owner, or can be released.
    rescheduled: Arc<Notify>,
    /// Whether outcomes cannot be recorded now. Closed when the recorder has exited.
    recorder_stuck: watch::Receiver<bool>,
    /// It may find more batches once the queue has room.
    pub(super) waits_for_room: bool,
    /// The companies whose batches it has left out, because it already holds much of theirs.
    pub(super) held_back: HashSet<String>,
    /// When to look for requests that have waited too long.
    next_search: Instant,
    /// In how many buckets the last claim found lanes.
    buckets: usize,
    /// When it last looked for work, if it found none.
    idle_since: Option<Instant>,
}

impl Claims {
    pub(super) fn new(
        direct: DirectSender,
        settings: &Settings,
        wake_ups: mpsc::Receiver<WakeUp>,
        rescheduled: Arc<Notify>,
        recorder_stuck: watch::Receiver<bool>,
    ) -> Self {
        let now = Instant::now();
        Self {
            direct,
            terms: settings.webhook.terms(),
            wake_ups: Some(wake_ups),
            unanswered: Vec::new(),
            max_age: settings.webhook.max_age,
            source: settings.events.source.clone(),
            poll_interval: settings.webhook.poll_interval,
            next_poll: now,
            next_refresh: now,
            next_release: now,
            rescheduled,
            recorder_stuck,
            waits_for_room: false,
            held_back: HashSet::new(),
            next_search: now,
            buckets: 0,
            idle_since: None,
        }
    }

    pub(super) async fn run(mut self, stop: &CancellationToken) {
        let (database, health) = (self.direct.database.clone(), self.direct.health.clone());
        if !limits::align(&database, &self.terms, &health, stop).await {
            return;
        }
        let mut wait = DatabaseWait::new(WEBHOOK_WORKER, &health);
        let mut has_more = true;
        while has_more || stop.run_until_cancelled(self.sleep()).await.is_some() {
            if stop.is_cancelled() || !self.recorder_works(stop).await {
                break;
            }
            self.drain_wake_ups();
            let span = debug_span!("claim", component = WEBHOOK_WORKER);
            let Some(owner) = self.direct.presence.owner() else {
                // The death of an unregistered process would go unnoticed. Its presence reports why.
                has_more = true;
                let _ = stop.run_until_cancelled(tokio::time::sleep(MIN_POLL_INTERVAL)).await;
                continue;
            };
            match self.work(owner, stop).instrument(span).await {
                Ok(more) => {
                    wait.recovered();
                    health.ready(WEBHOOK_WORKER);
                    has_more = more;
                }
                Err(error) => {
                    has_more = true;
                    if !wait.failed(&chain(&error), stop).await {
                        break;
                    }
                }
            }
        }
    }

    /// Waits while outcomes cannot be recorded: their deliveries look due and would be sent again. `false` when
    /// stopped, or when the recorder has exited.
    async fn recorder_works(&mut self, stop: &CancellationToken) -> bool {
        let works = stop.run_until_cancelled(self.recorder_stuck.wait_for(|stuck| !stuck)).await;
        let works = works.map(|works| works.is_ok());
        if works == Some(false) {
            error!(component = WEBHOOK_WORKER, "the recorder of {WEBHOOK_WORKER} exited unexpectedly");
            self.direct.health.failing(WEBHOOK_WORKER, "the recorder exited");
        }
        works == Some(true)
    }

    /// Sleeps until something may be due.
    async fn sleep(&mut self) {
        let wake_up = async {
            match &mut self.wake_ups {
                Some(wake_ups) => wake_ups.recv().await,
                None => std::future::pending().await,
            }
        };
        let sender = &self.direct.sender;
        let next_search = (!sender.queue().is_empty()).then(|| Instant::now() + WAIT_INTERVAL);
        let next_reload = self.direct.lanes.next_reload();
        let needs_room = self.waits_for_room || !self.direct.lanes.owned().is_empty();
        tokio::select! {
            wake_up = wake_up => match wake_up {
                Some(wake_up) => self.note(wake_up),
                None => self.wake_ups = None,
            },
            () = self.rescheduled.notified() => self.next_poll = Instant::now(),
            () = sender.freed.notified(), if needs_room => {
                if self.waits_for_room && sender.queue().busy_companies().is_empty() {
                    self.next_poll = Instant::now();
                }
            }
            () = backoff::until(next_search) => {}
            () = backoff::until(next_reload) => {}
            () = backoff::until(Some(self.next_poll)) => {}
        }
    }

    fn note(&mut self, wake_up: WakeUp) {
        self.unanswered.push(wake_up);
        let earliest = self.idle_since.map_or_else(Instant::now, |since| since + IDLE_INTERVAL);
        self.next_poll = self.next_poll.min(earliest);
    }

    /// One claim answers all wake-ups that have arrived.
    fn drain_wake_ups(&mut self) {
        while let Some(Ok(wake_up)) = self.wake_ups.as_mut().map(mpsc::Receiver::try_recv) {
            self.note(wake_up);
        }
    }

    /// Takes what is due, as far as there is room. Returns whether there is probably more.
    async fn work(&mut self, owner: Uuid, stop: &CancellationToken) -> Result<bool, sqlx::Error> {
        let sender = Arc::clone(&self.direct.sender);
        self.skip_overdue();
        self.forget_lost_lanes(owner);
        self.release_forgotten(owner).await?;
        self.refresh().await?;
        let mut has_more = false;
        let is_polling = self.next_poll <= Instant::now();
        if is_polling {
            let batches = self.take_batches(owner, stop).await?;
            let lanes = self.claim_lanes(owner).await?;
            self.idle_since = (batches == Found::Nothing && lanes == Found::Nothing).then(Instant::now);
            has_more = batches == Found::More || lanes == Found::More;
        }
        has_more |= self.load(owner).await?;
        sender.start();
        self.release_lanes(owner).await?;
        if is_polling {
            for wake_up in self.unanswered.drain(..) {
                // Without a listener its broker connection is lost, and the message will be redelivered.
                let _ = wake_up.ack.send(());
            }
        }
        if has_more {
            self.next_poll = Instant::now();
        } else if is_polling {
            let due = self.direct.database.unit(async |conn| endpoints::next_due(conn).await).await?;
            let least = if self.waits_for_room { FULL_POLL_INTERVAL } else { MIN_POLL_INTERVAL };
            let least = least.min(self.poll_interval);
            let wait = due.map_or(self.poll_interval, |due| due.clamp(least, self.poll_interval));
            self.next_poll = Instant::now() + wait;
        }
        Ok(has_more && sender.queue().free() > 0)
    }

    /// Turns requests that have waited too long into rows.
    fn skip_overdue(&mut self) {
        let now = Instant::now();
        if self.next_search <= now {
            self.next_search = now + WAIT_INTERVAL;
            let limit = |company: &str| {
                if self.held_back.contains(company) { MAX_WAIT_BEFORE_OTHERS } else { MAX_WAIT }
            };
            self.direct.sender.skip_overdue(limit);
        }
    }

    /// Looks at the lanes that this process owns, and at those whose deliveries wait in memory: an operator or another
    /// process may have closed them.
    async fn refresh(&mut self) -> Result<(), sqlx::Error> {
        if self.next_refresh > Instant::now() {
            return Ok(());
        }
        let mut keys: HashSet<Key> = self.direct.lanes.owned().keys().cloned().collect();
        keys.extend(self.direct.sender.queue().waiting_lanes().cloned());
        if keys.is_empty() {
            return Ok(());
        }
        let unit = async |conn: &mut PgConnection| endpoints::lanes(conn, &keys).await;
        let rows = self.direct.database.unit(unit).await?;
        self.next_refresh = Instant::now() + REFRESH;
        for row in rows {
            if row.lane.gate(row.now) != Gate::Open {
                self.direct.lanes.close(&row.key);
                self.direct.sender.skip_waiting(&row.key);
            }
            self.direct.lanes.refresh(&row);
        }
        Ok(())
    }

    /// Claims lanes that are due.
    async fn claim_lanes(&mut self, owner: Uuid) -> Result<Found, sqlx::Error> {
        let full = {
            let queue = self.direct.sender.queue();
            if queue.free() == 0 {
                return Ok(Found::Nothing);
            }
            queue.full_companies()
        };
        let (limit, full) = self.room_for_lanes(full);
        if limit == 0 {
            return Ok(Found::Nothing);
        }
        let full: Vec<&str> = full.iter().map(String::as_str).collect();
        let limits = ClaimLimits {
            first_bucket: rand::random_range(0..BUCKETS),
            per_bucket: limit.div_ceil(self.buckets.max(4)),
            lanes: limit,
            first_company_hash: rand::random(),
        };
        let unit = async |conn: &mut PgConnection| endpoints::claim(conn, owner, limits, &full).await;
        let claimed = self.direct.database.unit(unit).await?;
        self.buckets = claimed.iter().map(|lane| lane.bucket).collect::<HashSet<_>>().len();
        let found = Found::of(claimed.len(), limit);
        self.direct.lanes.own(owner, claimed);
        Ok(found)
    }

    /// How many more lanes this process may own, and the companies that own their share of them or are `full`.
    fn room_for_lanes(&self, mut full: Vec<String>) -> (usize, Vec<String>) {
        let owned = self.direct.lanes.owned();
        let free = MAX_OWNED.saturating_sub(owned.len());
        let mut companies: HashMap<&str, usize> = HashMap::new();
        for key in owned.keys() {
            *companies.entry(key.company.as_str()).or_default() += 1;
        }
        full.extend(
            companies
                .iter()
                .filter(|(_, lanes)| **lanes >= 2 * free)
                .map(|(company, _)| (*company).to_owned()),
        );
        (free.min(MAX_LANES), full)
    }

    /// Releases lanes that have nothing left in memory.
    async fn release_lanes(&self, process: Uuid) -> Result<(), sqlx::Error> {
        let done = |(_, lane): &(&Key, &Owned)| lane.can_release();
        let mut keys: HashSet<Key> =
            self.direct.lanes.owned().iter().filter(done).map(|(key, _)| key.clone()).collect();
        if keys.is_empty() {
            return Ok(());
        }
        let unit =
            async |conn: &mut PgConnection| endpoints::release(conn, process, &keys, self.max_age).await;
        for locked in self.direct.database.unit(unit).await? {
            keys.remove(&locked);
        }
        if keys.is_empty() {
            return Ok(());
        }
        self.direct.lanes.owned().retain(|key, _| !keys.contains(key));
        self.rescheduled.notify_one();
        Ok(())
    }

    /// Drops the deliveries of lanes that this process owned under a former id.
    fn forget_lost_lanes(&self, id: Uuid) {
        let lost: Vec<Key> = {
            let mut owned = self.direct.lanes.owned();
            let lost = owned.iter().filter(|(_, lane)| lane.owner != id).map(|(key, _)| key.clone());
            let lost: Vec<Key> = lost.collect();
            owned.retain(|_, lane| lane.owner == id);
            lost
        };
        for key in lost {
            self.direct.sender.skip_waiting(&key);
        }
    }
}

/// The result of a search for work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Something,
    /// And there is probably more.
    More,
}

impl Found {
    pub(super) const fn of(count: usize, limit: usize) -> Self {
        if count == 0 {
            Self::Nothing
        } else if count < limit {
            Self::Something
        } else {
            Self::More
        }
    }
}
