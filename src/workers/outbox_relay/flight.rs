//! The rows whose messages are with the broker, until the outcome of each message is known. Nothing here does I/O.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Instant,
};

use uuid::Uuid;

use super::settlement::{Leftover, Settlement};
use crate::{amqp::Message, postgres::effects::EffectsKey, telemetry::traces::Span, workers::room::Reserved};

/// Names a message in flight.
pub(super) struct Name {
    /// Its row, as [`Flight::add`] numbered it.
    pub(super) row: u64,
    pub(super) event: Uuid,
    /// The message for the queue in its `reply_to`, which is sent once the event has ended, however it did.
    pub(super) answer: Option<Message>,
    /// A queue did not take it the last time.
    pub(super) is_retry: bool,
    /// When it was sent.
    pub(super) sent_at: Instant,
    pub(super) span: Option<Span>,
}

/// A message of a row in flight that is not sent.
pub(super) struct Unsent {
    pub(super) name: Name,
    pub(super) message: Message,
    /// The id under which this process owns its row.
    pub(super) owner: Option<Uuid>,
}

/// A row that goes into flight.
pub(super) struct Departing<E> {
    pub(super) key: EffectsKey,
    /// The ids of its events.
    pub(super) events: E,
    /// The size of its body, in bytes.
    pub(super) size: usize,
    pub(super) reserved: Option<Reserved>,
    /// Since when it has waited.
    pub(super) since: Instant,
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
    /// How many are not sent yet.
    unsent: usize,
    /// Some of them were sent, and a queue did not take them.
    has_failed: bool,
    /// Answers to events that were not sent.
    unanswered: Vec<Message>,
    /// The size of its body, in bytes.
    size: usize,
    reserved: Option<Reserved>,
}

