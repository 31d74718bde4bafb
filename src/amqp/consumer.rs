//! Consumes in batches: the messages that have arrived, up to a bound.
//!
//! A multiple-ack settles a whole batch, or all messages up to one of them. The broker requeues unacknowledged
//! messages when the channel closes; the service requeues nothing itself.

use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{FutureExt as _, StreamExt as _, future::try_join_all};
use lapin::{
    Acker, BasicProperties, Channel,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout;

use super::{
    connection::Connection,
    inbox::{Held, Inbox},
};

/// A consumer that receives nothing for this long is replaced. A broker may drop a consumer silently, and
/// `RabbitMQ` 3.10 keeps one for a queue that is deleted and at once redeclared, but no messages arrive.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

/// Maximum time for an ack or a close. When a connection breaks at the wrong moment, the client library waits
/// forever without an error.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a consumer must be rebuilt.
#[derive(Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The broker or the connection failed.
    #[error("the consumer of queue `{queue}` failed")]
    Lapin {
        /// The queue.
        queue: String,
        /// The cause.
        #[source]
        source: lapin::Error,
    },
    /// The broker canceled the consumer (queue deleted, leader lost, ack timeout).
    #[error("the broker canceled the consumer of queue `{0}`")]
    Ended(String),
    /// The ack did not reach the broker, which will redeliver the messages.
    #[error("could not acknowledge messages of queue `{0}`; they will be redelivered")]
    NotAcked(String),
}

/// Bounds of one batch.
#[derive(Clone, Copy, Debug)]
pub struct BatchLimits {
    /// Maximum number of messages.
    pub count: usize,
    /// Maximum size of the bodies in bytes; the message that exceeds it still belongs to the batch.
    pub bytes: usize,
}

/// A received message. Personal data: it has no `Debug`.
pub struct Received {
    /// The raw body.
    pub body: Bytes,
    /// Properties and headers.
    pub properties: BasicProperties,
    /// The routing key that it was published with.
    pub routing_key: String,
    /// How often the broker has delivered it before. Quorum queues count; other queues only report 0 or 1.
    pub delivery_count: u64,
    /// When it was taken from the connection.
    pub taken_at: Instant,
}

impl Received {
    /// The value of header `name`, if it is text in UTF-8.
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
        split(delivery, Instant::now()).0
    }
}

fn split(delivery: Delivery, taken_at: Instant) -> (Received, Acker) {
    let Delivery { properties, mut data, routing_key, redelivered, acker, .. } = delivery;
    // The library appends frame by frame, so nearly half of a large body may be unused.
    data.shrink_to_fit();
    // The broker replaces a sender's own header only when it has delivered the message before.
    let headers = properties.headers().as_ref().filter(|_| redelivered);
    let count = headers.and_then(|headers| {
        let value = headers.inner().get("x-delivery-count")?;
        u64::try_from(value.as_long_long_int().or_else(|| value.as_long_int().map(i64::from))?).ok()
    });
    let received = Received {
        body: data.into(),
        properties,
        routing_key: routing_key.to_string(),
        delivery_count: count.unwrap_or(u64::from(redelivered)),
        taken_at,
    };
    (received, acker)
}

/// Messages that arrived together.
#[must_use = "a dropped batch is redelivered only when its channel closes"]
pub struct Batch {
    /// In the order of arrival.
    pub messages: Vec<Received>,
    receipts: Vec<Receipt>,
}

/// Acknowledges one message, or all up to it on the same channel: see [`Consumer::acknowledge_each`] and
/// [`Consumer::acknowledge_through`].
#[derive(Debug)]
pub struct Receipt {
    acker: Acker,
    taken_at: Instant,
    /// Further ones may arrive once it is dropped.
    _held: Option<Held>,
}

impl Receipt {
    /// When the message was taken from the connection.
    #[must_use]
    pub const fn taken_at(&self) -> Instant {
        self.taken_at
    }
}

impl Batch {
    /// How many of its messages the broker has delivered before.
    #[must_use]
    pub fn redelivered(&self) -> usize {
        self.messages.iter().filter(|message| message.delivery_count > 0).count()
    }
}

impl IntoIterator for Batch {
    type Item = (Received, Receipt);
    type IntoIter = std::iter::Zip<std::vec::IntoIter<Received>, std::vec::IntoIter<Receipt>>;

    fn into_iter(self) -> Self::IntoIter {
        self.messages.into_iter().zip(self.receipts)
    }
}

/// A consumer of one queue, on its own channel.
pub struct Consumer {
    channel: Channel,
    stream: lapin::Consumer,
    queue: String,
    inbox: Option<Inbox>,
}

