//! The rows whose messages are with the broker, until the outcome of each message is known. Nothing here does I/O.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Instant,
};

use uuid::Uuid;

use super::settlement::{Settlement, Unpublished};
use crate::{amqp::Message, postgres::effects::EffectsKey, telemetry::traces::Span, workers::room::Reserved};

/// Names a message in flight.
pub(super) struct Name {
    /// Its row, as [`Flight::add`] numbered it.
    pub(super) row: u64,
    pub(super) event: Uuid,
    /// What is sent to the queue in its `reply_to` once it is published.
    pub(super) answer: Option<Message>,
    /// When it was sent.
    pub(super) sent_at: Instant,
    pub(super) span: Option<Span>,
}

/// Rows by number.
pub(super) struct Flight {
    rows: HashMap<u64, Row>,
    next: u64,
    /// Halved when the broker closes the connection because of a message, so that this message is soon alone.
    max_rows: usize,
    /// The unsettled rows that were in flight when that happened.
    suspects: HashSet<EffectsKey>,
    /// Since when each row has waited, in the order in which they were added, and only after a row that is in flight.
    since: VecDeque<(u64, Instant)>,
}

struct Row {
    key: EffectsKey,
    /// How many events it has.
    all: usize,
    /// Those whose outcome is unknown.
    open: HashSet<Uuid>,
    unpublished: HashSet<Uuid>,
    /// Some of them were not sent.
    is_unsent: bool,
    /// The size of its body, in bytes.
    size: usize,
    _reserved: Option<Reserved>,
}

impl Default for Flight {
    fn default() -> Self {
        let (rows, since) = (HashMap::new(), VecDeque::new());
        Self { rows, next: 0, max_rows: usize::MAX, suspects: HashSet::new(), since }
    }
}

impl Flight {
    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// How many more rows may be sent now.
    pub(super) fn free(&self) -> usize {
        self.max_rows.saturating_sub(self.rows.len())
    }

    /// Since when the row has waited that was added first.
    pub(super) fn oldest(&mut self) -> Option<Instant> {
        while self.since.pop_front_if(|(row, _)| !self.rows.contains_key(row)).is_some() {}
        self.since.front().map(|(_, since)| *since)
    }

    /// Notes since when the row has waited that was added last.
    pub(super) fn waits_since(&mut self, since: Instant) {
        self.since.push_back((self.next.saturating_sub(1), since));
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = EffectsKey> + '_ {
        self.rows.values().map(|row| row.key.clone())
    }

    /// Nothing is left to publish, so another process has published the suspects.
    pub(super) fn acquit_all(&mut self) {
        self.suspects.clear();
        self.max_rows = usize::MAX;
    }

    /// Adds a row with these events, of this size in bytes, and numbers it.
    pub(super) fn add(
        &mut self,
        key: EffectsKey,
        events: impl Iterator<Item = Uuid>,
        size: usize,
        reserved: Option<Reserved>,
    ) -> u64 {
        let open: HashSet<Uuid> = events.collect();
        let (all, unpublished) = (open.len(), HashSet::new());
        let row = Row { key, all, open, unpublished, is_unsent: false, size, _reserved: reserved };
        self.rows.insert(self.next, row);
        self.next += 1;
        self.next - 1
    }

    /// The outcome of an event is known. With its last event, the row goes to `settlement`.
    pub(super) fn settle(&mut self, row: u64, event: Uuid, is_published: bool, settlement: &mut Settlement) {
        let Some(found) = self.rows.get_mut(&row) else { return };
        found.open.remove(&event);
        if !is_published {
            found.unpublished.insert(event);
        }
        if found.open.is_empty()
            && let Some(Row { key, all, unpublished: events, is_unsent, size, .. }) = self.rows.remove(&row)
        {
            self.suspects.remove(&key);
            if self.suspects.is_empty() {
                self.max_rows = usize::MAX;
            }
            let unpublished = Unpublished { key, events, all, size };
            if unpublished.events.is_empty() {
                settlement.published(unpublished.key);
            } else if is_unsent {
                settlement.now(unpublished);
            } else {
                settlement.later(unpublished);
            }
        }
    }

    /// An event was not sent. Its row can be published again at once.
    pub(super) fn unsent(&mut self, row: u64, event: Uuid, settlement: &mut Settlement) {
        if let Some(found) = self.rows.get_mut(&row) {
            found.is_unsent = true;
        }
        self.settle(row, event, false, settlement);
    }

    /// The connection is lost, and with it the outcome of the open events; `is_refusal` if the broker closed it because
    /// of one of them. They are published again at once, but one that was alone and refused waits.
    pub(super) fn abandon(&mut self, is_refusal: bool, settlement: &mut Settlement) {
        let was_alone = self.rows.len() == 1;
        if is_refusal && was_alone {
            self.acquit_all();
        } else if is_refusal {
            self.max_rows = (self.rows.len() / 2).max(1);
            self.suspects.extend(self.rows.values().map(|row| row.key.clone()));
        }
        for Row { key, all, open, unpublished: mut events, size, .. } in self.rows.drain().map(|(_, row)| row)
        {
            events.extend(open);
            let unpublished = Unpublished { key, events, all, size };
            if is_refusal && was_alone {
                settlement.later(unpublished);
            } else {
                settlement.now(unpublished);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::effects::Kind;

    fn key() -> EffectsKey {
        EffectsKey { company: "acme".to_owned(), batch: Uuid::now_v7(), kind: Kind::Publish }
    }

    #[test]
    fn a_row_is_settled_with_its_last_event() {
        let (mut flight, mut settlement) = (Flight::default(), Settlement::default());
        let events = [Uuid::now_v7(), Uuid::now_v7()];
        let row = flight.add(key(), events.into_iter(), 0, None);
        flight.settle(row, events[0], true, &mut settlement);
        assert!(settlement.portion().is_none() && !flight.is_empty());
        flight.settle(row, events[1], false, &mut settlement);
        assert!(settlement.portion().is_some() && flight.is_empty());
    }

    #[test]
    fn a_row_with_an_event_that_was_not_sent_is_put_back_at_once() {
        for is_sent in [false, true] {
            let (mut flight, mut settlement) = (Flight::default(), Settlement::default());
            let events = [Uuid::now_v7(), Uuid::now_v7()];
            let row = flight.add(key(), events.into_iter(), 0, None);
            if is_sent {
                flight.settle(row, events[0], false, &mut settlement);
            } else {
                flight.unsent(row, events[0], &mut settlement);
            }
            flight.settle(row, events[1], true, &mut settlement);
            assert_eq!(settlement.portion().unwrap().is_due_now(), !is_sent);
        }
    }

    #[test]
    fn a_refused_message_is_soon_alone() {
        let (mut flight, mut settlement) = (Flight::default(), Settlement::default());
        let (bad, once) = (key(), || std::iter::once(Uuid::nil()));
        for rows in [8, 4, 2] {
            flight.add(bad.clone(), once(), 0, None);
            for _ in 1..rows {
                flight.add(key(), once(), 0, None);
            }
            flight.abandon(true, &mut settlement);
            assert_eq!(flight.free(), rows / 2);
            // Others go on, but it stays suspected.
            let row = flight.add(key(), once(), 0, None);
            flight.settle(row, Uuid::nil(), true, &mut settlement);
            assert_eq!(flight.free(), rows / 2);
        }
        flight.add(bad, once(), 0, None);
        flight.abandon(true, &mut settlement);
        assert_eq!(flight.free(), usize::MAX, "it was alone, and waits now");
    }
}
