//! Claims due deliveries and starts a task for each.
//!
//! It claims when a wake-up says so, when something is due again, and at least every `poll_interval`; never more
//! than there are permits for, and nothing while outcomes cannot be recorded.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument as _, debug_span, error};
use uuid::Uuid;

use super::{
    attempt::{Claimed, Sender},
    digests,
    lanes::Lanes,
    limits, supersede,
};
use crate::{
    domain::event::Key,
    health::Health,
    postgres::{
        Database,
        deliveries::{self, Claim, ClaimedDelivery},
    },
    settings::EndpointTerms,
    telemetry::chain,
    workers::{component::WEBHOOK_WORKER, retry::DatabaseWait, wake_ups::WakeUp},
};

/// Minimum time between two polls for a delivery that another worker is about to claim.
const MIN_POLL_INTERVAL: Duration = Duration::from_millis(20);

/// The claiming task of the worker.
pub(super) struct Claims {
    pub(super) database: Database,
    pub(super) health: Health,
    pub(super) terms: EndpointTerms,
    /// `None` once every sender is gone.
    pub(super) wake_ups: Option<mpsc::Receiver<WakeUp>>,
    /// Wake-ups that the next claim answers.
    pub(super) unanswered: Vec<WakeUp>,
    /// One for each claimed delivery until its outcome is recorded. While nothing can be recorded, nothing more
    /// is claimed.
    pub(super) permits: Arc<Semaphore>,
    /// How many permits must be free for the next claim: claiming one by one would cost a query each.
    pub(super) min_permits: u32,
    pub(super) lanes: Arc<Lanes>,
    pub(super) lease: Duration,
    pub(super) max_age: Duration,
    /// CloudEvents `source` of published events.
    pub(super) source: String,
    pub(super) poll_interval: Duration,
    /// When to claim without a wake-up.
    pub(super) next_poll: Instant,
    /// Notified when a delivery may be due earlier than `next_poll`.
    pub(super) rescheduled: Arc<Notify>,
    /// Whether outcomes cannot be recorded now. Closed when the recorder has exited.
    pub(super) recorder_stuck: watch::Receiver<bool>,
}

/// The deliveries of one claim.
struct Batch {
    deliveries: Vec<ClaimedDelivery>,
    /// Read before the claim's query, so that a process that was frozen in between does not trust an expired
    /// lease.
    claimed_at: Instant,
    /// Whether the next claim would probably find more at once.
    has_more: bool,
}

