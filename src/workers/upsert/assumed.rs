//! What a transaction assumes about its messages. Each query costs a round trip, and the statement that inserts notices a wrong
//! assumption before it inserts anything.

use std::{
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// The largest batch for which one statement is tried first. In a larger one somebody nearly always has a contact, and a round
/// trip costs each of its messages little.
const FEW: usize = 4;

/// How long a lock that held up a transaction is remembered.
const WARY: Duration = Duration::from_secs(10);

/// What a transaction assumes.
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
    /// What to assume about this many messages. `is_patient`: the transaction has the usual lock timeout; a statement without
    /// a transaction can have no other.
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

    /// Whether a lock has held up a transaction a short time ago. A session that keeps rows of one company locked must not make
    /// the batches of all others wait, one after the other.
    pub(super) fn is_wary(&self, now: Instant) -> bool {
        let locked_at = *self.locked_at.lock().unwrap_or_else(PoisonError::into_inner);
        locked_at.is_some_and(|at| now.saturating_duration_since(at) < WARY)
    }

    /// A lock holds up a transaction.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_messages_are_about_new_people_until_somebody_is_known() {
        let experience = Experience::default();
        let assume = |messages| experience.assume(messages, true, true);
        assert_eq!((assume(1), assume(FEW)), (Assumed::NewPeople, Assumed::NewPeople));
        assert_eq!(assume(FEW + 1), Assumed::NewEvents);
        experience.found_people(true);
        assert_eq!(assume(1), Assumed::NewEvents);
        experience.found_people(false);
        assert_eq!(assume(1), Assumed::NewPeople);
    }

    #[test]
    fn nothing_is_assumed_after_an_event_has_come_again() {
        let experience = Experience::default();
        assert_eq!(experience.assume(1, false, true), Assumed::Nothing);
        experience.found_ends(true);
        assert_eq!(experience.assume(1, true, true), Assumed::Nothing);
        experience.found_ends(false);
        assert_eq!(experience.assume(1, true, true), Assumed::NewPeople);
    }

    #[test]
    fn shorter_lock_timeout_needs_a_transaction() {
        assert_eq!(Experience::default().assume(1, true, false), Assumed::NewEvents);
    }

    #[test]
    fn each_wrong_assumption_leads_to_a_smaller_one() {
        assert_eq!(Assumed::NewPeople.less(), Assumed::NewEvents);
        assert_eq!(Assumed::NewEvents.less(), Assumed::Nothing);
    }

    #[test]
    fn lock_is_remembered_for_ten_seconds() {
        let (experience, now) = (Experience::default(), Instant::now());
        assert!(!experience.is_wary(now));
        experience.met_lock(now);
        assert!(experience.is_wary(now + Duration::from_secs(9)) && !experience.is_wary(now + WARY));
    }
}
