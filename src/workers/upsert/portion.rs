//! The part of a batch that one transaction applies, and what happens to it when that fails. Nothing here does I/O.

use std::{collections::HashSet, time::Instant};

use uuid::Uuid;

use super::{
    apply_error::{ApplyError, Blocked},
    give_up::{GiveUpPolicy, Mark, Permission, SharedKey},
    run::Messages,
    triage::{self, Accepted, Rejected, Triaged},
};
use crate::{
    domain::{event::Key, fault::Reason},
    postgres::dead_letters::Replay,
    workers::{dead_letter, retry::MAX_FAST_RACES},
};

/// How often a message is tried alone if it needs an unreadable row, or shares a key with a message that used up its tries a
/// short time ago.
const MAX_TRIES: u32 = 3;

/// The same if time may help: it needs a locked row, loses races (the next try sees the rows of the winner), or its
/// statements take too long.
const MAX_PATIENT_TRIES: u32 = 12;

/// Messages of a batch that are applied together.
#[derive(Default)]
pub(super) struct Portion {
    pub(super) accepted: Vec<Accepted>,
    pub(super) rejected: Vec<Rejected>,
    /// How often it could not be applied, apart from outages and locked tables.
    pub(super) failures: u32,
    /// When it, or the portion that it was split from, was first tried.
    pub(super) tried_since: Option<Mark>,
    /// Its message was given up, and is a dead letter now.
    pub(super) verdict: Option<Verdict>,
    /// What its message names that another session keeps locked, as far as that is known.
    pub(super) blocked_by: Vec<SharedKey>,
    /// The lanes among that.
    pub(super) lanes: Vec<Key>,
    /// The hash of its message, if that may end the process.
    pub(super) suspect: Option<[u8; 32]>,
}

/// Why a message was given up.
pub(super) struct Verdict {
    /// For a person.
    pub(super) why: String,
    /// The keys that others may share.
    pub(super) keys: Vec<SharedKey>,
    pub(super) permission: Permission,
}

/// What a decision about a portion depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    /// Accepted messages.
    pub(super) accepted: usize,
    pub(super) rejected: usize,
    pub(super) failures: u32,
    /// See [`Portion::shares_used_up_key`].
    pub(super) shares_used_up_key: bool,
    /// It was tried patiently, and so without looking which lanes it needs.
    pub(super) is_patient: bool,
}

/// What happens to a portion that could not be applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Decision {
    /// It is tried again at once.
    Retry,
    /// The accepted message with this index, which panicked, becomes a dead letter. The others are tried again.
    DeadLetterPanicked(usize),
    /// The messages that need a locked row leave it, and the others are tried again.
    SplitOffBlocked,
    /// It is halved, to find the message at fault, or because it is too large.
    Halve,
    /// Its only message is parked, and tried again later.
    Park,
    /// Its only message becomes a dead letter, because of what it contains.
    DeadLetterBad,
    /// Its only message, a dead letter, is stored with nothing but what is needed to replay it.
    DropContext,
    /// Its only message becomes a dead letter, because of what is stored.
    GiveUp(Permission),
    /// Nothing is wrong with its messages: they wait for the database.
    WaitForDatabase,
}

/// What happens next. `may_give_up` is asked only about a message that has used up its tries.
pub(super) fn decide(
    error: &ApplyError,
    facts: &Facts,
    may_give_up: impl FnOnce() -> Option<Permission>,
) -> Decision {
    let is_several = facts.accepted + facts.rejected > 1;
    let tries = match error {
        ApplyError::Systemic(_) | ApplyError::TableLocked => return Decision::WaitForDatabase,
        ApplyError::Discarded(_) | ApplyError::Seen => return Decision::Retry,
        ApplyError::Panicked(index) => return Decision::DeadLetterPanicked(*index),
        ApplyError::TooLarge => return Decision::Halve,
        ApplyError::Race(_) if facts.failures <= MAX_FAST_RACES => return Decision::Retry,
        ApplyError::Locked { blocked, .. } if is_several && !blocked.is_empty() => {
            return Decision::SplitOffBlocked;
        }
        ApplyError::Locked { .. } if is_several && facts.is_patient => return Decision::Retry,
        _ if is_several => return Decision::Halve,
        // A dead letter waits until its row is unlocked.
        ApplyError::Locked { .. } | ApplyError::Slow(_) if facts.accepted == 0 => return Decision::Park,
        // The database accepts every dead letter, unless this program has a bug. Then it costs its context, and not all others.
        ApplyError::Data(_) if facts.accepted == 0 && facts.failures <= 1 => return Decision::DropContext,
        _ if facts.accepted == 0 => return Decision::WaitForDatabase,
        ApplyError::Data(_) => return Decision::DeadLetterBad,
        ApplyError::Unreadable(_) => MAX_TRIES,
        ApplyError::Locked { .. } | ApplyError::Slow(_) if facts.shares_used_up_key => MAX_TRIES,
        ApplyError::Race(_) | ApplyError::Locked { .. } | ApplyError::Slow(_) => MAX_PATIENT_TRIES,
    };
    let permission = if facts.failures >= tries { may_give_up() } else { None };
    permission.map_or(Decision::Park, Decision::GiveUp)
}

