//! The life of a process. Runs named tasks until a signal, the stop token or the unexpected exit of a task, then
//! drains them within the grace period. Servers answer until the other tasks have ended. A second signal ends the
//! process at once.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use anyhow::Context as _;
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::{Id, JoinError, JoinSet},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// Starts the tasks, waits until the process is to stop, reports that it is `stopping`, cancels `stop` and drains the
/// tasks.
///
/// # Errors
/// When `start` failed, a task exited before the stop, the tasks outlasted `grace`, or a second signal came.
pub(super) async fn run(
    stop: &CancellationToken,
    grace: Duration,
    stopping: impl FnOnce(),
    start: impl AsyncFnOnce(&mut Tasks) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut signals = Signals::new()?;
    let mut tasks = Tasks::default();
    let outcome = tokio::select! {
        // A stop comes first: the tasks that it ends do not exit unexpectedly.
        biased;
        () = signals.next() => Ok(()),
        () = stop.cancelled() => Ok(()),
        error = supervise(&mut tasks, start) => Err(error),
    };
    info!(grace_ms = grace.as_millis(), "stopping; finishing work in progress first");
    // First of all: nobody should send it requests any more.
    stopping();
    stop.cancel();
    tokio::select! {
        drained = timeout(grace, tasks.drain()) => drained
            .context("work in progress outlasted shutdown.grace; the next process will repeat it")?,
        () = signals.next() => anyhow::bail!("a second signal ended the process at once"),
    }
    info!("stopped");
    outcome
}

/// Starts the tasks and waits for the first one that exits; none should.
async fn supervise(
    tasks: &mut Tasks,
    start: impl AsyncFnOnce(&mut Tasks) -> anyhow::Result<()>,
) -> anyhow::Error {
    if let Err(error) = start(tasks).await {
        return error;
    }
    match tasks.next_exit().await {
        Some(Exit { task, panicked }) => {
            error!(task, panicked, "task {task} exited unexpectedly");
            anyhow::anyhow!("task {task} exited unexpectedly")
        }
        None => anyhow::anyhow!("the process has no tasks"),
    }
}

/// The tasks of the process, by name.
#[derive(Default)]
pub(super) struct Tasks {
    running: JoinSet<()>,
    names: HashMap<Id, String>,
    /// Those that answer until all others have ended.
    servers: HashSet<Id>,
    /// Canceled then.
    others_ended: CancellationToken,
}

struct Exit {
    task: String,
    panicked: bool,
}

impl Tasks {
    pub(super) fn spawn(&mut self, name: impl Into<String>, task: impl Future<Output = ()> + Send + 'static) {
        let id = self.running.spawn(task).id();
        self.names.insert(id, name.into());
    }

    /// Spawns a task that runs until all others have ended, when its token is canceled.
    pub(super) fn spawn_server<F>(
        &mut self,
        name: impl Into<String>,
        server: impl FnOnce(CancellationToken) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let id = self.running.spawn(server(self.others_ended.clone())).id();
        self.names.insert(id, name.into());
        self.servers.insert(id);
    }

    async fn next_exit(&mut self) -> Option<Exit> {
        let (id, panicked) = match self.running.join_next_with_id().await? {
            Ok((id, ())) => (id, false),
            Err(error) => (error.id(), JoinError::is_panic(&error)),
        };
        self.servers.remove(&id);
        Some(Exit { task: self.names.remove(&id).unwrap_or_default(), panicked })
    }

    /// Waits until every task has exited.
    async fn drain(&mut self) {
        loop {
            if self.running.len() == self.servers.len() {
                self.others_ended.cancel();
            }
            let Some(exit) = self.next_exit().await else { return };
            if exit.panicked {
                let Exit { task, panicked } = exit;
                error!(task, panicked, "task {task} panicked while the process was stopping");
            }
        }
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> anyhow::Result<Self> {
        let listen = |kind| signal(kind).context("could not listen for signals");
        Ok(Self { terminate: listen(SignalKind::terminate())?, interrupt: listen(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: Duration = Duration::from_secs(10);

    async fn outcome(start: impl AsyncFnOnce(&mut Tasks) -> anyhow::Result<()>) -> String {
        let stop = CancellationToken::new();
        let outcome = run(&stop, GRACE, || {}, start).await;
        assert!(stop.is_cancelled(), "the other tasks are stopped");
        outcome.unwrap_err().to_string()
    }

    #[tokio::test]
    async fn an_unexpected_exit_names_the_task() {
        let ended = outcome(async |tasks: &mut Tasks| {
            tasks.spawn("outbox-relay", async {});
            Ok(())
        });
        assert_eq!(ended.await, "task outbox-relay exited unexpectedly");
        let panicked = outcome(async |tasks: &mut Tasks| {
            tasks.spawn("upsert-1", async { panic!("on purpose") });
            Ok(())
        });
        assert_eq!(panicked.await, "task upsert-1 exited unexpectedly");
    }

    #[tokio::test]
    async fn a_failed_start_is_returned_after_the_drain() {
        let failed = outcome(async |tasks: &mut Tasks| {
            tasks.spawn("console", async {});
            anyhow::bail!("no broker")
        });
        assert_eq!(failed.await, "no broker");
    }

    #[tokio::test]
    async fn a_stop_drains_the_tasks() {
        let stop = CancellationToken::new();
        let start = async |tasks: &mut Tasks| {
            tasks.spawn("console", stop.clone().cancelled_owned());
            stop.cancel();
            Ok(())
        };
        run(&stop, GRACE, || {}, start).await.unwrap();
    }

    #[tokio::test]
    async fn servers_answer_until_the_other_tasks_have_ended() {
        let stop = CancellationToken::new();
        let (last, told) = (CancellationToken::new(), CancellationToken::new());
        let start = async |tasks: &mut Tasks| {
            let (worker_ended, server) = (last.clone(), last.clone());
            let stopped = stop.clone();
            tasks.spawn("worker", async move {
                stopped.cancelled().await;
                worker_ended.cancel();
            });
            tasks.spawn_server("console", |end| async move {
                end.cancelled().await;
                assert!(server.is_cancelled(), "the worker has ended before");
            });
            stop.cancel();
            Ok(())
        };
        run(&stop, GRACE, || told.cancel(), start).await.unwrap();
        assert!(told.is_cancelled() && last.is_cancelled());
    }

    #[tokio::test]
    async fn tasks_that_outlast_the_grace_period_are_an_error() {
        let stop = CancellationToken::new();
        let start = async |tasks: &mut Tasks| {
            tasks.spawn("console", std::future::pending());
            stop.cancel();
            Ok(())
        };
        let error = run(&stop, Duration::from_millis(10), || {}, start).await.unwrap_err();
        assert!(error.to_string().contains("shutdown.grace"), "{error}");
    }
}
