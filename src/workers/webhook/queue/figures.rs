//! What the metrics read from the queue.

use super::Queue;

/// How much a queue has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::workers::webhook) struct Figures {
    pub(in crate::workers::webhook) in_flight: usize,
    pub(in crate::workers::webhook) held: usize,
    pub(in crate::workers::webhook) held_bytes: usize,
    pub(in crate::workers::webhook) answer_bytes: usize,
    pub(in crate::workers::webhook) waiting_lanes: usize,
}

impl<T> Queue<T> {
    pub(in crate::workers::webhook) fn figures(&self) -> Figures {
        let waiting = self.lanes.values().filter(|lane| !lane.waiting.is_empty());
        Figures {
            in_flight: self.in_flight,
            held: self.held.len(),
            held_bytes: self.held_bytes,
            answer_bytes: self.answer_bytes,
            waiting_lanes: waiting.count(),
        }
    }

    /// The least of what `of` says about the deliveries that are first in their lanes.
    pub(in crate::workers::webhook) fn oldest<O: Ord>(&self, of: impl Fn(&T) -> O) -> Option<O> {
        self.lanes.values().filter_map(|lane| lane.waiting.front()).map(of).min()
    }
}
