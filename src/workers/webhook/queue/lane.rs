//! What the queue holds of one lane.

use std::{collections::VecDeque, sync::Arc};

use super::flows::Flow;

/// A lane stops sending while this many of its outcomes wait to be recorded: if the process ends at once, their
/// requests are made again.
pub(super) const MAX_UNRECORDED: usize = 256;

/// The deliveries of a lane.
pub(super) struct Lane<T> {
    pub(super) flow: Arc<Flow>,
    /// How many requests may be in flight.
    pub(super) cap: u32,
    pub(super) waiting: VecDeque<T>,
    pub(super) in_flight: u32,
    /// Waiting, in flight, or about to be recorded.
    pub(super) held: usize,
    /// It is among the lanes of its flow.
    pub(super) is_ready: bool,
}

impl<T> Lane<T> {
    pub(super) fn new(company: &str, host: &str) -> Self {
        let flow = Arc::new(Flow { company: company.to_owned(), host: host.to_owned() });
        Self { flow, cap: 1, waiting: VecDeque::new(), in_flight: 0, held: 0, is_ready: false }
    }

    pub(super) fn may_send(&self) -> bool {
        !self.waiting.is_empty() && self.in_flight < self.cap && self.unrecorded() < MAX_UNRECORDED
    }

    /// Deliveries that are not in flight any more, and whose outcome is about to be recorded.
    fn unrecorded(&self) -> usize {
        self.held.saturating_sub(self.waiting.len() + self.in_flight as usize)
    }
}
