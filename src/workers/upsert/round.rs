//! The portions of a batch to try now, and those that wait for the next round. Nothing here does I/O.

use std::{collections::HashSet, time::Instant};

use super::{
    portion::Portion,
    set_aside::{Cause, SetAside},
};

/// A round tries each portion at least once, unless it shares a cause with one that was locked.
#[derive(Default)]
pub(super) struct Round {
    /// The last one is next.
    portions: Vec<Portion>,
    put_off: Vec<Portion>,
    /// The keys named by messages that a lock has stopped.
    locked: HashSet<Cause>,
    /// A refusal was reported.
    pub(super) is_reported: bool,
}

impl Round {
    pub(super) fn of(portion: Portion) -> Self {
        Self { portions: vec![portion], ..Self::default() }
    }

    pub(super) fn push(&mut self, portion: Portion) {
        self.portions.push(portion);
    }

    pub(super) fn extend(&mut self, portions: impl IntoIterator<Item = Portion>) {
        self.portions.extend(portions);
    }

    pub(super) fn put_off(&mut self, portion: Portion) {
        self.put_off.push(portion);
    }

    /// A lock has stopped a message with these causes. One wait for it is enough: others that share one follow in the
    /// next round.
    pub(super) fn put_off_others(&mut self, causes: impl Iterator<Item = Cause>) {
        self.locked.extend(causes);
    }

    /// The next portion to try, and whether it is a single message that shares a cause with others that were given up. Those
    /// are tried alone from the start, so that no neighbor waits for them.
    pub(super) fn next(&mut self, set_aside: &SetAside) -> Option<(Portion, bool)> {
        let now = Instant::now();
        while let Some(mut portion) = self.portions.pop() {
            portion.tried_since.get_or_insert_with(|| set_aside.mark());
            if !self.locked.is_empty() {
                let locked = portion.take_out(set_aside, |cause| self.locked.contains(&cause));
                self.put_off.extend(locked);
            }
            let mut known = Vec::new();
            if set_aside.remembers_any(now) {
                known = portion.take_out(set_aside, |cause| set_aside.has_given_up(cause, now));
                known.reverse();
            }
            let next =
                if portion.is_empty() { known.pop().map(|one| (one, true)) } else { Some((portion, false)) };
            self.portions.extend(known);
            if next.is_some() {
                return next;
            }
        }
        None
    }

    /// Begins the next round, in the same order: the first of those that share a cause is tried in each round.
    pub(super) fn begin(&mut self) {
        self.portions.extend(self.put_off.drain(..).rev());
        self.locked.clear();
        self.is_reported = false;
    }

    /// Whether nothing is left to try, now or in the next round.
    pub(super) fn is_over(&self) -> bool {
        self.portions.is_empty() && self.put_off.is_empty()
    }
}
