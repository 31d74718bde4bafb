//! Records the outcomes of attempts, in batches, and turns deliveries that were not attempted into rows. An outcome is
//! never dropped: while the database is unreachable the same batch is retried, and nothing is claimed.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Weak},
    time::Duration,
};

use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};
use uuid::Uuid;

use super::{
    attempt::{Batch, Finished, Job, Origin, Sender},
    dead_letters,
    lanes::Lanes,
    log,
    queue::Queued as _,
    results,
};
use crate::{
    domain::{
        event::Key,
        webhook::{
            attempt::{Class, Next, Outcome, Round, after_attempt, hold, signal},
            breaker::{BreakerRule, Signal},
            lane::cap,
        },
    },
    health::Health,
    postgres::{
        Database,
        deliveries::{self, Attempted, First, NewDelivery, RowKey},
        effects::{self, EffectsKey, events::Committed, requests},
        endpoints::{self, Change},
    },
    workers::{
        component::WEBHOOK_WORKER,
        presence::Presence,
        retry,
        room::{HandOff, Handed},
    },
};

/// Maximum number of outcomes in one transaction.
const MAX_BATCH: usize = 256;

/// Maximum size of their requests, in bytes. One always fits.
const MAX_BYTES: usize = 8 << 20;

/// The one task of a worker that writes outcomes.
pub(super) struct Recorder {
    pub(super) database: Database,
    pub(super) breaker: BreakerRule,
    pub(super) lanes: Arc<Lanes>,
    /// Gone once nothing more will be sent.
    pub(super) sender: Weak<Sender>,
    pub(super) presence: Presence,
    pub(super) health: Health,
    /// Notified when a lane may need an owner, or can be released.
    pub(super) rescheduled: Arc<Notify>,
    /// Whether a batch is waiting for the database.
    pub(super) stuck: watch::Sender<bool>,
    /// Publishes the results of completed chains.
    pub(super) relay: HandOff<Committed>,
    /// CloudEvents `source` of the results.
    pub(super) source: String,
}

/// An attempt and its consequence.
struct Recorded {
    job: Job,
    started_at: OffsetDateTime,
    outcome: Outcome,
    next: Next,
}

/// What one transaction writes.
#[derive(Default)]
struct Taken {
    attempted: Vec<Recorded>,
    /// Without an attempt.
    skipped: Vec<Job>,
    /// Changes to the rows of endpoints, in the lock order of all processes.
    reports: BTreeMap<Key, Vec<Report>>,
}

/// What one attempt says about its endpoint.
struct Report {
    signal: Signal,
    hold: Option<Duration>,
    is_gone: bool,
    error: Option<String>,
}

/// What a transaction returns.
struct Written {
    /// Deliveries that changed before they could be recorded.
    lost: Vec<Key>,
    changes: Vec<Change>,
    results: Vec<Handed<Committed>>,
}

impl Recorder {
    /// Records until the last attempt has ended.
    pub(super) async fn run(self, mut finished: mpsc::UnboundedReceiver<Finished>) {
        let mut ended = Vec::with_capacity(MAX_BATCH);
        while finished.recv_many(&mut ended, MAX_BATCH).await > 0 {
            let mut taken = Taken::default();
            let mut bytes = 0;
            for one in ended.drain(..) {
                let size = one.job.size();
                if bytes + size > MAX_BYTES || !taken.is_of_one_owner_with(&one.job) {
                    self.finish(std::mem::take(&mut taken)).await;
                    bytes = 0;
                }
                bytes += size;
                taken.add(one);
            }
            self.finish(taken).await;
            // Still stuck while outcomes are left: each of their deliveries looks due.
            if finished.is_empty() {
                self.stuck.send_if_modified(std::mem::take);
            }
        }
    }

    async fn finish(&self, taken: Taken) {
        let deliveries = taken.attempted.len() + taken.skipped.len();
        let span = info_span!("record", component = WEBHOOK_WORKER, deliveries);
        self.record(&taken).instrument(span).await;
        self.release(taken);
    }

