//! Takes rows that no process owns, and releases those of this process that never arrived here.

use std::time::Duration;

use tokio::time::Interval;
use tracing::{error, info};

use super::{OUTBOX_RELAY, OutboxRelay, PORTION};
use crate::{
    domain::chain::outgoing::OutgoingEvent,
    postgres::effects::{
        self, Kind, Part as _,
        events::EventBatch,
        unowned::{self, Wanted},
    },
    telemetry::chain,
    workers::room::{Bulk as _, InMemory},
};

/// What a message in flight may take up, for the number of messages that a sweep takes.
const TYPICAL_SIZE: usize = 8 * 1024;

/// Wait for what the next sweep needs: the registration of the process, without which the relay may not take rows, or room.
const POLL: Duration = Duration::from_millis(200);

impl OutboxRelay {
    /// Prepares a portion of rows that no process owns, and lets the next sweep follow at once if there are more.
    pub(super) async fn sweep(&mut self, exchange: &str, sweep: &mut Interval) {
        // A crowded room is left to the messages that workers send: if a queue confirms none of the swept ones, theirs show
        // it.
        if !self.presence.is_alive() || self.room.is_crowded() {
            return sweep.reset_after(POLL);
        }
        // What the database did not accept before.
        self.settlement.try_locked_again();
        self.settle().await;
        let room = (self.room.free() / TYPICAL_SIZE).clamp(1, PORTION);
        let limit = room.min(self.flight.free());
        let Some(rows) = self.take(limit, false).await else { return };
        let retries = self.take(self.retries.limit().min(limit), true).await.unwrap_or_default();
        if retries.is_empty() {
            self.retries.rest();
        }
        if rows.is_empty() && retries.is_empty() {
            // Not before the first sweep: a broker that accepts connections may still block publishing.
            if self.flight.is_empty() {
                self.flight.acquit_all();
                self.health.ready(OUTBOX_RELAY);
            }
            return;
        }
        let new = count_messages(&rows);
        let messages = new + count_messages(&retries);
        info!(component = OUTBOX_RELAY, messages, "{OUTBOX_RELAY} took over {messages} messages");
        if new >= limit || rows.len() >= unowned::MAX_TAKEN {
            sweep.reset_immediately();
        }
        let owner = rows.iter().chain(&retries).find_map(|row| row.item.owner);
        self.prepare(exchange, owner, rows, false);
        self.prepare(exchange, owner, retries, true);
    }

    /// Takes rows that no process owns, of about `limit` messages, postponed ones or others; `None` when the database failed.
    async fn take(&mut self, limit: usize, postponed: bool) -> Option<Vec<InMemory<EventBatch>>> {
        if limit == 0 {
            return Some(Vec::new());
        }
        let owner = self.presence.id();
        let bytes = unowned::MAX_TAKEN_BYTES.min(self.room.free()).max(1);
        let wanted = Wanted { parts: limit, bytes };
        let rows = self
            .unit(async |conn| unowned::take(conn, owner, Kind::Publish, postponed, wanted).await)
            .await?;
        let (mut taken, since) = (Vec::with_capacity(rows.len()), std::time::Instant::now());
        for row in rows {
            match OutgoingEvent::unpack(&row.key.company, &row.body) {
                Ok(events) => {
                    let row = EventBatch { key: row.key, owner: Some(owner), events, since };
                    let reserved = self.room.reserve_at_most(row.size());
                    taken.push(InMemory { item: row, reserved });
                }
                Err(error) => {
                    let (batch, messages, error) = (row.key.batch, row.items, chain(&error));
                    error!(
                        component = OUTBOX_RELAY,
                        %batch, messages, error,
                        "could not read batch {batch}; a process of a newer version may be able to publish it"
                    );
                    self.settlement.unreadable(row.key);
                }
            }
        }
        self.settle().await;
        Some(taken)
    }

    /// Releases rows of this process that never arrived here: the commit succeeded, but its answer was lost.
    pub(super) async fn release_forgotten(&mut self) {
        let Some(owner) = self.presence.owner() else { return };
        self.take_arrived();
        let lease = self.settings.outbox.lease;
        let waiting = self.waiting.iter().map(|row| row.item.key.clone());
        let known: Vec<_> = self.settlement.keys().chain(self.flight.keys()).chain(waiting).collect();
        let released = self
            .unit(async |conn| effects::release_forgotten(conn, Kind::Publish, owner, lease, &known).await)
            .await;
        if let Some(batches @ 1..) = released {
            info!(
                component = OUTBOX_RELAY,
                batches, "{OUTBOX_RELAY} released {batches} batches whose commit was not acknowledged"
            );
        }
    }
}

fn count_messages(rows: &[InMemory<EventBatch>]) -> usize {
    rows.iter().map(|InMemory { item: row, .. }| row.events.len()).sum()
}
