//! Reads the webhook queue and wakes the webhook worker.
//!
//! The due rows are in Postgres; a message only says that one is there now. It is acked once the
//! worker has claimed what is due, so the length of the queue tells how far behind the workers are.

use std::{sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    consumption::{Consumption, Settle},
    webhook::WakeUp,
};
use crate::{
    amqp::{BatchLimits, Received, Topology},
    health::Health,
    settings::Settings,
};

/// Its name in logs and health.
pub const PART: &str = "webhook-wake-ups";

/// The consumer of the webhook queue.
pub struct WakeUps {
    /// All settings.
    pub settings: Arc<Settings>,
    /// The worker.
    pub worker: mpsc::Sender<WakeUp>,
    /// Where this consumer reports.
    pub health: Health,
}

impl WakeUps {
    /// Consumes until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let count = self.settings.webhook.concurrency;
        let consumption = Consumption {
            part: PART,
            amqp: &self.settings.amqp,
            queue: Topology::new(&self.settings.amqp.namespace).webhook(),
            limits: BatchLimits { count, bytes: usize::MAX, linger: Duration::ZERO },
            prefetch: count,
            health: &self.health,
        };
        consumption.run(&stop, Wake { worker: &self.worker, stop: &stop }).await;
    }
}

struct Wake<'a> {
    worker: &'a mpsc::Sender<WakeUp>,
    stop: &'a CancellationToken,
}

impl Settle for Wake<'_> {
    async fn settle(&mut self, _: &[Received]) -> bool {
        let (ack, claimed) = oneshot::channel();
        let told = self.worker.send(WakeUp { ack }).await.is_ok();
        // Otherwise the worker is stopping.
        told && matches!(self.stop.run_until_cancelled(claimed).await, Some(Ok(())))
    }
}
