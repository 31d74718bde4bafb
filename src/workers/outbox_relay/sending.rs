//! Sends the messages of rows, in slices.

use std::time::Instant;

use uuid::Uuid;

use super::{
    Broker, OutboxRelay,
    flight::{End, Name},
    lost::Lost,
    messages::{answer, to_amqp},
    spans,
};
use crate::{amqp::Message, postgres::effects::events::Committed, workers::room::Handed};

/// What a message takes up while its outcome is unknown, in bytes.
const SIZE_IN_FLIGHT: usize = 256;

/// What its span takes up, in bytes.
const SIZE_OF_SPAN: usize = 256;

/// The size of messages that are sent at once, in bytes.
const SLICE: usize = 1 << 20;

impl OutboxRelay {
    /// The end of an event. It is answered if it is not published again soon.
    pub(super) fn finish(&mut self, name: Name, end: End) {
        let Name { row, event, answer, .. } = name;
        for answer in self.flight.settle((row, event), end, answer, &mut self.settlement) {
            self.answers.offer(answer);
        }
    }

    /// Prepares the messages of rows that this process owns as `owner`. Of retries, some may have to wait.
    pub(super) fn prepare(
        &mut self,
        exchange: &str,
        owner: Option<Uuid>,
        rows: Vec<Handed<Committed>>,
        is_retry: bool,
    ) {
        let sent_at = Instant::now();
        for Handed(Committed { key, mut events, since, .. }, reserved) in rows {
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
            let row = self.flight.add(key, events.iter().map(|event| event.id), size, reserved);
            self.flight.waits_since(since);
            for mut event in events {
                let span = spans::begin(&self.traces, &mut event);
                let answer = answer(&event).filter(|_| !is_retry);
                let name = Name { row, event: event.id, answer, is_retry, sent_at, span };
                if is_retry && !self.retries.begin() {
                    self.finish(name, End::Unsent);
                    continue;
                }
                self.unsent.push_back((owner, name, to_amqp(exchange, event)));
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
                && let Some((owner, name, message)) = self.unsent.pop_front()
            {
                bytes += message.body.len();
                slice.push((owner, name, message));
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

    /// Sends a slice, unless the process stood still before it, and others may have taken its rows over.
    async fn send_slice(
        &mut self,
        broker: &mut Broker,
        slice: Vec<(Option<Uuid>, Name, Message)>,
    ) -> Result<(), Lost> {
        let kept = SIZE_IN_FLIGHT + if self.traces.is_on() { SIZE_OF_SPAN } else { 0 };
        let (now, mut messages) = (self.presence.owner(), Vec::with_capacity(slice.len()));
        for (owner, name, message) in slice {
            if owner.is_some() && owner == now {
                self.flight.sent(name.row, kept);
                messages.push((name, message));
            } else {
                if name.is_retry {
                    self.retries.end(false);
                }
                self.finish(name, End::Unsent);
            }
        }
        if !messages.is_empty() {
            broker.send(messages).await?;
        }
        Ok(())
    }
}
