//! The portions of a batch that are to be tried, and those that leave it. Nothing here does I/O.

use std::{collections::HashSet, time::Instant};

use super::{
    give_up::{GiveUpPolicy, SharedKey},
    portion::Portion,
};

/// Each portion is tried until it is settled, or its only message is parked.
#[derive(Default)]
pub(super) struct Round {
    /// The last one is next.
    portions: Vec<Portion>,
    parked: Vec<Portion>,
    /// The keys of messages that need a locked row.
    locked: HashSet<SharedKey>,
    /// Its messages were parked before, and are tried alone.
    is_retry: bool,
}

impl Round {
    pub(super) fn of(portion: Portion) -> Self {
        Self { portions: vec![portion], ..Self::default() }
    }

    /// Tries parked messages again, in this order.
    pub(super) fn again(mut parked: Vec<Portion>) -> Self {
        parked.reverse();
        Self { portions: parked, is_retry: true, ..Self::default() }
    }

    pub(super) fn push(&mut self, portion: Portion) {
        if !portion.is_empty() {
            self.portions.push(portion);
        }
    }

    pub(super) fn extend(&mut self, portions: impl IntoIterator<Item = Portion>) {
        self.portions.extend(portions);
    }

    pub(super) fn park(&mut self, portion: Portion) {
        self.parked.push(portion);
    }

    /// A message with these keys needs a row that another session keeps locked. One wait for it is enough: others that share a
    /// key are parked without a try.
    pub(super) fn park_others(&mut self, keys: Vec<SharedKey>) {
        self.locked.extend(keys);
    }

    /// The next portion to try, and whether it is a single message that shares a key with others that used up their tries. If
    /// it is new, it is parked as it is, so that no neighbor waits for it.
    pub(super) fn next(&mut self, policy: &GiveUpPolicy) -> Option<(Portion, bool)> {
        let now = Instant::now();
        while let Some(mut portion) = self.portions.pop() {
            portion.tried_since.get_or_insert_with(|| policy.mark());
            if !self.locked.is_empty() {
                self.parked.extend(portion.take_out(policy, |key| self.locked.contains(&key)));
            }
            let mut shares_used_up_key = false;
            if policy.remembers_any(now) {
                if self.is_retry {
                    shares_used_up_key = portion.shares_used_up_key(policy, now);
                } else {
                    let known = portion.take_out(policy, |key| policy.used_up_tries(key, now));
                    self.parked.extend(known);
                }
            }
            if !portion.is_empty() {
                return Some((portion, shares_used_up_key));
            }
        }
        None
    }

    /// The messages that are tried again later, each alone.
    pub(super) fn into_parked(self) -> Vec<Portion> {
        self.parked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_left_of_an_empty_portion() {
        let mut round = Round::of(Portion::default());
        assert!(round.next(&GiveUpPolicy::default()).is_none());
        assert!(round.into_parked().is_empty());
    }
}
