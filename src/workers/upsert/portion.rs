//! The part of a batch that one transaction applies, and what happens to it when the database refuses it. Nothing here
//! does I/O.

use std::{collections::HashSet, time::Instant};

use uuid::Uuid;

use super::{
    outcome::Messages,
    refused::{Blocked, Refused},
    set_aside::{Admission, Cause, Mark, SetAside},
    triage::{self, Accepted, Rejected, Triaged},
};
use crate::{
    domain::{event::Key, fault::Reason},
    postgres::dead_letters::Replay,
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
    pub(super) rejected: Vec<Rejected>,
    /// How often the database has refused it, apart from outages and locked tables.
    pub(super) refusals: u32,
    /// When it, or the portion that it was split from, was first tried.
    pub(super) tried_since: Option<Mark>,
    /// Its message was set aside.
    pub(super) verdict: Option<Verdict>,
    /// It was set aside without proof that others are accepted.
    pub(super) admission: Option<Admission>,
    /// What its message names that somebody keeps locked, as far as that is known.
    pub(super) culprits: Vec<Cause>,
    /// The lanes among that.
    pub(super) lanes: Vec<Key>,
    /// The hash of its message, if that may end the process.
    pub(super) suspect: Option<[u8; 32]>,
}

/// Why a message was set aside.
pub(super) struct Verdict {
    /// For a person.
    pub(super) why: String,
    /// What the message names that others may share.
    pub(super) causes: Vec<Cause>,
}

/// What a decision about a portion depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// Accepted messages.
    pub(super) accepted: usize,
    pub(super) rejected: usize,
    pub(super) refusals: u32,
    /// See [`Portion::has_known_cause`].
    pub(super) has_known_cause: bool,
    /// It was tried patiently, and so without looking which lanes it needs.
    pub(super) is_patient: bool,
}

/// What happens to a portion that the database has refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It is tried again at once.
    Again,
    /// The accepted message with this index, which panicked, becomes a dead letter. The others are tried again.
    Expel(usize),
    /// The messages that need a locked row leave it, and the others are tried again.
    Part,
    /// It is halved, to find the message that is refused, or because it is too large.
    Halve,
    /// Its only message is parked, and tried again later.
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
    let is_several = facts.accepted + facts.rejected > 1;
    let tries = match refused {
        Refused::Systemic(_) | Refused::TableLocked => return Step::Wait,
        Refused::Discarded(_) | Refused::Seen => return Step::Again,
        Refused::Panicked(index) => return Step::Expel(*index),
        Refused::TooLarge => return Step::Halve,
        Refused::Race(_) if facts.refusals <= MAX_FAST_RACES => return Step::Again,
        Refused::Locked { blocked, .. } if is_several && !blocked.is_empty() => return Step::Part,
        Refused::Locked { .. } if is_several && facts.is_patient => return Step::Again,
        _ if is_several => return Step::Halve,
        // A dead letter waits until its row is unlocked.
        Refused::Locked { .. } | Refused::Slow(_) if facts.accepted == 0 => return Step::PutOff,
        // The database accepts every dead letter, unless this program has a bug.
        _ if facts.accepted == 0 => return Step::Wait,
        Refused::Data(_) => return Step::Reject,
        Refused::Unreadable(_) => MAX_TRIES,
        Refused::Locked { .. } | Refused::Slow(_) if facts.has_known_cause => MAX_TRIES,
        Refused::Race(_) | Refused::Locked { .. } | Refused::Slow(_) => MAX_PATIENT_TRIES,
    };
    if facts.refusals >= tries && may_set_aside() { Step::SetAside } else { Step::PutOff }
}

impl Portion {
    pub(super) const fn facts(&self, has_known_cause: bool, is_patient: bool) -> Facts {
        let (accepted, rejected) = (self.accepted.len(), self.rejected.len());
        Facts { accepted, rejected, refusals: self.refusals, has_known_cause, is_patient }
    }

    /// The keys named by its messages that can be applied.
    pub(super) fn causes<'a>(&'a self, set_aside: &'a SetAside) -> impl Iterator<Item = Cause> + 'a {
        let named = self.accepted.iter().flat_map(move |one| causes(one, set_aside));
        named.chain(self.culprits.iter().copied())
    }

    /// Whether others that share a cause were given up a short time ago.
    pub(super) fn has_known_cause(&self, set_aside: &SetAside, now: Instant) -> bool {
        self.causes(set_aside).any(|cause| set_aside.has_given_up(cause, now))
    }

    /// The causes that messages refused for the same reason are likely to share.
    pub(super) fn blamed(&self, set_aside: &SetAside) -> Vec<Cause> {
        if self.culprits.is_empty() { self.causes(set_aside).collect() } else { self.culprits.clone() }
    }

    /// The number of its first message.
    pub(super) fn number(&self) -> Option<u64> {
        let accepted = self.accepted.first().map(|one| one.number);
        accepted.or_else(|| self.rejected.first().map(|one| one.number))
    }

    /// Whether its message is set aside if it is refused once more.
    pub(super) const fn is_at_last_try(&self, has_known_cause: bool) -> bool {
        self.refusals + 1 >= if has_known_cause { MAX_TRIES } else { MAX_PATIENT_TRIES }
    }

