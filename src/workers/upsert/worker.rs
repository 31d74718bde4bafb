//! Everything that one consumer of worker 1 works with.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::endpoints::Endpoints;
use crate::{
    domain::chain::{outgoing::OutgoingEvent, rules::Rules},
    health::Health,
    postgres::Database,
    settings::Settings,
};

/// One consumer of the trigger-fired queue. Any number of them can run, in any number of processes.
pub struct UpsertWorker {
    /// All settings.
    pub settings: Arc<Settings>,
    /// The database of the contacts.
    pub database: Database,
    /// The rules of planning, from the settings.
    pub rules: Rules,
    /// The terms of endpoints, and which of them have a row.
    pub endpoints: Endpoints,
    /// Publishes committed events.
    pub relay: mpsc::Sender<Vec<OutgoingEvent>>,
    /// Where the worker reports.
    pub health: Health,
    /// Name in logs and health, such as `upsert-1`.
    pub name: String,
}
