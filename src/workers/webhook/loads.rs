//! Loads due deliveries of the lanes that this process owns into the queue.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use super::{
    claims::Claims,
    digests,
    job::Job,
    lanes::Owned,
    supersede,
    visits::{self, Planned},
};
use crate::{
    domain::event::Key,
    postgres::{
        deliveries::{self, Loaded, Visit},
        endpoints,
    },
};

/// Maximum number of deliveries of one load.
const MAX_LOADED: usize = 512;

/// Once the loaded requests are larger, in bytes, no further delivery is loaded.
const MAX_LOADED_BYTES: usize = 16 << 20;

/// How many deliveries of a lane are loaded at least, if it has room.
const MIN_SHARE: usize = 8;

/// How long a lane with a locked row is left alone.
const LOCKED_AGAIN: Duration = Duration::from_secs(1);

/// How long a lane is left alone after a failed fold.
const FOLD_AGAIN: Duration = Duration::from_secs(5);

/// What to load now.
#[derive(Default)]
struct Plan {
    visits: HashMap<Key, Planned>,
    /// Where the rate limits of lanes are after these visits.
    slots: Vec<(Key, OffsetDateTime)>,
    /// Some lanes have more room than this load may use.
    left_out: bool,
}

impl Claims {
    /// Loads due deliveries of the lanes that this process owns and that have room. Returns whether there is more
    /// to load at once.
    pub(super) async fn load(&self, process: Uuid) -> Result<bool, sqlx::Error> {
        let (planned, left_out) = self.plan_visits(process).await?;
        if planned.is_empty() {
            return Ok(left_out);
        }
        let behind = self.loaded(|key, lane| lane.is_behind() && planned.contains_key(key));
        // Half of what is free, so that one load of one company leaves room for others.
        let max_bytes = MAX_LOADED_BYTES.min(self.direct.sender.queue().free_bytes() / 2).max(1);
        let unit = async |conn: &mut PgConnection| {
            let visits: Vec<Visit<'_>> = planned.iter().map(|(lane, visit)| visit.of(lane)).collect();
            let loaded = deliveries::load(conn, process, &visits, &behind, max_bytes).await?;
            let places: Vec<_> = loaded.iter().map(|one| (one.delivery.lane(), one.place)).collect();
            let size: usize = loaded.iter().map(|one| one.delivery.request.size()).sum();
            let (loaded, locked) =
                supersede::supersede(conn, loaded, || self.loaded(|_, _| true), &self.source).await?;
            Ok::<_, sqlx::Error>((places, size < max_bytes, loaded, locked))
        };
        let read_at = Instant::now();
        let (places, is_all, loaded, locked) = self.direct.database.unit(unit).await?;
        let is_digest = |one: &Loaded| {
            one.is_digest && planned.get(&one.delivery.lane()).is_some_and(|visit| visit.overdue.is_none())
        };
        let (digests, loaded): (Vec<_>, Vec<_>) = loaded.into_iter().partition(is_digest);
        let folded: BTreeSet<Key> = digests.iter().map(|one| one.delivery.lane()).collect();
        let profiles: Vec<_> = {
            let mut owned = self.direct.lanes.owned();
            let again = folded.union(&locked).cloned().collect();
            visits::advance(&mut owned, &planned, (&places, is_all), &again, Instant::now());
            leave_alone(&mut owned, &locked, LOCKED_AGAIN);
            let job = |one| visits::job(one, &mut owned, &planned, read_at);
            let jobs = loaded.into_iter().filter_map(job).collect();
            let profile = |lane: &Key| owned.get(lane).map(|one| (lane.clone(), one.handle.profile));
            let profiles = folded.iter().filter_map(profile).collect();
            drop(owned);
            self.push(jobs);
            profiles
        };
        if !profiles.is_empty() && !digests::fold(&self.direct.database, profiles).await {
            leave_alone(&mut self.direct.lanes.owned(), &folded, FOLD_AGAIN);
            return Ok(left_out);
        }
        // What was loaded may all have been superseded or folded.
        let loads_more = |(key, _): (&Key, &Planned)| {
            let owned = self.direct.lanes.owned();
            owned.get(key).is_some_and(|lane| !lane.is_closed && !lane.is_exhausted && lane.loaded.is_empty())
        };
        Ok(left_out || planned.iter().any(loads_more))
    }

