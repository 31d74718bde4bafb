//! Takes the requests of batches: those that worker 1 of this process has just committed, and those that no process
//! works on. A request is sent directly from memory if its lane allows that; all others become rows. If only the pace of worker 1 leaves
//! no room in memory, the batch goes back to the table, which costs much less than a row for each request.

use std::{
    collections::{BTreeSet, HashMap},
    ops::RangeInclusive,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::debug;
use uuid::Uuid;

use super::{
    job::{Batch, Job, Origin},
    lanes::Lanes,
    sender::Sender,
};
use crate::{
    domain::{
        event::Key,
        webhook::delivery::{Delivery, Progress},
    },
    health::Health,
    postgres::{
        Database, deliveries,
        effects::{self, EffectsKey, requests::RequestBatch},
        endpoints::{self, LaneRow},
    },
    telemetry::chain,
    workers::{component::WEBHOOK_WORKER, presence::Presence, retry, room::InMemory},
};

/// A batch that could not be taken for this long is left to [`super::claims`], which releases forgotten batches.
const MAX_AGE: Duration = Duration::from_secs(10);

/// How long the state of a lane counts as fresh.
const MAX_LANE_AGE: Duration = Duration::from_secs(1);

/// If a request of a company has waited for longer, some endpoint does not keep up. Requests without room become rows then,
/// so that those of other endpoints do not wait for it.
const MAX_WAIT_OF_BRISK: Duration = Duration::from_secs(1);

/// How long a batch is left in the table of which no request could be sent or get a row: not for longer than half of its age,
/// so that it is not late once that is over, and ever more rarely.
const BLOCKED_WAIT: RangeInclusive<Duration> = Duration::from_secs(5)..=Duration::from_mins(1);

/// Maximum number of batches that are taken at once.
const MAX_BATCHES: usize = 64;

/// The requests of one batch, which this process owns.
pub(super) struct OwnedBatch {
    pub(super) requests: RequestBatch,
    /// How many requests the batch has. Some may have their own row.
    pub(super) items: usize,
}

/// Sends requests directly from memory, where their lanes allow it.
#[derive(Clone)]
pub(super) struct DirectSender {
    pub(super) database: Database,
    pub(super) health: Health,
    pub(super) presence: Presence,
    pub(super) lanes: Arc<Lanes>,
    pub(super) sender: Arc<Sender>,
    /// The batches in memory.
    pub(super) batches: Arc<Mutex<Vec<Weak<Batch>>>>,
    /// Notified when batches have gone back to the table.
    pub(super) rescheduled: Arc<Notify>,
}

impl DirectSender {
    /// Takes what worker 1 of this process commits, until it has ended.
    pub(super) async fn run(
        self,
        mut batches: mpsc::UnboundedReceiver<InMemory<RequestBatch>>,
        stop: CancellationToken,
    ) {
        let mut received = Vec::with_capacity(MAX_BATCHES);
        while batches.recv_many(&mut received, MAX_BATCHES).await > 0 {
            let (owned, reserved): (Vec<OwnedBatch>, Vec<_>) = received
                .drain(..)
                .map(|InMemory { item: requests, reserved }| {
                    (OwnedBatch { items: requests.deliveries.len(), requests }, reserved)
                })
                .unzip();
            // After a stop the batches are left to other processes.
            self.take(owned, &stop).await;
            drop(reserved);
        }
    }

    /// Sends the requests of lanes that allow it, and turns all others into rows. Batches for which there is no room, or whose lanes
    /// the database refuses, are left without an owner; a batch with other lanes as well is released as forgotten once those are
    /// done. `false` when stopped before that: another process takes the batches.
    pub(super) async fn take(&self, batches: Vec<OwnedBatch>, stop: &CancellationToken) -> bool {
        if stop.run_until_cancelled(self.sender.has_room_to_skip()).await.is_none() {
            return false;
        }
        let Some(rows) = self.look_up_lanes(&batches, stop).await else { return false };
        let owner = self.presence.id();
        let (mut congested, mut blocked) = (Vec::new(), Vec::new());
        for OwnedBatch { mut requests, items } in batches {
            // After an outage it may belong to another process, or be about to be released and taken again.
            if requests.owner != Some(owner) || requests.since.elapsed() > MAX_AGE {
                continue;
            }
            let without_row = requests.deliveries.len();
            self.lanes.leave_out_blocked(&mut requests.deliveries);
            if requests.deliveries.is_empty() {
                blocked.push(requests.key);
                continue;
            }
            if self.is_congested(&requests) {
                congested.push(requests.key);
                continue;
            }
            let RequestBatch { key, deliveries, lanes, since, .. } = requests;
            let batch = Arc::new(Batch::new(key, owner, items, without_row));
            self.batches().push(Arc::downgrade(&batch));
            for delivery in deliveries {
                let key = delivery.lane();
                let row = rows.get(&key).or_else(|| lanes.get(&key));
                self.admit(self.job(delivery, key, &batch, since), row);
            }
        }
        self.sender.start();
        if !congested.is_empty() {
            self.put_back(owner, &congested, Duration::ZERO..=Duration::ZERO).await;
            self.rescheduled.notify_one();
        }
        if !blocked.is_empty() {
            self.put_back(owner, &blocked, BLOCKED_WAIT).await;
        }
        true
    }

    /// Whether there is no room for all requests of the batch, although the company's requests do not wait for long.
    fn is_congested(&self, batch: &RequestBatch) -> bool {
        let company = &batch.key.company;
        // Nearly every batch ends here, without a look at its requests.
        if !self.sender.queue().is_busy_with(company) {
            return false;
        }
        let mut counts: HashMap<Key, usize> = HashMap::new();
        for delivery in &batch.deliveries {
            *counts.entry(delivery.lane()).or_default() += 1;
        }
        let is_recent = |job: &Job| job.since.elapsed() < MAX_WAIT_OF_BRISK;
        self.sender.queue().is_congested(company, &counts, is_recent)
    }

    /// Leaves batches to any process, after this time.
    async fn put_back(&self, owner: Uuid, batches: &[EffectsKey], delay: RangeInclusive<Duration>) {
        let unit = async |conn: &mut PgConnection| effects::put_back(conn, owner, batches, &delay).await;
        if let Err(error) = self.database.unit(unit).await {
            // They are released as forgotten.
            debug!(
                component = WEBHOOK_WORKER,
                error = chain(&error),
                "could not put back {} batches",
                batches.len()
            );
        }
    }

    /// The lanes whose state the batches lack, or no longer have. `None` when stopped before that.
    async fn look_up_lanes(
        &self,
        batches: &[OwnedBatch],
        stop: &CancellationToken,
    ) -> Option<HashMap<Key, LaneRow>> {
        let keys = batches.iter().flat_map(|OwnedBatch { requests, .. }| {
            let is_old = requests.since.elapsed() > MAX_LANE_AGE;
            let lanes = requests.deliveries.iter().map(Delivery::lane);
            lanes.filter(move |lane| is_old || !requests.lanes.contains_key(lane))
        });
        let keys: BTreeSet<Key> = keys.collect();
        if keys.is_empty() {
            return Some(HashMap::new());
        }
        let unit = || self.database.unit(async |conn: &mut PgConnection| endpoints::lanes(conn, &keys).await);
        let rows = retry::until_answered(WEBHOOK_WORKER, &self.health, stop, unit).await?;
        Some(rows.into_iter().map(|row| (row.key.clone(), row)).collect())
    }

    /// The rows of the batches in memory.
    pub(super) fn known(&self) -> Vec<EffectsKey> {
        let mut batches = self.batches();
        batches.retain(|batch| batch.strong_count() > 0);
        batches.iter().filter_map(|batch| Some(batch.upgrade()?.key.clone())).collect()
    }

    fn batches(&self) -> MutexGuard<'_, Vec<Weak<Batch>>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Leaves out the deliveries that have a row: another process may have recorded some before it died. `false` when
    /// stopped.
    pub(super) async fn leave_out_recorded(
        &self,
        batches: &mut [OwnedBatch],
        stop: &CancellationToken,
    ) -> bool {
        let unit = || {
            let deliveries = batches.iter().flat_map(|batch| &batch.requests.deliveries);
            self.database.unit(async |conn: &mut PgConnection| deliveries::existing(conn, deliveries).await)
        };
        let Some(existing) = retry::until_answered(WEBHOOK_WORKER, &self.health, stop, unit).await else {
            return false;
        };
        for batch in batches {
            batch.requests.deliveries.retain(|delivery| !existing.contains(&delivery.key));
        }
        true
    }

    fn job(&self, delivery: Delivery, lane: Key, batch: &Arc<Batch>, read_at: Instant) -> Job {
        Job {
            handle: self.lanes.get(&lane, &delivery.endpoint_url),
            lane,
            delivery,
            progress: Progress::default(),
            origin: Origin::Batch(Arc::clone(batch)),
            owner: batch.owner,
            since: Instant::now(),
            read_at,
            had_no_failures: true,
            is_expired: false,
            place: None,
        }
    }

    fn admit(&self, mut job: Job, row: Option<&LaneRow>) {
        let open = row.filter(|row| row.lane.allows_direct_sending(row.now));
        let is_owner = open.is_some_and(|row| row.has_backlog) && self.lanes.is_sending(&job.lane);
        let direct = open.filter(|row| is_owner || !row.has_backlog);
        let mut queue = self.sender.queue();
        let refused = match direct {
            Some(row) if queue.room(&job.lane) > 0 => {
                // Without an owner of the lane every process may send, so each has a part of its cap.
                let senders = if is_owner { 1 } else { self.presence.senders() };
                let cap = (row.lane.cap() / senders).max(1);
                job.had_no_failures = row.lane.breaker.has_no_failures();
                // If this process holds it already, the batch is released as forgotten once it is recorded.
                let _ = queue.push(job, cap);
                None
            }
            _ => Some(job),
        };
        drop(queue);
        if let Some(job) = refused {
            self.sender.skip(job);
        }
    }
}
