//! Sends deliveries from the queue, a task for each request in flight. Every delivery ends in a [`Finished`], even when the
//! receiver fails.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures_util::FutureExt as _;
use time::OffsetDateTime;
use tokio::sync::{Notify, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument as _, debug, debug_span};

use super::{
    job::{Finished, Job},
    lanes::Lanes,
    queue::{Queue, Queued as _},
    routes::Route,
    skipping::Skipping,
    spans,
};
use crate::{
    domain::{
        event::Key,
        trace_context::TraceContext,
        webhook::{
            attempt::{Class, Outcome, hold},
            endpoint::Profile,
            own_headers, slack,
        },
    },
    http_client::{HttpClient, Sending},
    telemetry::traces::{Traces, continued},
    workers::presence::Presence,
};

/// The queue of the worker, and what all attempts share.
pub(super) struct Sender {
    pub(super) client: HttpClient,
    queue: Mutex<Queue<Job>>,
    /// Jobs whose tasks have not begun. They begin in this order, whichever task the runtime runs first.
    started: Mutex<VecDeque<Job>>,
    finished: mpsc::UnboundedSender<Finished>,
    tasks: TaskTracker,
    presence: Presence,
    traces: Traces,
    stop: CancellationToken,
    lanes: Arc<Lanes>,
    /// Jobs of batches that the recorder has to turn into rows.
    skipping: Arc<Skipping>,
    /// Notified when the queue has room again.
    pub(super) freed: Notify,
}

impl Sender {
    pub(super) fn new(
        client: HttpClient,
        queue: Queue<Job>,
        finished: mpsc::UnboundedSender<Finished>,
        lanes: Arc<Lanes>,
        presence: Presence,
        traces: Traces,
        stop: CancellationToken,
    ) -> Self {
        Self {
            client,
            queue: Mutex::new(queue),
            started: Mutex::default(),
            finished,
            tasks: TaskTracker::new(),
            presence,
            traces,
            stop,
            lanes,
            skipping: Arc::default(),
            freed: Notify::new(),
        }
    }

    pub(super) fn queue(&self) -> MutexGuard<'_, Queue<Job>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts what may be in flight now.
    pub(super) fn start(self: &Arc<Self>) {
        while let Some(job) = self.next() {
            self.started().push_back(job);
            self.tasks.spawn(Arc::clone(self).run());
        }
    }

