//! What every request handler of the API and the console can use.

use std::{sync::Arc, time::Duration};

use tokio::{
    runtime::Handle,
    sync::{Semaphore, watch},
    task::spawn_blocking,
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::{
    keyring::Keyring,
    problem::{Kind, Problem},
    released_keys::ReleasedKeys,
    sign_in_throttle::SignInThrottle,
};
use crate::{health::Health, postgres::Database, settings::Settings, workers::queue_depths::Depths};

/// How many previews may run at once. Each may keep a core busy.
pub(super) const MAX_PREVIEWS: usize = 2;

/// How long a preview waits for its place.
const PREVIEW_WAIT: Duration = Duration::from_secs(5);

/// Places of operations, each of which has a thread. Others wait.
static OPERATIONS: Semaphore = Semaphore::const_new(16);

/// Cheap to clone.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) settings: Arc<Settings>,
    /// A separate pool, so that a slow search cannot slow down the workers.
    pub(super) database: Database,
    /// For changes that need more time than a page has: unmerge and erase.
    pub(super) for_long_changes: Database,
    pub(super) keyring: Arc<Keyring>,
    pub(super) sign_in_throttle: Arc<SignInThrottle>,
    /// The state of this process.
    pub(super) health: Health,
    pub(super) queue_depths: watch::Receiver<Depths>,
    /// Changes that have begun. They continue when their client disconnects, and the server waits for them when it stops.
    pub(super) changes: TaskTracker,
    pub(super) released_keys: Arc<ReleasedKeys>,
    /// Places of previews. One that nobody waits for any more keeps its place until it ends.
    pub(super) previews: Arc<Semaphore>,
}

impl Shared {
    /// Runs a preview or check on a thread for blocking work: a schema may take a while to compile.
    ///
    /// # Errors
    /// When too many others run.
    pub(super) async fn preview<T: Send + 'static>(
        &self,
        run: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = timeout(PREVIEW_WAIT, Arc::clone(&self.previews).acquire_owned()).await;
        let Ok(Ok(place)) = place else {
            return Err(Problem::new(Kind::Unavailable, "too many previews run; try again").retry_after(5));
        };
        let run = move || {
            let shown = run();
            drop(place);
            shown
        };
        spawn_blocking(run).await.map_err(|error| Problem::internal(&error))
    }
}

/// Runs an operation on a thread for blocking work: the futures of some cannot move between threads.
///
/// # Errors
/// Those of the operation.
pub(super) async fn on_one_thread<T: Send + 'static, F: Future<Output = Result<T, Problem>>>(
    operation: impl FnOnce() -> F + Send + 'static,
) -> Result<T, Problem> {
    let place = OPERATIONS.acquire().await.map_err(|error| Problem::internal(&error))?;
    let run = move || {
        let done = Handle::current().block_on(operation());
        drop(place);
        done
    };
    spawn_blocking(run).await.unwrap_or_else(|error| Err(Problem::internal(&error)))
}
