//! A subscriber of the events exchange, with an exclusive queue that the broker deletes with its connection.

use futures_util::StreamExt as _;
use lapin::{
    Channel, Connection, ExchangeKind,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicQosOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};

use super::Received;

/// Maximum number of messages in memory; the rest waits at the broker.
const PREFETCH: u16 = 200;

/// Why a subscription failed or ended.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The broker or the connection failed.
    #[error("the subscription failed")]
    Lapin(#[from] lapin::Error),
    /// The broker canceled it.
    #[error("the broker canceled the subscription")]
    Ended,
}

/// A subscription that leaves nothing behind at the broker.
pub struct Subscriber {
    stream: lapin::Consumer,
    _channel: Channel,
}

impl Subscriber {
    /// Subscribes to the messages of `exchange` that match any of `keys` (topic patterns).
    ///
    /// # Errors
    /// When the exchange does not exist, or the broker or the connection fails.
    pub async fn open(
        connection: &Connection,
        exchange: &str,
        keys: &[String],
    ) -> Result<Self, SubscribeError> {
        let channel = connection.create_channel().await?;
        let options =
            QueueDeclareOptions { exclusive: true, auto_delete: true, ..QueueDeclareOptions::default() };
        let queue = channel.queue_declare("".into(), options, FieldTable::default()).await?;
        let name = queue.name().as_str();
        for key in keys {
            let options = QueueBindOptions::default();
            let arguments = FieldTable::default();
            channel.queue_bind(name.into(), exchange.into(), key.as_str().into(), options, arguments).await?;
        }
        channel.basic_qos(PREFETCH, BasicQosOptions::default()).await?;
        let options = BasicConsumeOptions::default();
        let stream = channel.basic_consume(name.into(), "".into(), options, FieldTable::default()).await?;
        Ok(Self { stream, _channel: channel })
    }

    /// Waits for the next message.
    ///
    /// # Errors
    /// When the subscription has ended and no further message will arrive.
    pub async fn next(&mut self) -> Result<Received, SubscribeError> {
        let delivery = self.stream.next().await.ok_or(SubscribeError::Ended)??;
        delivery.acker.ack(BasicAckOptions::default()).await?;
        Ok(Received::from(delivery))
    }
}

/// Whether the exchange exists. Declares nothing, so that a mistyped namespace leaves nothing behind.
///
/// # Errors
/// When the broker or the connection fails.
pub async fn has_exchange(connection: &Connection, exchange: &str) -> Result<bool, lapin::Error> {
    let channel = connection.create_channel().await?;
    let options = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    match channel.exchange_declare(exchange.into(), ExchangeKind::Topic, options, FieldTable::default()).await
    {
        Ok(()) => Ok(true),
        Err(error) if error.is_amqp_soft_error() => Ok(false),
        Err(error) => Err(error),
    }
}