    fn started(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.started.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job, which must be sent now. Skips those that this process owned under a former id, because others have taken
    /// them over, and those that an erasure may have removed since. What the database still has of them is read again.
    fn next(&self) -> Option<Job> {
        loop {
            let owner = self.presence.owner().filter(|_| !self.stop.is_cancelled())?;
            let job = self.queue().next()?;
            if job.owner == owner && !self.presence.is_recalled(&job.lane.company, job.read_at) {
                return Some(job);
            }
            self.withdraw(job);
        }
    }

    /// Ends a job that was about to be sent, without an attempt.
    fn withdraw(&self, job: Job) {
        self.queue().ended(&job.lane);
        self.skip(job);
    }

    /// Ends a job without an attempt.
    pub(super) fn skip(&self, mut job: Job) {
        job.place = Some(self.skipping.take(job.size()));
        // Cannot fail: the recorder runs until the last sender is dropped.
        let _ = self.finished.send(Finished { job, attempt: None });
    }

    /// Waits until the recorder keeps up with what is skipped.
    pub(super) async fn has_room_to_skip(&self) {
        self.skipping.has_room().await;
    }

    /// Ends the jobs of a lane that are not in flight.
    pub(super) fn skip_waiting(&self, lane: &Key) {
        let waiting = self.queue().take_waiting(lane);
        for job in waiting {
            self.skip(job);
        }
    }

    /// Ends the jobs of batches that have waited longer than the `limit` of their company.
    pub(super) fn skip_overdue(&self, limit: impl Fn(&str) -> Duration) {
        let now = Instant::now();
        let is_overdue = |job: &Job| {
            job.batch().is_some() && now.saturating_duration_since(job.since) >= limit(&job.lane.company)
        };
        let overdue = self.queue().take_overdue(is_overdue);
        for job in overdue {
            self.skip(job);
        }
    }

    /// Waits until every request in flight has ended.
    pub(super) async fn drained(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Sends the job that was started first, and then others in the place that it frees: a task for each would cost more
    /// than its request.
    async fn run(self: Arc<Self>) {
        let mut next = self.started().pop_front();
        while let Some(job) = next {
            self.send(job).await;
            next = self.next();
            self.start();
        }
    }

    async fn send(&self, job: Job) {
        let key = &job.delivery.key;
        let span = debug_span!("attempt", delivery.id = %key.id, company.id = key.company);
        let started_at = self.presence.now();
        let is_recalled = AtomicBool::new(false);
        let is_wanted = || {
            is_recalled.store(self.presence.is_recalled(&job.lane.company, job.read_at), Ordering::Relaxed);
            !is_recalled.load(Ordering::Relaxed)
        };
        let recorded = spans::begin(&self.traces, &job.delivery, job.progress);
        let trace = continued(&job.delivery.trace, recorded.as_ref());
        let attempt = self.attempt(&job, (started_at, &trace), &is_wanted);
        let outcome = without_panic(attempt).instrument(span).await;
        if is_recalled.into_inner() {
            return self.withdraw(job);
        }
        spans::end(recorded, &outcome);
        let lane = job.lane.clone();
        let is_held = hold(&outcome).is_some();
        if is_held {
            // The row has the hold once this attempt is recorded. Until then nothing more is loaded or started.
            self.lanes.close(&lane);
        }
        // A failure may close the lane. So it keeps its place until it is recorded.
        let is_delivered = outcome.class == Class::Delivered;
        self.queue().answered(job.delivery.key.id, &lane, outcome.response_body.len());
        let _ = self.finished.send(Finished { job, attempt: Some((started_at, outcome)) });
        if is_held {
            // After the outcome, so that the hold is stored by the time these have rows.
            self.skip_waiting(&lane);
        }
        if is_delivered {
            self.queue().ended(&lane);
        }
    }

    async fn attempt(
        &self,
        job: &Job,
        (started_at, trace): (OffsetDateTime, &TraceContext),
        is_wanted: &(dyn Fn() -> bool + Sync),
    ) -> Outcome {
        let Job { delivery, handle, is_expired, .. } = job;
        let without_answer = |class, text: &str| Outcome::without_answer(class, Duration::ZERO, text);
        let mut outcome = match &delivery.fault {
            Some(fault) => without_answer(Class::Invalid, fault),
            None if *is_expired => without_answer(
                Class::Expired,
                "the endpoint was on hold, or its breaker open, for longer than webhook.max_age",
            ),
            None => {
                let Route { http, secrets, .. } = &*handle.route;
                let own = own_headers::of_attempt(
                    delivery.key.id,
                    trace,
                    started_at.unix_timestamp(),
                    secrets,
                    delivery.request.body.as_deref(),
                );
                let sending = Sending {
                    company: &delivery.key.company,
                    headers: &own,
                    now: started_at,
                    awaits_body: delivery.awaited,
                    is_wanted,
                };
                self.client.send(&delivery.request, &sending, http).await
            }
        };
        if handle.profile == Profile::Slack {
            slack::explain(&mut outcome);
        }
        outcome.class = handle.route.rule.class(&outcome);
        let (class, status) = (outcome.class.name(), outcome.status);
        debug!(class, status, "attempt ended ({class})");
        outcome
    }
}

/// The outcome of an attempt, even of one that panics. Otherwise its delivery would stay in flight forever, with its
/// slot and its lane.
async fn without_panic(attempt: impl Future<Output = Outcome>) -> Outcome {
    // What a panic leaves behind is dropped: the request, and the connection that it was sent on.
    AssertUnwindSafe(attempt).catch_unwind().await.unwrap_or_else(|_| {
        let text = "the service failed by a defect of its own; its log has the details";
        Outcome::without_answer(Class::Panicked, Duration::ZERO, text)
    })
}

#[cfg(test)]
mod tests;
