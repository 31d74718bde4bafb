//! What to load for each lane that this process owns. Pure, except for the clock of a job.

use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    job::{Job, Origin},
    lanes::Owned,
};
use crate::{
    domain::{event::Key, webhook::lane::Gate},
    postgres::deliveries::{Cursor, Loaded, Visit},
};

/// How many deliveries of a lane are loaded for each request that it may have in flight.
const AHEAD: usize = 4;

/// A lane with nothing more due that is still sending is loaded again after this time.
const RELOAD: Duration = Duration::from_millis(100);

/// A lane whose rate limit allows nothing for this long is released.
const MAX_SLOT_WAIT: Duration = Duration::from_secs(1);

/// What to load of one lane.
pub(super) struct Planned {
    after: Cursor,
    pub(super) room: usize,
    /// Only deliveries that have been due for this long and have exceeded their maximum age.
    pub(super) overdue: Option<Duration>,
    cap: u32,
    had_no_failures: bool,
}

impl Planned {
    pub(super) fn of<'a>(&self, lane: &'a Key) -> Visit<'a> {
        Visit { lane, after: self.after, room: self.room, overdue: self.overdue.unwrap_or_default() }
    }
}

/// What to load at `clock` of a lane that has `room` and `held` deliveries in memory; `None` if nothing now.
pub(super) fn plan(
    lane: &mut Owned,
    (room, held): (usize, usize),
    max_age: Duration,
    clock: Instant,
) -> Option<Planned> {
    let now = lane.now();
    let cap = lane.state.cap();
    let at_once = usize::try_from(cap).unwrap_or(usize::MAX);
    let had_no_failures = lane.state.breaker.has_no_failures();
    let planned = Planned { after: lane.cursor, room, overdue: None, cap, had_no_failures };
    match lane.state.gate(now) {
        Gate::Stopped => {
            lane.is_closed = true;
            None
        }
        // They end without a request.
        Gate::Waiting => Some(Planned { overdue: Some(max_age), cap: lane.state.max_in_flight, ..planned }),
        Gate::Open if lane.state.allows_direct_sending(now) => {
            // Enough that the next deliveries are loaded when a request ends, and that a load is worth its query. Others, which
            // worker 1 has just committed, do not count, or those that wait longer would not be loaded beside them.
            let ahead = (AHEAD * at_once).saturating_sub(lane.loaded.len());
            let room = room.min(ahead);
            (2 * ahead >= AHEAD * at_once).then_some(Planned { room, ..planned })
        }
        Gate::Open => {
            // Requests in flight may take all that it may send; it is planned again when they have ended.
            let wanted = room.min(at_once.saturating_sub(held));
            let room = lane.state.take_slots(now, wanted);
            if wanted > 0 && room == 0 {
                let wait = Duration::try_from(lane.state.next_slot_at - now).unwrap_or_default();
                lane.is_closed |= wait > MAX_SLOT_WAIT;
                lane.reload_at = clock + wait.max(Duration::from_millis(1));
            }
            (room > 0).then_some(Planned { room, ..planned })
        }
    }
}

/// Notes how far the lanes are loaded, and whether that is all that was planned: what was due may have been too large.
/// `again` are those that start over: digests are to be made of them, or rows were locked.
pub(super) fn advance(
    owned: &mut HashMap<Key, Owned>,
    visits: &HashMap<Key, Planned>,
    (places, is_all): (&[(Key, Cursor)], bool),
    again: &BTreeSet<Key>,
    clock: Instant,
) {
    let mut counts: HashMap<&Key, usize> = HashMap::new();
    for (lane, place) in places {
        if let Some(owned) = owned.get_mut(lane) {
            owned.cursor = owned.cursor.max(*place);
        }
        *counts.entry(lane).or_default() += 1;
    }
    for (key, visit) in visits {
        let Some(lane) = owned.get_mut(key) else { continue };
        lane.is_closed |= visit.overdue.is_some();
        lane.reached = lane.reached.max(lane.cursor);
        lane.is_exhausted = is_all && counts.get(key).copied().unwrap_or_default() < visit.room;
        if lane.is_exhausted {
            (lane.cursor, lane.reload_at) = (lane.reached, clock + RELOAD);
        }
        if again.contains(key) {
            // The digests, and what was not taken, are due already.
            (lane.is_exhausted, lane.cursor) = (false, Cursor::START);
        }
    }
}

/// The job of a delivery that was loaded at `read_at`, and the cap of its lane; `None` if it is in memory already.
pub(super) fn job(
    one: Loaded,
    owned: &mut HashMap<Key, Owned>,
    visits: &HashMap<Key, Planned>,
    read_at: Instant,
) -> Option<(Job, u32)> {
    let key = one.delivery.lane();
    let (lane, visit) = (owned.get_mut(&key)?, visits.get(&key)?);
    if !lane.loaded.insert(one.delivery.key.id) {
        return None;
    }
    let job = Job {
        handle: Arc::clone(&lane.handle),
        lane: key,
        progress: one.progress,
        origin: Origin::Row,
        owner: lane.owner,
        since: Instant::now(),
        read_at,
        had_no_failures: visit.had_no_failures,
        is_expired: visit.overdue.is_some(),
        place: None,
        delivery: one.delivery,
    };
    Some((job, visit.cap))
}
