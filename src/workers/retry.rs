//! Retries until the database answers. An outage of the database looks the same for every component: it logs
//! the error, reports it to `/readyz`, waits with backoff, and reports itself ready once the database answers.

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::backoff::Backoff;
use crate::{
    health::Health,
    postgres::{Failure, classify},
    telemetry::chain,
};

/// Lost races that are retried without a pause: the winner has committed, so the next try sees its rows.
pub(super) const MAX_FAST_RACES: u32 = 3;

/// How a health report about the database begins; `recovered` recognizes it by this.
const DATABASE: &str = "database: ";

/// Runs `unit`, one unit of work, until it succeeds. The first few lost races are retried at once. `None` when `stop` was
/// canceled between two runs.
pub(super) async fn until_answered<T, U>(
    component: &str,
    health: &Health,
    stop: &CancellationToken,
    unit: impl FnMut() -> U,
) -> Option<T>
where
    U: Future<Output = Result<T, sqlx::Error>>,
{
    until(component, health, stop, unit, |_| false).await.and_then(Result::ok)
}

/// Runs `unit` like [`until_answered`], but returns an error that concerns only its rows: other work can go on.
pub(super) async fn until_judged<T, U>(
    component: &str,
    health: &Health,
    stop: &CancellationToken,
    unit: impl FnMut() -> U,
) -> Option<Result<T, sqlx::Error>>
where
    U: Future<Output = Result<T, sqlx::Error>>,
{
    until(component, health, stop, unit, |failure| failure != Failure::Systemic).await
}

async fn until<T, U>(
    component: &str,
    health: &Health,
    stop: &CancellationToken,
    mut unit: impl FnMut() -> U,
    gives_up: impl Fn(Failure) -> bool,
) -> Option<Result<T, sqlx::Error>>
where
    U: Future<Output = Result<T, sqlx::Error>>,
{
    let mut wait = DatabaseWait::new(component, health);
    let mut races = 0;
    loop {
        let error = match unit().await {
            Ok(done) => {
                wait.recovered();
                return Some(Ok(done));
            }
            Err(error) => error,
        };
        match classify(&error) {
            Failure::Race if races < MAX_FAST_RACES => races += 1,
            failure if gives_up(failure) => return Some(Err(error)),
            _ => {
                if !wait.failed(&chain(&error), stop).await {
                    return None;
                }
            }
        }
    }
}

/// As [`until_judged`], even while the process stops.
pub(super) async fn until_judged_unstoppable<T, F>(
    component: &str,
    health: &Health,
    mut unit: impl FnMut() -> F,
) -> Result<T, sqlx::Error>
where
    F: Future<Output = Result<T, sqlx::Error>>,
{
    let never = CancellationToken::new();
    loop {
        // It returns `None` only when it is canceled.
        if let Some(judged) = until_judged(component, health, &never, &mut unit).await {
            return judged;
        }
    }
}

/// Logs and reports that the database refuses some of the work, which is tried again. `recovered` ends the report.
pub(super) fn report_refusal(component: &str, health: &Health, error: &str) {
    warn!(component, error, "{component} retries work that the database refuses");
    health.failing(component, format!("{DATABASE}{error}"));
}

/// Logs and reports that the database failed, for work that is not retried here.
pub(super) fn report_failure(component: &str, health: &Health, error: &str) {
    warn!(component, error, "{component} could not use the database");
    health.failing(component, format!("{DATABASE}{error}"));
}

/// The waits of a loop that does more than retry, and so cannot use [`until_answered`].
pub(super) struct DatabaseWait<'a> {
    component: &'a str,
    health: &'a Health,
    backoff: Backoff,
}

impl<'a> DatabaseWait<'a> {
    pub(super) fn new(component: &'a str, health: &'a Health) -> Self {
        Self { component, health, backoff: Backoff::default() }
    }

    /// Logs and reports the failure, then sleeps for the next delay. `false` when `stop` was canceled first.
    pub(super) async fn failed(&mut self, error: &str, stop: &CancellationToken) -> bool {
        report_failure(self.component, self.health, error);
        self.backoff.wait(stop).await
    }

    /// Starts again with the first delay. If the component last reported a failure of the database, it reports
    /// itself ready.
    pub(super) fn recovered(&mut self) {
        self.backoff.reset();
        let component = self.component;
        if self.health.recovered(component, DATABASE) {
            info!(component, "{component} reached the database again");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &str = "component";

    async fn run(failures: usize, health: &Health, stop: &CancellationToken) -> Option<usize> {
        let mut runs = 0;
        let unit = || {
            runs += 1;
            std::future::ready(if runs <= failures { Err(sqlx::Error::PoolTimedOut) } else { Ok(runs) })
        };
        until_answered(COMPONENT, health, stop, unit).await
    }

    #[tokio::test]
    async fn a_unit_is_retried_until_it_succeeds() {
        let (health, stop) = (Health::default(), CancellationToken::new());
        assert_eq!(run(2, &health, &stop).await, Some(3));
        assert_eq!(health.report().get(COMPONENT), Some(&None), "it reported a failure, then itself ready");
    }

    #[tokio::test]
    async fn error_of_the_rows_is_judged_at_once_and_others_are_retried() {
        let (health, stop) = (Health::default(), CancellationToken::new());
        let mut runs = 0;
        let unit = || {
            runs += 1;
            let error = if runs == 1 { sqlx::Error::PoolTimedOut } else { sqlx::Error::Decode("x".into()) };
            std::future::ready(Err::<(), _>(error))
        };
        let judged = until_judged(COMPONENT, &health, &stop, unit).await;
        assert!(matches!(judged, Some(Err(sqlx::Error::Decode(_)))), "{judged:?}");
        assert_eq!(runs, 2);
    }

    #[tokio::test]
    async fn success_leaves_other_reports_alone() {
        let (health, stop) = (Health::default(), CancellationToken::new());
        health.failing(COMPONENT, "starting");
        assert_eq!(run(0, &health, &stop).await, Some(1));
        assert_eq!(health.failure(COMPONENT).as_deref(), Some("starting"));
    }

    #[tokio::test]
    async fn a_stop_ends_the_retries() {
        let (health, stop) = (Health::default(), CancellationToken::new());
        stop.cancel();
        assert_eq!(run(usize::MAX, &health, &stop).await, None);
        assert!(health.failure(COMPONENT).is_some_and(|reason| reason.starts_with(DATABASE)));
    }
}
