//! Works on operations that no other process works on: those that were resumed elsewhere, and those whose process has
//! died.

use std::{panic::resume_unwind, sync::Arc, time::Duration};

use tokio::{runtime::Handle, task::spawn_blocking, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info};
use uuid::Uuid;

use super::{backoff::Backoff, component::OPERATIONS};
use crate::{
    health::Health,
    operator::operations::executor::{Executor, Step, WorkError},
    postgres::Database,
    settings::Settings,
    telemetry::{chain, traces::Traces},
};

/// Time between two searches for an operation.
const POLL_INTERVAL: Duration = Duration::from_secs(1);

/// How long it works on one operation while others wait.
const TURN: Duration = Duration::from_secs(5);

/// The task.
pub struct Operations {
    /// All settings.
    pub settings: Arc<Settings>,
    /// The database.
    pub database: Database,
    /// Receives the state of this component.
    pub health: Health,
    /// Records the spans of replays.
    pub traces: Traces,
}

impl Operations {
    /// Works until `stop`. On a thread for blocking work, because transactions of operators are not futures that can move
    /// between threads.
    pub async fn run(self, stop: CancellationToken) {
        let work = move || Handle::current().block_on(self.run_here(stop));
        if let Err(ended) = spawn_blocking(work).await
            && ended.is_panic()
        {
            resume_unwind(ended.into_panic());
        }
    }

    async fn run_here(self, stop: CancellationToken) {
        let (mut backoff, mut executor) = (Backoff::default(), self.executor());
        while !stop.is_cancelled() {
            match self.round(&mut executor, &stop).await {
                Ok(()) => {
                    backoff.reset();
                    self.health.ready(OPERATIONS);
                    stop.run_until_cancelled(tokio::time::sleep(POLL_INTERVAL)).await;
                }
                Err(error) => {
                    let error = chain(&error);
                    tracing::warn!(component = OPERATIONS, error, "{OPERATIONS} cannot continue: {error}");
                    self.health.failing(OPERATIONS, error);
                    if !backoff.wait(&stop).await {
                        break;
                    }
                }
            }
        }
        info!(component = OPERATIONS, "{OPERATIONS} stopped");
    }

    fn executor(&self) -> Executor {
        Executor::new(self.database.clone(), Arc::clone(&self.settings)).traced(self.traces.clone())
    }

    /// Works on every operation that waits. After an error, an unfinished operation can be claimed when its lease has expired.
    async fn round(&self, executor: &mut Executor, stop: &CancellationToken) -> Result<(), WorkError> {
        while !stop.is_cancelled()
            && let Some(operation) = executor.claim(None).await?
        {
            debug!(component = OPERATIONS, %operation, "works on operation {operation}");
            self.health.ready(OPERATIONS);
            let worked = self.work(executor, operation, stop).await;
            // Another process need not wait for the lease.
            let released = executor.release(operation).await;
            worked?;
            released?;
        }
        Ok(())
    }

    /// Works until the operation ends, or it is another one's turn.
    async fn work(
        &self,
        executor: &mut Executor,
        operation: Uuid,
        stop: &CancellationToken,
    ) -> Result<(), WorkError> {
        let until = Instant::now() + TURN;
        while !stop.is_cancelled() && Instant::now() < until {
            match executor.step(operation).await? {
                Step::Worked => self.health.ready(OPERATIONS),
                Step::Waits(time) => drop(stop.run_until_cancelled(tokio::time::sleep(time)).await),
                Step::Ended => {
                    info!(component = OPERATIONS, %operation, "stopped working on operation {operation}");
                    return Ok(());
                }
            }
        }
        Ok(())
    }
}
