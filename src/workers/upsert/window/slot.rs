//! One message of the window.

use std::time::Instant;

/// What a message needs from its transaction: keys, room, and whether it must be alone.
#[derive(Clone, Debug, Default)]
pub(in crate::workers::upsert) struct Demand {
    /// Hashes of what it names. Two transactions with a common key never run at once; a chance collision only costs
    /// time.
    pub(in crate::workers::upsert) keys: Vec<u64>,
    /// The size of its body.
    pub(in crate::workers::upsert) bytes: usize,
    /// The memory that it takes beside its body, in bytes.
    pub(in crate::workers::upsert) decoded: usize,
    /// The steps of its chain.
    pub(in crate::workers::upsert) steps: usize,
    /// No other message may be in a transaction while it is.
    pub(in crate::workers::upsert) alone: bool,
}

/// Bounds of the parking.
#[derive(Clone, Copy, Debug)]
pub(in crate::workers::upsert) struct Bounds {
    pub(in crate::workers::upsert) messages: usize,
    /// The sizes of their bodies.
    pub(in crate::workers::upsert) bytes: usize,
    /// The memory that they take beside their bodies.
    pub(in crate::workers::upsert) decoded: usize,
}

/// What a transaction takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Messages that were not tried yet.
    New,
    /// Parked ones that are due.
    Parked,
}

/// A message, and how far it has come.
pub(super) struct Slot<T, R> {
    pub(super) receipt: R,
    pub(super) demand: Demand,
    pub(super) state: State<T>,
}

pub(super) enum State<T> {
    Waiting(T),
    Parked { content: T, due_at: Instant },
    Running,
    Settled,
}

impl<T, R> Slot<T, R> {
    /// Whether a transaction could take it now, if none were running.
    pub(super) fn is_ready(&self, now: Instant) -> Option<Kind> {
        match self.state {
            State::Waiting(_) => Some(Kind::New),
            State::Parked { due_at, .. } => (due_at <= now).then_some(Kind::Parked),
            State::Running | State::Settled => None,
        }
    }

    pub(super) fn take(&mut self) -> Option<T> {
        match std::mem::replace(&mut self.state, State::Running) {
            State::Waiting(content) | State::Parked { content, .. } => Some(content),
            State::Running | State::Settled => None,
        }
    }
}