impl Portion {
    pub(super) const fn facts(&self, shares_used_up_key: bool, is_patient: bool) -> Facts {
        let (accepted, rejected) = (self.accepted.len(), self.rejected.len());
        Facts { accepted, rejected, failures: self.failures, shares_used_up_key, is_patient }
    }

    /// The keys of its accepted messages.
    pub(super) fn keys<'a>(&'a self, policy: &'a GiveUpPolicy) -> impl Iterator<Item = SharedKey> + 'a {
        let named = self.accepted.iter().flat_map(move |one| keys(one, policy));
        named.chain(self.blocked_by.iter().copied())
    }

    /// Whether others that share a key used up their tries a short time ago.
    pub(super) fn shares_used_up_key(&self, policy: &GiveUpPolicy, now: Instant) -> bool {
        self.keys(policy).any(|key| policy.used_up_tries(key, now))
    }

    /// The keys that messages which fail for the same reason are likely to share.
    pub(super) fn suspected_keys(&self, policy: &GiveUpPolicy) -> Vec<SharedKey> {
        if self.blocked_by.is_empty() { self.keys(policy).collect() } else { self.blocked_by.clone() }
    }

    /// The number of its first message.
    pub(super) fn number(&self) -> Option<u64> {
        let accepted = self.accepted.first().map(|one| one.number);
        accepted.or_else(|| self.rejected.first().map(|one| one.number))
    }

    /// Whether its message has used up its tries if it fails once more.
    pub(super) const fn is_at_last_try(&self, shares_used_up_key: bool) -> bool {
        self.failures + 1 >= if shares_used_up_key { MAX_TRIES } else { MAX_PATIENT_TRIES }
    }

    /// Takes out the messages that need a locked row, each as a portion of its own.
    pub(super) fn split_off_blocked(&mut self, blocked: Vec<Blocked>) -> Vec<Self> {
        let mut parts = Vec::with_capacity(blocked.len());
        for Blocked { index, keys, lanes } in blocked.into_iter().rev() {
            if index < self.accepted.len() {
                let accepted = vec![self.accepted.remove(index)];
                let tried_since = self.tried_since;
                parts.push(Self { accepted, tried_since, blocked_by: keys, lanes, ..Self::default() });
            }
        }
        parts.reverse();
        parts
    }

    /// Takes out the message with this index, as a dead letter: applying it panicked.
    pub(super) fn take_panicked(&mut self, index: usize) -> Self {
        let text = "applying this message panicked; please report it";
        let accepted = self.accepted.extract_if(index..=index, |_| true).collect();
        Self { accepted, suspect: self.suspect, ..Self::default() }.into_dead_letter(Reason::CrashLoop, text)
    }

    /// Records that it could not be applied. Takes from the error what blocks its only message.
    pub(super) fn record(&mut self, error: &mut ApplyError) {
        if self.accepted.len() + self.rejected.len() <= 1 {
            match error {
                ApplyError::Locked { blocked, .. } => {
                    if let Some(found) = blocked.pop() {
                        self.set_blocked_by(found);
                    }
                }
                _ => self.blocked_by.clear(),
            }
        }
        self.failures += u32::from(error.concerns_messages());
        if let ApplyError::Discarded(replays) = error {
            self.leave_out(replays);
        }
    }

    /// Notes what its message needs that is locked.
    pub(super) fn set_blocked_by(&mut self, Blocked { keys, lanes, .. }: Blocked) {
        (self.blocked_by, self.lanes) = (keys, lanes);
    }

