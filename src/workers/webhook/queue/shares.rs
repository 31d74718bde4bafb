//! The requests in flight of companies or of hosts, and who waits for them.

use std::collections::{BTreeSet, HashMap, VecDeque};

/// Counts requests by name. A request that finds no room for a name waits in its line.
pub(super) struct Shares<W> {
    shares: HashMap<String, Share<W>>,
    /// The names whose line has nobody called, those with the fewest requests first.
    lines: BTreeSet<(usize, String)>,
}

struct Share<W> {
    in_flight: usize,
    line: VecDeque<W>,
    /// A waiter has been called and has not tried yet.
    is_called: bool,
}

impl<W> Default for Shares<W> {
    fn default() -> Self {
        Self { shares: HashMap::new(), lines: BTreeSet::new() }
    }
}

impl<W> Shares<W> {
    /// How many more requests may start, if at most `limit` may be in flight.
    pub(super) fn room(&self, name: &str, limit: usize) -> usize {
        limit.saturating_sub(self.shares.get(name).map_or(0, |share| share.in_flight))
    }

    /// Whether one more request may start, if at most `limit` may be in flight.
    pub(super) fn has_room(&self, name: &str, limit: usize) -> bool {
        self.room(name, limit) > 0
    }

    /// A request has started.
    pub(super) fn started(&mut self, name: &str) {
        self.update(name, |share| share.in_flight += 1);
    }

    /// A request has ended.
    pub(super) fn ended(&mut self, name: &str) {
        self.update(name, |share| share.in_flight = share.in_flight.saturating_sub(1));
    }

    /// Joins the line.
    pub(super) fn wait(&mut self, name: &str, waiter: W) {
        self.update(name, |share| share.line.push_back(waiter));
    }

    /// Calls the first waiter of a line that has room. No other one of this line is called before [`Self::tried`].
    pub(super) fn call(&mut self, limit: usize) -> Option<W> {
        let (in_flight, name) = self.lines.first()?;
        if *in_flight >= limit {
            return None;
        }
        let name = name.clone();
        let mut called = None;
        self.update(&name, |share| {
            called = share.line.pop_front();
            share.is_called = true;
        });
        called
    }

    /// A waiter for this name has tried.
    pub(super) fn tried(&mut self, name: &str) {
        if self.shares.get(name).is_some_and(|share| share.is_called) {
            self.update(name, |share| share.is_called = false);
        }
    }

    /// Whether nothing is in flight and nobody waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.shares.is_empty() && self.lines.is_empty()
    }

    /// Forgets names with nothing in flight and nobody waiting.
    fn update(&mut self, name: &str, change: impl FnOnce(&mut Share<W>)) {
        let Some(share) = self.shares.get_mut(name) else {
            let mut share = Share { in_flight: 0, line: VecDeque::new(), is_called: false };
            change(&mut share);
            if !share.line.is_empty() {
                self.lines.insert((share.in_flight, name.to_owned()));
            }
            self.shares.insert(name.to_owned(), share);
            return;
        };
        if share.is_listed() {
            self.lines.remove(&(share.in_flight, name.to_owned()));
        }
        change(share);
        if share.is_listed() {
            self.lines.insert((share.in_flight, name.to_owned()));
        } else if share.in_flight == 0 && share.line.is_empty() {
            self.shares.remove(name);
        }
    }
}

impl<W> Share<W> {
    fn is_listed(&self) -> bool {
        !self.line.is_empty() && !self.is_called
    }
}
