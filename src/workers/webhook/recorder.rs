//! Records the outcomes of attempts, in batches. An outcome is never dropped: while the database is unreachable
//! the same batch is retried, and nothing is claimed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use sqlx::{Connection as _, PgConnection};
use tokio::{
    sync::{Notify, mpsc, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, info, info_span, warn};

use super::{
    attempt::{Claimed, Finished},
    dead_letters,
    lanes::Lanes,
    results,
};
use crate::{
    domain::{
        chain::outgoing::OutgoingEvent,
        event::Key,
        webhook::{
            attempt::{Class, Next, Round, after_attempt, hold, signal},
            breaker::{BreakerRule, Signal, State},
        },
    },
    health::Health,
    postgres::{
        Database,
        deliveries::{self, ClaimedDelivery, Recorded},
        endpoints::{self, Change},
    },
    workers::{component::WEBHOOK_WORKER, retry},
};

/// Maximum number of outcomes in one transaction.
const MAX_BATCH: usize = 256;

/// Maximum wait for the relay to take results; afterwards its sweep of the outbox publishes them.
const RELAY_TIMEOUT: Duration = Duration::from_millis(100);

/// The one task of a worker that writes outcomes.
pub(super) struct Recorder {
    pub(super) database: Database,
    pub(super) breaker: BreakerRule,
    pub(super) lanes: Arc<Lanes>,
    pub(super) health: Health,
    /// Notified when a delivery may be due earlier than the next poll.
    pub(super) rescheduled: Arc<Notify>,
    /// Whether a batch is waiting for the database.
    pub(super) stuck: watch::Sender<bool>,
    /// Publishes the results of completed chains.
    pub(super) relay: mpsc::Sender<Vec<OutgoingEvent>>,
    /// CloudEvents `source` of the results.
    pub(super) source: String,
    /// How long only this process publishes them.
    pub(super) outbox_lease: Duration,
}

/// The outcomes that one transaction writes.
#[derive(Default)]
struct Batch {
    attempted: Vec<Recorded>,
    /// Claimed and not attempted.
    released: Vec<ClaimedDelivery>,
    /// Changes to the rows of endpoints, in the lock order of all workers.
    reports: BTreeMap<Key, Vec<Report>>,
}

/// What one attempt says about its endpoint.
struct Report {
    signal: Signal,
    hold: Option<Duration>,
    is_gone: bool,
    error: Option<String>,
}

/// What a transaction returns.
struct Written {
    /// Deliveries whose lease expired before they could be recorded.
    lost: Vec<Key>,
    changes: Vec<Change>,
    results: Vec<OutgoingEvent>,
}

impl Recorder {
    /// Records until the last attempt has ended.
    pub(super) async fn run(self, mut finished: mpsc::UnboundedReceiver<Finished>) {
        let mut taken = Vec::with_capacity(MAX_BATCH);
        while finished.recv_many(&mut taken, MAX_BATCH).await > 0 {
            // Permits are returned once the batch is recorded, not before.
            let mut permits = Vec::with_capacity(taken.len());
            let mut batch = Batch::default();
            for Finished { claimed, attempt } in taken.drain(..) {
                let Claimed { delivery, lane, permit, .. } = claimed;
                match attempt {
                    Some((started_at, outcome)) => {
                        lane.count_attempt();
                        let attempts = delivery.attempts_in_round.saturating_add(1);
                        let round = Round { attempts, age: delivery.age };
                        let next = after_attempt(&outcome, round, &lane.route.rule, rand::random());
                        let recorded = Recorded { delivery, started_at, outcome, next };
                        if !recorded.delivery.is_calm || !is_success(&recorded) || lane.takes_success() {
                            let key = recorded.delivery.lane.clone();
                            batch.reports.entry(key).or_default().push(Report::of(&recorded));
                        }
                        batch.attempted.push(recorded);
                    }
                    None => batch.released.push(delivery),
                }
                permits.push((lane, permit));
            }
            let span = info_span!("record", component = WEBHOOK_WORKER, deliveries = permits.len());
            self.record(&batch).instrument(span).await;
            drop(permits);
            // Still stuck while outcomes are left: each of their deliveries may look due by now.
            if finished.is_empty() {
                self.stuck.send_if_modified(std::mem::take);
            }
        }
    }

    /// Retries until the batch is written, even while the process is stopping. If the process ends first, the
    /// deliveries become due again.
    async fn record(&self, batch: &Batch) {
        let never = CancellationToken::new();
        let write = || async {
            let written = self.database.unit(async |conn| self.write(conn, batch).await).await;
            written.inspect_err(|_| {
                self.stuck.send_replace(true);
            })
        };
        let Some(Written { lost, changes, results }) =
            retry::until_answered(WEBHOOK_WORKER, &self.health, &never, write).await
        else {
            return;
        };
        log_outcomes(&batch.attempted, &lost);
        if batch.attempted.iter().any(|one| matches!(one.next, Next::Retry { .. })) {
            self.rescheduled.notify_one();
        }
        log_changes(&changes);
        self.close_lanes(&changes);
        if !results.is_empty() {
            // The relay cannot take them while the broker is unreachable, and outcomes must be recorded then, too.
            let _ = timeout(RELAY_TIMEOUT, self.relay.send(results)).await;
        }
    }

    async fn write(&self, conn: &mut PgConnection, batch: &Batch) -> Result<Written, sqlx::Error> {
        let mut transaction = conn.begin().await?;
        let lost = deliveries::record(&mut transaction, &batch.attempted).await?;
        dead_letters::record(&mut transaction, &batch.attempted, &lost).await?;
        deliveries::release(&mut transaction, &batch.released).await?;
        let ended = awaited_ends(&batch.attempted, &lost);
        let results = results::write(&mut transaction, &ended, &self.source, self.outbox_lease).await?;
        let changes = self.report(&mut transaction, &batch.reports).await?;
        let probes = batch.released.iter().filter(|delivery| delivery.is_probe);
        endpoints::release_probes(&mut transaction, probes.map(|delivery| &delivery.lane)).await?;
        transaction.commit().await?;
        Ok(Written { lost, changes, results })
    }

    /// Applies the reports of a batch to the rows of its endpoints.
    async fn report(
        &self,
        conn: &mut PgConnection,
        reports: &BTreeMap<Key, Vec<Report>>,
    ) -> Result<Vec<Change>, sqlx::Error> {
        if reports.is_empty() {
            return Ok(Vec::new());
        }
        let keys: Vec<&Key> = reports.keys().collect();
        let mut changes = endpoints::lock(conn, &keys).await?;
        for change in &mut changes {
            for report in reports.get(&change.key).into_iter().flatten() {
                let breaker = &mut change.breaker;
                *breaker = breaker.after(report.signal, change.now, change.max_in_flight, &self.breaker);
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

    /// Keeps this process from sending deliveries that it has claimed from lanes that are now closed.
    fn close_lanes(&self, changes: &[Change]) {
        for change in changes {
            let is_waiting = waits_for(change).is_some();
            if (is_waiting || change.is_gone)
                && let Some(lane) = self.lanes.get(&change.key)
            {
                lane.revoke_claims();
            }
            if is_waiting || !change.breaker.is_calm() {
                self.rescheduled.notify_one();
            }
        }
    }
}

/// How long nothing is sent to the endpoint: a hold, or the wait of its breaker.
fn waits_for(change: &Change) -> Option<Duration> {
    change.hold.or_else(|| change.opens_for())
}

fn log_outcomes(attempted: &[Recorded], lost: &[Key]) {
    for Key { company, id } in lost {
        warn!(
            delivery.id = %id,
            company.id = company,
            "the lease of delivery {id} was lost; its outcome is not recorded"
        );
    }
    for Recorded { delivery, outcome, next, .. } in attempted {
        let Key { company, id } = &delivery.key;
        match next {
            Next::Delivered => {}
            Next::Retry { after, .. } => {
                let (class, delay_ms) = (outcome.class.name(), after.as_millis());
                info!(
                    delivery.id = %id,
                    company.id = company,
                    class,
                    delay_ms,
                    "delivery {id} failed ({class}); next attempt in {delay_ms} ms"
                );
            }
            Next::Dead(reason, _) => {
                let reason = reason.name();
                warn!(
                    delivery.id = %id,
                    company.id = company,
                    reason,
                    "delivery {id} became a dead letter ({reason})"
                );
            }
        }
    }
}

/// One line for each endpoint that was disabled, and for each breaker that opened or closed.
fn log_changes(changes: &[Change]) {
    for change in changes {
        let Key { company, id } = &change.key;
        if change.is_gone {
            warn!(
                endpoint.id = %id,
                company.id = company,
                "endpoint {id} is gone and was disabled; its deliveries wait until an operator enables it"
            );
        }
        match (change.was, change.breaker.state) {
            (State::Open, State::Open) | (State::Closed, State::Closed) => {}
            (_, State::Open) => {
                let delay_ms = change.opens_for().unwrap_or_default().as_millis();
                warn!(
                    endpoint.id = %id,
                    company.id = company,
                    delay_ms,
                    "the breaker of endpoint {id} opened; next request in {delay_ms} ms"
                );
            }
            (_, State::Closed) => {
                info!(endpoint.id = %id, company.id = company, "the breaker of endpoint {id} closed");
            }
            _ => {}
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

/// The recorded deliveries that have ended and whose chain has a result to publish.
fn awaited_ends(attempted: &[Recorded], lost: &[Key]) -> Vec<Key> {
    attempted
        .iter()
        .filter(|one| one.delivery.is_awaited && !matches!(one.next, Next::Retry { .. }))
        .map(|one| one.delivery.key.clone())
        .filter(|key| !lost.contains(key))
        .collect()
}
