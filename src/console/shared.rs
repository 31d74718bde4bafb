//! What every request of the API and the console may use.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::keyring::Keyring;
use crate::{health::Health, postgres::Database, settings::Settings};

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) settings: Arc<Settings>,
    /// A pool of its own, so that a slow search cannot slow down the workers.
    pub(super) database: Database,
    pub(super) keyring: Arc<Keyring>,
    /// The state of this process.
    pub(super) health: Health,
    /// For requests that are being answered.
    pub(super) places: Arc<Semaphore>,
    /// Changes that have begun. They go on when their client leaves, and the server waits for them when it stops.
    pub(super) changes: TaskTracker,
}
