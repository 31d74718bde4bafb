//! Samples the database for metrics and for the part `lag` of `/readyz`, so that neither of them asks it when it is read.
//!
//! It has a connection of its own and short deadlines. A sample that fails changes nothing but its count: whether the
//! database can be reached is reported by those who work with it.

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
    metrics::{Metrics, Settled, Trouble, Unsettled, Waiting},
    postgres::{
        Database,
        samples::{self, Counted, Lag},
    },
    settings::Postgres,
    telemetry::chain,
};

/// Time between two samples.
const INTERVAL: Duration = Duration::from_secs(5);

/// Maximum time of a statement, and of the wait for a connection.
const DEADLINE: Duration = Duration::from_secs(2);

/// Without a sample for so long, the lag is unknown.
const MAX_AGE: Duration = Duration::from_mins(1);

/// The task.
pub struct Sampler {
    /// A pool of its own, with [`settings`].
    pub database: Database,
    /// Receives the samples.
    pub metrics: Arc<Metrics>,
    /// Receives the lag.
    pub health: Health,
    /// The lag from which on the process is not ready.
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
            match self.database.unit(async |conn| self.sample(conn, counted_until).await).await {
                Ok((lag, until)) => {
                    (counted_until, sampled_at) = (Some(until), Instant::now());
                    self.metrics.sampled_at.set((), unix_time(OffsetDateTime::now_utc()));
                    self.report(lag, &mut is_late);
                }
                Err(error) => {
                    let error = chain(&error);
                    debug!(component = SAMPLER, error, "could not sample the database: {error}");
                    self.metrics.failed_samples.add((), 1);
                    if sampled_at.elapsed() > MAX_AGE {
                        let seconds = sampled_at.elapsed().as_secs();
                        self.health.failing(LAG, format!("not known for {seconds} s: {error}"));
                    }
                }
            }
        }
        info!(component = SAMPLER, "{SAMPLER} stopped");
    }

    /// Takes a sample. Settled dead letters were counted until then; returns until when they are counted now.
    async fn sample(
        &self,
        conn: &mut PgConnection,
        counted_until: Option<OffsetDateTime>,
    ) -> Result<(Lag, OffsetDateTime), sqlx::Error> {
        let lag = samples::lag(conn).await?;
        let endpoints = samples::troubled_endpoints(conn).await?;
        let unsettled = samples::unsettled(conn).await?;
        let until = samples::settled_by(conn).await?;
        let (settled, until) = match counted_until {
            Some(since) if since < until => samples::settled(conn, since, until).await?,
            Some(since) => (Vec::new(), since),
            None => (Vec::new(), until),
        };
        let metrics = &self.metrics;
        metrics.lag.set(Waiting::Publish, lag.publish);
        metrics.lag.set(Waiting::Webhook, lag.webhook);
        metrics.endpoints.set_all(
            endpoints.into_iter().filter_map(|(state, count)| Some((trouble(&state)?, as_f64(count)))),
        );
        metrics.unsettled.set_all(unsettled.iter().filter_map(|one| {
            let state = if one.state == "open" { Unsettled::Open } else { Unsettled::Replaying };
            Some(((one.stage.parse().ok()?, one.reason.parse().ok()?, state), as_f64(one.count)))
        }));
        for Counted { stage, reason, state, count } in settled {
            let state = if state == "discarded" { Settled::Discarded } else { Settled::Resolved };
            if let (Ok(stage), Ok(reason), Ok(count)) = (stage.parse(), reason.parse(), count.try_into()) {
                metrics.settled.add((stage, reason, state), count);
            }
        }
        Ok((lag, until))
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
                info!(component = LAG, "no work waits for longer than health.max_lag any more");
            }
            self.health.ready(LAG);
            return;
        }
        let late = late.join(", ");
        if !was_late {
            warn!(component = LAG, "work waits for longer than health.max_lag: {late}");
        }
        let limit = humantime::format_duration(self.max_lag);
        self.health.failing(LAG, format!("work waits for longer than health.max_lag ({limit}): {late}"));
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
