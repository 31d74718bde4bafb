//! The part of a batch that one transaction applies, and what happens to it when the database refuses it. Nothing here
//! does I/O.

use std::collections::HashSet;

use uuid::Uuid;

use super::{
    outcome::Messages,
    transaction::Refused,
    triage::{self, Accepted},
};
use crate::{
    domain::fault::Reason,
    postgres::dead_letters::{NewDeadLetter, Replay},
    workers::retry::MAX_FAST_RACES,
};

/// How often a message is tried alone that loses races. The next try sees the rows of the winner, so after more than a few
/// lost races it is rows that contradict each other.
const MAX_RACES: u32 = 9;

/// How often a message is tried alone that needs a row that is unreadable or locked.
const MAX_TRIES: u32 = 3;

/// Messages of a batch that are applied together.
#[derive(Default)]
pub(super) struct Portion {
    pub(super) accepted: Vec<Accepted>,
    pub(super) rejected: Vec<NewDeadLetter>,
    /// How often the database has refused it, apart from outages and locked tables.
    pub(super) refusals: u32,
    /// Why its message was set aside.
    pub(super) set_aside: Option<String>,
}

/// What a decision about a portion depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// Accepted messages.
    pub(super) accepted: usize,
    pub(super) rejected: usize,
    pub(super) refusals: u32,
}

/// What happens to a portion that the database has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is tried again at once.
    Again,
    /// It is halved, to find the message that is refused.
    Halve,
    /// Its only message is tried again after its neighbors and a wait.
    PutOff,
    /// Its only message becomes a dead letter, because of what it contains.
    Reject,
    /// Its only message becomes a dead letter, because of what is stored.
    SetAside,
    /// Nothing is wrong with its messages: they wait for the database.
    Wait,
}

/// What happens next. `may_set_aside` is asked only about a message that would be set aside.
pub(super) fn next(refused: &Refused, facts: &Facts, may_set_aside: impl FnOnce() -> bool) -> Step {
    let tries = match refused {
        Refused::Systemic(_) | Refused::Locked => return Step::Wait,
        Refused::Discarded(_) => return Step::Again,
        Refused::Race if facts.refusals <= MAX_FAST_RACES => return Step::Again,
        // The database accepts every dead letter, unless this program has a bug.
        _ if facts.accepted == 0 => return Step::Wait,
        _ if facts.accepted + facts.rejected > 1 => return Step::Halve,
        Refused::Data(_) => return Step::Reject,
        Refused::Race => MAX_RACES,
        Refused::Slow(_) | Refused::Unreadable(_) => MAX_TRIES,
    };
    if facts.refusals >= tries && may_set_aside() { Step::SetAside } else { Step::PutOff }
}

impl Portion {
    pub(super) const fn facts(&self) -> Facts {
        let (accepted, rejected) = (self.accepted.len(), self.rejected.len());
        Facts { accepted, rejected, refusals: self.refusals }
    }

