//! Consumes the webhook queue and wakes worker 2.
//!
//! The due deliveries are in Postgres; a message only says that there is a new one. It is acknowledged once the
//! worker has looked for work, so the queue's length shows how far behind the workers are.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info_span};

use super::{
    backoff::Backoff,
    component,
    consumption::{Consumption, Counts, Ended, Work},
};
use crate::{
    amqp::{BatchLimits, ConsumeError, Consumer, Topology},
    health::Health,
    metrics::{Metrics, Queue},
    settings::Settings,
};

/// In bytes: only the number of messages matters.
const MAX_BYTES: usize = 4 << 20;

/// Says that deliveries may be due. Only a hint: the worker also polls, so a lost wake-up only costs time.
#[derive(Debug)]
pub struct WakeUp {
    /// Answered once it has looked for work; dropped without an answer when the worker stops.
    pub ack: oneshot::Sender<()>,
}

/// The consumer of the webhook queue.
pub struct WakeUps {
    /// All settings.
    pub settings: Arc<Settings>,
    /// Receives a wake-up for each batch of messages.
    pub worker: mpsc::Sender<WakeUp>,
    /// Receives the state of this component.
    pub health: Health,
    /// Receives its counts.
    pub metrics: Arc<Metrics>,
}

impl WakeUps {
    /// Consumes until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let count = self.settings.webhook.concurrency;
        let counts = Counts { metrics: &self.metrics, queue: Queue::Webhook };
        let consumption = Consumption {
            component: component::WAKE_UPS,
            amqp: &self.settings.amqp,
            queue: Topology::new(&self.settings.amqp.namespace).webhook(),
            counts,
            prefetch: count,
            prefetch_bytes: self.settings.amqp.prefetch_bytes.min(MAX_BYTES),
            health: &self.health,
        };
        let limits = BatchLimits { count, bytes: MAX_BYTES };
        consumption.run(&stop, Wake { worker: &self.worker, counts, limits }).await;
    }
}

/// Wakes the worker once for each batch, and acknowledges the batch when it has looked for work.
struct Wake<'a> {
    worker: &'a mpsc::Sender<WakeUp>,
    counts: Counts<'a>,
    limits: BatchLimits,
}

impl Work for Wake<'_> {
    async fn work(
        &mut self,
        consumer: &mut Consumer,
        backoff: &mut Backoff,
        stop: &CancellationToken,
    ) -> Result<Ended, ConsumeError> {
        while let Some(batch) = stop.run_until_cancelled(consumer.next_batch(&self.limits)).await {
            let Some(batch) = batch? else { return Ok(Ended::Idle) };
            backoff.reset();
            self.counts.arrived(&batch);
            let span = info_span!("batch", component = component::WAKE_UPS, messages = batch.messages.len());
            if !self.wake(stop).instrument(span).await {
                break;
            }
            self.counts.acked(consumer.acknowledge(batch).await)?;
        }
        Ok(Ended::Stopped)
    }
}

impl Wake<'_> {
    /// Returns whether the worker has looked for work. If not, the process is stopping, and the batch is requeued.
    async fn wake(&self, stop: &CancellationToken) -> bool {
        let (ack, claimed) = oneshot::channel();
        // Sending fails, and so does the answer, only while the worker stops.
        let is_sent = self.worker.send(WakeUp { ack }).await.is_ok();
        is_sent && matches!(stop.run_until_cancelled(claimed).await, Some(Ok(())))
    }
}
