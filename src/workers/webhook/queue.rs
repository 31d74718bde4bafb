//! The deliveries that a process holds in memory, and which of them is sent next. Pure: no I/O, no clock.
//!
//! The lanes of one company on one host are a flow. Flows take turns, and so do the lanes of a flow. Nobody can take
//! everything: a company may have twice as many requests in flight as there are free slots, a host as many, and a flow as
//! many as its host may still have. So some slots are always free for others, and a company alone still uses two thirds of
//! them (a dynamic threshold, as in the shared buffers of network switches). The same rule shares the memory.

mod figures;
mod flows;
mod lane;
mod shares;

use std::{
    collections::{HashMap, VecDeque, hash_map::Entry},
    sync::Arc,
};

use uuid::Uuid;

use self::{
    flows::{Flow, InFlight},
    lane::Lane,
    shares::Shares,
};
use crate::domain::event::Key;

/// How many requests a company may have in flight for each free slot. A host may have one.
const COMPANY_SHARE: usize = 2;

/// A delivery in the queue.
pub(super) trait Queued {
    /// The delivery.
    fn id(&self) -> Uuid;
    /// The lane that it waits in.
    fn lane(&self) -> &Key;
    /// The host that it is sent to.
    fn host(&self) -> &str;
    /// Its size in memory, in bytes.
    fn size(&self) -> usize;
}

/// Holds deliveries from the moment they are taken until their outcome is recorded.
pub(super) struct Queue<T> {
    lanes: HashMap<Key, Lane<T>>,
    /// The flows that have something to send, with their lanes that may send more. Each is once among `ready`, or waits for
    /// its host or its company.
    flows: HashMap<Arc<Flow>, VecDeque<Key>>,
    /// The flows that may send, in the order of their turns.
    ready: VecDeque<Arc<Flow>>,
    /// The size of each delivery.
    held: HashMap<Uuid, usize>,
    held_bytes: usize,
    max_held: usize,
    max_bytes: usize,
    /// The size of answers that are not recorded.
    answers: HashMap<Uuid, usize>,
    answer_bytes: usize,
    /// What each company holds.
    held_by: HashMap<String, Holding>,
    /// The flows of companies whose answers use up their share of the memory, until some are recorded.
    unanswerable: HashMap<String, Vec<Arc<Flow>>>,
    in_flight: usize,
    max_in_flight: usize,
    companies: Shares<Arc<Flow>>,
    hosts: Shares<Arc<Flow>>,
    of_flows: InFlight,
}

#[derive(Clone, Copy, Default)]
struct Holding {
    deliveries: usize,
    bytes: usize,
    /// The size of its answers that are not recorded.
    answer_bytes: usize,
}

impl<T: Queued> Queue<T> {
    /// Sends at most `max_in_flight` requests at once, and holds at most `max_held` deliveries of about `max_bytes`.
    pub(super) fn new(max_in_flight: usize, max_held: usize, max_bytes: usize) -> Self {
        Self {
            lanes: HashMap::new(),
            flows: HashMap::new(),
            ready: VecDeque::new(),
            held: HashMap::new(),
            held_bytes: 0,
            max_held,
            max_bytes,
            answers: HashMap::new(),
            answer_bytes: 0,
            held_by: HashMap::new(),
            unanswerable: HashMap::new(),
            in_flight: 0,
            max_in_flight,
            companies: Shares::default(),
            hosts: Shares::default(),
            of_flows: InFlight::default(),
        }
    }

    /// How many more deliveries it can hold.
    pub(super) fn free(&self) -> usize {
        if self.free_bytes() > 0 { self.max_held.saturating_sub(self.held.len()) } else { 0 }
    }

    /// How many more bytes it can hold.
    pub(super) fn free_bytes(&self) -> usize {
        self.max_bytes.saturating_sub(self.held_bytes)
    }

    /// Whether no delivery is held.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How many more deliveries of this lane it can hold now, if there is room for others as well.
    pub(super) fn room(&self, lane: &Key) -> usize {
        self.free().saturating_sub(self.held_of(lane)).div_ceil(2).min(self.room_of(&lane.company))
    }

    /// Whether it cannot hold so many more of these lanes of the company because of what the company has, all of which `is_recent`.
    pub(super) fn is_congested(
        &self,
        company: &str,
        wanted: &HashMap<Key, usize>,
        is_recent: impl Fn(&T) -> bool,
    ) -> bool {
        let mut fronts = self.lanes.iter().filter(|(key, _)| key.company == company);
        self.is_busy_with(company)
            && wanted.iter().any(|(lane, count)| self.room(lane) < *count)
            && fronts.all(|(_, lane)| lane.waiting.front().is_none_or(&is_recent))
    }

