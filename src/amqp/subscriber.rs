//! A subscriber of the events exchange, with a queue of its own that ends with it.

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

/// Most messages that wait here unprinted; the rest waits at the broker.
const PREFETCH: u16 = 200;

/// Why a subscription failed or ended.
#[derive(Debug, thiserror::Error)]
pub enum SubscribeError {
    /// The broker or the connection failed.
    #[error("the subscription failed")]
    Lapin(#[from] lapin::Error),
    /// The broker ended it.
    #[error("the broker ended the subscription")]
    Ended,
}

/// A subscription. Dropped with its connection, it leaves nothing at the broker.
pub struct Subscriber {
    stream: lapin::Consumer,
    _channel: Channel,
}

impl Subscriber {
    /// Subscribes to the messages of `exchange` with any of these routing keys (topic patterns).
    ///
    /// # Errors
    /// When the exchange does not exist, or broker or connection fail.
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
    /// When the subscription has ended; there is no further message then.
    pub async fn next(&mut self) -> Result<Received, SubscribeError> {
        let delivery = self.stream.next().await.ok_or(SubscribeError::Ended)??;
        delivery.acker.ack(BasicAckOptions::default()).await?;
        Ok(Received::from(delivery))
    }
}

/// Whether the exchange is there. Declares nothing, so a mistyped namespace leaves nothing behind.
///
/// # Errors
/// When broker or connection fail.
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
