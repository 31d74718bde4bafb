//! Records what attempts came to, in batches of whatever is there. An outcome is never dropped: while
//! the database is away the same batch is tried again, and no new delivery is claimed meanwhile.

use std::{sync::Arc, time::Duration};

use sqlx::Connection as _;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};
use uuid::Uuid;

use super::{PART, attempt::Finished};
use crate::{
    domain::attempt::{Next, RetryRule, after_attempt},
    health::Health,
    postgres::{
        Database, chain_results,
        deliveries::{self, DeliveryKey, Recorded},
        outbox::OutboxMessage,
    },
    telemetry::chain,
    workers::backoff::Backoff,
};

/// Most outcomes of one transaction.
const BATCH: usize = 256;

/// How long the recorder waits for the relay.
const RELAY_PATIENCE: Duration = Duration::from_millis(100);

/// The one task of a worker that writes outcomes.
pub(super) struct Recorder {
    pub(super) database: Database,
    pub(super) rule: RetryRule,
    pub(super) health: Health,
    /// Told when a delivery will be due again.
    pub(super) retry_noted: Arc<Notify>,
    /// Whether a batch is waiting for the database.
    pub(super) stuck: watch::Sender<bool>,
    /// Takes the results of chains that are over.
    pub(super) relay: mpsc::Sender<Vec<OutboxMessage>>,
    pub(super) results: chain_results::Terms,
}

/// A batch, ready to be written.
#[derive(Default)]
struct Batch {
    attempted: Vec<Recorded>,
    given_back: Vec<(DeliveryKey, Uuid)>,
}

impl Recorder {
    /// Records until the last attempt has ended.
    pub(super) async fn run(self, mut finished: mpsc::UnboundedReceiver<Finished>) {
        let mut taken = Vec::with_capacity(BATCH);
        while finished.recv_many(&mut taken, BATCH).await > 0 {
            // Room is given back when the batch is recorded, not before.
            let mut rooms = Vec::with_capacity(taken.len());
            let mut batch = Batch::default();
            for Finished { delivery, attempted, room } in taken.drain(..) {
                rooms.push(room);
                match attempted {
                    Some((started_at, outcome)) => {
                        let attempts_in_round = delivery.attempts_in_round.saturating_add(1);
                        let next = after_attempt(&outcome, attempts_in_round, &self.rule, rand::random());
                        batch.attempted.push(Recorded { delivery, started_at, outcome, next });
                    }
                    None => batch.given_back.push((delivery.key, delivery.lease_token)),
                }
            }
            self.record(&batch).await;
            // Not before all that ended meanwhile is written: each of them may look due by now.
            if finished.is_empty() {
                self.stuck.send_if_modified(std::mem::take);
            }
        }
    }

    /// Tries until it is done. There is no stop: whoever ends the process ends this, and what is not
    /// recorded then becomes due again.
    async fn record(&self, batch: &Batch) {
        let (mut backoff, never) = (Backoff::default(), CancellationToken::new());
        loop {
            let unit = async |conn: &mut sqlx::PgConnection| {
                let mut transaction = conn.begin().await?;
                let lost = deliveries::record(&mut transaction, &batch.attempted).await?;
                deliveries::hand_back(&mut transaction, &batch.given_back).await?;
                let over = awaited_ends(&batch.attempted, &lost);
                let results = chain_results::ended(&mut transaction, &over, &self.results).await?;
                transaction.commit().await?;
                Ok::<_, sqlx::Error>((lost, results))
            };
            match self.database.unit(unit).await {
                Ok((lost, results)) => {
                    self.tell(batch, &lost);
                    return self.hand_over(results).await;
                }
                Err(error) => {
                    self.stuck.send_replace(true);
                    let error = chain(&error);
                    let outcomes = batch.attempted.len();
                    warn!(
                        error,
                        outcomes, "{PART} cannot record {outcomes} outcomes and waits for the database"
                    );
                    self.health.failing(PART, format!("database: {error}"));
                    backoff.wait(&never).await;
                }
            }
        }
    }

    /// Whoever waits for a result should not wait for a sweep of the outbox. But where the relay stands
    /// still, because the broker does, outcomes are recorded all the same.
    async fn hand_over(&self, results: Vec<OutboxMessage>) {
        if !results.is_empty() {
            let _ = timeout(RELAY_PATIENCE, self.relay.send(results)).await;
        }
    }

    fn tell(&self, batch: &Batch, lost: &[DeliveryKey]) {
        for key in lost {
            warn!(delivery_id = %key.id, "the lease of delivery {} was lost; its outcome is not recorded", key.id);
        }
        for Recorded { delivery, outcome, next, .. } in &batch.attempted {
            let id = delivery.key.id;
            match next {
                Next::Delivered => {}
                Next::RetryAfter(wait) => {
                    self.retry_noted.notify_one();
                    let (class, delay_ms) = (outcome.class.name(), wait.as_millis());
                    info!(delivery_id = %id, class, delay_ms, "delivery {id} failed ({class}) and is tried again");
                }
                Next::Dead(reason, _) => {
                    let reason = reason.name();
                    warn!(delivery_id = %id, reason, "delivery {id} is a dead letter ({reason})");
                }
            }
        }
    }
}

/// The deliveries that have ended, of chains whose end somebody waits for.
fn awaited_ends(attempted: &[Recorded], lost: &[DeliveryKey]) -> Vec<DeliveryKey> {
    attempted
        .iter()
        .filter(|one| one.delivery.awaited && !matches!(one.next, Next::RetryAfter(_)))
        .map(|one| one.delivery.key.clone())
        .filter(|key| !lost.contains(key))
        .collect()
}
