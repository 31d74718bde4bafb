//! How much waits in a queue, as the broker counts it.

use lapin::{
    options::QueueDeclareOptions,
    types::{FieldTable, ReplyCode},
};

/// The reply code of an orderly close (`REPLY_SUCCESS`).
const SUCCESS: ReplyCode = 200;

/// Messages and consumers of a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueueDepth {
    /// Without those that consumers hold.
    pub messages: u32,
    /// Over all connections.
    pub consumers: u32,
}

impl QueueDepth {
    /// Asks the broker about `queue`, over a channel of its own: the broker closes the channel if the queue does not exist.
    pub async fn ask(connection: &lapin::Connection, queue: &str) -> lapin::Result<Self> {
        let channel = connection.create_channel().await?;
        let passive = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let found = channel.queue_declare(queue.into(), passive, FieldTable::default()).await?;
        channel.close(SUCCESS, "".into()).await?;
        Ok(Self { messages: found.message_count(), consumers: found.consumer_count() })
    }
}
