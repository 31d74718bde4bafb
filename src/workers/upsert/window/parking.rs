//! Messages that are out of the way of those that arrived later: parked ones, and those that wait for them.

use std::collections::{BTreeMap, HashMap};

use super::slot::{Bounds, Slot, State};

/// Messages by number.
pub(super) struct Parking<T, R> {
    pub(super) slots: BTreeMap<u64, Slot<T, R>>,
    /// How many of them name each key.
    keys: HashMap<u64, usize>,
    bytes: usize,
    decoded: usize,
    bounds: Bounds,
}

impl<T, R> Parking<T, R> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { slots: BTreeMap::new(), keys: HashMap::new(), bytes: 0, decoded: 0, bounds }
    }

    /// Whether this message would stop those behind it, and has room here.
    pub(super) fn admits(&self, slot: &Slot<T, R>) -> bool {
        let Slot { demand, state, .. } = slot;
        let stops_others = match state {
            State::Parked { .. } => true,
            State::Waiting(_) => demand.keys.iter().any(|key| self.keys.contains_key(key)),
            State::Running | State::Settled => false,
        };
        stops_others
            && self.slots.len() < self.bounds.messages
            && self.bytes.saturating_add(demand.bytes) <= self.bounds.bytes
            && self.decoded.saturating_add(demand.decoded) <= self.bounds.decoded
    }

    pub(super) fn insert(&mut self, number: u64, slot: Slot<T, R>) {
        self.bytes += slot.demand.bytes;
        self.decoded += slot.demand.decoded;
        for key in &slot.demand.keys {
            *self.keys.entry(*key).or_default() += 1;
        }
        self.slots.insert(number, slot);
    }

    /// Removes this message, if it is settled.
    pub(super) fn remove_settled(&mut self, number: u64) -> Option<Slot<T, R>> {
        if !matches!(self.slots.get(&number)?.state, State::Settled) {
            return None;
        }
        let slot = self.slots.remove(&number)?;
        self.bytes -= slot.demand.bytes;
        self.decoded -= slot.demand.decoded;
        for key in &slot.demand.keys {
            if let Some(count) = self.keys.get_mut(key) {
                *count -= 1;
                if *count == 0 {
                    self.keys.remove(key);
                }
            }
        }
        Some(slot)
    }
}