    pub(super) fn messages(&self) -> Messages<'_> {
        Messages { accepted: &self.accepted, rejected: &self.rejected }
    }

    /// Leaves out messages whose dead letter was discarded: that cancels its replay.
    pub(super) fn leave_out(&mut self, replays: &HashSet<Replay>) {
        let is_cancelled = |id: Option<Uuid>, meaning| id.is_some_and(|id| replays.contains(&(id, meaning)));
        self.accepted.retain(|one| !is_cancelled(one.replay_of, one.meaning));
        self.rejected.retain(|one| !is_cancelled(one.replay_of, one.meaning));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.accepted.is_empty() && self.rejected.is_empty()
    }

    /// Its dead letters, and each half of its other messages.
    pub(super) fn halved(mut self) -> [Self; 2] {
        let rest = if self.rejected.is_empty() {
            Self { accepted: self.accepted.split_off(self.accepted.len() / 2), ..Self::default() }
        } else {
            Self { rejected: std::mem::take(&mut self.rejected), ..Self::default() }
        };
        [rest, Self { accepted: self.accepted, ..Self::default() }]
    }

    /// Its message as a dead letter.
    pub(super) fn rejected(self, reason: Reason, text: &str) -> Self {
        let dead = |one: &Accepted| triage::dead_letter(&one.message, one.plan.event.fault(reason, text));
        Self { rejected: self.accepted.iter().map(dead).collect(), ..Self::default() }
    }

    /// Its message as a dead letter that waits until what is stored has been repaired.
    pub(super) fn set_aside(self, refused: &Refused) -> Self {
        let why = format!("tried alone {} times: {refused}", self.refusals);
        Self { set_aside: Some(why.clone()), ..self.rejected(Reason::CrashLoop, &why) }
    }

    /// The same messages, with the first one alone: the first transaction after an outage is small.
    pub(super) fn with_probe(mut self) -> Vec<Self> {
        if self.accepted.len() <= 1 {
            return vec![self];
        }
        let rest = Self { accepted: self.accepted.split_off(1), rejected: self.rejected, ..Self::default() };
        vec![rest, Self { accepted: self.accepted, ..Self::default() }]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow() -> Refused {
        Refused::Slow("locked".to_owned())
    }

    fn unreadable() -> Refused {
        Refused::Unreadable("contact 1".to_owned())
    }

    fn data() -> Refused {
        Refused::Data("SQLSTATE 22021".to_owned())
    }

    fn systemic() -> Refused {
        Refused::Systemic(sqlx::Error::PoolTimedOut)
    }

    #[test]
    fn refused_portion_ends() {
        let alone = Facts { accepted: 1, ..Facts::default() };
        let tried = |refusals| Facts { refusals, ..alone };
        let several = |accepted, rejected, refusals| Facts { accepted, rejected, refusals };
        for (refused, facts, expected) in [
            (Refused::Race, tried(3), Step::Again),
            (Refused::Race, several(2, 0, 3), Step::Again),
            (Refused::Race, several(0, 2, 3), Step::Again),
            (Refused::Race, several(2, 0, 4), Step::Halve),
            (Refused::Race, several(0, 1, 4), Step::Wait),
            (Refused::Race, tried(4), Step::PutOff),
            (Refused::Race, tried(8), Step::PutOff),
            (Refused::Race, tried(9), Step::SetAside),
            (data(), several(2, 0, 1), Step::Halve),
            (data(), several(1, 1, 1), Step::Halve),
            (data(), tried(1), Step::Reject),
            (data(), several(0, 1, 1), Step::Wait),
            (unreadable(), several(2, 0, 1), Step::Halve),
            (unreadable(), tried(2), Step::PutOff),
            (unreadable(), tried(3), Step::SetAside),
            (unreadable(), several(0, 1, 9), Step::Wait),
            (slow(), several(1, 1, 1), Step::Halve),
            (slow(), tried(2), Step::PutOff),
            (slow(), tried(3), Step::SetAside),
            (slow(), several(0, 1, 9), Step::Wait),
            (Refused::Locked, tried(9), Step::Wait),
            (Refused::Locked, several(2, 0, 0), Step::Wait),
            (systemic(), tried(100), Step::Wait),
            (systemic(), several(2, 2, 0), Step::Wait),
            (Refused::Discarded(HashSet::new()), tried(9), Step::Again),
        ] {
            assert_eq!(next(&refused, &facts, || true), expected, "{refused:?} of {facts:?}");
            let without_leave = if expected == Step::SetAside { Step::PutOff } else { expected };
            assert_eq!(next(&refused, &facts, || false), without_leave, "{refused:?} of {facts:?}");
        }
    }

    #[test]
    fn leave_is_asked_only_for_what_would_be_set_aside() {
        let facts = Facts { accepted: 1, refusals: 2, ..Facts::default() };
        next(&unreadable(), &facts, || panic!("it is tried again"));
    }
}
