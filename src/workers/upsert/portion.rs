//! The part of a batch that one transaction applies, and what happens to it when the database refuses it. Nothing here
//! does I/O.

use std::collections::HashSet;

use uuid::Uuid;

use super::{
    outcome::Messages,
    refused::Refused,
    set_aside::{Admission, Cause, Mark, SetAside},
    triage::{self, Accepted},
};
use crate::{
    domain::fault::Reason,
    postgres::dead_letters::{NewDeadLetter, Replay},
    workers::retry::MAX_FAST_RACES,
};

/// How often a message is tried alone if it needs an unreadable row, or a row that messages needed which were given up a short time
/// ago.
const MAX_TRIES: u32 = 3;

/// The same if time may help: it needs a locked row, loses races (the next try sees the rows of the winner), or its
/// statements take too long.
const MAX_PATIENT_TRIES: u32 = 12;

/// Messages of a batch that are applied together.
#[derive(Default)]
pub(super) struct Portion {
    pub(super) accepted: Vec<Accepted>,
    pub(super) rejected: Vec<NewDeadLetter>,
    /// How often the database has refused it, apart from outages and locked tables.
    pub(super) refusals: u32,
    /// When it, or what it is a part of, was first tried.
    pub(super) tried_since: Option<Mark>,
    /// Why its message was set aside.
    pub(super) set_aside: Option<String>,
    /// What the message that was set aside names.
    pub(super) causes: Vec<Cause>,
    /// It was set aside without proof that others are accepted.
    pub(super) admission: Option<Admission>,
}

/// What a decision about a portion depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// Accepted messages.
    pub(super) accepted: usize,
    pub(super) rejected: usize,
    pub(super) refusals: u32,
    /// Others with the same causes were given up a short time ago.
    pub(super) is_known: bool,
}

/// What happens to a portion that the database has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is tried again at once.
    Again,
    /// It is halved, to find the message that is refused, or because it is too large.
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
        Refused::Systemic(_) | Refused::TableLocked => return Step::Wait,
        Refused::Discarded(_) | Refused::Seen => return Step::Again,
        Refused::TooLarge => return Step::Halve,
        Refused::Race(_) if facts.refusals <= MAX_FAST_RACES => return Step::Again,
        _ if facts.accepted + facts.rejected > 1 => return Step::Halve,
        // A dead letter waits until its row is unlocked.
        Refused::Locked(_) | Refused::Slow(_) if facts.accepted == 0 => return Step::PutOff,
        // The database accepts every dead letter, unless this program has a bug.
        _ if facts.accepted == 0 => return Step::Wait,
        Refused::Data(_) => return Step::Reject,
        Refused::Unreadable(_) => MAX_TRIES,
        Refused::Locked(_) | Refused::Slow(_) if facts.is_known => MAX_TRIES,
        Refused::Race(_) | Refused::Locked(_) | Refused::Slow(_) => MAX_PATIENT_TRIES,
    };
    if facts.refusals >= tries && may_set_aside() { Step::SetAside } else { Step::PutOff }
}

impl Portion {
    pub(super) const fn facts(&self, is_known: bool) -> Facts {
        let (accepted, rejected) = (self.accepted.len(), self.rejected.len());
        Facts { accepted, rejected, refusals: self.refusals, is_known }
    }

    /// The keys named by its messages that can be applied.
    pub(super) fn causes<'a>(&'a self, set_aside: &'a SetAside) -> impl Iterator<Item = Cause> + 'a {
        self.accepted.iter().flat_map(move |one| causes(one, set_aside))
    }

