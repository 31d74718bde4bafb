//! Moves the broker's dead-letter queue into Postgres: store, commit, ack.
//!
//! Only messages that the broker itself dead-lettered are in this queue (delivery limit, overflow, expiry). The
//! workers write their dead letters directly to Postgres.

mod reading;

use std::{
    collections::HashSet,
    ops::ControlFlow,
    sync::Arc,
    time::{Instant, SystemTime},
};

use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span, warn};

use self::reading::dead_letter;
use super::{
    backoff::{self, Backoff},
    component::DEAD_LETTER_COLLECTOR,
    consumption::{Consumption, Counts, Ended, Work},
    dead_letter::without_context,
    lock_wait::LockWait,
    retry, spans,
};
use crate::{
    amqp::{Batch, BatchLimits, ConsumeError, Consumer, Receipt, Topology},
    domain::{
        fault::{Reason, Stage},
        value::phone::Regions,
    },
    health::Health,
    metrics::{Ending, Metrics, Queue, Step, as_f64},
    postgres::{
        Database, Failure, classify,
        dead_letters::{self, NewDeadLetter, Recognition, SearchBudget},
        ledger, refusal,
    },
    settings::Settings,
    telemetry::traces::Traces,
};

/// Maximum size of the messages in memory, in bytes. One always fits.
const MAX_BYTES: usize = 4 << 20;

/// The consumer of the broker's dead-letter queue.
pub struct DeadLetterCollector {
    /// All settings.
    pub settings: Arc<Settings>,
    /// Stores the dead letters.
    pub database: Database,
    /// Receives the state of this component.
    pub health: Health,
    /// Receives its counts.
    pub metrics: Arc<Metrics>,
    /// Records its spans.
    pub traces: Traces,
}

impl DeadLetterCollector {
    /// Collects until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let topology = Topology::new(&self.settings.amqp.namespace);
        let regions = self.settings.contacts.regions();
        let count = self.settings.dead_letter.batch_size;
        let counts = Counts { metrics: &self.metrics, queue: Queue::DeadLetters };
        let consumption = Consumption {
            component: DEAD_LETTER_COLLECTOR,
            amqp: &self.settings.amqp,
            queue: topology.dead_letters(),
            counts,
            // What is aside leaves room for the next batch.
            prefetch: 2 * count,
            prefetch_bytes: self.settings.amqp.prefetch_bytes.min(MAX_BYTES),
            health: &self.health,
        };
        let collection = Collection {
            collector: &self,
            topology: &topology,
            regions: &regions,
            counts,
            limits: BatchLimits { count, bytes: MAX_BYTES },
            aside: Vec::new(),
        };
        consumption.run(&stop, collection).await;
    }
}

struct Collection<'a> {
    collector: &'a DeadLetterCollector,
    topology: &'a Topology,
    regions: &'a Regions,
    counts: Counts<'a>,
    limits: BatchLimits,
    /// Messages that could not be stored, while others could.
    aside: Vec<Aside>,
}

/// Maximum number of messages aside that are tried again before others have their turn.
const MAX_RETRIED: usize = 8;

/// A message that is tried again, alone.
struct Aside {
    dead: NewDeadLetter,
    receipt: Receipt,
    failures: u32,
    due_at: Instant,
}

/// Why a message could not be stored.
enum Unstored {
    Refused(sqlx::Error),
    /// It is too much to be searched in time.
    TooMany,
}

impl Work for Collection<'_> {
    async fn work(
        &mut self,
        consumer: &mut Consumer,
        backoff: &mut Backoff,
        stop: &CancellationToken,
    ) -> Result<Ended, ConsumeError> {
        // Those of another consumer come again.
        self.aside.clear();
        loop {
            let due = self.aside.iter().map(|one| one.due_at).min();
            let has_room = self.has_room();
            // In no order: what is aside does not keep new messages waiting.
            let next = async {
                tokio::select! {
                    () = backoff::until(due) => Ok(None),
                    batch = consumer.next_batch(&self.limits), if has_room => batch.map(Some),
                }
            };
            let batch = match stop.run_until_cancelled(next).await {
                None => return Ok(Ended::Stopped),
                Some(next) => match next? {
                    Some(None) if self.aside.is_empty() => return Ok(Ended::Idle),
                    next => next.flatten(),
                },
            };
            let ended = match batch {
                Some(batch) => {
                    backoff.reset();
                    self.counts.arrived(&batch);
                    self.collect(consumer, batch, stop).await?
                }
                None => self.try_again(consumer, stop).await?,
            };
            if ended.is_break() {
                return Ok(Ended::Stopped);
            }
        }
    }
}

