//! The messages of one consumer that are not acknowledged yet: which of them a transaction may take, and which can be
//! acknowledged. Nothing here does I/O.
//!
//! Two transactions run at once. A person's events often arrive close together, and if both had one of them, the
//! second would lose the race for the new contact and start over. So a message that names a key of a running
//! transaction waits for its commit, and its neighbors go on without it. This only avoids races: other processes know
//! nothing of it, and the database decides.
//!
//! A message that cannot be applied for now is parked. It takes up no transaction of the others, and a third one tries it
//! again when it is due. It keeps its keys meanwhile. So that the broker does not stop at it, the messages behind it are
//! acknowledged one by one, as long as what is parked, and what waits for it, has room in `parking`.

mod parking;
mod slot;

use std::{
    collections::{HashSet, VecDeque},
    time::Instant,
};

pub(super) use self::slot::{Bounds, Demand};
use self::{
    parking::Parking,
    slot::{Kind, Slot, State},
};

/// Transactions at once: one is in the database while the other one's chains run.
pub(super) const MAX_RUNNING: usize = 2;

/// Messages in the order of arrival, each with a content `T` until a transaction takes it, and with a receipt `R` until
/// it is acknowledged.
pub(super) struct Window<T, R> {
    /// Older than `slots`: parked messages, and those that wait for them.
    parking: Parking<T, R>,
    slots: VecDeque<Slot<T, R>>,
    /// The number of the first slot. Messages are numbered in the order of arrival.
    first: u64,
    running: Vec<Running>,
    /// The keys that the running transactions name.
    in_flight: HashSet<u64>,
    /// The transaction that started last.
    ticket: Ticket,
    decoded: usize,
    /// How many are parked.
    parked: usize,
}

/// A message that arrived.
pub(super) struct Arrival<T, R> {
    pub(super) content: T,
    pub(super) receipt: R,
    pub(super) demand: Demand,
}

/// Bounds of one transaction. One message always fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) messages: usize,
    pub(super) bytes: usize,
    pub(super) steps: usize,
}

/// The messages of one transaction.
pub(super) struct Taken<T> {
    pub(super) ticket: Ticket,
    /// In the order of arrival, with their numbers.
    pub(super) contents: Vec<(u64, T)>,
    /// Nothing else may be decoded or applied until it is settled.
    pub(super) alone: bool,
}

/// Names a running transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticket(u64);

/// A message that its transaction has parked.
pub(super) struct Parked<T> {
    pub(super) number: u64,
    pub(super) content: T,
    pub(super) due_at: Instant,
}

/// What can be acknowledged.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ack<R> {
    /// This message, and all that arrived before it.
    Through(R),
    /// This message alone.
    One(R),
}

struct Running {
    ticket: Ticket,
    kind: Kind,
    /// The numbers of its messages.
    members: Vec<u64>,
    alone: bool,
}

