//! The lanes of one process: the settings that apply to each, and those that it owns.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use time::OffsetDateTime;
use url::Url;
use uuid::Uuid;

use super::routes::{Route, Routes};
use crate::{
    domain::{
        event::Key,
        webhook::{breaker::Breaker, delivery::Delivery, endpoint::Profile, lane},
    },
    postgres::{
        deliveries::Cursor,
        endpoints::{ClaimedLane, LaneRow},
    },
};

/// Minimum time between two successes that a healthy lane records in its row.
const SUCCESS_INTERVAL: Duration = Duration::from_mins(1);

/// Lanes without a delivery in memory are forgotten when there are more than this.
const MAX_LANES: usize = 10_000;

/// The lanes from which this process has recently sent, and those that it owns.
pub(super) struct Lanes {
    routes: Routes,
    by_key: Mutex<HashMap<Key, Arc<Lane>>>,
    owned: Mutex<HashMap<Key, Owned>>,
    /// The lanes of outcomes that the database refuses, and whether it is likely to refuse all others.
    refused: Mutex<HashMap<Key, bool>>,
}

/// What applies to the requests of one lane.
pub(super) struct Lane {
    pub(super) route: Arc<Route>,
    pub(super) profile: Profile,
    /// Host and port of the endpoint's address as written.
    pub(super) host: String,
    /// When a success was last recorded in its row.
    success_recorded_at: Mutex<Option<Instant>>,
}

/// A lane that this process owns.
pub(super) struct Owned {
    /// The id under which the process owns it.
    pub(super) owner: Uuid,
    /// Its state, as of the claim, the last look or the last rate limit.
    pub(super) state: lane::Lane,
    /// When that was, by the clock of the database and by ours.
    claimed_at: (OffsetDateTime, Instant),
    pub(super) handle: Arc<Lane>,
    /// Where the next load of its queue begins.
    pub(super) cursor: Cursor,
    /// How far its queue has been loaded.
    pub(super) reached: Cursor,
    /// The loaded deliveries whose outcome is not recorded.
    pub(super) loaded: HashSet<Uuid>,
    /// Nothing more was due.
    pub(super) is_exhausted: bool,
    /// When it may be loaded again.
    pub(super) reload_at: Instant,
    /// Nothing more of it is loaded, because it may not send for now.
    pub(super) is_closed: bool,
}

impl Lanes {
    pub(super) fn new(routes: Routes) -> Self {
        Self { routes, by_key: Mutex::default(), owned: Mutex::default(), refused: Mutex::default() }
    }

