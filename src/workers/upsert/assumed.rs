//! What a transaction takes for granted about its messages. Each question to the database costs a round trip, and the statement
//! that inserts notices a wrong assumption before it inserts anything.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{outcome::Messages, transaction::Patience};

/// The largest batch for which one statement is tried first. In a larger one somebody is known nearly always, and a round trip
/// costs each of its messages little.
const FEW: usize = 4;

/// How long it is remembered that somebody kept a row locked.
const WARY: Duration = Duration::from_secs(10);

/// What is taken for granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assumed {
    /// Nobody has a contact yet, and no event has ended: one statement writes everything.
    NewPeople,
    /// No event has ended, and nobody was erased.
    NewEvents,
    /// Nothing: everything is looked up.
    Nothing,
}

impl Assumed {
    /// The next thing to try after an assumption was wrong.
    pub(super) const fn less(self) -> Self {
        match self {
            Self::NewPeople => Self::NewEvents,
            Self::NewEvents | Self::Nothing => Self::Nothing,
        }
    }
}

/// What the last batches were like: the next one is probably like them.
#[derive(Debug, Default)]
pub struct Experience {
    has_known_people: AtomicBool,
    has_ended_events: AtomicBool,
    locked_at: Mutex<Option<Instant>>,
}

impl Experience {
    /// What to take for granted about these messages.
    pub(super) fn assume(&self, messages: Messages<'_>, patience: Patience) -> Assumed {
        let is_few = messages.accepted.len() <= FEW && patience == Patience::Patient;
        if !messages.seem_new() || self.has_ended_events.load(Ordering::Relaxed) {
            Assumed::Nothing
        } else if is_few && !self.has_known_people.load(Ordering::Relaxed) {
            Assumed::NewPeople
        } else {
            Assumed::NewEvents
        }
    }

    /// How long the next batch waits for locks. Who keeps rows of one company locked must not make the batches of all others
    /// wait, one after the other.
    pub(super) fn patience(&self, now: Instant) -> Patience {
        let locked_at = *self.locked_at.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wary = locked_at.is_some_and(|at| now.saturating_duration_since(at) < WARY);
        if is_wary { Patience::Wary } else { Patience::Patient }
    }

    /// Somebody keeps a row locked.
    pub(super) fn met_lock(&self, now: Instant) {
        *self.locked_at.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
    }

    /// Whether somebody in a batch had a contact.
    pub(super) fn found_people(&self, found: bool) {
        self.has_known_people.store(found, Ordering::Relaxed);
    }

    /// Whether an event of a batch had ended, or somebody in it was erased.
    pub(super) fn found_ends(&self, found: bool) {
        self.has_ended_events.store(found, Ordering::Relaxed);
    }
}