impl Collection<'_> {
    /// One message always has room beside those that are aside.
    fn has_room(&self) -> bool {
        let bytes: usize = self.aside.iter().map(|one| one.dead.body.len()).sum();
        self.aside.len() < self.limits.count && bytes < MAX_BYTES / 2
    }

    /// Stores a batch, and acknowledges what is stored.
    async fn collect(
        &mut self,
        consumer: &Consumer,
        batch: Batch,
        stop: &CancellationToken,
    ) -> Result<ControlFlow<()>, ConsumeError> {
        let (messages, receipts): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let dead: Vec<_> = messages.iter().map(|message| dead_letter(self.topology, message)).collect();
        let count = dead.len();
        warn!(
            component = DEAD_LETTER_COLLECTOR,
            messages = count,
            "the broker dead-lettered {count} messages; see `dead-letter list`"
        );
        let span = info_span!("batch", component = DEAD_LETTER_COLLECTOR, messages = count);
        let Some(unstored) = self.store_all(&dead, stop).instrument(span).await else {
            return Ok(ControlFlow::Break(()));
        };
        let (due_at, mut stored) = (Instant::now() + backoff::delay(1, rand::random()), Vec::new());
        for (index, (dead, receipt)) in dead.into_iter().zip(receipts).enumerate() {
            if unstored.contains(&index) {
                self.aside.push(Aside { dead, receipt, failures: 1, due_at });
            } else {
                stored.push(receipt);
            }
        }
        self.acknowledge(consumer, stored).await?;
        Ok(ControlFlow::Continue(()))
    }

    async fn acknowledge(&self, consumer: &Consumer, stored: Vec<Receipt>) -> Result<(), ConsumeError> {
        let acked = if self.aside.is_empty() {
            match stored.into_iter().last() {
                Some(last) => consumer.acknowledge_through(last).await,
                None => Ok(()),
            }
        } else {
            consumer.acknowledge_each(stored).await
        };
        self.counts.acked(acked)
    }

    /// Tries the messages again that are aside and due, one by one.
    async fn try_again(
        &mut self,
        consumer: &Consumer,
        stop: &CancellationToken,
    ) -> Result<ControlFlow<()>, ConsumeError> {
        let now = Instant::now();
        let due: Vec<_> = self.aside.extract_if(.., |one| one.due_at <= now).take(MAX_RETRIED).collect();
        for mut one in due {
            let portion = std::slice::from_ref(&one.dead);
            match self.store_one(portion, LockWait::Short, &SearchBudget::default(), stop).await {
                None => return Ok(ControlFlow::Break(())),
                Some(Ok(())) => {
                    let acked = consumer.acknowledge_each(vec![one.receipt]).await;
                    self.counts.acked(acked)?;
                }
                Some(Err(unstored)) => {
                    self.report(&unstored);
                    if let Unstored::Refused(error) = unstored
                        && classify(&error) == Failure::Data
                    {
                        one.dead = without_context(one.dead);
                    }
                    one.failures += 1;
                    one.due_at = Instant::now() + backoff::delay(one.failures, rand::random());
                    self.aside.push(one);
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn report(&self, unstored: &Unstored) {
        if let Unstored::Refused(error) = unstored {
            retry::report_refusal(DEAD_LETTER_COLLECTOR, &self.collector.health, &refusal(error));
        }
    }

    /// Counts a portion that is stored, of which these are dead letters now.
    fn measure(&self, portion: &[NewDeadLetter], began: Instant, opened: &[(Stage, Reason)]) {
        let (messages, traces) = (portion.len(), &self.collector.traces);
        let started = SystemTime::now() - began.elapsed();
        for span in
            portion.iter().filter_map(|dead| spans::dead_letter(traces, dead, spans::COLLECT, started))
        {
            span.end();
        }
        let metrics = &self.collector.metrics;
        metrics.events.add(Ending::Collected, messages);
        metrics.batch_sizes.observe(Step::DeadLetter, as_f64(messages));
        metrics.batch_durations.observe(Step::DeadLetter, began.elapsed().as_secs_f64());
        for labels in opened {
            metrics.dead_letters.add(*labels, 1);
        }
    }

    /// Stores all of them but those whose places it returns. `None` if stopped before that.
    async fn store_all(&self, dead: &[NewDeadLetter], stop: &CancellationToken) -> Option<HashSet<usize>> {
        let budget = SearchBudget::default();
        let (mut portions, mut unstored) = (Vec::new(), HashSet::new());
        portions.push(0..dead.len());
        // Many may be locked, and each try waits for the first that is.
        let mut lock_wait = LockWait::Default;
        while let Some(places) = portions.pop() {
            let Some(portion) = dead.get(places.clone()) else { continue };
            let stored = self.store_one(portion, lock_wait, &budget, stop).await?;
            lock_wait = LockWait::Short;
            let Err(refused) = stored else { continue };
            if portion.len() > 1 {
                let middle = places.start + portion.len() / 2;
                portions.extend([middle..places.end, places.start..middle]);
            } else {
                self.report(&refused);
                unstored.insert(places.start);
            }
        }
        Some(unstored)
    }

    /// Stores these together, or nothing. `None` if stopped before that.
    async fn store_one(
        &self,
        portion: &[NewDeadLetter],
        lock_wait: LockWait,
        budget: &SearchBudget,
        stop: &CancellationToken,
    ) -> Option<Result<(), Unstored>> {
        let DeadLetterCollector { database, health, settings, metrics, .. } = self.collector;
        let pepper = settings.contacts.suppression_pepper.expose_secret();
        let recognition = Recognition { pepper, regions: self.regions, budget };
        let store = || database.unit(async move |conn| store(conn, recognition, portion, lock_wait).await);
        let began = Instant::now();
        let stored = retry::until_judged(DEAD_LETTER_COLLECTOR, health, stop, store).await?;
        let unstored = match stored {
            Ok(Stored::All { unsearched, opened }) => {
                self.measure(portion, began, &opened);
                dead_letters::log_unsearched(DEAD_LETTER_COLLECTOR, unsearched);
                return Some(Ok(()));
            }
            Ok(Stored::TooMany) => Unstored::TooMany,
            Err(error) => Unstored::Refused(error),
        };
        metrics.failed_batches.add(Step::DeadLetter, 1);
        Some(Err(unstored))
    }
}

/// What one transaction has stored.
enum Stored {
    /// Everything: the new dead letters, and how many lost their contents because they could not be searched.
    All { unsearched: usize, opened: Vec<(Stage, Reason)> },
    /// Nothing: too many to search at once.
    TooMany,
}

/// Stores the messages whose event has no other end.
async fn store(
    conn: &mut PgConnection,
    recognition: Recognition<'_>,
    dead: &[NewDeadLetter],
    lock_wait: LockWait,
) -> Result<Stored, sqlx::Error> {
    let mut transaction = conn.begin().await?;
    lock_wait.set(&mut transaction).await?;
    let events: Vec<_> = dead.iter().filter_map(NewDeadLetter::event).collect();
    let ends = ledger::seen(&mut transaction, "", &events, &[]).await?.ends;
    let mut dead: Vec<_> =
        dead.iter().filter_map(|new| dead_letters::unless_ended(new.clone(), &ends)).collect();
    ledger::insert(&mut transaction, dead_letters::refusals(&dead, &ends)).await?;
    let Some(unsearched) = dead_letters::blank(&mut transaction, &recognition, &mut dead).await? else {
        transaction.rollback().await?;
        return Ok(Stored::TooMany);
    };
    // After a first wait, open dead letters that others have locked stay as they are.
    let skips_locked = lock_wait != LockWait::Default;
    if skips_locked {
        dead_letters::take_locked(&mut transaction, &mut dead).await?;
    }
    let replays: Vec<_> = dead.iter().filter_map(|new| Some((new.replay_of?, new.as_message()))).collect();
    let discarded = dead_letters::lock_discarded(&mut transaction, &replays).await?;
    // A discard cancels the replay, wherever its message is.
    dead.retain(|new| new.replay_of.is_none_or(|id| !discarded.contains(&(id, new.meaning))));
    dead_letters::insert(&mut transaction, &dead).await?;
    transaction.commit().await?;
    Ok(Stored::All { unsearched, opened: dead.iter().map(|new| (new.stage, new.reason)).collect() })
}
