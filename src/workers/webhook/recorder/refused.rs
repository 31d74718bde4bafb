//! Outcomes that the database refuses: a row that they change stays locked, is unreadable, or contradicts them. They
//! are recorded separately, so that only their own lanes wait for them: a delivery keeps its place in the queue until
//! its outcome is recorded, and what was not sent leaves the memory.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

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

/// Outcomes that are refused.
#[derive(Default)]
struct Apart {
    /// Each alone.
    outcomes: Vec<Outcomes>,
    /// Their lanes whose other outcomes are refused as well: a row that is locked or unreadable is most likely that of the lane.
    blocked: HashSet<Key>,
}

impl Recorder {
    /// Records refused outcomes as soon as the database accepts them, until `refused` is closed. The rest is then lost with
    /// the process, and its deliveries are sent again.
    pub(super) async fn record_refused(&self, mut refused: mpsc::UnboundedReceiver<Outcomes>) {
        let (mut apart, mut next_round, mut is_open) = (Apart::default(), Instant::now(), true);
        while is_open {
            let mut portions = Vec::new();
            let known = apart.outcomes.len();
            tokio::select! {
                more = refused.recv() => {
                    is_open = more.is_some();
                    if let Some(more) = more {
                        let [others, again] = more.divided(|job| self.lanes.is_refused(&job.lane));
                        portions.push(others);
                        again.singles().for_each(|one| self.divert(&mut apart, one));
                    }
                }
                () = sleep_until(next_round), if !apart.outcomes.is_empty() => {}
            }
            if next_round <= Instant::now() || !is_open {
                portions.append(&mut apart.outcomes);
                apart.blocked.clear();
                next_round = Instant::now() + RETRY_INTERVAL;
            }
            let why = self.try_again(portions, &mut apart).await;
            self.lanes.set_refused(apart.lanes());
            self.report_refused(&apart.outcomes, known, why);
        }
        let outcomes = apart.outcomes.len();
        if outcomes > 0 {
            warn!(
                component = WEBHOOK_WORKER,
                outcomes, "{outcomes} outcomes could not be recorded; their deliveries are sent again"
            );
        }
    }

    /// Records what it can, and sets the rest apart. Returns why the last one was refused.
    async fn try_again(&self, mut portions: Vec<Outcomes>, apart: &mut Apart) -> Option<String> {
        let mut why = None;
        let mut lock_wait = LockWait::Default;
        while let Some(outcomes) = portions.pop() {
            // One try for each blocked lane is enough: its other outcomes follow in the next round.
            let [outcomes, again] = outcomes.divided(|job| apart.blocked.contains(&job.lane));
            again.singles().for_each(|one| self.divert(apart, one));
            let Err(error) = self.record(&outcomes, true, lock_wait).await else {
                self.release(outcomes);
                continue;
            };
            let failure = classify(&error);
            if failure == Failure::Locked {
                // Others may have locked many rows.
                lock_wait = LockWait::Shortest;
            }
            if outcomes.len() > 1 {
                portions.extend(outcomes.halved());
                continue;
            }
            why = Some(refusal(&error));
            let is_blocked = failure != Failure::Data;
            for lane in outcomes.jobs().map(|job| &job.lane) {
                self.lanes.refuse(lane, is_blocked);
                apart.blocked.extend(is_blocked.then(|| lane.clone()));
            }
            apart.add(outcomes);
        }
        why
    }

    /// Sets an outcome of a refused lane apart without trying it. A request that was not sent needs no place in memory, because
    /// its batch, or its row, still has it: an outcome of its lane that is tried again shows when the lane is free, and its batch
    /// is released as forgotten then.
    fn divert(&self, apart: &mut Apart, one: Outcomes) {
        let is_kept_elsewhere = one.is_nothing()
            || one.attempted.is_empty() && one.jobs().all(|job| apart.blocked.contains(&job.lane));
        if is_kept_elsewhere {
            self.release(one);
        } else {
            apart.add(one);
        }
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

impl Apart {
    /// Nothing waits for the places of skipped jobs that stay.
    fn add(&mut self, mut one: Outcomes) {
        for job in &mut one.skipped {
            job.place = None;
        }
        self.outcomes.push(one);
    }

    fn lanes(&self) -> HashMap<Key, bool> {
        let lanes = self.outcomes.iter().flat_map(Outcomes::jobs).map(|job| &job.lane);
        lanes.map(|lane| (lane.clone(), self.blocked.contains(lane))).collect()
    }
}
