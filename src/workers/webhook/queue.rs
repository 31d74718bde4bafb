//! The deliveries that a process holds in memory, and which of them is sent next. Pure: no I/O, no clock.
//!
//! Lanes take turns. Nobody holds everything: a company may have twice as many requests in flight as there are free slots,
//! a host and a lane as many. So some slots are always free for others, and one company with nobody beside it still uses
//! two thirds of them (a dynamic threshold, as in the shared buffers of network switches). The same rule shares the
//! memory.

use std::collections::{HashMap, VecDeque, hash_map::Entry};

use uuid::Uuid;

use crate::domain::event::Key;

/// How many requests a company may have in flight for each free slot. A host and a lane may have one.
const COMPANY_SHARE: usize = 2;

/// Maximum number of blocked lanes that are passed over for the next delivery.
const MAX_BLOCKED: usize = 512;

/// Nothing more is taken while the deliveries in memory are larger, in bytes.
const MAX_BYTES: usize = 64 << 20;

/// A delivery in the queue.
pub(super) trait Queued {
    /// The delivery.
    fn id(&self) -> Uuid;
    /// The lane that it waits in.
    fn lane(&self) -> &Key;
    /// The host that it is sent to.
    fn host(&self) -> &str;
    /// How many requests its lane may have in flight.
    fn cap(&self) -> u32;
    /// Its size in memory, in bytes.
    fn size(&self) -> usize;
}

/// Holds deliveries from the moment they are taken until their outcome is recorded.
pub(super) struct Queue<T> {
    lanes: HashMap<Key, Lane<T>>,
    /// The lanes that may send more, each once.
    turns: VecDeque<Key>,
    /// The size of each delivery.
    held: HashMap<Uuid, usize>,
    held_bytes: usize,
    max_held: usize,
    in_flight: usize,
    max_in_flight: usize,
    /// Requests in flight, and deliveries held, by company; requests in flight by host.
    companies: HashMap<String, (usize, usize)>,
    hosts: HashMap<String, usize>,
}

struct Lane<T> {
    host: String,
    cap: u32,
    waiting: VecDeque<T>,
    in_flight: u32,
    held: usize,
    has_turn: bool,
}

impl<T: Queued> Queue<T> {
    /// Sends at most `max_in_flight` requests at once, and holds at most `max_held` deliveries.
    pub(super) fn new(max_in_flight: usize, max_held: usize) -> Self {
        Self {
            lanes: HashMap::new(),
            turns: VecDeque::new(),
            held: HashMap::new(),
            held_bytes: 0,
            max_held,
            in_flight: 0,
            max_in_flight,
            companies: HashMap::new(),
            hosts: HashMap::new(),
        }
    }

    /// How many more deliveries it can hold.
    pub(super) fn free(&self) -> usize {
        if self.held_bytes < MAX_BYTES { self.max_held.saturating_sub(self.held.len()) } else { 0 }
    }

    /// Whether no delivery is held.
    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// How many more deliveries of this lane it can hold now, if there is room for others as well.
    pub(super) fn room(&self, lane: &Key) -> usize {
        self.free().saturating_sub(self.held_of(lane)).div_ceil(2).min(self.room_of(&lane.company))
    }

    /// How many more deliveries of this company it can hold now, if there is room for others as well.
    pub(super) fn room_of(&self, company: &str) -> usize {
        let held = self.companies.get(company).map_or(0, |(_, held)| *held);
        (COMPANY_SHARE * self.free()).saturating_sub(held).div_ceil(COMPANY_SHARE + 1)
    }

    /// How many deliveries of this lane it holds.
    pub(super) fn held_of(&self, lane: &Key) -> usize {
        self.lanes.get(lane).map_or(0, |lane| lane.held)
    }

    /// The companies that hold their share already.
    pub(super) fn full_companies(&self) -> Vec<String> {
        self.companies.keys().filter(|company| self.room_of(company) == 0).cloned().collect()
    }

    /// The companies that hold a quarter of what it can hold. More of theirs would soon have to become rows.
    pub(super) fn busy_companies(&self) -> Vec<String> {
        let busy = self.companies.iter().filter(|(_, (_, held))| 4 * held >= self.max_held);
        busy.map(|(company, _)| company.clone()).collect()
    }

