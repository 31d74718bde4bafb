//! Everything that one consumer of worker 1 uses.

use std::sync::Arc;

use super::{assumed::Experience, endpoints::Endpoints, give_up::GiveUpPolicy};
use crate::{
    domain::{chain::rules::Rules, trigger::cache::TriggerCache},
    health::Health,
    metrics::Metrics,
    postgres::{
        Database,
        effects::{events::EventBatch, requests::RequestBatch},
    },
    settings::Settings,
    telemetry::traces::Traces,
    workers::{presence::Presence, room::BatchSender},
};

/// One consumer of the trigger-fired queue, with two transactions at once. Any number of them can run, in any number of processes.
pub struct UpsertWorker {
    /// All settings.
    pub settings: Arc<Settings>,
    /// The database of the contacts.
    pub database: Database,
    /// The rules of planning, from the settings.
    pub rules: Rules,
    /// The compiled triggers, shared by all consumers of the process.
    pub triggers: Arc<TriggerCache>,
    /// The terms of endpoints, and which of them have a row.
    pub endpoints: Endpoints,
    /// Sends committed events to the relay.
    pub event_batches: BatchSender<EventBatch>,
    /// Sends committed webhooks to worker 2; `None` if this process has none.
    pub request_batches: Option<BatchSender<RequestBatch>>,
    /// The owner of what the worker commits.
    pub presence: Presence,
    /// What the last batches were like.
    pub experience: Experience,
    /// When it may give up a message.
    pub give_up_policy: GiveUpPolicy,
    /// Where the worker reports.
    pub health: Health,
    /// Where it counts.
    pub metrics: Arc<Metrics>,
    /// Where it records spans.
    pub traces: Traces,
    /// Name in logs and health, such as `upsert-1`.
    pub name: String,
}
