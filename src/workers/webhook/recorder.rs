//! Records what attempts came to, in batches of whatever is there. An outcome is never dropped: while
//! the database is away the same batch is tried again, and no new delivery is claimed meanwhile.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sqlx::Connection as _;
use time::OffsetDateTime;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::{
    PART,
    attempt::{Claimed, Finished},
    lanes::Lanes,
};
use crate::{
    domain::chain::outgoing::OutgoingEvent,
    domain::webhook::{
        attempt::{Class, Next, Round, after_attempt, hold, signal},
        breaker::{BreakerRule, Signal, State},
    },
    health::Health,
    postgres::{
        Database, chain_results,
        deliveries::{self, ClaimedDelivery, DeliveryKey, Recorded},
        endpoints::{self, Change, EndpointKey},
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
    pub(super) breaker: BreakerRule,
    pub(super) lanes: Arc<Lanes>,
    pub(super) health: Health,
    /// Told when a delivery will be due again.
    pub(super) retry_noted: Arc<Notify>,
    /// Whether a batch is waiting for the database.
    pub(super) stuck: watch::Sender<bool>,
    /// Takes the results of chains that are over.
    pub(super) relay: mpsc::Sender<Vec<OutgoingEvent>>,
    pub(super) results: chain_results::Terms,
}

/// A batch, ready to be written.
#[derive(Default)]
struct Batch {
    attempted: Vec<Recorded>,
    given_back: Vec<ClaimedDelivery>,
    /// Lanes whose endpoint must hear of it, in the one order of locks of all workers.
    reports: BTreeMap<EndpointKey, Vec<Report>>,
}

/// What one attempt says about its endpoint.
struct Report {
    signal: Signal,
    hold: Option<std::time::Duration>,
    is_gone: bool,
    error: Option<String>,
}

impl Recorder {
    /// Records until the last attempt has ended.
    pub(super) async fn run(self, mut finished: mpsc::UnboundedReceiver<Finished>) {
        let mut taken = Vec::with_capacity(BATCH);
        while finished.recv_many(&mut taken, BATCH).await > 0 {
            // Room is given back when the batch is recorded, not before.
            let mut rooms = Vec::with_capacity(taken.len());
            let mut batch = Batch::default();
            for Finished { claimed, attempted } in taken.drain(..) {
                let Claimed { delivery, place, room, .. } = claimed;
                match attempted {
                    Some((started_at, outcome)) => {
                        place.0.has_ended();
                        let attempts = delivery.attempts_in_round.saturating_add(1);
                        let round = Round { attempts, age: delivery.age };
                        let next = after_attempt(&outcome, round, &place.0.route.rule, rand::random());
                        let recorded = Recorded { delivery, started_at, outcome, next };
                        if !recorded.delivery.is_calm || !is_success(&recorded) || place.0.is_to_be_noted() {
                            let lane = recorded.delivery.lane.clone();
                            batch.reports.entry(lane).or_default().push(Report::of(&recorded));
                        }
                        batch.attempted.push(recorded);
                    }
                    None => batch.given_back.push(delivery),
                }
                rooms.push((place, room));
            }
            self.record(&batch).await;
            drop(rooms);
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
                let now = OffsetDateTime::now_utc();
                let over = awaited_ends(&batch.attempted, &lost);
                let results = chain_results::ended(&mut transaction, &over, &self.results, now).await?;
                let changes = self.report(&mut transaction, &batch.reports).await?;
                endpoints::release_probes(&mut transaction, &batch.given_back).await?;
                transaction.commit().await?;
                Ok::<_, sqlx::Error>((lost, changes, results))
            };
            match self.database.unit(unit).await {
                Ok((lost, changes, results)) => {
                    self.tell(batch, &lost);
                    self.tell_of_endpoints(&changes);
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
    async fn hand_over(&self, results: Vec<OutgoingEvent>) {
        if !results.is_empty() {
            let _ = timeout(RELAY_PATIENCE, self.relay.send(results)).await;
        }
    }

    /// Carries the signals of a batch to the rows of its endpoints.
    async fn report(
        &self,
        conn: &mut sqlx::PgConnection,
        reports: &BTreeMap<EndpointKey, Vec<Report>>,
    ) -> Result<Vec<Change>, sqlx::Error> {
        if reports.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<&EndpointKey> = reports.keys().collect();
        let mut changes = endpoints::lock(conn, &keys).await?;
        for change in &mut changes {
            for report in reports.get(&change.key).into_iter().flatten() {
                let breaker = &mut change.breaker;
                *breaker = breaker.after(report.signal, change.now, change.most_in_flight, &self.breaker);
                change.hold = change.hold.max(report.hold);
                change.is_gone |= report.is_gone;
                change.has_succeeded |= report.signal == Signal::Alive;
                if report.error.is_some() {
                    change.error.clone_from(&report.error);
                }
            }
        }
        endpoints::save(conn, &changes).await?;
        Ok(changes)
    }

    fn tell(&self, batch: &Batch, lost: &[DeliveryKey]) {
        for key in lost {
            warn!(delivery_id = %key.id, "the lease of delivery {} was lost; its outcome is not recorded", key.id);
        }
        for Recorded { delivery, outcome, next, .. } in &batch.attempted {
            let id = delivery.key.id;
            match next {
                Next::Delivered => {}
                Next::Retry { after, .. } => {
                    self.retry_noted.notify_one();
                    let (class, delay_ms) = (outcome.class.name(), after.as_millis());
                    info!(delivery_id = %id, class, delay_ms, "delivery {id} failed ({class}) and is tried again");
                }
                Next::Dead(reason, _) => {
                    let reason = reason.name();
                    warn!(delivery_id = %id, reason, "delivery {id} is a dead letter ({reason})");
                }
            }
        }
    }

    /// One line for each endpoint that changed, and no request from what this process holds of it.
    fn tell_of_endpoints(&self, changes: &[Change]) {
        for change in changes {
            let id = change.key.id;
            let wait = change.hold.or_else(|| change.opens_for());
            if change.is_gone {
                warn!(endpoint_id = %id, "endpoint {id} is gone and disabled; its deliveries wait until it is enabled");
            }
            match (change.was, change.breaker.state) {
                (State::Open, State::Open) | (State::Closed, State::Closed) => {}
                (_, State::Open) => {
                    let delay_ms = change.opens_for().unwrap_or_default().as_millis();
                    warn!(endpoint_id = %id, delay_ms, "the breaker of endpoint {id} opened");
                }
                (_, State::Closed) => info!(endpoint_id = %id, "the breaker of endpoint {id} closed"),
                _ => {}
            }
            if (wait.is_some() || change.is_gone)
                && let Some(lane) = self.lanes.get(&change.key)
            {
                lane.outdate();
            }
            if wait.is_some() || !change.breaker.is_calm() {
                self.retry_noted.notify_one();
            }
        }
    }
}

fn is_success(recorded: &Recorded) -> bool {
    recorded.outcome.class == Class::Delivered
}

impl Report {
    fn of(Recorded { outcome, .. }: &Recorded) -> Self {
        Self {
            signal: signal(outcome),
            hold: hold(outcome),
            is_gone: outcome.class == Class::Gone,
            error: outcome.error.clone(),
        }
    }
}

/// The deliveries that have ended, of chains whose end somebody waits for.
fn awaited_ends(attempted: &[Recorded], lost: &[DeliveryKey]) -> Vec<DeliveryKey> {
    attempted
        .iter()
        .filter(|one| one.delivery.is_awaited && !matches!(one.next, Next::Retry { .. }))
        .map(|one| one.delivery.key.clone())
        .filter(|key| !lost.contains(key))
        .collect()
}
