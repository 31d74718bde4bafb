//! How many requests a company has in flight to a host. It may have as many as the host may still have, so that others
//! always reach the host, even if nothing that the company sent there is ever answered.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

/// The lanes of one company on one host.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Flow {
    pub(super) company: String,
    pub(super) host: String,
}

/// The requests in flight of each flow.
#[derive(Default)]
pub(super) struct InFlight {
    counts: HashMap<Arc<Flow>, usize>,
    /// Flows that may not start one more. Each has some in flight.
    waiting: VecDeque<Arc<Flow>>,
}

impl InFlight {
    /// Whether one more request may start, if its host may have this many more.
    pub(super) fn may_start(&self, flow: &Arc<Flow>, room: usize) -> bool {
        self.counts.get(flow).is_none_or(|in_flight| *in_flight < room)
    }

    /// A flow that may not start one waits.
    pub(super) fn wait(&mut self, flow: Arc<Flow>) {
        self.waiting.push_back(flow);
    }

    /// A request has started.
    pub(super) fn started(&mut self, flow: &Arc<Flow>) {
        *self.counts.entry(Arc::clone(flow)).or_default() += 1;
    }

    /// A request has ended. Returns its flow if that waits, or else the one that has waited longest: its host may have more
    /// room, too.
    pub(super) fn ended(&mut self, flow: &Arc<Flow>) -> Option<Arc<Flow>> {
        if let Some(in_flight) = self.counts.get_mut(flow) {
            *in_flight -= 1;
            if *in_flight == 0 {
                self.counts.remove(flow);
            }
        }
        let own = self.waiting.iter().position(|waiting| waiting == flow).unwrap_or_default();
        self.waiting.remove(own)
    }

    /// Whether nothing is in flight and nobody waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.waiting.is_empty()
    }
}