    /// What applies to the requests of this lane. `url` is the endpoint's address as written.
    pub(super) fn get(&self, key: &Key, url: &str) -> Arc<Lane> {
        let mut lanes = self.by_key.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lane) = lanes.get(key) {
            return Arc::clone(lane);
        }
        if lanes.len() > MAX_LANES {
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
        }
        let route = self.routes.of(&key.company, url);
        let lane = Arc::new(Lane {
            profile: route.profile(url),
            route,
            host: host(url),
            success_recorded_at: Mutex::default(),
        });
        lanes.insert(key.clone(), Arc::clone(&lane));
        lane
    }

    /// Takes claimed lanes over.
    pub(super) fn own(&self, process: Uuid, claimed: Vec<ClaimedLane>) {
        for ClaimedLane { row, .. } in claimed {
            let claimed_at = (row.now, Instant::now());
            let lane = Owned {
                owner: process,
                handle: self.get(&row.key, &row.url),
                state: row.lane,
                claimed_at,
                cursor: Cursor::START,
                reached: Cursor::START,
                loaded: HashSet::new(),
                is_exhausted: false,
                reload_at: claimed_at.1,
                is_closed: false,
            };
            self.owned().insert(row.key, lane);
        }
    }

    /// The lanes that this process owns.
    pub(super) fn owned(&self) -> MutexGuard<'_, HashMap<Key, Owned>> {
        self.owned.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes the state of an owned lane, which is then loaded from its start: a transaction that began earlier than others may
    /// commit after them, and its deliveries are due earlier.
    pub(super) fn refresh(&self, row: &LaneRow) {
        if let Some(owned) = self.owned().get_mut(&row.key) {
            let next_slot_at = owned.state.next_slot_at.max(row.lane.next_slot_at);
            owned.state = lane::Lane { next_slot_at, ..row.lane.clone() };
            owned.claimed_at = (row.now, Instant::now());
            owned.cursor = Cursor::START;
        }
    }

    /// Whether this process owns the lane and sends what is due there.
    pub(super) fn is_sending(&self, key: &Key) -> bool {
        self.owned().get(key).is_some_and(|owned| !owned.is_closed)
    }

    /// Notes the breaker of an owned lane.
    pub(super) fn set_breaker(&self, key: &Key, breaker: Breaker) {
        if let Some(owned) = self.owned().get_mut(key) {
            owned.state.breaker = breaker;
        }
    }

    /// When an owned lane may be loaded again, if that is not now.
    pub(super) fn next_reload(&self) -> Option<Instant> {
        let now = Instant::now();
        self.owned()
            .values()
            .filter(|lane| !lane.is_closed && lane.reload_at > now)
            .map(|lane| lane.reload_at)
            .min()
    }

    /// Loads nothing more of a lane, because its state has changed.
    pub(super) fn close(&self, key: &Key) {
        if let Some(owned) = self.owned().get_mut(key) {
            owned.is_closed = true;
        }
    }

    /// Whether the database refuses outcomes of this lane.
    pub(super) fn is_refused(&self, key: &Key) -> bool {
        self.refused().contains_key(key)
    }

    /// Notes that the database refuses an outcome of this lane. `is_blocked`: because of a row that all others need as well.
    pub(super) fn refuse(&self, key: &Key, is_blocked: bool) {
        *self.refused().entry(key.clone()).or_default() |= is_blocked;
    }

    /// Replaces the lanes with refused outcomes.
    pub(super) fn set_refused(&self, lanes: HashMap<Key, bool>) {
        *self.refused() = lanes;
    }

    /// Leaves out the deliveries that could not get a row now.
    pub(super) fn leave_out_blocked(&self, deliveries: &mut Vec<Delivery>) {
        let refused = self.refused();
        if !refused.is_empty() {
            deliveries.retain(|delivery| refused.get(&delivery.lane()) != Some(&true));
        }
    }

    fn refused(&self) -> MutexGuard<'_, HashMap<Key, bool>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A loaded delivery is recorded, or was dropped. Returns whether its lane can be released.
    pub(super) fn unload(&self, key: &Key, id: Uuid) -> bool {
        self.owned().get_mut(key).is_some_and(|owned| {
            owned.loaded.remove(&id);
            owned.can_release()
        })
    }
}

impl Owned {
    /// Whether nothing of it is in memory or about to be.
    pub(super) fn can_release(&self) -> bool {
        self.loaded.is_empty() && (self.is_closed || self.is_exhausted)
    }

    /// Whether deliveries in memory come after the place from which it is loaded next.
    pub(super) fn is_behind(&self) -> bool {
        self.cursor < self.reached
    }

    /// The database's time.
    pub(super) fn now(&self) -> OffsetDateTime {
        self.claimed_at.0 + self.claimed_at.1.elapsed()
    }
}

impl Lane {
    /// Whether a success should be recorded in the row now: at most once per [`SUCCESS_INTERVAL`].
    pub(super) fn takes_success(&self) -> bool {
        let mut recorded_at = self.success_recorded_at.lock().unwrap_or_else(PoisonError::into_inner);
        let due = recorded_at.is_none_or(|at| at.elapsed() >= SUCCESS_INTERVAL);
        if due {
            *recorded_at = Some(Instant::now());
        }
        due
    }
}

/// Host and port. All lanes without a usable address share one.
fn host(url: &str) -> String {
    let parsed = Url::parse(url).ok();
    let host = parsed.as_ref().and_then(|url| Some((url.host_str()?, url.port_or_known_default()?)));
    host.map(|(host, port)| format!("{host}:{port}")).unwrap_or_default()
}