impl Consumer {
    /// Starts to consume `queue` with at most `prefetch` unacked messages.
    pub async fn open(connection: &Connection, queue: &str, prefetch: u16) -> Result<Self, ConsumeError> {
        let failed = |source| ConsumeError::Lapin { queue: queue.to_owned(), source };
        let channel = connection.create_channel().await.map_err(failed)?;
        let inbox = connection.inbox().cloned();
        if let Some(inbox) = &inbox {
            inbox.watch(channel.id());
        }
        channel.basic_qos(prefetch, BasicQosOptions::default()).await.map_err(failed)?;
        let stream = channel
            .basic_consume(queue.into(), "".into(), BasicConsumeOptions::default(), FieldTable::default())
            .await
            .map_err(failed)?;
        Ok(Self { channel, stream, queue: queue.to_owned(), inbox })
    }

    /// Waits for a message and takes it with those that have already arrived, up to `limits`. `None` when nothing
    /// arrived for 10 seconds: the consumer may be dead, and must be replaced if all its messages are acknowledged.
    ///
    /// Canceling loses nothing: it only waits before it has taken the first message.
    ///
    /// # Errors
    /// When the consumer must be rebuilt.
    pub async fn next_batch(&mut self, limits: &BatchLimits) -> Result<Option<Batch>, ConsumeError> {
        let Ok(first) = timeout(IDLE_TIMEOUT, self.stream.next()).await else { return Ok(None) };
        let mut batch = Batch { messages: Vec::new(), receipts: Vec::new() };
        let (mut bytes, taken_at) = (0, Instant::now());
        let mut next = Some(first);
        while let Some(delivery) = next {
            let (message, acker) = split(self.checked(delivery)?, taken_at);
            let held = self.inbox.as_ref().map(|inbox| inbox.take(self.channel.id()));
            bytes += message.body.len();
            batch.messages.push(message);
            batch.receipts.push(Receipt { acker, taken_at, _held: held });
            let is_full = batch.messages.len() >= limits.count || bytes >= limits.bytes;
            next = if is_full { None } else { self.stream.next().now_or_never() };
        }
        Ok(Some(batch))
    }

    /// Acknowledges every message of the batch. Call it after their effects are committed.
    ///
    /// # Errors
    /// When the ack failed; the broker will redeliver them.
    pub async fn acknowledge(&self, batch: Batch) -> Result<(), ConsumeError> {
        match batch.receipts.into_iter().last() {
            Some(last) => self.acknowledge_through(last).await,
            None => Ok(()),
        }
    }

    /// Acknowledges this message and all that arrived before it.
    ///
    /// # Errors
    /// When the ack failed; the broker will redeliver them.
    pub async fn acknowledge_through(&self, receipt: Receipt) -> Result<(), ConsumeError> {
        match timeout(ANSWER_TIMEOUT, receipt.acker.ack(BasicAckOptions { multiple: true })).await {
            Ok(Ok(true)) => Ok(()),
            Ok(Ok(false)) | Err(_) => Err(ConsumeError::NotAcked(self.queue.clone())),
            Ok(Err(source)) => Err(ConsumeError::Lapin { queue: self.queue.clone(), source }),
        }
    }

    /// Acknowledges these messages, and no others.
    ///
    /// # Errors
    /// When the broker will redeliver some of them.
    pub async fn acknowledge_each(&self, receipts: Vec<Receipt>) -> Result<(), ConsumeError> {
        let acks = receipts.iter().map(|receipt| receipt.acker.ack(BasicAckOptions::default()));
        match timeout(ANSWER_TIMEOUT, try_join_all(acks)).await {
            Ok(Ok(acked)) if acked.iter().all(|is_acked| *is_acked) => Ok(()),
            Ok(Ok(_)) | Err(_) => Err(ConsumeError::NotAcked(self.queue.clone())),
            Ok(Err(source)) => Err(ConsumeError::Lapin { queue: self.queue.clone(), source }),
        }
    }

    /// Tells how many bytes of unacknowledged messages its connection holds; `None` once that is gone, or if it does not
    /// count them.
    pub fn held_bytes(&self) -> impl Fn() -> Option<usize> + Clone + Send + Sync + 'static {
        let held = self.inbox.as_ref().map(Inbox::held);
        move || held.as_ref()?()
    }

    /// Stops counting its messages, because nobody takes them any more.
    pub fn disregard(&self) {
        if let Some(inbox) = &self.inbox {
            inbox.forget(self.channel.id());
        }
    }

    /// Closes the channel, and the broker requeues its unacked messages.
    pub async fn close(self) {
        self.disregard();
        // If the broker does not answer, the next use of the connection fails.
        let _ = timeout(ANSWER_TIMEOUT, self.channel.close(200, "idle".into())).await;
    }

    fn checked(&self, next: Option<lapin::Result<Delivery>>) -> Result<Delivery, ConsumeError> {
        match next {
            Some(Ok(delivery)) => Ok(delivery),
            Some(Err(source)) => Err(ConsumeError::Lapin { queue: self.queue.clone(), source }),
            None => Err(ConsumeError::Ended(self.queue.clone())),
        }
    }
}
