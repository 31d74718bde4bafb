//! Sends the messages of rows, in slices.

use std::time::Instant;

use uuid::Uuid;

use super::{
    Broker, OutboxRelay,
    flight::Name,
    lost::Lost,
    messages::{answer, to_amqp},
    spans,
};
use crate::{amqp::Message, postgres::effects::events::Committed, workers::room::Handed};

/// The memory of a message while its outcome is unknown, in bytes.
const SIZE_IN_FLIGHT: usize = 256;

/// The memory of its span, in bytes.
const SIZE_OF_SPAN: usize = 256;

/// The size of messages that are sent at once, in bytes.
const SLICE: usize = 1 << 20;

impl OutboxRelay {
    /// Sends rows that this process owns as `owner`.
    pub(super) async fn send(
        &mut self,
        broker: &mut Broker,
        owner: Option<Uuid>,
        rows: Vec<Handed<Committed>>,
    ) -> Result<(), Lost> {
        let (mut messages, sent_at) = (Vec::new(), Instant::now());
        let kept = SIZE_IN_FLIGHT + if self.traces.is_on() { SIZE_OF_SPAN } else { 0 };
        for Handed(Committed { key, events, since, .. }, mut reserved) in rows {
            if events.is_empty() {
                self.settlement.published(key);
                continue;
            }
            // The messages take its bodies.
            if let Some(reserved) = &mut reserved {
                reserved.shrink(events.len() * kept);
            }
            let size = events.iter().map(|event| event.body.len()).sum();
            let row = self.flight.add(key, events.iter().map(|event| event.id), size, reserved);
            self.flight.waits_since(since);
            for mut event in events {
                let span = spans::begin(&self.traces, &mut event);
                let name = Name { row, event: event.id, answer: answer(&event), sent_at, span };
                messages.push((name, to_amqp(&broker.exchange, event)));
            }
        }
        let count = messages.len();
        // In slices, each of which has the whole time of `amqp.publish_timeout`.
        let (mut slice, mut bytes) = (Vec::new(), 0);
        for (name, message) in messages {
            bytes += message.body.len();
            slice.push((name, message));
            if bytes >= SLICE {
                self.send_slice(broker, owner, std::mem::take(&mut slice)).await?;
                bytes = 0;
            }
        }
        self.send_slice(broker, owner, slice).await?;
        self.measures.sent(count, sent_at);
        Ok(())
    }

    /// Sends a slice, unless the process was suspended during earlier ones, and others may have taken over its rows.
    async fn send_slice(
        &mut self,
        broker: &mut Broker,
        owner: Option<Uuid>,
        slice: Vec<(Name, Message)>,
    ) -> Result<(), Lost> {
        if owner.is_none() || self.presence.owner() != owner {
            for (Name { row, event, .. }, _) in slice {
                self.flight.unsent(row, event, &mut self.settlement);
            }
        } else if !slice.is_empty() {
            broker.pipeline.send(slice).await?;
        }
        Ok(())
    }
}
