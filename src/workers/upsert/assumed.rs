//! What a transaction takes for granted about its messages. Each question to the database costs a round trip, and the statement
//! that inserts notices a wrong assumption before it inserts anything.

use std::sync::atomic::{AtomicBool, Ordering};

/// The largest batch for which one statement is tried first. In a larger one somebody is known nearly always, and a round trip
/// costs each of its messages little.
const FEW: usize = 4;

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
}

impl Experience {
    /// What to take for granted about so many messages that seem new. `is_patient`: the transaction has the usual lock timeout;
    /// a statement without a transaction can have no other.
    pub(super) fn assume(&self, messages: usize, seem_new: bool, is_patient: bool) -> Assumed {
        let may_be_one = messages <= FEW && is_patient;
        if !seem_new || self.has_ended_events.load(Ordering::Relaxed) {
            Assumed::Nothing
        } else if may_be_one && !self.has_known_people.load(Ordering::Relaxed) {
            Assumed::NewPeople
        } else {
            Assumed::NewEvents
        }
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