    /// How many more deliveries of this company it can hold now, if there is room for others as well.
    pub(super) fn room_of(&self, company: &str) -> usize {
        let held = self.held_by.get(company).copied().unwrap_or_default();
        if held.bytes > COMPANY_SHARE * self.free_bytes() {
            return 0;
        }
        (COMPANY_SHARE * self.free()).saturating_sub(held.deliveries).div_ceil(COMPANY_SHARE + 1)
    }

    /// How many deliveries of this lane it holds.
    pub(super) fn held_of(&self, lane: &Key) -> usize {
        self.lanes.get(lane).map_or(0, |lane| lane.held)
    }

    /// The lanes whose deliveries wait to be sent.
    pub(super) fn waiting_lanes(&self) -> impl Iterator<Item = &Key> {
        self.lanes.iter().filter(|(_, lane)| !lane.waiting.is_empty()).map(|(key, _)| key)
    }

    /// The companies that already hold their share.
    pub(super) fn full_companies(&self) -> Vec<String> {
        self.held_by.keys().filter(|company| self.room_of(company) == 0).cloned().collect()
    }

    /// The companies that hold a quarter of what it can hold. More of theirs would soon have to become rows.
    pub(super) fn busy_companies(&self) -> Vec<String> {
        let busy = self.held_by.iter().filter(|(_, held)| self.is_busy(held));
        busy.map(|(company, _)| company.clone()).collect()
    }

    /// Whether it is one of [`Self::busy_companies`].
    pub(super) fn is_busy_with(&self, company: &str) -> bool {
        self.held_by.get(company).is_some_and(|held| self.is_busy(held))
    }

    fn is_busy(&self, held: &Holding) -> bool {
        4 * held.deliveries >= self.max_held || 4 * held.bytes >= self.max_bytes
    }

    /// Adds a delivery to its lane, which may have `cap` requests in flight from now on. Returns it if it is held already.
    pub(super) fn push(&mut self, item: T, cap: u32) -> Result<(), T> {
        if self.held.contains_key(&item.id()) {
            return Err(item);
        }
        let size = item.size();
        self.held.insert(item.id(), size);
        self.held_bytes += size;
        let key = item.lane().clone();
        if let Some(held) = self.held_by.get_mut(&key.company) {
            held.deliveries += 1;
            held.bytes += size;
        } else {
            let holding = Holding { deliveries: 1, bytes: size, answer_bytes: 0 };
            self.held_by.insert(key.company.clone(), holding);
        }
        let lane = self.lanes.entry(key.clone()).or_insert_with(|| Lane::new(&key.company, item.host()));
        lane.cap = cap;
        lane.held += 1;
        lane.waiting.push_back(item);
        self.make_ready(&key);
        Ok(())
    }

    /// The next delivery to send. It is in flight until [`Self::ended`].
    ///
    /// A flow that may not send is not ready any more, and waits in the line of its host or its company until there is room for
    /// that, or until answers of its company are recorded. So the cost of a call depends on what it moves, not on how many flows wait.
    pub(super) fn next(&mut self) -> Option<T> {
        loop {
            let free = self.max_in_flight.saturating_sub(self.in_flight);
            // While answers cannot be recorded, requests would only bring more of them.
            if free == 0 || self.free_answer_bytes() == 0 {
                return None;
            }
            let (of_host, of_company) = (free, COMPANY_SHARE * free);
            self.ready.extend(self.hosts.call(of_host));
            self.ready.extend(self.companies.call(of_company));
            let flow = self.ready.pop_front()?;
            self.hosts.tried(&flow.host);
            self.companies.tried(&flow.company);
            if !self.may_be_answered(&flow.company) {
                self.unanswerable.entry(flow.company.clone()).or_default().push(flow);
            } else if !self.hosts.has_room(&flow.host, of_host) {
                self.hosts.wait(&flow.host, Arc::clone(&flow));
            } else if !self.companies.has_room(&flow.company, of_company) {
                self.companies.wait(&flow.company, Arc::clone(&flow));
            } else if !self.of_flows.may_start(&flow, self.hosts.room(&flow.host, of_host)) {
                self.of_flows.wait(flow);
            } else if let Some(item) = self.take_from(&flow) {
                return Some(item);
            }
        }
    }

