//! Worker 1: from the trigger-fired queue to contacts, ledger, effects and webhook deliveries.
//!
//! A consumer's messages are decoded in the order of arrival (`intake`, `triage`) and wait in a `window` until a
//! transaction can take them. Each batch is applied in one transaction (`transaction`) that is retried until it
//! commits (`commit`). A multiple-ack acknowledges all messages up to the first unsettled one. The outbox relay then
//! publishes the events. Nothing after the commit can lose an event.

mod alone;
mod apply_error;
mod assumed;
mod commit;
mod endpoints;
mod give_up;
mod intake;
mod locked;
mod measures;
mod portion;
mod round;
mod run;
mod spans;
mod transaction;
mod triage;
mod window;
mod worker;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use self::intake::Intake;
pub use self::{assumed::Experience, endpoints::Endpoints, give_up::GiveUpPolicy, worker::UpsertWorker};
use super::consumption::{Consumption, Counts};
use crate::{amqp::Topology, metrics::Queue};

impl UpsertWorker {
    /// Consumes until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let worker = Arc::new(self);
        let consumption = Consumption {
            component: &worker.name,
            amqp: &worker.settings.amqp,
            queue: Topology::new(&worker.settings.amqp.namespace).trigger_fired(),
            counts: Counts { metrics: &worker.metrics, queue: Queue::TriggerFired },
            prefetch: intake::prefetch(worker.settings.upsert.batch_size),
            prefetch_bytes: worker.settings.amqp.prefetch_bytes,
            health: &worker.health,
        };
        consumption.run(&stop, Intake::new(Arc::clone(&worker))).await;
    }
}
