//! The unacknowledged messages of one consumer: which of them a transaction may take, and up to which of them all are
//! settled. Nothing here does I/O.
//!
//! Two transactions run at once. A person's events often arrive close together, and if both had one of them, the
//! second would lose the race for the new contact and start over. So a message that names a key of a running
//! transaction waits for its commit, and its neighbors go on without it. This only avoids races within one consumer;
//! between processes the database decides.

use std::collections::{HashSet, VecDeque};

/// Transactions at once: one is in the database while the other one's chains run.
pub(super) const MAX_RUNNING: usize = 2;

/// Messages in the order of arrival, each with a content `T` until a transaction takes it, and with a receipt `R` until
/// it is acknowledged.
pub(super) struct Window<T, R> {
    slots: VecDeque<Slot<T, R>>,
    /// The number of the first slot. Messages are numbered in the order of arrival.
    first: u64,
    running: Vec<Running>,
    /// The keys that the running transactions name.
    in_flight: HashSet<u64>,
    /// The transaction that started last.
    ticket: Ticket,
    decoded: usize,
}

/// A message that arrived.
pub(super) struct Arrival<T, R> {
    pub(super) content: T,
    pub(super) receipt: R,
    pub(super) demand: Demand,
}

/// The size of a message.
#[derive(Clone, Debug, Default)]
pub(super) struct Demand {
    /// Hashes of what it names. Two transactions with a common key never run at once; a chance collision only costs
    /// time.
    pub(super) keys: Vec<u64>,
    /// The size of its body.
    pub(super) bytes: usize,
    /// The memory that it takes beside its body, in bytes.
    pub(super) decoded: usize,
    /// The steps of its chain.
    pub(super) steps: usize,
    /// No other message may be in a transaction while it is.
    pub(super) alone: bool,
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
    /// In the order of arrival.
    pub(super) contents: Vec<T>,
    /// Nothing else may be decoded or applied until it is settled.
    pub(super) alone: bool,
}

/// Names a running transaction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ticket(u64);

struct Running {
    ticket: Ticket,
    /// The numbers of its messages.
    members: Vec<u64>,
    alone: bool,
}

struct Slot<T, R> {
    receipt: R,
    demand: Demand,
    state: State<T>,
}

enum State<T> {
    Waiting(T),
    Running,
    Settled,
}

impl<T, R> Default for Window<T, R> {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
            first: 0,
            running: Vec::new(),
            in_flight: HashSet::new(),
            ticket: Ticket::default(),
            decoded: 0,
        }
    }
}

impl<T, R> Window<T, R> {
    /// Adds the message that arrived last.
    pub(super) fn push(&mut self, Arrival { content, receipt, demand }: Arrival<T, R>) {
        self.decoded = self.decoded.saturating_add(demand.decoded);
        self.slots.push_back(Slot { receipt, demand, state: State::Waiting(content) });
    }

    /// Whether every message has been acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The receipt of the message that has waited longest.
    pub(super) fn oldest(&self) -> Option<&R> {
        self.slots.front().map(|slot| &slot.receipt)
    }

    /// The memory that all its messages take beside their bodies, in bytes.
    pub(super) const fn decoded(&self) -> usize {
        self.decoded
    }

    /// Whether a further transaction may start.
    pub(super) fn is_free(&self) -> bool {
        self.running.len() < MAX_RUNNING && !self.running.iter().any(|running| running.alone)
    }

    /// Starts a transaction with the first messages that are ready. `None` if there is none, or no transaction may
    /// start.
    ///
    /// A message that stays behind keeps its keys for itself: later messages that name one of them stay, too, or it
    /// might wait forever.
    pub(super) fn take(&mut self, limits: &Limits) -> Option<Taken<T>> {
        if !self.is_free() {
            return None;
        }
        let mut taken = Taken { ticket: self.ticket, contents: Vec::new(), alone: false };
        let mut members = Vec::new();
        let mut behind: HashSet<u64> = HashSet::new();
        let (mut bytes, mut steps) = (0_usize, 0_usize);
        for (number, slot) in (self.first..).zip(&mut self.slots) {
            if !matches!(slot.state, State::Waiting(_)) {
                continue;
            }
            let demand = &slot.demand;
            if demand.alone && !(members.is_empty() && self.running.is_empty()) {
                break;
            }
            if demand.keys.iter().any(|key| self.in_flight.contains(key) || behind.contains(key)) {
                behind.extend(&demand.keys);
                continue;
            }
            bytes = bytes.saturating_add(demand.bytes);
            steps = steps.saturating_add(demand.steps);
            let is_full = members.len() >= limits.messages || bytes > limits.bytes || steps > limits.steps;
            if is_full && !members.is_empty() {
                break;
            }
            taken.alone = demand.alone;
            members.push(number);
            if let State::Waiting(content) = std::mem::replace(&mut slot.state, State::Running) {
                taken.contents.push(content);
            }
            if taken.alone {
                break;
            }
        }
        if members.is_empty() {
            return None;
        }
        self.ticket.0 += 1;
        taken.ticket = self.ticket;
        for number in &members {
            if let Some(slot) = slot(&mut self.slots, self.first, *number) {
                self.in_flight.extend(&slot.demand.keys);
            }
        }
        self.running.push(Running { ticket: taken.ticket, members, alone: taken.alone });
        Some(taken)
    }

    /// Ends a transaction that has settled all of its messages. Returns the receipt of the last message up to which
    /// all are settled: it and all before it can be acknowledged now.
    pub(super) fn settle(&mut self, ticket: Ticket) -> Option<R> {
        let index = self.running.iter().position(|running| running.ticket == ticket)?;
        for number in self.running.swap_remove(index).members {
            if let Some(slot) = slot(&mut self.slots, self.first, number) {
                slot.state = State::Settled;
                for key in &slot.demand.keys {
                    self.in_flight.remove(key);
                }
            }
        }
        let mut last = None;
        while let Some(done) = self.slots.pop_front_if(|slot| matches!(slot.state, State::Settled)) {
            self.first += 1;
            self.decoded = self.decoded.saturating_sub(done.demand.decoded);
            last = Some(done.receipt);
        }
        last
    }
}

fn slot<T, R>(slots: &mut VecDeque<Slot<T, R>>, first: u64, number: u64) -> Option<&mut Slot<T, R>> {
    slots.get_mut(usize::try_from(number.checked_sub(first)?).ok()?)
}

#[cfg(test)]
mod tests;
