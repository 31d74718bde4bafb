//! Counts and logs the messages that the broker did not accept.

use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use crate::{amqp::Unpublished, workers::component::OUTBOX_RELAY};

/// Messages that the broker did not accept since the last log line.
#[derive(Default)]
pub(super) struct Troubles {
    refused: usize,
    late: usize,
    unroutable: usize,
    logged_at: Option<Instant>,
}

impl Troubles {
    pub(super) fn count(&mut self, why: Unpublished) {
        match why {
            Unpublished::Refused => self.refused += 1,
            Unpublished::Late => self.late += 1,
            Unpublished::Unroutable => self.unroutable += 1,
            // It is sent again, as if nothing had happened.
            Unpublished::Unread => {}
        }
    }

    /// Logs them, at most once in each interval.
    pub(super) fn report(&mut self, interval: Duration) {
        let Self { refused, late, unroutable, logged_at } = *self;
        let messages = refused + late + unroutable;
        if messages == 0 || logged_at.is_some_and(|at| at.elapsed() < interval) {
            return;
        }
        warn!(
            component = OUTBOX_RELAY,
            messages,
            refused,
            late,
            unroutable,
            "the broker did not take {messages} events: {refused} refused, {late} not confirmed, {unroutable} without a \
             queue; they are published again"
        );
        *self = Self { logged_at: Some(Instant::now()), ..Self::default() };
    }
}