impl Claims {
    pub(super) async fn run(mut self, stop: &CancellationToken, tasks: &TaskTracker, sender: Arc<Sender>) {
        if !limits::align(&self.database, &self.terms, &self.health, stop).await {
            return;
        }
        let health = self.health.clone();
        let mut wait = DatabaseWait::new(WEBHOOK_WORKER, &health);
        let mut has_more = true;
        while let Some(Some(mut permits)) = stop.run_until_cancelled(self.free_permits()).await {
            if !has_more && stop.run_until_cancelled(self.sleep()).await.is_none() {
                break;
            }
            if !self.recorder_works(stop).await {
                break;
            }
            self.drain_wake_ups();
            let limit = permits.num_permits();
            let span = debug_span!("claim", component = WEBHOOK_WORKER, limit);
            match self.claim(limit).instrument(span).await {
                Ok(batch) => {
                    wait.recovered();
                    health.ready(WEBHOOK_WORKER);
                    has_more = batch.has_more;
                    for delivery in batch.deliveries {
                        if let Some(permit) = permits.split(1) {
                            let lane = self.lanes.enter(&delivery);
                            let claimed = Claimed { delivery, since: batch.claimed_at, lane, permit };
                            tasks.spawn(Arc::clone(&sender).run(claimed));
                        }
                    }
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

    /// All free permits, once there are enough.
    async fn free_permits(&self) -> Option<OwnedSemaphorePermit> {
        // The semaphore is never closed.
        let mut permits = Arc::clone(&self.permits).acquire_many_owned(self.min_permits).await.ok()?;
        let rest = u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX);
        if let Ok(rest) = Arc::clone(&self.permits).try_acquire_many_owned(rest) {
            permits.merge(rest);
        }
        Some(permits)
    }

    /// Waits while outcomes cannot be recorded: their leases may have expired, and a claim would resend
    /// those deliveries. `false` when stopped, or when the recorder has exited.
    async fn recorder_works(&mut self, stop: &CancellationToken) -> bool {
        let works = stop.run_until_cancelled(self.recorder_stuck.wait_for(|stuck| !stuck)).await;
        let works = works.map(|works| works.is_ok());
        if works == Some(false) {
            error!(component = WEBHOOK_WORKER, "the recorder of {WEBHOOK_WORKER} exited unexpectedly");
            self.health.failing(WEBHOOK_WORKER, "the recorder exited");
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
        tokio::select! {
            wake_up = wake_up => match wake_up {
                Some(wake_up) => self.unanswered.push(wake_up),
                None => self.wake_ups = None,
            },
            () = self.rescheduled.notified() => self.next_poll = Instant::now(),
            () = self.lanes.freed.notified() => {}
            () = tokio::time::sleep_until(self.next_poll.into()) => {}
        }
    }

    /// One claim answers all wake-ups that have arrived.
    fn drain_wake_ups(&mut self) {
        while let Some(Ok(wake_up)) = self.wake_ups.as_mut().map(mpsc::Receiver::try_recv) {
            self.unanswered.push(wake_up);
        }
    }

    /// Claims, answers the wake-ups, and sets the time of the next poll. After an error the wake-ups stay
    /// unanswered.
    async fn claim(&mut self, limit: usize) -> Result<Batch, sqlx::Error> {
        let claim = Claim {
            limit,
            lease: self.lease,
            token: Uuid::now_v7(),
            busy: &self.lanes.busy(),
            max_age: self.max_age,
        };
        let unit = async |conn: &mut PgConnection| {
            let claimed_at = Instant::now();
            let claimed = deliveries::claim(conn, &claim).await?;
            let claimed = supersede::supersede(conn, claimed, claim.token, &self.source).await?;
            Ok::<_, sqlx::Error>((claimed_at, claimed))
        };
        let (claimed_at, claimed) = self.database.unit(unit).await?;
        let deliveries = self.fold_digests(claimed, &claim).await;
        for wake_up in self.unanswered.drain(..) {
            // Without a listener its broker connection is lost, and the message will be redelivered.
            let _ = wake_up.ack.send(());
        }
        let has_more = deliveries.len() == limit || may_have_more(&deliveries);
        if !has_more && self.next_poll <= Instant::now() {
            // These deliveries are claimed already and must be sent even if this query fails.
            let full = self.lanes.full();
            let due = self.database.unit(async |conn| deliveries::next_due(conn, &full).await).await;
            let wait = due
                .unwrap_or_default()
                .map_or(self.poll_interval, |due| due.clamp(MIN_POLL_INTERVAL, self.poll_interval));
            self.next_poll = Instant::now() + wait;
        }
        Ok(Batch { deliveries, claimed_at, has_more })
    }

    /// Folds deliveries whose digest window has ended; the digests are due with the next claim. Returns the rest.
    async fn fold_digests(&self, claimed: Vec<ClaimedDelivery>, claim: &Claim<'_>) -> Vec<ClaimedDelivery> {
        let (members, others): (Vec<_>, Vec<_>) =
            claimed.into_iter().partition(|one| one.is_digest && !one.is_expired);
        if !members.is_empty() {
            digests::fold(&self.database, &self.lanes, claim, members).await;
            self.rescheduled.notify_one();
        }
        others
    }
}

/// Whether a lane probably has more due deliveries: it got its whole share, and has room for more.
fn may_have_more(claimed: &[ClaimedDelivery]) -> bool {
    let mut counts: HashMap<&Key, u32> = HashMap::new();
    claimed.iter().any(|delivery| {
        let count = counts.entry(&delivery.lane).or_default();
        *count += 1;
        delivery.share.is_some_and(|share| *count >= share)
    })
}
