//! Publishing with confirms, a window of messages at a time.
//!
//! Published means confirmed and, where the message is mandatory, routed: the broker acknowledges
//! what no queue takes as well.

use std::{collections::HashSet, time::Duration};

use futures_util::future::try_join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, ErrorKind,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::time::timeout;

use super::{ConnectError, Connection, connect, connection::within_timeout};
use crate::settings;

/// Reply code of AMQP 0-9-1 (1.2).
const CONNECTION_FORCED: u16 = 320;

/// One message to publish.
#[derive(Clone)]
pub struct Message {
    /// The exchange; empty is the default exchange, which routes to the queue named by the key.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
    /// Whether a queue must take it.
    pub mandatory: bool,
    /// The exact bytes.
    pub body: Vec<u8>,
    /// Properties and headers. `message_id` tells messages of one window apart.
    pub properties: BasicProperties,
}

/// Why one message of a window is not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpublished {
    /// Mandatory, and no queue is bound for its routing key.
    #[error("no queue takes this routing key")]
    Unroutable,
    /// The broker refused it (a full queue).
    #[error("the broker refused the message")]
    Refused,
}

/// The window's outcome is unknown: publish it again over a new connection.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The channel or connection failed.
    #[error("publishing failed")]
    Lapin(#[from] lapin::Error),
    /// The broker did not confirm in time: it is blocked, or gone.
    #[error("the broker did not confirm within {} ms", .0.as_millis())]
    Timeout(Duration),
}

impl PublishError {
    /// Whether the broker closed the channel or the connection because of what was published, and would do
    /// so again.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let Self::Lapin(error) = self else { return false };
        match error.kind() {
            // A broker that shuts down, or an operator who closes the connection.
            ErrorKind::ProtocolError(error) => error.get_id() != CONNECTION_FORCED,
            _ => false,
        }
    }
}

/// A connection and one channel in confirm mode, with one owner.
pub struct Publisher {
    connection: Connection,
    channel: Channel,
    timeout: Duration,
}

impl Publisher {
    /// Connects and switches confirms on.
    pub async fn connect(settings: &settings::Amqp, purpose: &str) -> Result<Self, ConnectError> {
        let connection = connect(settings, purpose).await?;
        let opened = async {
            let channel = connection.create_channel().await?;
            channel.confirm_select(ConfirmSelectOptions::default()).await?;
            Ok::<_, lapin::Error>(channel)
        };
        let channel = within_timeout(settings, opened).await?;
        Ok(Self { connection, channel, timeout: settings.publish_timeout })
    }

    /// The connection, to declare on.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Publishes the messages and waits for every confirm: one result for each, in order.
    ///
    /// # Errors
    /// After an error the publisher is of no more use, and any of the messages may have arrived.
    pub async fn publish(
        &mut self,
        messages: &[Message],
    ) -> Result<Vec<Result<(), Unpublished>>, PublishError> {
        match timeout(self.timeout, self.window(messages)).await {
            Ok(outcome) => outcome,
            Err(_) => Err(PublishError::Timeout(self.timeout)),
        }
    }

    async fn window(&self, messages: &[Message]) -> Result<Vec<Result<(), Unpublished>>, PublishError> {
        // All at once: awaited one by one, each message would wait until it is written, which costs two
        // switches to the thread that writes. Each is on its way when it is first polled, so confirms
        // and messages stay in one order.
        let published = messages.iter().map(|message| {
            self.channel.basic_publish(
                message.exchange.as_str().into(),
                message.routing_key.as_str().into(),
                BasicPublishOptions { mandatory: message.mandatory, immediate: false },
                &message.body,
                message.properties.clone(),
            )
        });
        let confirms = try_join_all(published).await?;
        let mut outcome = Vec::with_capacity(messages.len());
        let mut returned = Vec::new();
        for confirm in confirms {
            let confirmation = confirm.await?;
            let (result, message) = match confirmation {
                Confirmation::Ack(message) => (Ok(()), message),
                Confirmation::Nack(message) => (Err(Unpublished::Refused), message),
                // The channel is in confirm mode; without a confirm nothing is known to be published.
                Confirmation::NotRequested => (Err(Unpublished::Refused), None),
            };
            outcome.push(result);
            returned.extend(message.map(|message| message.delivery.properties.message_id().clone()));
        }
        mark_returned(messages, &returned, &mut outcome);
        Ok(outcome)
    }
}

/// Returned messages come first in, first out and may sit on another message's confirm, so they are
/// found by their id; one without an id fails the whole window.
fn mark_returned(
    messages: &[Message],
    returned: &[Option<lapin::types::ShortString>],
    outcome: &mut [Result<(), Unpublished>],
) {
    if returned.is_empty() {
        return;
    }
    let ids: HashSet<_> = returned.iter().flatten().map(lapin::types::ShortString::as_str).collect();
    let anonymous = returned.iter().any(Option::is_none);
    for (message, outcome) in messages.iter().zip(outcome) {
        let id = message.properties.message_id().as_ref().map(lapin::types::ShortString::as_str);
        if message.mandatory && (anonymous || id.is_some_and(|id| ids.contains(id))) {
            *outcome = Err(Unpublished::Unroutable);
        }
    }
}
