//! Receives the messages of one consumer, decodes them, and starts their transactions.
//!
//! The next messages are decoded while transactions run. Nothing waits for a full batch: a single message starts its
//! transaction at once, and under load messages gather until a transaction ends.

use std::{collections::VecDeque, sync::Arc};

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use super::{
    commit::Committer,
    measures::Watched,
    triage::{Triage, Triaged},
    window::{Arrival, Limits, MAX_RUNNING, Taken, Ticket, Window},
    worker::UpsertWorker,
};
use crate::{
    amqp::{BatchLimits, ConsumeError, Consumer, Receipt, Received},
    metrics::Queue,
    workers::{
        backoff::Backoff,
        consumption::{Counts, Ended, Work},
    },
};

/// Deliveries of a message after which it is processed alone. A message that ends the process takes down
/// everything that was prefetched with it; alone, it can be told apart from its neighbors.
const SUSPICIOUS_DELIVERIES: u64 = 3;

/// Maximum number of steps in one transaction, whose memory grows with them. One event is never split.
const MAX_STEPS: usize = 2000;

/// Messages that are decoded before the intake looks whether a transaction has ended.
const MAX_DECODED: usize = 64;

/// A transaction that ended, and whether its messages are settled.
type Done = Result<(Ticket, bool), JoinError>;

/// The messages that one consumer has received and not acknowledged, and their transactions.
pub(super) struct Intake {
    worker: Arc<UpsertWorker>,
    triage: Triage,
    /// Messages that have arrived and are not decoded.
    arrived: VecDeque<(Received, Receipt)>,
    window: Window<Triaged, Receipt>,
    running: JoinSet<(Ticket, bool)>,
    limits: Limits,
    watched: Watched,
}

/// How many messages the broker sends: the next batch gathers while others are in the database.
pub(super) const fn prefetch(batch_size: usize) -> usize {
    (MAX_RUNNING + 1) * batch_size
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
            if let Some(last) = self.settle(done)
                && ended.is_ok()
                && let Err(lost) = self.counts().acked(consumer.acknowledge_through(last).await)
            {
                ended = Err(lost);
            }
        }
        self.window = Window::default();
        self.arrived.clear();
        self.watched.note(&self.window);
        ended
    }
}

impl Intake {
    pub(super) fn new(worker: Arc<UpsertWorker>) -> Self {
        let upsert = &worker.settings.upsert;
        Self {
            triage: Triage::of(&worker),
            arrived: VecDeque::new(),
            window: Window::default(),
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
            // If a transaction can start, it gets everything that has arrived.
            let count = if self.window.is_free() { self.limits.messages } else { MAX_DECODED };
            let arriving = BatchLimits { count, bytes: self.limits.bytes };
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(Ended::Stopped),
                Some(done) = self.running.join_next() => self.acknowledge(consumer, done).await?,
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
            let content = if message.delivery_count >= SUSPICIOUS_DELIVERIES {
                Triaged::Suspect(message)
            } else {
                self.triage.decide(message, self.worker.presence.now())
            };
            let demand = self.triage.demand(&content);
            self.window.push(Arrival { content, receipt, demand });
        }
        self.triage.report();
    }

    /// Starts every transaction that can start.
    async fn start(&mut self, consumer: &Consumer, stop: &CancellationToken) -> Result<(), ConsumeError> {
        while !stop.is_cancelled()
            && let Some(Taken { ticket, contents, alone }) = self.window.take(&self.limits)
        {
            let committer = Committer { worker: Arc::clone(&self.worker), stop: stop.clone() };
            let span = info_span!("batch", component = self.worker.name, messages = contents.len());
            let settling = async move { (ticket, committer.settle(contents).await) };
            self.running.spawn(settling.instrument(span));
            // Nothing is decoded while a message that may end the process is processed.
            if alone && let Some(done) = self.running.join_next().await {
                self.acknowledge(consumer, done).await?;
            }
        }
        Ok(())
    }

    async fn acknowledge(&mut self, consumer: &Consumer, done: Done) -> Result<(), ConsumeError> {
        match self.settle(done) {
            Some(last) => self.counts().acked(consumer.acknowledge_through(last).await),
            None => Ok(()),
        }
    }

    /// The receipt of the last message that can be acknowledged now.
    fn settle(&mut self, done: Done) -> Option<Receipt> {
        match done {
            Ok((ticket, is_settled)) => is_settled.then(|| self.window.settle(ticket)).flatten(),
            // A panic ends this task as well; the process restarts, and its messages are redelivered.
            Err(panicked) => std::panic::resume_unwind(panicked.into_panic()),
        }
    }
}
