//! What every request of the API and the console may use.

use std::sync::Arc;

use tokio::{runtime::Handle, task::spawn_blocking};
use tokio_util::task::TaskTracker;

use super::{keyring::Keyring, problem::Problem};
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
    /// Changes that have begun. They go on when their client leaves, and the server waits for them when it stops.
    pub(super) changes: TaskTracker,
}

/// Runs an operation on a thread for blocking work: the futures of some cannot move between threads.
///
/// # Errors
/// Those of the operation.
pub(super) async fn on_one_thread<T: Send + 'static, F: Future<Output = Result<T, Problem>>>(
    operation: impl FnOnce() -> F + Send + 'static,
) -> Result<T, Problem> {
    let run = move || Handle::current().block_on(operation());
    spawn_blocking(run).await.unwrap_or_else(|error| Err(Problem::internal(&error)))
}