    /// Retries until the batch is written, even while the process is stopping. If the process ends first, the
    /// deliveries are sent again.
    async fn record(&self, taken: &Taken) {
        if taken.is_nothing() {
            return;
        }
        let never = CancellationToken::new();
        let mut is_repeated = false;
        let write = || {
            let is_repeated = std::mem::replace(&mut is_repeated, true);
            async move {
                let unit = async |conn: &mut PgConnection| self.write(conn, taken, is_repeated).await;
                self.database.unit(unit).await.inspect_err(|_| {
                    self.stuck.send_replace(true);
                })
            }
        };
        let Some(Written { lost, changes, results }) =
            retry::until_answered(WEBHOOK_WORKER, &self.health, &never, write).await
        else {
            return;
        };
        for (batch, recorded) in taken.batches() {
            batch.recorded(recorded);
        }
        log::lost(&lost);
        log::outcomes(taken.attempted.iter().map(|one| (&one.job.delivery.key, &one.outcome, &one.next)));
        log::changes(&changes);
        self.adjust_lanes(&changes);
        self.relay.hand_over(results);
    }

    async fn write(
        &self,
        conn: &mut PgConnection,
        taken: &Taken,
        is_repeated: bool,
    ) -> Result<Written, sqlx::Error> {
        let mut transaction = conn.begin().await?;
        let batches: Vec<_> = taken.batches().map(|(batch, _)| batch.held()).collect();
        let revoked = requests::revoked(&mut transaction, &batches, taken.of_batches()).await?;
        let mut lost = deliveries::record(&mut transaction, &taken.pending()).await?;
        let changes = self.report(&mut transaction, taken).await?;
        let new = taken.without_row().into_iter().filter(|one| {
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
        let recorded: Vec<&Recorded> = taken.attempted.iter().filter(held).collect();
        dead_letters::record(&mut transaction, recorded.iter().map(|one| (&one.job, &one.next))).await?;
        let ended = awaited_ends(&recorded);
        let owner = self.presence.owner();
        let results =
            results::write(&mut transaction, &ended, &self.source, owner, Some(&self.relay)).await?;
        effects::delete_recorded(&mut transaction, &taken.completed()).await?;
        transaction.commit().await?;
        Ok(Written { lost, changes, results })
    }

    /// Locks the endpoints whose rows change, and applies the reports.
    async fn report(&self, conn: &mut PgConnection, taken: &Taken) -> Result<Vec<Change>, sqlx::Error> {
        let keys = taken.changing_lanes();
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut changes = endpoints::lock(conn, &keys).await?;
        changes.retain(|change| taken.reports.contains_key(&change.key));
        for change in &mut changes {
            for report in taken.reports.get(&change.key).into_iter().flatten() {
                let breaker = &mut change.breaker;
                *breaker = breaker.after(report.signal, change.now, change.max_in_flight, &self.breaker);
                change.hold = change.hold.max(report.hold);
                change.is_gone |= report.is_gone;
                change.has_succeeded |= report.signal == Signal::Alive;
                if report.error.is_some() {
                    change.error.clone_from(&report.error);
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
            } else if !change.breaker.is_calm() || !change.was_calm {
                self.lanes.set_breaker(&change.key, change.breaker);
                if let Some(sender) = &sender {
                    sender.queue().set_cap(&change.key, cap(change.max_in_flight, &change.breaker));
                }
            }
        }
    }

    /// Makes room for other deliveries.
    fn release(&self, taken: Taken) {
        let sender = self.sender.upgrade();
        let (skipped, bytes) = (taken.skipped.len(), taken.skipped.iter().map(Job::size).sum());
        let mut can_release = false;
        let attempted = taken.attempted.into_iter().map(|one| {
            let is_delivered = one.outcome.class == Class::Delivered;
            (one.job, matches!(one.next, Next::Retry { .. }), !is_delivered)
        });
        let jobs = attempted.chain(taken.skipped.into_iter().map(|job| (job, true, false)));
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
            sender.recorded(skipped, bytes);
            sender.start();
        }
        if can_release {
            self.rescheduled.notify_one();
        }
    }
}

impl Taken {
    /// Whether its batches, and that of this job, were taken under the same id of this process. Under a new id it may have
    /// taken a batch again that it still works on; such copies of a delivery are recorded one after the other.
    fn is_of_one_owner_with(&self, job: &Job) -> bool {
        let Origin::Batch(batch) = &job.origin else { return true };
        let jobs = self.attempted.iter().map(|one| &one.job).chain(&self.skipped);
        let owner = |job: &Job| if let Origin::Batch(batch) = &job.origin { Some(batch.owner) } else { None };
        let mut owners = jobs.filter_map(owner);
        owners.next().is_none_or(|owner| owner == batch.owner)
    }

    fn add(&mut self, Finished { job, attempt }: Finished) {
        let Some((started_at, outcome)) = attempt else {
            self.skipped.push(job);
            return;
        };
        let attempts = job.progress.attempts_in_round().saturating_add(1);
        let round = Round { attempts, age: job.progress.age };
        let next = after_attempt(&outcome, round, &job.handle.route.rule, rand::random());
        if !job.is_calm || outcome.class != Class::Delivered || job.handle.takes_success() {
            self.reports.entry(job.lane.clone()).or_default().push(Report::of(&outcome));
        }
        self.attempted.push(Recorded { job, started_at, outcome, next });
    }

    /// Deliveries with a row that were not attempted stay as they are.
    fn is_nothing(&self) -> bool {
        self.attempted.is_empty() && self.skipped.iter().all(|job| matches!(job.origin, Origin::Row))
    }

    /// The lanes with a report, and those of deliveries that will wait, in the lock order of all processes.
    fn changing_lanes(&self) -> Vec<&Key> {
        let retried = self.attempted.iter().filter(|one| matches!(one.next, Next::Retry { .. }));
        let waiting = retried.map(|one| &one.job).chain(&self.skipped);
        let waiting = waiting.filter(|job| matches!(job.origin, Origin::Batch(_))).map(|job| &job.lane);
        let lanes: BTreeSet<&Key> = self.reports.keys().chain(waiting).collect();
        lanes.into_iter().collect()
    }

    /// The attempts of deliveries that have a row.
    fn pending(&self) -> Vec<Attempted<'_>> {
        let pending = self.attempted.iter().filter(|one| matches!(one.job.origin, Origin::Row));
        let pending = pending.map(|Recorded { job, started_at, outcome, next }| Attempted {
            delivery: &job.delivery,
            progress: job.progress,
            started_at: *started_at,
            outcome,
            next,
        });
        pending.collect()
    }

    /// The deliveries that get a row now.
    fn without_row(&self) -> Vec<NewDelivery<'_>> {
        let attempted = self.attempted.iter().filter(|one| matches!(one.job.origin, Origin::Batch(_)));
        let attempted = attempted.map(|Recorded { job, started_at, outcome, next }| NewDelivery {
            delivery: &job.delivery,
            first: Some(First { started_at: *started_at, outcome, next }),
        });
        let skipped = self.skipped.iter().filter(|job| matches!(job.origin, Origin::Batch(_)));
        let skipped = skipped.map(|job| NewDelivery { delivery: &job.delivery, first: None });
        attempted.chain(skipped).collect()
    }

