//! Records the outcomes of attempts, in batches, and turns deliveries that were not attempted into rows. An outcome
//! is never dropped: while the database is unreachable the same batch is retried, and nothing is claimed. Outcomes
//! that the database refuses are retried separately (`refused`).

mod measures;
mod outcomes;
mod refused;

use std::{
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use sqlx::{Connection as _, PgConnection};
use tokio::sync::{Notify, mpsc, watch};
use tracing::{Instrument as _, info_span};

use self::outcomes::{Outcomes, Recorded, awaited_ends};
use super::{
    dead_letters,
    job::{Finished, Origin},
    lanes::Lanes,
    log,
    queue::Queued as _,
    results,
    sender::Sender,
};
use crate::{
    domain::{
        event::Key,
        webhook::{
            attempt::{Class, Next},
            breaker::BreakerRule,
            lane::cap,
        },
    },
    health::Health,
    metrics::{Metrics, Step},
    postgres::{
        Database, Failure, classify,
        deliveries::{self, NewDelivery},
        effects::{self, events::EventBatch, requests},
        endpoints::{self, Change},
    },
    workers::{
        component::WEBHOOK_WORKER,
        lock_wait::LockWait,
        presence::Presence,
        retry,
        room::{BatchSender, InMemory},
    },
};

/// Maximum number of outcomes in one transaction.
const MAX_BATCH: usize = 256;

/// Maximum size of their requests, in bytes. One always fits.
const MAX_BYTES: usize = 8 << 20;

/// The only task of a worker that writes outcomes.
pub(super) struct Recorder {
    pub(super) database: Database,
    pub(super) breaker: BreakerRule,
    pub(super) lanes: Arc<Lanes>,
    /// `None` once nothing more will be sent.
    pub(super) sender: Weak<Sender>,
    pub(super) presence: Presence,
    pub(super) health: Health,
    /// Notified when a lane may need an owner, or can be released.
    pub(super) rescheduled: Arc<Notify>,
    /// Whether a batch is waiting for the database.
    pub(super) stuck: watch::Sender<bool>,
    /// Sends the results of completed chains to the relay.
    pub(super) event_batches: BatchSender<EventBatch>,
    /// CloudEvents `source` of the results.
    pub(super) source: String,
    pub(super) metrics: Arc<Metrics>,
}

/// What a transaction returns.
struct Written {
    /// Deliveries that changed before they could be recorded.
    lost: Vec<Key>,
    changes: Vec<Change>,
    results: Vec<InMemory<EventBatch>>,
}

impl Recorder {
    /// Records until the last attempt has ended.
    pub(super) async fn run(self, finished: mpsc::UnboundedReceiver<Finished>) {
        let (refused_tx, refused_rx) = mpsc::unbounded_channel();
        tokio::join!(self.record_all(finished, refused_tx), self.record_refused(refused_rx));
    }

    async fn record_all(
        &self,
        mut finished: mpsc::UnboundedReceiver<Finished>,
        refused: mpsc::UnboundedSender<Outcomes>,
    ) {
        let mut received = Vec::with_capacity(MAX_BATCH);
        while finished.recv_many(&mut received, MAX_BATCH).await > 0 {
            let mut outcomes = Outcomes::default();
            let mut bytes = 0;
            for outcome in received.drain(..) {
                if self.lanes.is_refused(&outcome.job.lane) {
                    // Cannot fail: it is received until the last sender is dropped.
                    let _ = refused.send(Outcomes::of(outcome));
                    continue;
                }
                let size = outcome.job.size();
                if bytes + size > MAX_BYTES || !outcomes.is_of_one_owner_with(&outcome.job) {
                    self.finish(std::mem::take(&mut outcomes), &refused).await;
                    bytes = 0;
                }
                bytes += size;
                outcomes.add(outcome);
            }
            self.finish(outcomes, &refused).await;
            // Still stuck while outcomes are left: each of their deliveries looks due.
            if finished.is_empty() {
                self.stuck.send_if_modified(std::mem::take);
            }
        }
    }

    async fn finish(&self, outcomes: Outcomes, refused: &mpsc::UnboundedSender<Outcomes>) {
        let span = info_span!("record", component = WEBHOOK_WORKER, deliveries = outcomes.len());
        match self.record(&outcomes, false, LockWait::Default).instrument(span).await {
            Ok(()) => self.release(outcomes),
            Err(_) => drop(refused.send(outcomes)),
        }
    }

    /// Retries until the batch is written or refused, even while the process stops. If the process ends first, the
    /// deliveries are sent again. `is_repeated`: it has been tried before.
    async fn record(
        &self,
        outcomes: &Outcomes,
        mut is_repeated: bool,
        lock_wait: LockWait,
    ) -> Result<(), sqlx::Error> {
        if outcomes.is_nothing() {
            return Ok(());
        }
        let began = Instant::now();
        let stuck = (!is_repeated).then_some(&self.stuck);
        let write = || {
            let is_repeated = std::mem::replace(&mut is_repeated, true);
            async move {
                let unit =
                    async |conn: &mut PgConnection| self.write(conn, outcomes, is_repeated, lock_wait).await;
                self.database.unit(unit).await.inspect_err(|error| {
                    self.metrics.failed_batches.add(Step::Webhook, 1);
                    if let Some(stuck) = stuck.filter(|_| classify(error) == Failure::Systemic) {
                        stuck.send_replace(true);
                    }
                })
            }
        };
        let written = retry::until_judged_unstoppable(WEBHOOK_WORKER, &self.health, write).await;
        let Written { mut lost, changes, results } = written?;
        lost.retain(|key| outcomes.attempted.iter().any(|one| one.job.delivery.key == *key));
        for (batch, recorded) in outcomes.batches() {
            batch.recorded(recorded);
        }
        measures::recorded(&self.metrics, began, self.presence.now(), &outcomes.attempted, &lost);
        measures::changed(&self.metrics, &changes);
        log::lost(&lost);
        log::outcomes(outcomes.attempted.iter().map(|one| (&one.job.delivery.key, &one.outcome, &one.next)));
        log::changes(&changes);
        self.adjust_lanes(&changes);
        self.event_batches.send(results);
        Ok(())
    }

    async fn write(
        &self,
        conn: &mut PgConnection,
        outcomes: &Outcomes,
        is_repeated: bool,
        lock_wait: LockWait,
    ) -> Result<Written, sqlx::Error> {
        let mut transaction = conn.begin().await?;
        lock_wait.set(&mut transaction).await?;
        let batches: Vec<_> = outcomes.batches().map(|(batch, _)| batch.held()).collect();
        let revoked = requests::revoked(&mut transaction, &batches, outcomes.of_batches()).await?;
        let mut lost = deliveries::record(&mut transaction, &outcomes.pending()).await?;
        let changes = self.update_endpoints(&mut transaction, outcomes).await?;
        let new = outcomes.without_row().into_iter().filter(|one| {
            let is_revoked = revoked.contains(&one.delivery.key.id);
            lost.extend(is_revoked.then(|| one.delivery.key.clone()));
            !is_revoked
        });
        let mut new: Vec<NewDelivery<'_>> = new.collect();
        if is_repeated {
            // The commit may have succeeded, or another process has taken over the batch.
            let existing = deliveries::existing(&mut transaction, new.iter().map(|one| one.delivery)).await?;
            new.retain(|one| !existing.contains(&one.delivery.key));
            lost.extend(existing);
        }
        deliveries::insert(&mut transaction, &new).await?;
        let held = |one: &&Recorded| !lost.contains(&one.job.delivery.key);
        let recorded: Vec<&Recorded> = outcomes.attempted.iter().filter(held).collect();
        dead_letters::record(&mut transaction, recorded.iter().map(|one| (&one.job, &one.next))).await?;
        let ended = awaited_ends(&recorded);
        let owner = self.presence.owner();
        let results =
            results::write(&mut transaction, &ended, &self.source, owner, Some(&self.event_batches)).await?;
        effects::delete_recorded(&mut transaction, &outcomes.completed()).await?;
        transaction.commit().await?;
        Ok(Written { lost, changes, results })
    }

    /// Locks the endpoints whose rows change, and applies the reports.
    async fn update_endpoints(
        &self,
        conn: &mut PgConnection,
        outcomes: &Outcomes,
    ) -> Result<Vec<Change>, sqlx::Error> {
        let keys = outcomes.changing_lanes();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut changes = endpoints::lock(conn, &keys).await?;
        let reports = outcomes.reports();
        changes.retain(|change| reports.contains_key(&change.key));
        for change in &mut changes {
            for report in reports.get(&change.key).into_iter().flatten() {
                let breaker = &mut change.breaker;
                *breaker = breaker.after(report.signal, change.now, change.max_in_flight, &self.breaker);
                change.hold = change.hold.max(report.hold);
                change.is_gone |= report.is_gone;
                change.has_succeeded |= report.is_success;
                if let Some(error) = report.error {
                    change.error = Some(error.clone());
                }
            }
        }
        if !changes.is_empty() {
            endpoints::save(conn, &changes).await?;
        }
        Ok(changes)
    }

    /// Sends nothing more to endpoints that are closed now, and less to those that fail.
    fn adjust_lanes(&self, changes: &[Change]) {
        let sender = self.sender.upgrade();
        for change in changes {
            if waits_for(change).is_some() || change.is_gone {
                self.lanes.close(&change.key);
                if let Some(sender) = &sender {
                    sender.skip_waiting(&change.key);
                }
            } else if !change.breaker.has_no_failures() || !change.had_no_failures {
                self.lanes.set_breaker(&change.key, change.breaker);
                if let Some(sender) = &sender {
                    sender.queue().set_cap(&change.key, cap(change.max_in_flight, &change.breaker));
                }
            }
        }
    }

    /// Makes room for other deliveries.
    fn release(&self, outcomes: Outcomes) {
        let sender = self.sender.upgrade();
        let mut can_release = false;
        // Each with whether it waits for another attempt, and whether it takes up a place in flight: a delivered one has left it.
        let attempted = outcomes.attempted.into_iter().map(|one| {
            let is_delivered = one.outcome.class == Class::Delivered;
            (one.job, matches!(one.next, Next::Retry { .. }), !is_delivered)
        });
        let jobs = attempted.chain(outcomes.skipped.into_iter().map(|job| (job, true, false)));
        for (job, waits, is_in_flight) in jobs {
            if let Some(sender) = &sender {
                let mut queue = sender.queue();
                if is_in_flight {
                    queue.ended(&job.lane);
                }
                queue.recorded(job.delivery.key.id, &job.lane);
            }
            can_release |= match job.origin {
                Origin::Row => self.lanes.unload(&job.lane, job.delivery.key.id),
                // It has a row now.
                Origin::Batch(_) => waits,
            };
        }
        if let Some(sender) = sender {
            sender.freed.notify_one();
            sender.start();
        }
        if can_release {
            self.rescheduled.notify_one();
        }
    }
}

/// How long the endpoint gets no requests: a hold, or the wait of its breaker.
fn waits_for(change: &Change) -> Option<Duration> {
    change.hold.or_else(|| change.opens_for())
}
