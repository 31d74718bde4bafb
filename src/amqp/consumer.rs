//! Consuming in batches: whatever is there, up to a bound, without waiting for company.
//!
//! A batch is settled as a whole with one multiple-ack, which consumes it. What is never acked goes
//! back to the queue when the channel closes; nothing is requeued by hand.

use std::time::Duration;

use futures_util::StreamExt as _;
use lapin::{
    Acker, BasicProperties, Channel, Connection,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::{Instant, timeout, timeout_at};

/// How long a consumer hears nothing before it is made anew. A broker may forget one without a word, and
/// `RabbitMQ` 3.10 keeps one for a queue that is deleted and declared again at once, counts it, hands it
/// messages, and none of them arrives.
const IDLE: Duration = Duration::from_secs(10);

/// How long an ack or a farewell may take. A connection that breaks at the wrong moment leaves the
/// client library waiting for ever, without an error.
const ANSWER_PATIENCE: Duration = Duration::from_secs(10);

/// Why a consumer must be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The broker or the connection failed.
    #[error("the consumer of queue `{queue}` failed")]
    Lapin {
        /// The queue.
        queue: String,
        /// What failed.
        #[source]
        source: lapin::Error,
    },
    /// The broker canceled the consumer (queue deleted, leader lost, ack timeout).
    #[error("the broker ended the consumer of queue `{0}`")]
    Ended(String),
    /// An ack did not reach the broker: the channel is gone, the messages come again.
    #[error("messages of queue `{0}` could not be acknowledged")]
    NotAcked(String),
}

/// Bounds of one batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Most messages.
    pub count: usize,
    /// Most bytes of bodies; the message that goes beyond still belongs to the batch.
    pub bytes: usize,
    /// How long to wait for more once there is one message.
    pub linger: Duration,
}

/// One message as it came. `Debug` leaves the payload out.
pub struct Received {
    /// The raw body.
    pub body: Vec<u8>,
    /// Properties and headers.
    pub properties: BasicProperties,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// How often the broker handed it out before (quorum queues; 0 where unknown).
    pub delivery_count: u64,
}

impl Received {
    /// The text of header `name`, if it is there and is UTF-8 text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        match self.properties.headers().as_ref()?.inner().get(name)? {
            AMQPValue::LongString(text) => std::str::from_utf8(text.as_bytes()).ok(),
            AMQPValue::ShortString(text) => Some(text.as_str()),
            _ => None,
        }
    }
}

impl From<Delivery> for Received {
    fn from(delivery: Delivery) -> Self {
        let count = delivery.properties.headers().as_ref().and_then(|headers| {
            let value = headers.inner().get("x-delivery-count")?;
            u64::try_from(value.as_long_long_int().or_else(|| value.as_long_int().map(i64::from))?).ok()
        });
        Self {
            body: delivery.data,
            properties: delivery.properties,
            routing_key: delivery.routing_key.to_string(),
            delivery_count: count.unwrap_or(u64::from(delivery.redelivered)),
        }
    }
}

/// Messages that are settled together.
#[must_use = "a batch that is dropped comes again only when its channel closes"]
pub struct Batch {
    /// The messages, in the order of arrival.
    pub messages: Vec<Received>,
    last: Acker,
    queue: String,
}

impl Batch {
    /// Acknowledges every message of the batch. Call it after the commit that holds their effect.
    pub async fn ack(self) -> Result<(), ConsumeError> {
        match timeout(ANSWER_PATIENCE, self.last.ack(BasicAckOptions { multiple: true })).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) | Err(_) => Err(ConsumeError::NotAcked(self.queue)),
            Ok(Err(source)) => Err(ConsumeError::Lapin { queue: self.queue, source }),
        }
    }
}

/// A consumer of one queue, on a channel of its own.
pub struct Consumer {
    channel: Channel,
    stream: lapin::Consumer,
    queue: String,
}

impl Consumer {
    /// Starts to consume `queue` with at most `prefetch` unsettled messages.
    pub async fn open(connection: &Connection, queue: &str, prefetch: u16) -> Result<Self, ConsumeError> {
        let failed = |source| ConsumeError::Lapin { queue: queue.to_owned(), source };
        let channel = connection.create_channel().await.map_err(failed)?;
        channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(failed)?;
        let stream = channel
            .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await
            .map_err(failed)?;
        Ok(Self { channel, stream, queue: queue.to_owned() })
    }

    /// Waits for a message and takes those that are there already, up to `limits`. None where nothing
    /// came for so long that the consumer must be made anew, to be sure that it still is one.
    ///
    /// Cancel-safe in that nothing is lost: what was taken and not returned is unacked.
    pub async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Option<Batch>, ConsumeError> {
        let Ok(first) = timeout(IDLE, self.stream.next()).await else { return Ok(None) };
        let mut delivery = self.checked(first)?;
        let deadline = Instant::now() + limits.linger;
        let mut messages = Vec::new();
        let mut bytes = 0;
        loop {
            let last = delivery.acker.clone();
            bytes += delivery.data.len();
            messages.push(Received::from(delivery));
            let full = messages.len() >= limits.count || bytes >= limits.bytes;
            match if full { None } else { self.more(deadline).await? } {
                Some(next) => delivery = next,
                None => return Ok(Some(Batch { messages, last, queue: self.queue.clone() })),
            }
        }
    }

    /// Ends the consumer. What it was handed and what is not acked goes back to the queue.
    pub async fn close(self) {
        // Where the broker does not answer, whoever uses the connection next finds out.
        let _ = timeout(ANSWER_PATIENCE, self.channel.close(200, "idle".into())).await;
    }

    async fn more(&mut self, deadline: Instant) -> Result<Option<Delivery>, ConsumeError> {
        // A deadline in the past still polls the stream once, so "no linger" takes what is there.
        match timeout_at(deadline, self.stream.next()).await {
            Ok(next) => self.checked(next).map(Some),
            Err(_) => Ok(None),
        }
    }

    fn checked(&self, next: Option<lapin::Result<Delivery>>) -> Result<Delivery, ConsumeError> {
        match next {
            Some(Ok(delivery)) => Ok(delivery),
            Some(Err(source)) => Err(ConsumeError::Lapin { queue: self.queue.clone(), source }),
            None => Err(ConsumeError::Ended(self.queue.clone())),
        }
    }
}
