//! Samples the database for metrics and for the part `lag` of `/readyz`, so that neither queries it when it is read.
//!
//! It has its own connection and short deadlines. Each part is sampled by itself, the lag first. A failed sample only
//! raises the count of failures: the components that work with the database report whether it is reachable.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use time::OffsetDateTime;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::component::{LAG, SAMPLER};
use crate::{
    health::Health,
    metrics::{Metrics, Running, Settled, Trouble, Unsettled, Waiting},
    postgres::{
        Database,
        samples::{self, Counted, Lag, OpenOperations},
    },
    settings::Postgres,
    telemetry::chain,
};

/// Time between two samples.
const INTERVAL: Duration = Duration::from_secs(5);

/// Maximum time of a statement, and of the wait for a connection.
const DEADLINE: Duration = Duration::from_secs(2);

/// After this time without a sample, the lag is unknown.
const MAX_AGE: Duration = Duration::from_mins(1);

/// The task.
pub struct Sampler {
    /// Its own pool, with [`settings`].
    pub database: Database,
    /// Receives the samples.
    pub metrics: Arc<Metrics>,
    /// Receives the lag.
    pub health: Health,
    /// The lag at which the process is no longer ready.
    pub max_lag: Duration,
}

/// The settings of the sampler's pool.
#[must_use]
pub fn settings(postgres: &Postgres) -> Postgres {
    Postgres {
        max_connections: 1,
        acquire_timeout: postgres.acquire_timeout.min(DEADLINE),
        statement_timeout: postgres.statement_timeout.min(DEADLINE),
        ..postgres.clone()
    }
}

impl Sampler {
    /// Samples until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut tick = interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut counted_until, mut sampled_at, mut is_late) = (None, Instant::now(), false);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            // First, and by itself: other samples may take too long.
            let lag = self.database.unit(samples::lag).await;
            match self.noted(lag) {
                Ok(lag) => {
                    sampled_at = Instant::now();
                    self.metrics.lag.set(Waiting::Publish, lag.publish);
                    self.metrics.lag.set(Waiting::Webhook, lag.webhook);
                    self.report(lag, &mut is_late);
                }
                Err(error) if sampled_at.elapsed() > MAX_AGE => {
                    let seconds = sampled_at.elapsed().as_secs();
                    self.health.failing(LAG, format!("not known for {seconds} s: {error}"));
                }
                Err(_) => {}
            }
            let parts = [
                stop.is_cancelled() || self.sample_endpoints().await,
                stop.is_cancelled() || self.sample_unsettled().await,
                stop.is_cancelled() || self.sample_settled(&mut counted_until).await,
                stop.is_cancelled() || self.sample_operations().await,
            ];
            if sampled_at.elapsed() < INTERVAL && parts.iter().all(|is_done| *is_done) {
                self.metrics.sampled_at.set((), unix_time(OffsetDateTime::now_utc()));
            }
        }
        info!(component = SAMPLER, "{SAMPLER} stopped");
    }

    /// Counts a failure, and returns it as text.
    fn noted<T>(&self, sampled: Result<T, sqlx::Error>) -> Result<T, String> {
        sampled.map_err(|error| {
            let error = chain(&error);
            debug!(component = SAMPLER, error, "could not sample the database: {error}");
            self.metrics.failed_samples.add((), 1);
            error
        })
    }

    async fn sample_endpoints(&self) -> bool {
        let Ok(endpoints) = self.noted(self.database.unit(samples::troubled_endpoints).await) else {
            return false;
        };
        self.metrics.endpoints.set_all(
            endpoints.into_iter().filter_map(|(state, count)| Some((trouble(&state)?, as_f64(count)))),
        );
        true
    }

    async fn sample_unsettled(&self) -> bool {
        let Ok(unsettled) = self.noted(self.database.unit(samples::unsettled).await) else { return false };
        self.metrics.unsettled.set_all(unsettled.iter().filter_map(|one| {
            let state = if one.state == "open" { Unsettled::Open } else { Unsettled::Replaying };
            Some(((one.stage.parse().ok()?, one.reason.parse().ok()?, state), as_f64(one.count)))
        }));
        true
    }

    async fn sample_operations(&self) -> bool {
        let Ok(open) = self.noted(self.database.unit(samples::operations).await) else { return false };
        let state =
            |one: &OpenOperations| if one.state == "paused" { Running::Paused } else { Running::Running };
        self.metrics.operations.set_all(open.iter().map(|one| (state(one), as_f64(one.count))));
        self.metrics.operation_items.set_all(open.iter().map(|one| (state(one), as_f64(one.items))));
        true
    }

    /// Adds those that were settled since the last count.
    async fn sample_settled(&self, counted_until: &mut Option<OffsetDateTime>) -> bool {
        let since = *counted_until;
        let sample = async |conn: &mut PgConnection| {
            let until = samples::settled_by(conn).await?;
            match since {
                Some(since) if since < until => samples::settled(conn, since, until).await,
                Some(since) => Ok((Vec::new(), since)),
                None => Ok((Vec::new(), until)),
            }
        };
        let Ok((settled, until)) = self.noted(self.database.unit(sample).await) else { return false };
        *counted_until = Some(until);
        for Counted { stage, reason, state, count } in settled {
            let state = if state == "discarded" { Settled::Discarded } else { Settled::Resolved };
            if let (Ok(stage), Ok(reason), Ok(count)) = (stage.parse(), reason.parse(), count.try_into()) {
                self.metrics.settled.add((stage, reason, state), count);
            }
        }
        true
    }

    /// Reports the lag to `/readyz`, and logs each change.
    fn report(&self, lag: Lag, is_late: &mut bool) {
        let in_memory = |stage| self.metrics.oldest_waiting.value(stage);
        let waits = [
            (Waiting::Upsert, in_memory(Waiting::Upsert)),
            (Waiting::Publish, lag.publish.max(in_memory(Waiting::Publish))),
            (Waiting::Webhook, lag.webhook.max(in_memory(Waiting::Webhook))),
        ];
        let limit = self.max_lag.as_secs_f64();
        let late: Vec<String> = waits
            .into_iter()
            .filter(|(_, seconds)| *seconds > limit)
            .map(|(stage, seconds)| format!("{} has waited for {seconds:.0} s", <&str>::from(stage)))
            .collect();
        let was_late = std::mem::replace(is_late, !late.is_empty());
        if late.is_empty() {
            if was_late {
                info!(component = LAG, "no work waits longer than health.max_lag any more");
            }
            self.health.ready(LAG);
            return;
        }
        let late = late.join(", ");
        if !was_late {
            warn!(component = LAG, "work has waited longer than health.max_lag: {late}");
        }
        let limit = humantime::format_duration(self.max_lag);
        self.health.failing(LAG, format!("work has waited longer than health.max_lag ({limit}): {late}"));
    }
}

fn trouble(state: &str) -> Option<Trouble> {
    [Trouble::Paused, Trouble::Disabled, Trouble::Open, Trouble::HalfOpen, Trouble::RampUp]
        .into_iter()
        .find(|trouble| <&str>::from(*trouble) == state)
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
const fn as_f64(count: i64) -> f64 {
    count as f64
}

fn unix_time(at: OffsetDateTime) -> f64 {
    (at - OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
}
