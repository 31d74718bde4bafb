//! Receives the messages of one consumer, decodes them, and starts their transactions.
//!
//! The next messages are decoded while transactions run. Nothing waits for a full batch: a single message starts its
//! transaction at once, and under load messages gather until a transaction ends.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use super::{
    commit::{Committer, Job},
    measures::Watched,
    portion::Portion,
    triage::Triage,
    window::{Ack, Arrival, Bounds, Demand, Limits, MAX_RUNNING, Parked, Taken, Ticket, Window},
    worker::UpsertWorker,
};
use crate::{
    amqp::{BatchLimits, ConsumeError, Consumer, Receipt, Received},
    metrics::Queue,
    workers::{
        backoff::{self, Backoff},
        consumption::{Counts, Ended, Work},
    },
};

/// Deliveries of a message after which it is processed alone. A message that ends the process takes down
/// everything that was prefetched with it; alone, it can be told apart from its neighbors.
const SUSPICIOUS_DELIVERIES: u64 = 3;

/// Maximum number of steps in one transaction, whose memory grows with them. One event is never split.
const MAX_STEPS: usize = 2000;

/// Maximum number of messages that are decoded before the intake looks whether a transaction has ended.
const MAX_DECODED: usize = 64;

/// Maximum number of parked messages that are tried again together, each in a transaction of its own.
const MAX_RETRIED: usize = 32;

/// How often the intake looks at parked messages that are due, but wait for others.
const LOOK: Duration = Duration::from_millis(20);

/// A transaction that ended, and the messages that it has parked; `None` if it has not settled the others.
type Settled = (Ticket, Option<Vec<Portion>>);

/// The messages that one consumer has received and not acknowledged, and their transactions.
pub(super) struct Intake {
    worker: Arc<UpsertWorker>,
    triage: Triage,
    /// Messages that have arrived and are not decoded.
    arrived: VecDeque<(Received, Receipt)>,
    window: Window<Job, Receipt>,
    running: JoinSet<Settled>,
    limits: Limits,
    bounds: Bounds,
    /// The transaction that was started last has parked messages.
    has_retried: bool,
    watched: Watched,
}

/// How many messages the broker hands out: the next batch gathers while others are in the database, and the parking leaves
/// room for them.
pub(super) const fn prefetch(batch_size: usize) -> usize {
    (MAX_RUNNING + 1) * batch_size + max_parking(batch_size)
}

/// How many messages may be parked, or wait for those.
const fn max_parking(batch_size: usize) -> usize {
    2 * batch_size
}

impl Work for Intake {
    async fn work(
        &mut self,
        consumer: &mut Consumer,
        backoff: &mut Backoff,
        stop: &CancellationToken,
    ) -> Result<Ended, ConsumeError> {
        let mut ended = self.consume(consumer, backoff, stop).await;
        // A transaction is never abandoned. If the consumer is lost, its messages are redelivered and found applied.
        while let Some(done) = self.running.join_next().await {
            let acks = self.settle(done);
            if ended.is_ok()
                && let Err(lost) = self.send(consumer, acks).await
            {
                ended = Err(lost);
            }
        }
        // What is parked goes back to the queue.
        self.window = Window::new(self.bounds);
        self.arrived.clear();
        self.watched.note(&self.window);
        ended
    }
}

impl Intake {
    pub(super) fn new(worker: Arc<UpsertWorker>) -> Self {
        let upsert = &worker.settings.upsert;
        // The rest is for what can go on.
        let bounds = Bounds {
            messages: max_parking(upsert.batch_size),
            bytes: worker.settings.amqp.prefetch_bytes / 4,
            decoded: upsert.decoded_bytes / 2,
        };
        Self {
            triage: Triage::of(&worker),
            arrived: VecDeque::new(),
            window: Window::new(bounds),
            bounds,
            has_retried: false,
            running: JoinSet::new(),
            watched: Watched::new(&worker.metrics, upsert.decoded_bytes),
            limits: Limits { messages: upsert.batch_size, bytes: upsert.batch_bytes, steps: MAX_STEPS },
            worker,
        }
    }

