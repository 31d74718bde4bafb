//! The lanes of one process: what it holds claimed of each endpoint, and how many requests at once it may
//! send there. What all processes must agree on stands in the database.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
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

/// How often a lane that succeeds says so in its row.
const NOTE_INTERVAL: Duration = Duration::from_mins(1);

/// All lanes that this process has anything of, or had lately.
pub(super) struct Lanes {
    routes: Routes,
    by_key: Mutex<HashMap<Key, Arc<Lane>>>,
    /// Told when a lane has room for a claim again.
    pub(super) freed: Arc<Notify>,
}

/// One lane.
pub(super) struct Lane {
    /// One for each request that may be in flight.
    pub(super) slots: Semaphore,
    pub(super) route: Arc<Route>,
    pub(super) profile: Profile,
    most: u32,
    /// Claimed and not recorded.
    claimed: AtomicU32,
    /// Most of them.
    cap: AtomicU32,
    state: Mutex<State>,
    freed: Arc<Notify>,
}

#[derive(Default)]
struct State {
    /// Nothing begins before: the endpoint asked for a pause, which is not written down yet.
    held_until: Option<Instant>,
    /// What was claimed before goes back. The row has closed the lane since, and says when to go on.
    outdated_at: Option<Instant>,
    /// When its success was last written down.
    noted_at: Option<Instant>,
    throughput: Throughput,
}

/// One claimed delivery's place in its lane, until it is recorded.
pub(super) struct Place(pub(super) Arc<Lane>);

impl Lanes {
    pub(super) fn new(routes: Routes) -> Self {
        Self { routes, by_key: Mutex::default(), freed: Arc::default() }
    }

    /// The place of a claimed delivery.
    pub(super) fn place(&self, delivery: &ClaimedDelivery) -> Place {
        let mut lanes = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        let most = delivery.max_in_flight.max(1);
        let lane = match lanes.get(&delivery.lane) {
            // Another limit since: requests in flight end in the old lane.
            Some(lane) if lane.most == most => Arc::clone(lane),
            _ => {
                let route = self.routes.of(&delivery.lane.company, &delivery.endpoint_url);
                let profile = route.profile(&delivery.endpoint_url);
                let lane = Arc::new(Lane::new(route, profile, most, Arc::clone(&self.freed)));
                lanes.insert(delivery.lane.clone(), Arc::clone(&lane));
                lane
            }
        };
        drop(lanes);
        lane.claimed.fetch_add(1, Ordering::Relaxed);
        lane.cap.store(delivery.cap, Ordering::Relaxed);
        Place(lane)
    }

    /// What the receiver at this endpoint understands.
    pub(super) fn profile(&self, key: &Key, url: &str) -> Profile {
        self.routes.of(&key.company, url).profile(url)
    }

    /// The lane, where this process has something of it.
    pub(super) fn get(&self, key: &Key) -> Option<Arc<Lane>> {
        self.by_key.lock().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// What is claimed of each endpoint and its throughput, as a claim asks for it. Forgets lanes that are long idle.
    pub(super) fn busy(&self) -> Value {
        let mut lanes = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.retain(|_, lane| lane.claimed() > 0 || lane.is_remembered());
        let now = Instant::now();
        let busy = lanes.iter().map(|(key, lane)| (key, lane.claimed(), lane.throughput(now)));
        let busy = busy.filter(|(_, claimed, throughput)| claimed + throughput > 0);
        Value::Object(
            busy.map(|(key, claimed, throughput)| (key.id.to_string(), json!([claimed, throughput])))
                .collect(),
        )
    }

    /// Endpoints of which nothing more is claimed before something ends.
    pub(super) fn full(&self) -> Vec<Uuid> {
        let lanes = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        lanes.iter().filter(|(_, lane)| lane.is_full()).map(|(key, _)| key.id).collect()
    }
}

impl Lane {
    fn new(route: Arc<Route>, profile: Profile, most: u32, freed: Arc<Notify>) -> Self {
        Self {
            slots: Semaphore::new(usize::try_from(most).unwrap_or(usize::MAX)),
            route,
            profile,
            most,
            claimed: AtomicU32::new(0),
            cap: AtomicU32::new(most),
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

    /// One more attempt has ended.
    pub(super) fn has_ended(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).throughput.count();
    }

    /// How many deliveries may be claimed ahead by its throughput. Where that has become less than what the last claim
    /// counted on, the next claim waits for as much less.
    fn throughput(&self, now: Instant) -> u32 {
        let throughput = self.state.lock().unwrap_or_else(PoisonError::into_inner).throughput.ahead(now);
        self.cap.fetch_min(throughput.max(self.most.saturating_mul(2)), Ordering::Relaxed);
        throughput
    }

    fn is_remembered(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.noted_at.is_some_and(|at| at.elapsed() < NOTE_INTERVAL)
    }

    /// Lets nothing begin for this long, or until the row says so.
    pub(super) fn hold(&self, wait: Duration) {
        let until = Instant::now().checked_add(wait);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.held_until = state.held_until.max(until);
    }

    /// The row has closed the lane: nothing begins of what was claimed until now. What is claimed from now on
    /// may: only the row knows when the lane opens, for an operator or another process may open it early.
    pub(super) fn outdate(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State { held_until: None, outdated_at: Some(Instant::now()), ..*state };
    }

    /// Whether what was claimed `since` may begin.
    pub(super) fn is_open(&self, since: Instant) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.held_until.is_none_or(|until| until <= Instant::now())
            && state.outdated_at.is_none_or(|at| at < since)
    }

    /// Whether its success should be written down now; the next answer is yes after a minute.
    pub(super) fn is_to_be_noted(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let due = state.noted_at.is_none_or(|at| at.elapsed() >= NOTE_INTERVAL);
        if due {
            state.noted_at = Some(Instant::now());
        }
        due
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let was_full = self.0.is_full();
        self.0.claimed.fetch_sub(1, Ordering::Relaxed);
        if was_full && !self.0.is_full() {
            self.0.freed.notify_one();
        }
    }
}
