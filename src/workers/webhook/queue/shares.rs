//! The requests in flight of companies or of hosts, and who waits for them.

use std::collections::{HashMap, VecDeque};

/// Counts requests by name. Whoever finds no room for a name waits in its line.
pub(super) struct Shares<W>(HashMap<String, Share<W>>);

struct Share<W> {
    in_flight: usize,
    line: VecDeque<W>,
}

impl<W> Default for Shares<W> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<W> Shares<W> {
    /// Whether one more request may start, if at most `limit` may be in flight.
    pub(super) fn has_room(&self, name: &str, limit: usize) -> bool {
        self.0.get(name).map_or(0, |share| share.in_flight) < limit
    }

    /// A request has started.
    pub(super) fn started(&mut self, name: &str) {
        self.update(name, |share| share.in_flight += 1);
    }

    /// A request has ended.
    pub(super) fn ended(&mut self, name: &str) {
        self.update(name, |share| share.in_flight = share.in_flight.saturating_sub(1));
    }

    /// Joins the line. Only where there is no room: a request in flight makes some when it ends.
    pub(super) fn wait(&mut self, name: &str, waiter: W) {
        self.update(name, |share| share.line.push_back(waiter));
    }

    /// Takes the first of the line, if there is room.
    pub(super) fn next(&mut self, name: &str, limit: usize) -> Option<W> {
        if !self.has_room(name, limit) {
            return None;
        }
        let mut next = None;
        self.update(name, |share| next = share.line.pop_front());
        next
    }

    /// Whether nothing is in flight and nobody waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets names of which nothing is in flight and nobody waits.
    fn update(&mut self, name: &str, change: impl FnOnce(&mut Share<W>)) {
        if let Some(share) = self.0.get_mut(name) {
            change(share);
            if share.in_flight == 0 && share.line.is_empty() {
                self.0.remove(name);
            }
            return;
        }
        let mut share = Share { in_flight: 0, line: VecDeque::new() };
        change(&mut share);
        if share.in_flight > 0 || !share.line.is_empty() {
            self.0.insert(name.to_owned(), share);
        }
    }
}