    async fn consume(
        &mut self,
        consumer: &mut Consumer,
        backoff: &mut Backoff,
        stop: &CancellationToken,
    ) -> Result<Ended, ConsumeError> {
        loop {
            self.decode();
            self.start(consumer, stop).await?;
            self.watched.note(&self.window);
            let due = self.window.next_due().map(|due_at| due_at.max(Instant::now() + LOOK));
            // What has arrived goes into one transaction if one can start.
            let count = if self.window.is_free() { self.limits.messages } else { MAX_DECODED };
            let arriving = BatchLimits { count, bytes: self.limits.bytes };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Stopped),
                Some(done) = self.running.join_next() => self.acknowledge(consumer, done).await?,
                () = backoff::until(due) => {}
                batch = consumer.next_batch(&arriving), if self.has_room() => match batch? {
                    Some(batch) => {
                        backoff.reset();
                        self.counts().arrived(&batch);
                        self.arrived.extend(batch);
                    }
                    None if self.window.is_empty() => return Ok(Ended::Idle),
                    None => {}
                },
            }
        }
    }

    fn counts(&self) -> Counts<'_> {
        Counts { metrics: &self.worker.metrics, queue: Queue::TriggerFired }
    }

    /// A short message can take seventy times its size once decoded, so decoded messages have their own limit.
    fn has_room(&self) -> bool {
        self.arrived.is_empty() && self.window.decoded() < self.worker.settings.upsert.decoded_bytes
    }

    /// Decodes what has arrived, as far as there is room.
    fn decode(&mut self) {
        while self.window.decoded() < self.worker.settings.upsert.decoded_bytes
            && let Some((message, receipt)) = self.arrived.pop_front()
        {
            let (content, demand) = if message.delivery_count >= SUSPICIOUS_DELIVERIES {
                let demand = Demand { bytes: message.body.len(), alone: true, ..Demand::default() };
                (Job::Suspect(message), demand)
            } else {
                let triaged = self.triage.decide(message, self.worker.presence.now());
                let demand = self.triage.demand(&triaged);
                (Job::New(triaged), demand)
            };
            self.window.push(Arrival { content, receipt, demand });
        }
        self.triage.report();
    }

    /// Starts every transaction that can start.
    async fn start(&mut self, consumer: &Consumer, stop: &CancellationToken) -> Result<(), ConsumeError> {
        while !stop.is_cancelled()
            && let Some(Taken { ticket, contents, alone }) = self.take()
        {
            let committer = Committer { worker: Arc::clone(&self.worker), stop: stop.clone() };
            let span = info_span!("batch", component = self.worker.name, messages = contents.len());
            let settling = async move { (ticket, committer.run(contents).await) };
            self.running.spawn(settling.instrument(span));
            // Nothing is decoded while a message that may end the process is processed.
            if alone && let Some(done) = self.running.join_next().await {
                self.acknowledge(consumer, done).await?;
            }
        }
        Ok(())
    }

    fn take(&mut self) -> Option<Taken<Job>> {
        let now = Instant::now();
        let few = Limits { messages: MAX_RETRIED, ..self.limits };
        // New and parked messages take turns: a message that has to be alone starts only when nothing runs, and some parked
        // ones are nearly always due.
        let new = self.has_retried.then(|| self.window.take(&self.limits, now)).flatten();
        self.has_retried = false;
        if new.is_some() {
            return new;
        }
        let again = self.window.retry(&few, now);
        self.has_retried = again.is_some();
        again.or_else(|| self.window.take(&self.limits, now))
    }

    async fn acknowledge(
        &mut self,
        consumer: &Consumer,
        done: Result<Settled, JoinError>,
    ) -> Result<(), ConsumeError> {
        let acks = self.settle(done);
        self.send(consumer, acks).await
    }

    async fn send(&self, consumer: &Consumer, acks: Vec<Ack<Receipt>>) -> Result<(), ConsumeError> {
        let (mut singly, mut through) = (Vec::new(), None);
        for ack in acks {
            match ack {
                Ack::One(receipt) => singly.push(receipt),
                Ack::Through(last) => through = Some(last),
            }
        }
        // In this order: what a multiple-ack covers cannot be acknowledged again, or the broker closes the channel.
        self.counts().acked(consumer.acknowledge_each(singly).await)?;
        match through {
            Some(last) => self.counts().acked(consumer.acknowledge_through(last).await),
            None => Ok(()),
        }
    }

    /// What can be acknowledged now.
    fn settle(&mut self, done: Result<Settled, JoinError>) -> Vec<Ack<Receipt>> {
        match done {
            Ok((ticket, Some(parked))) => {
                let now = Instant::now();
                let parked = parked.into_iter().filter_map(|portion| {
                    let due_at = now + backoff::delay(portion.failures, rand::random());
                    Some(Parked { number: portion.number()?, content: Job::Parked(portion), due_at })
                });
                self.window.settle(ticket, parked.collect())
            }
            Ok((_, None)) => Vec::new(),
            // A panic ends this task as well; the process restarts, and its messages come back.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}
