//! Worker 1: from the trigger-fired queue to contacts, ledger, outbox and webhook deliveries.
//!
//! Batch by batch: decode and validate (`triage`), one transaction (`transaction`), one
//! multiple-ack, then the outbox relay publishes. No step after the commit can lose anything.

mod effects;
mod endpoints;
mod settle;
mod transaction;
mod triage;

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub use self::endpoints::Endpoints;
use self::settle::Settler;
use super::consumption::{Consumption, Settle};
use crate::{
    amqp::{BatchLimits, Received, Topology},
    domain::{chain::plan::Rules, trigger::cache::TriggerCache},
    health::Health,
    postgres::{Database, outbox::OutboxMessage},
    settings::Settings,
};

/// From how many earlier deliveries on a message is tried alone. A message that ends the process
/// takes everything that was prefetched with it down; alone, it can be told from its neighbors.
const SUSPICIOUS_FROM: u64 = 3;

/// One consumer of the trigger-fired queue. Run as many as wanted, in any number of processes.
pub struct UpsertWorker {
    /// All settings.
    pub settings: Arc<Settings>,
    /// Where contacts live.
    pub database: Database,
    /// The rules of planning, from the settings.
    pub rules: Rules,
    /// What is known of the endpoints of webhooks.
    pub endpoints: Endpoints,
    /// Takes what is committed and must be published.
    pub relay: mpsc::Sender<Vec<OutboxMessage>>,
    /// Where this worker reports.
    pub health: Health,
    /// Name of this worker in logs and health.
    pub name: String,
}

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
            // Twice the batch, so that the next one gathers while this one is in the database.
            prefetch: 2 * upsert.batch_size,
            health: &self.health,
        };
        let settler = Settler::new(&self, &stop);
        consumption
            .run(&stop, Batches { settler, relay: &self.relay, triggers: TriggerCache::default() })
            .await;
    }
}

/// Settles batch after batch.
struct Batches<'a> {
    settler: Settler<'a>,
    relay: &'a mpsc::Sender<Vec<OutboxMessage>>,
    triggers: TriggerCache,
}

impl Settle for Batches<'_> {
    async fn settle(&mut self, messages: &[Received]) -> bool {
        let Some(committed) = self.commit(messages).await else { return false };
        // Where the relay is gone, the process is ending; another relay sweeps the outbox.
        committed.is_empty() || self.relay.send(committed).await.is_ok()
    }
}

impl Batches<'_> {
    /// Commits an outcome for every message; `None` when stopped before that.
    async fn commit(&mut self, messages: &[Received]) -> Option<Vec<OutboxMessage>> {
        let (suspects, others): (Vec<&Received>, Vec<&Received>) =
            messages.iter().partition(|message| message.delivery_count >= SUSPICIOUS_FROM);
        let mut committed = Vec::new();
        for suspect in suspects {
            committed.extend(self.settler.alone(suspect, &mut self.triggers).await?);
        }
        if !others.is_empty() {
            committed.extend(self.settler.together(&others, &mut self.triggers).await?);
        }
        Some(committed)
    }
}