/// How an event ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Published,
    /// A queue did not take it. It waits until it is published again.
    Failed,
    /// It did not get to the broker, as far as anybody knows, and can be published again at once.
    Unsent,
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

    pub(super) fn keys(&self) -> impl Iterator<Item = EffectsKey> + '_ {
        self.rows.values().map(|row| row.key.clone())
    }

    /// Nothing is left to publish, so another process has published the suspects.
    pub(super) fn acquit_all(&mut self) {
        self.suspects.clear();
        self.max_rows = usize::MAX;
    }

    /// Adds a row, and numbers it.
    pub(super) fn add(&mut self, departing: Departing<impl Iterator<Item = Uuid>>) -> u64 {
        let Departing { key, events, size, reserved, since } = departing;
        let open: HashSet<Uuid> = events.collect();
        let all = open.len();
        let row = Row {
            key,
            all,
            unsent: all,
            open,
            unpublished: HashSet::new(),
            has_failed: false,
            unanswered: Vec::new(),
            size,
            reserved,
        };
        let number = self.next;
        self.next += 1;
        self.rows.insert(number, row);
        self.since.push_back((number, since));
        number
    }

    /// An event is about to be sent. With the last one, the bodies of its row leave the memory, up to `kept` bytes for each.
    pub(super) fn sent(&mut self, row: u64, kept: usize) {
        if let Some(Row { unsent, all, reserved, .. }) = self.rows.get_mut(&row) {
            *unsent = unsent.saturating_sub(1);
            if let Some(reserved) = reserved.as_mut().filter(|_| *unsent == 0) {
                reserved.shrink(*all * kept);
            }
        }
    }

    /// The end of an event. With its last event, the row goes to `settlement`. Returns the answers that are due: those to
    /// events that are not published again, or not as if nothing had happened.
    pub(super) fn settle(
        &mut self,
        (row, event): (u64, Uuid),
        end: End,
        answer: Option<Message>,
        settlement: &mut Settlement,
    ) -> Vec<Message> {
        let Some(found) = self.rows.get_mut(&row) else { return Vec::new() };
        let mut answers = Vec::new();
        if end == End::Unsent {
            found.unanswered.extend(answer);
        } else {
            answers.extend(answer);
        }
        found.open.remove(&event);
        if end != End::Published {
            found.unpublished.insert(event);
        }
        found.has_failed |= end == End::Failed;
        if found.open.is_empty()
            && let Some(Row { key, all, unpublished: events, has_failed, unanswered, size, .. }) =
                self.rows.remove(&row)
        {
            let leftover = Leftover { key, events, all, size };
            if !leftover.events.is_empty() && !has_failed {
                settlement.put_back(leftover);
                return answers;
            }
            answers.extend(unanswered);
            self.acquit(&leftover.key);
            if leftover.events.is_empty() {
                settlement.published(leftover.key);
            } else {
                // All of them, or those that failed would be published again at once.
                settlement.postpone(leftover);
            }
        }
        answers
    }

    fn acquit(&mut self, key: &EffectsKey) {
        self.suspects.remove(key);
        if self.suspects.is_empty() {
            self.max_rows = usize::MAX;
        }
    }

    /// The broker has closed the connection because of a message in flight. If its row is alone, it waits until it is
    /// published again. Otherwise fewer rows are in flight until it is.
    pub(super) fn suspect(&mut self) {
        if let (1, Some(alone)) = (self.rows.len(), self.rows.values_mut().next()) {
            alone.has_failed = true;
            self.acquit_all();
        } else {
            self.max_rows = (self.rows.len() / 2).max(1);
            self.suspects.extend(self.rows.values().map(|row| row.key.clone()));
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

    fn add(flight: &mut Flight, key: EffectsKey, events: &[Uuid]) -> u64 {
        let events = events.iter().copied();
        flight.add(Departing { key, events, size: 0, reserved: None, since: Instant::now() })
    }

    #[test]
    fn a_row_is_settled_with_its_last_event() {
        let (mut flight, mut settlement) = (Flight::default(), Settlement::default());
        let events = [Uuid::now_v7(), Uuid::now_v7()];
        let row = add(&mut flight, key(), &events);
        let _ = flight.settle((row, events[0]), End::Published, None, &mut settlement);
        assert!(settlement.portion().is_none() && !flight.is_empty());
        let _ = flight.settle((row, events[1]), End::Failed, None, &mut settlement);
        assert!(settlement.portion().is_some() && flight.is_empty());
    }

    #[test]
    fn a_row_is_put_back_at_once_unless_an_event_has_failed() {
        for (ends, is_due_now) in [
            ([End::Unsent, End::Published], true),
            ([End::Unsent, End::Unsent], true),
            ([End::Failed, End::Published], false),
            ([End::Failed, End::Unsent], false),
            ([End::Unsent, End::Failed], false),
        ] {
            let (mut flight, mut settlement) = (Flight::default(), Settlement::default());
            let events = [Uuid::now_v7(), Uuid::now_v7()];
            let row = add(&mut flight, key(), &events);
            for (event, end) in events.into_iter().zip(ends) {
                let _ = flight.settle((row, event), end, None, &mut settlement);
            }
            assert_eq!(settlement.portion().unwrap().is_due_now(), is_due_now, "{ends:?}");
        }
    }

    #[test]
    fn an_event_is_answered_once() {
        let answer = || {
            let (exchange, routing_key) = (String::new(), "asker".to_owned());
            Some(Message {
                exchange,
                routing_key,
                mandatory: false,
                body: Vec::new(),
                properties: lapin::BasicProperties::default(),
            })
        };
        for (ends, answers) in [
            ([End::Published, End::Failed], [1, 1]),
            // Both are sent again, with their answers.
            ([End::Unsent, End::Unsent], [0, 0]),
            // The row waits, and its events count as published before from then on.
            ([End::Unsent, End::Failed], [0, 2]),
            ([End::Failed, End::Unsent], [1, 1]),
        ] {
            let (mut flight, mut settlement) = (Flight::default(), Settlement::default());
            let events = [Uuid::now_v7(), Uuid::now_v7()];
            let row = add(&mut flight, key(), &events);
            let sent =
                [0, 1].map(|n| flight.settle((row, events[n]), ends[n], answer(), &mut settlement).len());
            assert_eq!(sent, answers, "{ends:?}");
        }
    }

    #[test]
    fn a_refused_message_is_soon_alone() {
        let mut flight = Flight::default();
        let (bad, once) = (key(), [Uuid::nil()]);
        for rows in [8, 4, 2] {
            let mut settlement = Settlement::default();
            let mut sent = vec![add(&mut flight, bad.clone(), &once)];
            sent.extend((1..rows).map(|_| add(&mut flight, key(), &once)));
            flight.suspect();
            for row in sent {
                let _ = flight.settle((row, Uuid::nil()), End::Unsent, None, &mut settlement);
            }
            assert!(settlement.portion().unwrap().is_due_now());
            assert_eq!(flight.free(), rows / 2);
            // Others go on, but it stays suspected.
            let row = add(&mut flight, key(), &once);
            let _ = flight.settle((row, Uuid::nil()), End::Published, None, &mut settlement);
            assert_eq!(flight.free(), rows / 2);
        }
        let mut settlement = Settlement::default();
        let row = add(&mut flight, bad, &once);
        flight.suspect();
        let _ = flight.settle((row, Uuid::nil()), End::Unsent, None, &mut settlement);
        assert_eq!(flight.free(), usize::MAX, "it was alone, and waits now");
        assert!(!settlement.portion().unwrap().is_due_now());
    }
}