    /// Adds a message with this number.
    pub(super) fn add(&mut self, number: u64, triaged: Triaged) {
        match triaged {
            Triaged::Accepted(mut accepted) => {
                accepted.number = number;
                self.accepted.push(accepted);
            }
            Triaged::Rejected(dead) => self.rejected.push(Rejected { number, dead }),
        }
    }

    /// Takes out the messages with such a key, each as its own portion.
    pub(super) fn take_out(
        &mut self,
        policy: &GiveUpPolicy,
        is_such: impl Fn(SharedKey) -> bool,
    ) -> Vec<Self> {
        let has_such = |one: &Accepted| keys(one, policy).any(&is_such);
        // One that is alone already keeps what is known about it.
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
    fn leave_out(&mut self, replays: &HashSet<Replay>) {
        let is_cancelled = |id: Option<Uuid>, meaning| id.is_some_and(|id| replays.contains(&(id, meaning)));
        self.accepted.retain(|one| !is_cancelled(one.replay_of, one.meaning));
        self.rejected.retain(|one| !is_cancelled(one.dead.replay_of, one.dead.meaning));
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.accepted.is_empty() && self.rejected.is_empty()
    }

    /// Splits it in the middle, in the order of arrival. The earlier half comes last, because the last one is next.
    pub(super) fn halve(mut self) -> [Self; 2] {
        let accepted = self.accepted.iter().map(|one| one.number);
        let mut numbers: Vec<u64> = accepted.chain(self.rejected.iter().map(|one| one.number)).collect();
        numbers.sort_unstable();
        let middle = numbers.get(numbers.len() / 2).copied().unwrap_or_default();
        let later = self.split_off(|number| number >= middle);
        [later, Self { failures: 0, ..self }]
    }

    /// Takes out the messages with such a number.
    fn split_off(&mut self, is_such: impl Fn(u64) -> bool) -> Self {
        let accepted = self.accepted.extract_if(.., |one| is_such(one.number)).collect();
        let rejected = self.rejected.extract_if(.., |one| is_such(one.number)).collect();
        Self { accepted, rejected, tried_since: self.tried_since, ..Self::default() }
    }

    /// Its message as a dead letter.
    pub(super) fn into_dead_letter(self, reason: Reason, text: &str) -> Self {
        let dead = |one: &Accepted| Rejected {
            number: one.number,
            dead: triage::dead_letter(&one.message, one.plan.event.fault(reason, text)),
        };
        let rejected = self.accepted.iter().map(dead).collect();
        Self { rejected, suspect: self.suspect, ..Self::default() }
    }

    /// The same dead letter, with nothing but what is needed to replay it.
    pub(super) fn without_context(mut self) -> Self {
        let rejected = std::mem::take(&mut self.rejected).into_iter();
        let rejected = rejected.map(|one| Rejected { dead: dead_letter::without_context(one.dead), ..one });
        Self { rejected: rejected.collect(), ..self }
    }

    /// Its message as a dead letter that waits until what is stored has been repaired.
    pub(super) fn give_up(self, error: &ApplyError, keys: Vec<SharedKey>, permission: Permission) -> Self {
        let why = format!("tried alone {} times: {error}", self.failures);
        let dead_letter = self.into_dead_letter(Reason::CrashLoop, &why);
        Self { verdict: Some(Verdict { why, keys, permission }), ..dead_letter }
    }

    /// The same messages, with the first one alone: the first transaction after an outage is small. Dead letters alone are
    /// halved, because looking at many large ones may take longer than a transaction may. The last part is next, so the order
    /// of arrival stays.
    pub(super) fn with_probe(mut self) -> Vec<Self> {
        if self.accepted.len() + self.rejected.len() <= 1 {
            return vec![self];
        }
        let Some(first) = self.accepted.first().map(|one| one.number) else {
            return self.halve().into();
        };
        let first = self.rejected.first().map_or(first, |one| one.number.min(first));
        let later = self.split_off(|number| number > first);
        vec![later, Self { accepted: self.accepted, rejected: self.rejected, ..Self::default() }]
    }
}

/// A key for each identifier that a message gives: most of the rows that it needs belong to the people who have them.
fn keys<'a>(one: &'a Accepted, policy: &'a GiveUpPolicy) -> impl Iterator<Item = SharedKey> + 'a {
    one.identifiers.iter().map(move |identifier| policy.key((&one.plan.event.company, identifier)))
}

#[cfg(test)]
mod tests;
