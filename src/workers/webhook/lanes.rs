//! The lanes of one process: how much it has claimed of each endpoint, and how many requests it may send there
//! at once. What all processes must agree on is in the database.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

use super::{
    routes::{Route, Routes},
    throughput::Throughput,
};
use crate::{
    domain::{event::Key, webhook::endpoint::Profile},
    postgres::deliveries::ClaimedDelivery,
};

/// Minimum time between two successes that a healthy lane records in its row.
const SUCCESS_INTERVAL: Duration = Duration::from_mins(1);

/// The lanes from which this process has claimed deliveries recently.
pub(super) struct Lanes {
    routes: Routes,
    by_key: Mutex<HashMap<Key, Arc<Lane>>>,
    /// Notified when a full lane can be claimed from again.
    pub(super) freed: Arc<Notify>,
}

/// One lane.
pub(super) struct Lane {
    /// One for each request that may be in flight.
    pub(super) slots: Semaphore,
    pub(super) route: Arc<Route>,
    pub(super) profile: Profile,
    max_in_flight: u32,
    /// Deliveries that are claimed and not recorded.
    claimed: AtomicU32,
    /// Maximum of `claimed`, as the last claim set it.
    cap: AtomicU32,
    state: Mutex<State>,
    freed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// The end of a hold that the endpoint asked for and its row does not have yet.
    held_until: Option<Instant>,
    /// Deliveries that were claimed before this are released: the row has closed the lane since.
    revoked_at: Option<Instant>,
    /// When a success was last recorded in its row.
    success_recorded_at: Option<Instant>,
    throughput: Throughput,
}

/// Counts one claimed delivery against its lane until it is recorded.
pub(super) struct LaneGuard(Arc<Lane>);

impl Lanes {
    pub(super) fn new(routes: Routes) -> Self {
        Self { routes, by_key: Mutex::default(), freed: Arc::default() }
    }

    /// Counts a claimed delivery against its lane.
    pub(super) fn enter(&self, delivery: &ClaimedDelivery) -> LaneGuard {
        let mut lanes = self.lock();
        let max_in_flight = delivery.max_in_flight.max(1);
        let lane = match lanes.get(&delivery.lane) {
            // When the limit has changed, requests in flight end in the old lane.
            Some(lane) if lane.max_in_flight == max_in_flight => Arc::clone(lane),
            _ => {
                let route = self.routes.of(&delivery.lane.company, &delivery.endpoint_url);
                let profile = route.profile(&delivery.endpoint_url);
                let lane = Arc::new(Lane::new(route, profile, max_in_flight, Arc::clone(&self.freed)));
                lanes.insert(delivery.lane.clone(), Arc::clone(&lane));
                lane
            }
        };
        drop(lanes);
        lane.claimed.fetch_add(1, Ordering::Relaxed);
        lane.cap.store(delivery.cap, Ordering::Relaxed);
        LaneGuard(lane)
    }

    /// The profile of the receiver at this endpoint.
    pub(super) fn profile(&self, key: &Key, url: &str) -> Profile {
        self.routes.of(&key.company, url).profile(url)
    }

    /// The lane of an endpoint, unless this process has none.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Lane>> {
        self.lock().get(key).cloned()
    }

    /// For each endpoint the claimed deliveries and the throughput, in the form that a claim takes. Forgets lanes
    /// without a claimed delivery or a recent success.
    pub(super) fn busy(&self) -> Value {
        let mut lanes = self.lock();
        lanes.retain(|_, lane| lane.claimed() > 0 || lane.has_recent_success());
        let now = Instant::now();
        let busy = lanes.iter().map(|(key, lane)| (key, lane.claimed(), lane.throughput(now)));
        let busy = busy.filter(|(_, claimed, throughput)| claimed + throughput > 0);
        Value::Object(
            busy.map(|(key, claimed, throughput)| (key.id.to_string(), json!([claimed, throughput])))
                .collect(),
        )
    }

    /// The endpoints that get no claim until an attempt ends.
    pub(super) fn full(&self) -> Vec<Uuid> {
        self.lock().iter().filter(|(_, lane)| lane.is_full()).map(|(key, _)| key.id).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Arc<Lane>>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lane {
    fn new(route: Arc<Route>, profile: Profile, max_in_flight: u32, freed: Arc<Notify>) -> Self {
        Self {
            slots: Semaphore::new(usize::try_from(max_in_flight).unwrap_or(usize::MAX)),
            route,
            profile,
            max_in_flight,
            claimed: AtomicU32::new(0),
            cap: AtomicU32::new(max_in_flight),
            state: Mutex::default(),
            freed,
        }
    }

    fn claimed(&self) -> u32 {
        self.claimed.load(Ordering::Relaxed)
    }

    fn is_full(&self) -> bool {
        self.claimed().saturating_mul(2) > self.cap.load(Ordering::Relaxed)
    }

    /// Counts an attempt that has ended.
    pub(super) fn count_attempt(&self) {
        self.state().throughput.count();
    }

    /// How many deliveries the throughput allows the lane to claim ahead. If that is less than the last claim
    /// assumed, the lane counts as full sooner.
    fn throughput(&self, now: Instant) -> u32 {
        let throughput = self.state().throughput.ahead(now);
        self.cap.fetch_min(throughput.max(self.max_in_flight.saturating_mul(2)), Ordering::Relaxed);
        throughput
    }

    fn has_recent_success(&self) -> bool {
        self.state().success_recorded_at.is_some_and(|at| at.elapsed() < SUCCESS_INTERVAL)
    }

    /// Starts no attempt for this long, or until [`Lane::revoke_claims`].
    pub(super) fn hold(&self, wait: Duration) {
        let until = Instant::now().checked_add(wait);
        let mut state = self.state();
        state.held_until = state.held_until.max(until);
    }

    /// Starts no attempt of a delivery that is claimed already, because the row has closed the lane. Later claims
    /// are attempted: the row alone decides when the lane opens, and an operator or another process may open it
    /// early.
    pub(super) fn revoke_claims(&self) {
        let mut state = self.state();
        *state = State { held_until: None, revoked_at: Some(Instant::now()), ..*state };
    }

    /// Whether a delivery that was claimed at this time may be attempted.
    pub(super) fn is_open(&self, claimed_at: Instant) -> bool {
        let state = self.state();
        state.held_until.is_none_or(|until| until <= Instant::now())
            && state.revoked_at.is_none_or(|at| at < claimed_at)
    }

    /// Whether a success should be recorded in the row now: at most once per [`SUCCESS_INTERVAL`].
    pub(super) fn takes_success(&self) -> bool {
        let mut state = self.state();
        let due = state.success_recorded_at.is_none_or(|at| at.elapsed() >= SUCCESS_INTERVAL);
        if due {
            state.success_recorded_at = Some(Instant::now());
        }
        due
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LaneGuard {
    /// The lane, to be used beyond the guard.
    pub(super) fn share(&self) -> Arc<Lane> {
        Arc::clone(&self.0)
    }
}

impl Deref for LaneGuard {
    type Target = Lane;

    fn deref(&self) -> &Lane {
        &self.0
    }
}

impl Drop for LaneGuard {
    fn drop(&mut self) {
        let was_full = self.is_full();
        self.claimed.fetch_sub(1, Ordering::Relaxed);
        if was_full && !self.is_full() {
            self.freed.notify_one();
        }
    }
}