    /// Takes out the messages that need a locked row, each as a portion of its own.
    pub(super) fn part(&mut self, blocked: Vec<Blocked>) -> Vec<Self> {
        let mut parts = Vec::with_capacity(blocked.len());
        for Blocked { index, causes, lanes } in blocked.into_iter().rev() {
            if index < self.accepted.len() {
                let accepted = vec![self.accepted.remove(index)];
                let tried_since = self.tried_since;
                parts.push(Self { accepted, tried_since, culprits: causes, lanes, ..Self::default() });
            }
        }
        parts.reverse();
        parts
    }

    /// Takes out the message with this index, as a dead letter: applying it panicked.
    pub(super) fn expel(&mut self, index: usize) -> Self {
        let text = "applying this message panicked; please report it";
        let accepted = self.accepted.extract_if(index..=index, |_| true).collect();
        Self { accepted, suspect: self.suspect, ..Self::default() }.rejected(Reason::CrashLoop, text)
    }

    /// Notes what its message needs that is locked.
    pub(super) fn blame(&mut self, Blocked { causes, lanes, .. }: Blocked) {
        (self.culprits, self.lanes) = (causes, lanes);
    }

    /// Notes what its message is refused for, if it is alone.
    pub(super) fn note_culprits(&mut self, refused: &mut Refused) {
        if self.accepted.len() + self.rejected.len() > 1 {
            return;
        }
        match refused {
            Refused::Locked { blocked, .. } => blocked.pop().into_iter().for_each(|found| self.blame(found)),
            _ => self.culprits.clear(),
        }
    }

    /// Adds a message with this number.
    pub(super) fn add(&mut self, number: u64, triaged: Triaged) {
        match triaged {
            Triaged::Accepted(mut accepted) => {
                accepted.number = number;
                self.accepted.push(accepted);
            }
            Triaged::Rejected(dead) => self.rejected.push(Rejected { number, dead }),
            // It is not decoded.
            Triaged::Suspect(_) => {}
        }
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
        self.rejected.retain(|one| !is_cancelled(one.dead.replay_of, one.dead.meaning));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.accepted.is_empty() && self.rejected.is_empty()
    }

    /// Splits it in the middle, in the order of arrival. The earlier half comes last, because the last one is next.
    pub(super) fn halved(mut self) -> [Self; 2] {
        let accepted = self.accepted.iter().map(|one| one.number);
        let mut numbers: Vec<u64> = accepted.chain(self.rejected.iter().map(|one| one.number)).collect();
        numbers.sort_unstable();
        let middle = numbers.get(numbers.len() / 2).copied().unwrap_or_default();
        let later = self.split_off(|number| number >= middle);
        [later, Self { refusals: 0, ..self }]
    }

    /// Takes out the messages with such a number.
    fn split_off(&mut self, is_such: impl Fn(u64) -> bool) -> Self {
        let accepted = self.accepted.extract_if(.., |one| is_such(one.number)).collect();
        let rejected = self.rejected.extract_if(.., |one| is_such(one.number)).collect();
        Self { accepted, rejected, tried_since: self.tried_since, ..Self::default() }
    }

    /// Its message as a dead letter.
    pub(super) fn rejected(self, reason: Reason, text: &str) -> Self {
        let dead = |one: &Accepted| Rejected {
            number: one.number,
            dead: triage::dead_letter(&one.message, one.plan.event.fault(reason, text)),
        };
        let rejected = self.accepted.iter().map(dead).collect();
        Self { rejected, suspect: self.suspect, ..Self::default() }
    }

    /// Its message as a dead letter that waits until what is stored has been repaired.
    pub(super) fn set_aside(self, refused: &Refused, causes: Vec<Cause>) -> Self {
        let why = format!("tried alone {} times: {refused}", self.refusals);
        let (admission, rejected) = (self.admission, self.rejected(Reason::CrashLoop, &why));
        Self { verdict: Some(Verdict { why, causes }), admission, ..rejected }
    }

    /// The same messages, with the first accepted one alone: the first transaction after an outage is small. Dead letters
    /// alone are halved, because looking at many large ones may take longer than a transaction may. The last part is next,
    /// so the order of arrival stays.
    pub(super) fn with_probe(mut self) -> Vec<Self> {
        if self.accepted.len() + self.rejected.len() <= 1 {
            return vec![self];
        }
        let Some(first) = self.accepted.first().map(|one| one.number) else {
            return self.halved().into();
        };
        let earlier = self.split_off(|number| number < first);
        let later = self.split_off(|number| number > first);
        let probe = Self { accepted: self.accepted, ..Self::default() };
        [later, probe, earlier].into_iter().filter(|part| !part.is_empty()).collect()
    }
}

/// A cause for each identifier that a message gives: most of the rows that it needs belong to the people who have them.
fn causes<'a>(one: &'a Accepted, set_aside: &'a SetAside) -> impl Iterator<Item = Cause> + 'a {
    one.identifiers.iter().map(move |identifier| set_aside.cause((&one.plan.event.company, identifier)))
}

#[cfg(test)]
mod tests;
