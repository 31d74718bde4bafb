//! Outcomes that the database refuses: a row that they change stays locked, cannot be read, or contradicts them. They are
//! recorded apart from all others, so that only their own lanes wait for them: a delivery keeps its place in the queue
//! until its outcome is recorded.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    sync::mpsc,
    time::{Instant, sleep_until},
};
use tracing::{error, warn};

use super::{Recorder, taken::Taken};
use crate::{
    domain::event::Key,
    postgres::refusal,
    workers::{component::WEBHOOK_WORKER, webhook::attempt::Job},
};

/// How often an outcome that is refused alone is tried again.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// How a health report about such outcomes begins.
const UNRECORDED: &str = "cannot record outcomes: ";

/// The lanes of outcomes that are refused alone. Their other outcomes are likely to be refused as well.
#[derive(Default)]
pub(super) struct RefusedLanes(Mutex<HashSet<Key>>);

impl RefusedLanes {
    pub(super) fn contains(&self, lane: &Key) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(lane)
    }

    fn set(&self, lanes: HashSet<Key>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = lanes;
    }
}

impl Recorder {
    /// Records what was refused, as soon as the database takes it, until `refused` is closed. What is left then is lost with
    /// the process, and its deliveries are sent again.
    pub(super) async fn record_refused(
        &self,
        mut refused: mpsc::UnboundedReceiver<Taken>,
        lanes: &RefusedLanes,
    ) {
        let (mut alone, mut next_round, mut is_open) = (Vec::new(), Instant::now(), true);
        while is_open {
            let mut portions = Vec::new();
            tokio::select! {
                more = refused.recv() => {
                    is_open = more.is_some();
                    portions.extend(more);
                }
                () = sleep_until(next_round), if !alone.is_empty() => {}
            }
            let known = alone.len();
            if next_round <= Instant::now() || !is_open {
                portions.append(&mut alone);
                next_round = Instant::now() + RETRY_INTERVAL;
            }
            let mut why = None;
            while let Some(taken) = portions.pop() {
                match self.record(&taken, true).await {
                    Ok(()) => self.release(taken),
                    Err(_) if taken.len() > 1 => portions.extend(taken.halved()),
                    Err(error) => {
                        why = Some(refusal(&error));
                        alone.push(taken);
                    }
                }
            }
            lanes.set(alone.iter().flat_map(Taken::jobs).map(|job| job.lane.clone()).collect());
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

    /// `known` of them were refused before.
    fn report_refused(&self, alone: &[Taken], known: usize, why: Option<String>) {
        let outcomes = alone.len();
        let Some(Job { delivery, .. }) = alone.last().and_then(|taken| taken.jobs().next()) else {
            self.health.recovered(WEBHOOK_WORKER, UNRECORDED);
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
        self.health.failing(WEBHOOK_WORKER, format!("{UNRECORDED}{outcomes} of them; {why}"));
    }
}