impl<T, R> Window<T, R> {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            parking: Parking::new(bounds),
            slots: VecDeque::new(),
            first: 0,
            running: Vec::new(),
            in_flight: HashSet::new(),
            ticket: Ticket::default(),
            decoded: 0,
            parked: 0,
        }
    }

    /// Adds the message that arrived last.
    pub(super) fn push(&mut self, Arrival { content, receipt, demand }: Arrival<T, R>) {
        self.decoded = self.decoded.saturating_add(demand.decoded);
        self.slots.push_back(Slot { receipt, demand, state: State::Waiting(content) });
    }

    /// Whether every message has been acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty() && self.parking.slots.is_empty()
    }

    /// The receipt of the message that has waited longest.
    pub(super) fn oldest(&self) -> Option<&R> {
        self.parking.slots.values().next().or_else(|| self.slots.front()).map(|slot| &slot.receipt)
    }

    /// The memory that all its messages take beside their bodies, in bytes.
    pub(super) const fn decoded(&self) -> usize {
        self.decoded
    }

    /// Whether a further transaction with new messages may start.
    pub(super) fn is_free(&self) -> bool {
        self.admits(Kind::New)
    }

    fn admits(&self, kind: Kind) -> bool {
        let most = match kind {
            Kind::New => MAX_RUNNING,
            Kind::Parked => 1,
        };
        let running = self.running.iter().filter(|running| running.kind == kind).count();
        running < most && !self.running.iter().any(|running| running.alone)
    }

    /// When the first parked message is due; `None` if there is none, or a transaction with parked ones is running.
    pub(super) fn next_due(&self) -> Option<Instant> {
        if self.parked == 0 || !self.admits(Kind::Parked) {
            return None;
        }
        let due_at = |slot: &Slot<T, R>| match slot.state {
            State::Parked { due_at, .. } => Some(due_at),
            _ => None,
        };
        self.parking.slots.values().chain(&self.slots).filter_map(due_at).min()
    }

    /// Starts a transaction with the first messages that are ready and were not tried yet. `None` if there is none, or no
    /// transaction may start.
    ///
    /// A message that stays behind keeps its keys for itself: later messages that name one of them stay, too, or it
    /// might wait for ever.
    pub(super) fn take(&mut self, limits: &Limits, now: Instant) -> Option<Taken<T>> {
        self.start(Kind::New, limits, now)
    }

    /// Starts a transaction with parked messages that are due, by the same rules.
    pub(super) fn retry(&mut self, limits: &Limits, now: Instant) -> Option<Taken<T>> {
        if self.parked == 0 { None } else { self.start(Kind::Parked, limits, now) }
    }

    fn start(&mut self, kind: Kind, limits: &Limits, now: Instant) -> Option<Taken<T>> {
        if !self.admits(kind) {
            return None;
        }
        let (contents, alone) = self.choose(kind, limits, now);
        if contents.is_empty() {
            return None;
        }
        self.ticket.0 += 1;
        let (ticket, members) = (self.ticket, contents.iter().map(|(number, _)| *number).collect::<Vec<_>>());
        for number in &members {
            if let Some(slot) = slot(&mut self.parking, &mut self.slots, self.first, *number) {
                self.in_flight.extend(&slot.demand.keys);
            }
        }
        if kind == Kind::Parked {
            self.parked -= members.len();
        }
        self.running.push(Running { ticket, kind, members, alone });
        Some(Taken { ticket, contents, alone })
    }

    /// Takes the contents of the next transaction, and whether it has to be alone.
    fn choose(&mut self, kind: Kind, limits: &Limits, now: Instant) -> (Vec<(u64, T)>, bool) {
        let (mut contents, mut behind) = (Vec::new(), HashSet::<u64>::new());
        let (mut bytes, mut steps) = (0_usize, 0_usize);
        let parking = self.parking.slots.iter_mut().map(|(number, slot)| (*number, slot));
        for (number, slot) in parking.chain((self.first..).zip(&mut self.slots)) {
            if matches!(slot.state, State::Running | State::Settled) {
                continue;
            }
            let (demand, ready) = (&slot.demand, slot.is_ready(now));
            let is_blocked =
                demand.keys.iter().any(|key| self.in_flight.contains(key) || behind.contains(key));
            if is_blocked || ready.is_none() {
                behind.extend(&demand.keys);
                continue;
            }
            let may_be_alone = ready == Some(kind) && contents.is_empty() && self.running.is_empty();
            if demand.alone && !may_be_alone {
                break;
            }
            if ready != Some(kind) {
                behind.extend(&demand.keys);
                continue;
            }
            bytes = bytes.saturating_add(demand.bytes);
            steps = steps.saturating_add(demand.steps);
            let is_full = contents.len() >= limits.messages || bytes > limits.bytes || steps > limits.steps;
            if is_full && !contents.is_empty() {
                break;
            }
            let alone = demand.alone;
            contents.extend(slot.take().map(|content| (number, content)));
            if alone {
                return (contents, true);
            }
        }
        (contents, false)
    }

    /// Ends a transaction that has settled all of its messages but those that it has `parked`. Returns what can be acknowledged
    /// now.
    pub(super) fn settle(&mut self, ticket: Ticket, parked: Vec<Parked<T>>) -> Vec<Ack<R>> {
        let Some(index) = self.running.iter().position(|running| running.ticket == ticket) else {
            return Vec::new();
        };
        let members = self.running.swap_remove(index).members;
        for number in &members {
            if let Some(slot) = slot(&mut self.parking, &mut self.slots, self.first, *number) {
                slot.state = State::Settled;
                for key in &slot.demand.keys {
                    self.in_flight.remove(key);
                }
            }
        }
        for Parked { number, content, due_at } in parked {
            if let Some(slot) = slot(&mut self.parking, &mut self.slots, self.first, number) {
                slot.state = State::Parked { content, due_at };
                self.parked += 1;
            }
        }
        let mut acks = Vec::new();
        for number in members {
            if let Some(done) = self.parking.remove_settled(number) {
                self.decoded = self.decoded.saturating_sub(done.demand.decoded);
                acks.push(Ack::One(done.receipt));
            }
        }
        self.advance(&mut acks);
        acks
    }

    /// Removes what is settled from the front, and holds what must not stop the others there.
    fn advance(&mut self, acks: &mut Vec<Ack<R>>) {
        let mut last = None;
        loop {
            if let Some(done) = self.slots.pop_front_if(|slot| matches!(slot.state, State::Settled)) {
                self.decoded = self.decoded.saturating_sub(done.demand.decoded);
                if self.parking.slots.is_empty() {
                    last = Some(done.receipt);
                } else {
                    acks.push(Ack::One(done.receipt));
                }
            } else if let Some(slot) = self.slots.pop_front_if(|slot| self.parking.admits(slot)) {
                self.parking.insert(self.first, slot);
            } else {
                break;
            }
            self.first += 1;
        }
        acks.extend(last.map(Ack::Through));
    }
}

fn slot<'a, T, R>(
    parking: &'a mut Parking<T, R>,
    slots: &'a mut VecDeque<Slot<T, R>>,
    first: u64,
    number: u64,
) -> Option<&'a mut Slot<T, R>> {
    match number.checked_sub(first) {
        Some(index) => slots.get_mut(usize::try_from(index).ok()?),
        None => parking.slots.get_mut(&number),
    }
}

#[cfg(test)]
mod tests;