    /// Sets how many requests a lane may have in flight.
    pub(super) fn set_cap(&mut self, key: &Key, cap: u32) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.cap = cap;
        }
        self.make_ready(key);
    }

    /// The request of a delivery of this lane has ended. The delivery is held until [`Self::recorded`], which may come
    /// first.
    pub(super) fn ended(&mut self, key: &Key) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        lane.in_flight = lane.in_flight.saturating_sub(1);
        let flow = Arc::clone(&lane.flow);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.hosts.ended(&flow.host);
        self.companies.ended(&flow.company);
        self.ready.extend(self.of_flows.ended(&flow));
        self.make_ready(key);
        self.forget_idle(key);
    }

    /// A delivery of this lane has been answered with this many bytes, which are held until [`Self::recorded`].
    pub(super) fn answered(&mut self, id: Uuid, key: &Key, bytes: usize) {
        if bytes > 0 && self.held.contains_key(&id) {
            let former = self.answers.insert(id, bytes).unwrap_or_default();
            self.answer_bytes = self.answer_bytes - former + bytes;
            if let Some(held) = self.held_by.get_mut(&key.company) {
                held.answer_bytes = held.answer_bytes - former + bytes;
            }
        }
    }

    /// How many more bytes of answers it can hold.
    fn free_answer_bytes(&self) -> usize {
        (self.max_bytes / 2).saturating_sub(self.answer_bytes)
    }

    /// Whether there is room for one more answer of this company, and others as well.
    fn may_be_answered(&self, company: &str) -> bool {
        let held = self.held_by.get(company).map_or(0, |held| held.answer_bytes);
        held <= COMPANY_SHARE * self.free_answer_bytes()
    }

    /// The outcome of a delivery is recorded, or it was never sent.
    pub(super) fn recorded(&mut self, id: Uuid, key: &Key) {
        let Some(size) = self.held.remove(&id) else { return };
        self.held_bytes -= size;
        let answer = self.answers.remove(&id).unwrap_or_default();
        self.answer_bytes -= answer;
        if let Some(held) = self.held_by.get_mut(&key.company) {
            held.deliveries -= 1;
            held.bytes -= size;
            held.answer_bytes -= answer;
            if held.deliveries == 0 {
                self.held_by.remove(&key.company);
            }
        }
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.held -= 1;
        }
        if answer > 0 {
            self.call_answerable();
        }
        self.make_ready(key);
        self.forget_idle(key);
    }

    /// Makes flows ready that waited for answer memory.
    fn call_answerable(&mut self) {
        let mut waiting = std::mem::take(&mut self.unanswerable);
        waiting.retain(|company, flows| {
            let stays = !self.may_be_answered(company);
            if !stays {
                self.ready.extend(flows.drain(..));
            }
            stays
        });
        self.unanswerable = waiting;
    }

    /// Takes the deliveries of a lane that are not in flight. They are held until [`Self::recorded`].
    pub(super) fn take_waiting(&mut self, key: &Key) -> Vec<T> {
        self.lanes.get_mut(key).map(|lane| lane.waiting.drain(..).collect()).unwrap_or_default()
    }

    /// Takes the deliveries for which `is_overdue` holds, wherever they wait. They are held until [`Self::recorded`].
    pub(super) fn take_overdue(&mut self, is_overdue: impl Fn(&T) -> bool) -> Vec<T> {
        let mut overdue = Vec::new();
        for lane in self.lanes.values_mut() {
            if lane.waiting.iter().any(&is_overdue) {
                let waiting = std::mem::take(&mut lane.waiting).into_iter();
                let (late, others): (Vec<T>, Vec<T>) = waiting.partition(&is_overdue);
                lane.waiting = others.into();
                overdue.extend(late);
            }
        }
        overdue
    }

    fn forget_idle(&mut self, key: &Key) {
        if self.lanes.get(key).is_some_and(|lane| lane.held == 0 && lane.in_flight == 0) {
            self.lanes.remove(key);
        }
    }

    /// Starts a delivery of the flow, and gives it another turn if it has more.
    fn take_from(&mut self, flow: &Arc<Flow>) -> Option<T> {
        let lanes = self.flows.get_mut(flow)?;
        let mut started = None;
        while started.is_none()
            && let Some(key) = lanes.pop_front()
        {
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.is_ready = false;
            // Its cap may have fallen since, or its deliveries may have been taken back.
            if !lane.may_send() {
                continue;
            }
            started = lane.waiting.pop_front();
            lane.in_flight += 1;
            lane.is_ready = lane.may_send();
            if lane.is_ready {
                lanes.push_back(key);
            }
        }
        if lanes.is_empty() {
            self.flows.remove(flow);
        } else {
            self.ready.push_back(Arc::clone(flow));
        }
        if started.is_some() {
            self.in_flight += 1;
            self.hosts.started(&flow.host);
            self.companies.started(&flow.company);
            self.of_flows.started(flow);
        }
        started
    }

    fn make_ready(&mut self, key: &Key) {
        let Some(lane) = self.lanes.get_mut(key) else { return };
        if lane.is_ready || !lane.may_send() {
            return;
        }
        lane.is_ready = true;
        match self.flows.entry(Arc::clone(&lane.flow)) {
            Entry::Occupied(mut lanes) => lanes.get_mut().push_back(key.clone()),
            Entry::Vacant(unknown) => {
                self.ready.push_back(Arc::clone(unknown.key()));
                unknown.insert(VecDeque::from([key.clone()]));
            }
        }
    }
}

#[cfg(test)]
mod tests;