    /// Adds a delivery to its lane. Returns it if it is held already.
    pub(super) fn push(&mut self, item: T) -> Result<(), T> {
        if self.held.contains_key(&item.id()) {
            return Err(item);
        }
        self.held.insert(item.id(), item.size());
        self.held_bytes += item.size();
        let key = item.lane().clone();
        match self.companies.get_mut(&key.company) {
            Some((_, held)) => *held += 1,
            None => {
                self.companies.insert(key.company.clone(), (0, 1));
            }
        }
        let lane = self.lanes.entry(key.clone()).or_insert_with(|| Lane {
            host: item.host().to_owned(),
            cap: item.cap(),
            waiting: VecDeque::new(),
            in_flight: 0,
            held: 0,
            has_turn: false,
        });
        lane.cap = item.cap();
        lane.held += 1;
        lane.waiting.push_back(item);
        self.give_turn(&key);
        Ok(())
    }

    /// The next delivery to send. It is in flight until [`Self::ended`].
    pub(super) fn next(&mut self) -> Option<T> {
        for _ in 0..self.turns.len().min(MAX_BLOCKED) {
            let key = self.turns.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&key) else { continue };
            lane.has_turn = false;
            let free = self.max_in_flight.saturating_sub(self.in_flight);
            let of_host = self.hosts.get(&lane.host).copied().unwrap_or_default();
            let of_company = self.companies.get(&key.company).map_or(0, |(in_flight, _)| *in_flight);
            if of_host >= free || of_company >= COMPANY_SHARE * free {
                self.give_turn(&key);
                continue;
            }
            let Some(item) = lane.waiting.pop_front() else { continue };
            lane.in_flight += 1;
            *self.hosts.entry(lane.host.clone()).or_default() += 1;
            if let Some((in_flight, _)) = self.companies.get_mut(&key.company) {
                *in_flight += 1;
            }
            self.in_flight += 1;
            self.give_turn(&key);
            return Some(item);
        }
        None
    }

    /// Lets a lane have so many requests in flight.
    pub(super) fn set_cap(&mut self, key: &Key, cap: u32) {
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.cap = cap;
        }
        self.give_turn(key);
    }

    /// The request of a delivery of this lane has ended. The delivery is held until [`Self::recorded`].
    pub(super) fn ended(&mut self, key: &Key) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some((in_flight, _)) = self.companies.get_mut(&key.company) {
            *in_flight = in_flight.saturating_sub(1);
        }
        if let Some(lane) = self.lanes.get_mut(key) {
            lane.in_flight = lane.in_flight.saturating_sub(1);
            if let Entry::Occupied(mut host) = self.hosts.entry(lane.host.clone()) {
                *host.get_mut() -= 1;
                if *host.get() == 0 {
                    host.remove();
                }
            }
        }
        self.give_turn(key);
    }

    /// The outcome of a delivery is recorded, or it was never sent.
    pub(super) fn recorded(&mut self, id: Uuid, key: &Key) {
        let Some(size) = self.held.remove(&id) else { return };
        self.held_bytes -= size;
        if let Entry::Occupied(mut company) = self.companies.entry(key.company.clone()) {
            company.get_mut().1 -= 1;
            if company.get().1 == 0 {
                company.remove();
            }
        }
        if let Entry::Occupied(mut lane) = self.lanes.entry(key.clone()) {
            lane.get_mut().held -= 1;
            if lane.get().held == 0 {
                lane.remove();
            }
        }
    }

    /// Takes the deliveries of a lane that are not in flight. They are held until [`Self::recorded`].
    pub(super) fn take_waiting(&mut self, key: &Key) -> Vec<T> {
        self.lanes.get_mut(key).map(|lane| lane.waiting.drain(..).collect()).unwrap_or_default()
    }

    /// Takes the deliveries for which `is_overdue` holds, from the front of each lane.
    pub(super) fn take_overdue(&mut self, is_overdue: impl Fn(&T) -> bool) -> Vec<T> {
        let mut overdue = Vec::new();
        for lane in self.lanes.values_mut() {
            while lane.waiting.front().is_some_and(&is_overdue) {
                overdue.extend(lane.waiting.pop_front());
            }
        }
        overdue
    }

    fn give_turn(&mut self, key: &Key) {
        if let Some(lane) = self.lanes.get_mut(key)
            && !lane.has_turn
            && !lane.waiting.is_empty()
            && lane.in_flight < lane.cap
        {
            lane.has_turn = true;
            self.turns.push_back(key.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Item(Uuid, Key, &'static str, u32);

    impl Queued for Item {
        fn id(&self) -> Uuid {
            self.0
        }

        fn lane(&self) -> &Key {
            &self.1
        }

        fn host(&self) -> &str {
            self.2
        }

        fn cap(&self) -> u32 {
            self.3
        }

        fn size(&self) -> usize {
            1_000
        }
    }

    fn lane(company: &str, number: u128) -> Key {
        Key { company: company.to_owned(), id: Uuid::from_u128(number) }
    }

    fn push(queue: &mut Queue<Item>, lane: &Key, host: &'static str, count: usize) {
        for _ in 0..count {
            let _ = queue.push(Item(Uuid::now_v7(), lane.clone(), host, 1000));
        }
    }

    /// Starts what may be in flight, and counts it by company.
    fn start(queue: &mut Queue<Item>) -> HashMap<String, usize> {
        let mut started = HashMap::new();
        while let Some(item) = queue.next() {
            *started.entry(item.1.company).or_default() += 1;
        }
        started
    }

    #[test]
    fn a_lane_sends_up_to_its_cap() {
        let mut queue = Queue::new(100, 1000);
        let lane = lane("acme", 1);
        for _ in 0..5 {
            assert!(queue.push(Item(Uuid::now_v7(), lane.clone(), "a", 2)).is_ok());
        }
        assert_eq!(start(&mut queue).get("acme"), Some(&2));
        queue.ended(&lane);
        assert_eq!(start(&mut queue).get("acme"), Some(&1));
        assert_eq!(queue.held_of(&lane), 5, "until the outcomes are recorded");
    }

    #[test]
    fn a_host_uses_at_most_half_of_the_slots() {
        let mut queue = Queue::new(100, 1000);
        push(&mut queue, &lane("acme", 1), "a", 200);
        assert_eq!(start(&mut queue).get("acme"), Some(&50));
        push(&mut queue, &lane("acme", 2), "b", 200);
        assert_eq!(start(&mut queue).get("acme"), Some(&17), "with another host two thirds");
    }

    #[test]
    fn companies_leave_slots_for_others() {
        let mut queue = Queue::new(120, 100_000);
        for (number, host) in (0..).zip(["a", "b", "c", "d", "e"]) {
            push(&mut queue, &lane("greedy", number), host, 100);
        }
        assert_eq!(start(&mut queue).get("greedy"), Some(&80));
        push(&mut queue, &lane("modest", 1), "host", 5);
        assert_eq!(start(&mut queue).get("modest"), Some(&5));
    }

    #[test]
    fn blocked_lanes_do_not_hide_others() {
        let mut queue = Queue::new(100, 10_000);
        for number in 0..1000 {
            push(&mut queue, &lane("acme", number), "hangs", 1);
        }
        assert_eq!(start(&mut queue).get("acme"), Some(&50));
        push(&mut queue, &lane("other", 1), "works", 1);
        let tries = (0..20).map(|_| start(&mut queue).get("other").copied().unwrap_or_default());
        assert_eq!(tries.sum::<usize>(), 1);
    }

    #[test]
    fn the_same_delivery_is_held_once() {
        let mut queue = Queue::new(10, 10);
        let (id, lane) = (Uuid::now_v7(), lane("acme", 1));
        assert!(queue.push(Item(id, lane.clone(), "a", 1)).is_ok());
        assert!(queue.push(Item(id, lane.clone(), "a", 1)).is_err());
        queue.recorded(id, &lane);
        assert!(queue.is_empty());
    }

    #[test]
    fn memory_is_shared_like_slots() {
        let mut queue = Queue::new(10, 90);
        let greedy = lane("greedy", 1);
        while queue.room(&greedy) > 0 {
            push(&mut queue, &greedy, "a", 1);
        }
        assert!((40..=60).contains(&queue.held_of(&greedy)), "{}", queue.held_of(&greedy));
        assert!(queue.room(&lane("modest", 1)) > 5);
    }

    #[test]
    fn waiting_deliveries_can_be_taken_back() {
        let mut queue = Queue::new(10, 100);
        let lane = lane("acme", 1);
        for _ in 0..4 {
            assert!(queue.push(Item(Uuid::now_v7(), lane.clone(), "a", 1)).is_ok());
        }
        assert!(queue.next().is_some());
        assert_eq!(queue.take_waiting(&lane).len(), 3);
        assert!(queue.next().is_none());
        assert_eq!(queue.held_of(&lane), 4);
    }
}
