//! Messages that may end the process. Each is in a transaction of its own, and each start is counted before it begins, so
//! the count of a message that ends the process grows.

use std::time::Duration;

use tracing::warn;

use super::{
    commit::Committer,
    portion::Portion,
    round::Round,
    transaction::Patience,
    triage::{self, Triage, Triaged},
    worker::UpsertWorker,
};
use crate::{
    amqp::Received,
    domain::{
        event::body_hash,
        fault::{Fault, Reason},
    },
    postgres::suspects,
    telemetry::chain,
    workers::retry,
};

/// How often a message may be started alone before it becomes a dead letter.
const MAX_STARTS: i32 = 5;

/// Maximum time to clear a count while the worker stops: it must be able to, even if the database is unreachable.
const CLEAR_TIMEOUT: Duration = Duration::from_secs(2);

impl Committer {
    /// Commits a message that has been delivered too often, see [`Committer::run`].
    pub(super) async fn commit_suspect(&self, number: u64, message: Received) -> Option<Vec<Portion>> {
        let hash = body_hash(&message.body);
        let starts = self.count_start(&hash).await?;
        let triaged = if starts > MAX_STARTS {
            let text = format!("the process ended {MAX_STARTS} times while it worked on this message alone");
            Triaged::Rejected(triage::undecoded(&message, Fault::new(Reason::CrashLoop, text)))
        } else {
            let mut triage = Triage::of(&self.worker);
            let triaged = triage.decide(message, self.worker.presence.now());
            triage.report();
            triaged
        };
        let mut portion = Portion { suspect: Some(hash), ..Portion::default() };
        portion.add(number, triaged);
        let committed = self.commit(Round::of(portion), self.patience_with_new(), Vec::new()).await;
        // Even if stopped before the commit, or parked: this start did not end the process.
        self.clear_starts(&hash).await;
        committed
    }

    /// Tries one that was parked.
    pub(super) async fn commit_parked_suspect(
        &self,
        hash: &[u8; 32],
        parked: Portion,
    ) -> Option<Vec<Portion>> {
        self.count_start(hash).await?;
        let committed = self.commit(Round::again(vec![parked]), Patience::Brief, Vec::new()).await;
        self.clear_starts(hash).await;
        committed
    }

    async fn count_start(&self, hash: &[u8]) -> Option<i32> {
        let UpsertWorker { database, health, name, .. } = self.worker.as_ref();
        let count = || database.unit(async move |conn| suspects::begin(conn, hash).await);
        retry::until_answered(name, health, &self.stop, count).await
    }

    async fn clear_starts(&self, hash: &[u8]) {
        let UpsertWorker { database, health, name, .. } = self.worker.as_ref();
        let clear = || database.unit(async move |conn| suspects::clear(conn, hash).await);
        let cleared = match retry::until_judged(name, health, &self.stop, clear).await {
            Some(cleared) => cleared,
            // Best effort: a leftover count matters only if the same message comes again.
            None => tokio::time::timeout(CLEAR_TIMEOUT, clear()).await.unwrap_or_else(|_| {
                warn!(
                    component = name,
                    "{name} stops without clearing the count of a message that it has processed"
                );
                Ok(())
            }),
        };
        if let Err(error) = cleared {
            retry::report_failure(name, health, &chain(&error));
        }
    }
}