    /// The deliveries of batches.
    fn of_batches(&self) -> impl Iterator<Item = (&EffectsKey, Uuid)> {
        let jobs = self.attempted.iter().map(|one| &one.job).chain(&self.skipped);
        jobs.filter_map(|job| match &job.origin {
            Origin::Batch(batch) => Some((&batch.key, job.delivery.key.id)),
            Origin::Row => None,
        })
    }

    /// How many deliveries of each batch get a row now.
    fn batches(&self) -> impl Iterator<Item = (&Batch, usize)> {
        let jobs = self.attempted.iter().map(|one| &one.job).chain(&self.skipped);
        let mut batches: HashMap<*const Batch, (&Batch, usize)> = HashMap::new();
        for job in jobs {
            if let Origin::Batch(batch) = &job.origin {
                batches.entry(Arc::as_ptr(batch)).or_insert((batch, 0)).1 += 1;
            }
        }
        batches.into_values()
    }

    /// The batches all of whose deliveries have a row now.
    fn completed(&self) -> Vec<(&EffectsKey, Uuid)> {
        let completed = self.batches().filter(|(batch, recorded)| batch.completes_with(*recorded));
        completed.map(|(batch, _)| (&batch.key, batch.owner)).collect()
    }
}

/// How long nothing is sent to the endpoint: a hold, or the wait of its breaker.
fn waits_for(change: &Change) -> Option<Duration> {
    change.hold.or_else(|| change.opens_for())
}

impl Report {
    fn of(outcome: &Outcome) -> Self {
        Self {
            signal: signal(outcome),
            hold: hold(outcome),
            is_gone: outcome.class == Class::Gone,
            error: outcome.error.clone(),
        }
    }
}

/// The deliveries that have ended and whose chain has a result to publish.
fn awaited_ends(recorded: &[&Recorded]) -> Vec<RowKey> {
    let ended = recorded.iter().filter(|one| !matches!(one.next, Next::Retry { .. }));
    let deliveries = ended.map(|one| &one.job.delivery).filter(|delivery| delivery.awaited);
    deliveries.map(|delivery| RowKey { key: delivery.key.clone(), created_at: delivery.created_at }).collect()
}
