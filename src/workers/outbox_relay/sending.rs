//! Sends the messages of rows, in slices.

use std::time::Instant;

use uuid::Uuid;

use super::{
    Broker, OutboxRelay,
    flight::{Departing, End, Name, Unsent},
    lost::Lost,
    messages::{answer, to_amqp},
    spans,
};
use crate::{postgres::effects::events::EventBatch, workers::room::InMemory};

/// What a message takes up while its outcome is unknown, in bytes.
const SIZE_IN_FLIGHT: usize = 256;

/// What its span takes up, in bytes.
const SIZE_OF_SPAN: usize = 256;

/// The size of messages that are sent at once, in bytes.
const SLICE: usize = 1 << 20;

impl OutboxRelay {
    /// The end of an event whose message was prepared.
    pub(super) fn finish(&mut self, name: Name, end: End) {
        if name.is_retry {
            self.retries.end(end == End::Published);
        }
        self.settle_event(name, end);
    }

    /// Answers an event that has ended, unless it is published again soon.
    fn settle_event(&mut self, Name { row, event, answer, .. }: Name, end: End) {
        for answer in self.flight.settle((row, event), end, answer, &mut self.settlement) {
            self.answers.offer(answer);
        }
    }

    /// Prepares the messages of rows that this process owns as `owner`. Of retries, some may have to wait.
    pub(super) fn prepare(
        &mut self,
        exchange: &str,
        owner: Option<Uuid>,
        rows: Vec<InMemory<EventBatch>>,
        is_retry: bool,
    ) {
        let sent_at = Instant::now();
        for InMemory { item: EventBatch { key, mut events, since, .. }, reserved } in rows {
            if events.is_empty() {
                self.settlement.published(key);
                continue;
            }
            // Each event of a row has its turn, even if the first ones fail for long.
            if is_retry {
                let first = rand::random_range(0..events.len());
                events.rotate_left(first);
            }
            let size = events.iter().map(|event| event.body.len()).sum();
            let ids = events.iter().map(|event| event.id);
            let row = self.flight.add(Departing { key, events: ids, size, reserved, since });
            for mut event in events {
                let span = spans::begin(&self.traces, &mut event);
                let answer = answer(&event).filter(|_| !is_retry);
                let name = Name { row, event: event.id, answer, is_retry, sent_at, span };
                if is_retry && !self.retries.begin() {
                    self.settle_event(name, End::Unsent);
                    continue;
                }
                self.unsent.push_back(Unsent { name, message: to_amqp(exchange, event), owner });
            }
        }
    }

    /// Sends as many of the messages as the broker takes now, in slices, each of which has the whole time of
    /// `amqp.publish_timeout`.
    pub(super) async fn send(&mut self, broker: &mut Broker) -> Result<(), Lost> {
        let (mut count, began) = (0, Instant::now());
        loop {
            let (mut slice, mut bytes, allowance) = (Vec::new(), 0, broker.allowance());
            while bytes < SLICE
                && slice.len() < allowance
                && let Some(next) = self.unsent.pop_front()
            {
                bytes += next.message.body.len();
                slice.push(next);
            }
            if slice.is_empty() {
                break;
            }
            count += slice.len();
            self.send_slice(broker, slice).await?;
        }
        self.measures.sent(count, began);
        Ok(())
    }

    /// Sends a slice, apart from messages whose rows others may have taken over while the process was suspended.
    async fn send_slice(&mut self, broker: &mut Broker, slice: Vec<Unsent>) -> Result<(), Lost> {
        let kept = SIZE_IN_FLIGHT + if self.traces.is_on() { SIZE_OF_SPAN } else { 0 };
        let (now, mut messages) = (self.presence.owner(), Vec::with_capacity(slice.len()));
        for Unsent { name, message, owner } in slice {
            if owner.is_some() && owner == now {
                self.flight.sent(name.row, kept);
                messages.push((name, message));
            } else {
                self.finish(name, End::Unsent);
            }
        }
        if !messages.is_empty() {
            broker.send(messages).await?;
        }
        Ok(())
    }
}