    /// Takes out the messages with such a cause, each as its own portion.
    pub(super) fn take_out(&mut self, set_aside: &SetAside, is_such: impl Fn(Cause) -> bool) -> Vec<Self> {
        let has_such = |one: &Accepted| causes(one, set_aside).any(&is_such);
        // One that is alone already keeps its refusals.
        if let ([one], []) = (self.accepted.as_slice(), self.rejected.as_slice()) {
            return if has_such(one) { vec![std::mem::take(self)] } else { Vec::new() };
        }
        let tried_since = self.tried_since;
        let taken = self.accepted.extract_if(.., |one| has_such(one));
        taken.map(|one| Self { accepted: vec![one], tried_since, ..Self::default() }).collect()
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

    /// Splits its dead letters from its other messages; halves it if it has only one kind.
    pub(super) fn halved(mut self) -> [Self; 2] {
        let mut rest = Self { tried_since: self.tried_since, ..Self::default() };
        if self.rejected.is_empty() {
            rest.accepted = self.accepted.split_off(self.accepted.len() / 2);
        } else {
            let kept = if self.accepted.is_empty() { self.rejected.len() / 2 } else { 0 };
            rest.rejected = self.rejected.split_off(kept);
        }
        [rest, Self { refusals: 0, ..self }]
    }

    /// Its message as a dead letter.
    pub(super) fn rejected(self, reason: Reason, text: &str) -> Self {
        let dead = |one: &Accepted| triage::dead_letter(&one.message, one.plan.event.fault(reason, text));
        Self { rejected: self.accepted.iter().map(dead).collect(), ..Self::default() }
    }

    /// Its message as a dead letter that waits until what is stored has been repaired.
    pub(super) fn set_aside(self, refused: &Refused, causes: Vec<Cause>) -> Self {
        let why = format!("tried alone {} times: {refused}", self.refusals);
        let admission = self.admission;
        Self { set_aside: Some(why.clone()), causes, admission, ..self.rejected(Reason::CrashLoop, &why) }
    }

    /// The same messages, with the first one alone: the first transaction after an outage is small. Dead letters are halved,
    /// because looking at many large ones may take longer than a transaction may.
    pub(super) fn with_probe(mut self) -> Vec<Self> {
        if self.accepted.len() + self.rejected.len() <= 1 {
            return vec![self];
        }
        if self.accepted.is_empty() {
            return self.halved().into();
        }
        let rejected = Self { rejected: self.rejected, ..Self::default() };
        let rest = Self { accepted: self.accepted.split_off(1), ..Self::default() };
        let parts = [rejected, rest, Self { accepted: self.accepted, ..Self::default() }];
        parts.into_iter().filter(|part| !part.is_empty()).collect()
    }
}

/// The identifiers that a message gives: most of the rows that it needs belong to the people who have them.
fn causes<'a>(one: &'a Accepted, set_aside: &'a SetAside) -> impl Iterator<Item = Cause> + 'a {
    one.identifiers.iter().map(move |identifier| set_aside.cause((&one.plan.event.company, identifier)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{event::meaning, fault::Stage};

    fn race() -> Refused {
        Refused::Race("SQLSTATE 23505".to_owned())
    }

    fn locked() -> Refused {
        Refused::Locked("a row is locked".to_owned())
    }

    fn slow() -> Refused {
        Refused::Slow("a statement took too long".to_owned())
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
        let several = |accepted, rejected, refusals| Facts { accepted, rejected, refusals, is_known: false };
        for (refused, facts, expected) in [
            (race(), tried(3), Step::Again),
            (race(), several(2, 0, 3), Step::Again),
            (race(), several(0, 2, 3), Step::Again),
            (race(), several(2, 0, 4), Step::Halve),
            (race(), several(0, 1, 4), Step::Wait),
            (race(), tried(4), Step::PutOff),
            (race(), tried(11), Step::PutOff),
            (race(), tried(12), Step::SetAside),
            (data(), several(2, 0, 1), Step::Halve),
            (data(), several(1, 1, 1), Step::Halve),
            (data(), tried(1), Step::Reject),
            (data(), several(0, 1, 1), Step::Wait),
            (unreadable(), several(2, 0, 1), Step::Halve),
            (unreadable(), tried(2), Step::PutOff),
            (unreadable(), tried(3), Step::SetAside),
            (unreadable(), several(0, 1, 9), Step::Wait),
            (locked(), several(1, 1, 1), Step::Halve),
            (locked(), several(0, 2, 1), Step::Halve),
            (locked(), tried(11), Step::PutOff),
            (locked(), tried(12), Step::SetAside),
            (locked(), several(0, 1, 12), Step::PutOff),
            (slow(), several(2, 0, 1), Step::Halve),
            (slow(), tried(11), Step::PutOff),
            (slow(), tried(12), Step::SetAside),
            (slow(), several(0, 1, 12), Step::PutOff),
            (Refused::TooLarge, several(2, 0, 1), Step::Halve),
            (Refused::TableLocked, tried(9), Step::Wait),
            (Refused::TableLocked, several(2, 0, 0), Step::Wait),
            (systemic(), tried(100), Step::Wait),
            (systemic(), several(2, 2, 0), Step::Wait),
            (Refused::Discarded(HashSet::new()), tried(9), Step::Again),
        ] {
            assert_eq!(next(&refused, &facts, || true), expected, "{refused:?} of {facts:?}");
            let without_leave = if expected == Step::SetAside { Step::PutOff } else { expected };
            assert_eq!(next(&refused, &facts, || false), without_leave, "{refused:?} of {facts:?}");
        }
    }

    /// All patience was spent on the first one.
    #[test]
    fn message_that_needs_what_others_needed_is_given_up_sooner() {
        let tried = |refusals| Facts { accepted: 1, refusals, is_known: true, ..Facts::default() };
        for refused in [locked(), slow()] {
            assert_eq!(next(&refused, &tried(2), || true), Step::PutOff);
            assert_eq!(next(&refused, &tried(3), || true), Step::SetAside);
            assert_eq!(next(&refused, &tried(3), || false), Step::PutOff);
        }
        assert_eq!(
            next(&race(), &tried(11), || true),
            Step::PutOff,
            "the next try sees the rows of the winner"
        );
        assert_eq!(next(&race(), &tried(12), || true), Step::SetAside);
    }

    #[test]
    fn leave_is_asked_only_for_what_would_be_set_aside() {
        let facts = Facts { accepted: 1, refusals: 2, ..Facts::default() };
        next(&unreadable(), &facts, || panic!("it is tried again"));
    }

    fn dead(body: &'static [u8]) -> NewDeadLetter {
        NewDeadLetter {
            company: String::new(),
            stage: Stage::Upsert,
            reason: Reason::Undecodable,
            message: String::new(),
            meaning: meaning(body),
            body: body.into(),
            routing_key: String::new(),
            properties: String::new(),
            source: None,
            event_id: None,
            event_key: None,
            trigger: None,
            delivery_id: None,
            endpoint_id: None,
            attempts: 1,
            replay_of: None,
            known_at: None,
            is_blank: false,
        }
    }

    #[test]
    fn dead_letters_are_halved_until_a_transaction_has_time_for_them() {
        let portion = Portion { rejected: vec![dead(b"1"), dead(b"2"), dead(b"3")], ..Portion::default() };
        let sizes = |portions: &[Portion]| portions.iter().map(|one| one.rejected.len()).collect::<Vec<_>>();
        let mut halves = portion.with_probe();
        assert_eq!(sizes(&halves), [2, 1]);
        let mut last = halves.pop().unwrap();
        last.refusals = 3;
        let last = last.with_probe();
        assert_eq!((sizes(&last), last[0].refusals), (vec![1], 3));
    }
}
