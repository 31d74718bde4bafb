//! The one way to consume a queue: connect, declare, consume, and rebuild all of it after any failure of the broker or
//! the connection.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::backoff::Backoff;
use crate::{
    amqp::{self, Batch, ConnectError, Connection, ConsumeError, Consumer, Topology, TopologyError},
    health::Health,
    metrics::{Metrics, Queue, Room},
    settings,
    telemetry::chain,
};

/// What a component consumes, and how.
pub(super) struct Consumption<'a> {
    /// The component's name, also in the broker's list of connections.
    pub(super) component: &'a str,
    /// Section `[amqp]`.
    pub(super) amqp: &'a settings::Amqp,
    pub(super) queue: String,
    /// Counts acks and everything else about the queue.
    pub(super) counts: Counts<'a>,
    /// Maximum number of unacknowledged messages that the broker sends.
    pub(super) prefetch: usize,
    /// Maximum bytes of these messages in memory; one message always fits.
    pub(super) prefetch_bytes: usize,
    pub(super) health: &'a Health,
}

/// Counts the messages of one queue.
#[derive(Clone, Copy)]
pub(super) struct Counts<'a> {
    pub(super) metrics: &'a Metrics,
    pub(super) queue: Queue,
}

impl Counts<'_> {
    /// A batch has arrived.
    pub(super) fn arrived(self, batch: &Batch) {
        self.metrics.received.add(self.queue, batch.messages.len());
        self.metrics.redelivered.add(self.queue, batch.redelivered());
    }

    /// The result of an ack.
    pub(super) fn acked<T>(self, acked: Result<T, ConsumeError>) -> Result<T, ConsumeError> {
        self.metrics.failed_acks.add(self.queue, usize::from(acked.is_err()));
        acked
    }
}

/// Why the consumer must be rebuilt.
#[derive(Debug, thiserror::Error)]
enum Lost {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Topology(#[from] TopologyError),
    #[error(transparent)]
    Consume(#[from] ConsumeError),
    #[error("the broker did not answer within {} ms", .0.as_millis())]
    Silent(Duration),
}

/// Processes the messages of a queue.
pub(super) trait Work: Send {
    /// Processes what `consumer` receives. Resets `backoff` when a message arrives.
    ///
    /// # Errors
    /// When the consumer must be rebuilt. Its unacknowledged messages are redelivered.
    fn work(
        &mut self,
        consumer: &mut Consumer,
        backoff: &mut Backoff,
        stop: &CancellationToken,
    ) -> impl Future<Output = Result<Ended, ConsumeError>> + Send;
}

/// Why the work with a working consumer ended.
pub(super) enum Ended {
    /// The process is stopping.
    Stopped,
    /// All messages are acknowledged, and none has arrived for so long that the consumer may be dead.
    Idle,
}

impl Consumption<'_> {
    /// Works until `stop`.
    pub(super) async fn run(self, stop: &CancellationToken, mut work: impl Work) {
        let component = self.component;
        let mut backoff = Backoff::default();
        while !stop.is_cancelled() {
            match self.consume(stop, &mut backoff, &mut work).await {
                Ok(()) => break,
                Err(lost) => {
                    self.counts.metrics.lost_consumers.add(self.counts.queue, 1);
                    let error = chain(&lost);
                    warn!(component, error, "{component} lost the broker and reconnects");
                    self.health.failing(component, error);
                    backoff.wait(stop).await;
                }
            }
        }
        info!(component, "{component} stopped");
    }

    async fn consume(
        &self,
        stop: &CancellationToken,
        backoff: &mut Backoff,
        work: &mut impl Work,
    ) -> Result<(), Lost> {
        // The connection must live as long as its consumer.
        let Some(opened) = stop.run_until_cancelled(self.open()).await else { return Ok(()) };
        let (connection, mut consumer) = opened?;
        self.counts.metrics.watch_room(Room::Inbox, self.prefetch_bytes, consumer.held_bytes());
        self.health.ready(self.component);
        while let Ended::Idle = work.work(&mut consumer, backoff, stop).await? {
            // Otherwise its messages could keep the connection from reading the answers to the other.
            consumer.disregard();
            let fresh = self.open_consumer(&connection).await?;
            std::mem::replace(&mut consumer, fresh).close().await;
        }
        Ok(())
    }

    async fn open(&self) -> Result<(Connection, Consumer), Lost> {
        let limit = self.amqp.connect_timeout;
        let connection = amqp::connect_consumer(self.amqp, self.component, self.prefetch_bytes).await?;
        Topology::new(&self.amqp.namespace).declare_over(&connection, limit).await?;
        let consumer = self.open_consumer(&connection).await?;
        Ok((connection, consumer))
    }

    async fn open_consumer(&self, connection: &Connection) -> Result<Consumer, Lost> {
        let limit = self.amqp.connect_timeout;
        let prefetch = u16::try_from(self.prefetch).unwrap_or(u16::MAX);
        let opened = timeout(limit, Consumer::open(connection, &self.queue, prefetch)).await;
        Ok(opened.map_err(|_| Lost::Silent(limit))??)
    }
}