    /// What to load of each lane, once its use of rate limits is stored. Also returns whether lanes were left out.
    async fn plan_visits(&self, process: Uuid) -> Result<(HashMap<Key, Planned>, bool), sqlx::Error> {
        let Plan { mut visits, slots, left_out } = self.plan();
        if !slots.is_empty() {
            let slots: Vec<_> = slots.iter().map(|(key, at)| (key, *at)).collect();
            let unit = async |conn: &mut PgConnection| endpoints::save_slots(conn, process, &slots).await;
            let locked = self.direct.database.unit(unit).await?;
            visits.retain(|key, _| !locked.contains(key));
            leave_alone(&mut self.direct.lanes.owned(), &locked, LOCKED_AGAIN);
        }
        Ok((visits, left_out))
    }

    /// Divides the room of the queue among the lanes that may be loaded now.
    fn plan(&self) -> Plan {
        let queue = self.direct.sender.queue();
        let mut owned = self.direct.lanes.owned();
        let clock = Instant::now();
        let is_ready = |lane: &Owned| !lane.is_closed && lane.reload_at <= clock;
        let ready = owned.values().filter(|lane| is_ready(lane)).count();
        let mut budget = queue.free().min(MAX_LOADED);
        // No lane may use up the whole budget.
        let share = (budget / ready.max(1)).max(MIN_SHARE);
        let mut companies: HashMap<&str, usize> = HashMap::new();
        let mut plan = Plan::default();
        for (key, lane) in owned.iter_mut().filter(|(_, lane)| is_ready(lane)) {
            let of_company =
                companies.entry(key.company.as_str()).or_insert_with(|| queue.room_of(&key.company));
            // A lane without room stays owned, and is planned again when the queue has room.
            let wanted = queue.room(key).min(share);
            let room = wanted.min(budget).min(*of_company);
            plan.left_out |= room < wanted && queue.free() > MAX_LOADED;
            if room > 0
                && let Some(planned) = visits::plan(lane, (room, queue.held_of(key)), self.max_age, clock)
            {
                budget -= planned.room;
                *of_company -= planned.room;
                if lane.state.send_interval.is_some() && planned.overdue.is_none() {
                    plan.slots.push((key.clone(), lane.state.next_slot_at));
                }
                plan.visits.insert(key.clone(), planned);
            }
        }
        plan
    }

    /// The deliveries of these lanes that are in memory.
    fn loaded(&self, of: impl Fn(&Key, &Owned) -> bool) -> Vec<Uuid> {
        let owned = self.direct.lanes.owned();
        let lanes = owned.iter().filter(|(key, lane)| of(key, lane));
        lanes.flat_map(|(_, lane)| lane.loaded.iter().copied()).collect()
    }

    /// Puts jobs into the queue, each with the cap of its lane.
    fn push(&self, jobs: Vec<(Job, u32)>) {
        let mut queue = self.direct.sender.queue();
        let mut held = Vec::new();
        for (job, cap) in jobs {
            held.extend(queue.push(job, cap).err());
        }
        drop(queue);
        for job in held {
            // Its outcome is about to be recorded.
            self.direct.lanes.unload(&job.lane, job.delivery.key.id);
        }
    }
}

/// Loads nothing more of these lanes for this time.
fn leave_alone<'a>(
    owned: &mut HashMap<Key, Owned>,
    lanes: impl IntoIterator<Item = &'a Key>,
    time: Duration,
) {
    for key in lanes {
        if let Some(lane) = owned.get_mut(key) {
            lane.reload_at = Instant::now() + time;
        }
    }
}
