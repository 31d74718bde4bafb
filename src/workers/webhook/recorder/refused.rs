//! Outcomes that the database refuses: a row that they change stays locked, is unreadable, or contradicts them. They
//! are recorded separately, so that only their own lanes wait for them: a delivery keeps its place in the queue until
//! its outcome is recorded.

use std::{collections::HashSet, time::Duration};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::{error, info, warn};

use super::{Recorder, outcomes::Outcomes};
use crate::{
    domain::event::Key,
    postgres::{Failure, classify, refusal},
    workers::{
        component::{WEBHOOK_OUTCOMES, WEBHOOK_WORKER},
        lock_wait::LockWait,
        webhook::job::Job,
    },
};

/// How often an outcome that is refused alone is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// How a health report about such outcomes begins.
const UNRECORDED: &str = "cannot record outcomes: ";

impl Recorder {
    /// Records refused outcomes as soon as the database accepts them, until `refused` is closed. The rest is then lost with
    /// the process, and its deliveries are sent again.
    pub(super) async fn record_refused(&self, mut refused: mpsc::UnboundedReceiver<Outcomes>) {
        let (mut alone, mut next_round, mut is_open) = (Vec::new(), Instant::now(), true);
        while is_open {
            let mut portions = Vec::new();
            let known = alone.len();
            tokio::select! {
                more = refused.recv() => {
                    is_open = more.is_some();
                    if let Some(more) = more {
                        let [others, again] = more.divided(|job| self.lanes.is_refused(&job.lane));
                        portions.push(others);
                        alone.extend(again.singles());
                    }
                }
                () = sleep_until(next_round), if !alone.is_empty() => {}
            }
            if next_round <= Instant::now() || !is_open {
                portions.append(&mut alone);
                next_round = Instant::now() + RETRY_INTERVAL;
            }
            let mut why = None;
            // One wait for a locked row of a lane is enough: its other outcomes follow in the next round.
            let mut locked: HashSet<Key> = HashSet::new();
            let mut lock_wait = LockWait::Default;
            while let Some(outcomes) = portions.pop() {
                let [outcomes, again] = outcomes.divided(|job| locked.contains(&job.lane));
                alone.extend(again.singles());
                let Err(error) = self.record(&outcomes, true, lock_wait).await else {
                    self.release(outcomes);
                    continue;
                };
                let is_locked = classify(&error) == Failure::Locked;
                if is_locked {
                    // Others may have locked many rows.
                    lock_wait = LockWait::Shortest;
                }
                if outcomes.len() > 1 {
                    portions.extend(outcomes.halved());
                    continue;
                }
                why = Some(refusal(&error));
                locked.extend(outcomes.jobs().next().filter(|_| is_locked).map(|job| job.lane.clone()));
                alone.push(outcomes);
                self.set_refused(&alone);
            }
            self.set_refused(&alone);
            self.report_refused(&alone, known, why);
        }
        let outcomes = alone.len();
        if outcomes > 0 {
            warn!(
                component = WEBHOOK_WORKER,
                outcomes, "{outcomes} outcomes could not be recorded; their deliveries are sent again"
            );
        }
    }

    /// Sends nothing more to their lanes than what is in flight.
    fn set_refused(&self, alone: &[Outcomes]) {
        let lanes = alone.iter().flat_map(Outcomes::jobs).map(|job| job.lane.clone());
        self.lanes.set_refused(lanes.collect());
    }

    /// Logs further refusals, and reports all of them to health. `known` of them were refused before.
    fn report_refused(&self, alone: &[Outcomes], known: usize, why: Option<String>) {
        let outcomes = alone.len();
        let Some(Job { delivery, .. }) = alone.last().and_then(|outcomes| outcomes.jobs().next()) else {
            if self.health.recovered(WEBHOOK_OUTCOMES, UNRECORDED) {
                info!(component = WEBHOOK_WORKER, "{WEBHOOK_WORKER} has recorded all outcomes");
            }
            return;
        };
        let Some(why) = why else { return };
        if outcomes > known {
            error!(
                component = WEBHOOK_WORKER,
                outcomes,
                delivery.id = %delivery.key.id,
                company.id = delivery.key.company,
                error = why,
                "could not record {outcomes} outcomes, the last one of delivery {}: {why}",
                delivery.key.id
            );
        }
        self.health.failing(WEBHOOK_OUTCOMES, format!("{UNRECORDED}{outcomes} of them; {why}"));
    }
}
