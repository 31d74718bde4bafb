//! Worker 1: from the trigger-fired queue to contacts, ledger, outbox and webhook deliveries.
//!
//! Each batch is split (`triage`), applied in one transaction (`transaction`) that is retried until it commits
//! (`commit`), and acknowledged with one multiple-ack. The outbox relay then publishes its events. Nothing
//! after the commit can lose an event.

mod commit;
mod endpoints;
mod transaction;
mod triage;
mod worker;

use tokio_util::sync::CancellationToken;

use self::commit::Committer;
pub use self::{endpoints::Endpoints, worker::UpsertWorker};
use super::consumption::Consumption;
use crate::amqp::{BatchLimits, Topology};

impl UpsertWorker {
    /// Consumes until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let upsert = &self.settings.upsert;
        let consumption = Consumption {
            component: &self.name,
            amqp: &self.settings.amqp,
            queue: Topology::new(&self.settings.amqp.namespace).trigger_fired(),
            limits: BatchLimits {
                count: upsert.batch_size,
                bytes: upsert.batch_bytes,
                linger: upsert.batch_linger,
            },
            // The next batch gathers while this one is in the database.
            prefetch: 2 * upsert.batch_size,
            health: &self.health,
        };
        consumption.run(&stop, Committer::new(&self, &stop)).await;
    }
}
