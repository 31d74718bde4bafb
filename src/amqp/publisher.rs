//! Publishes with confirms, a window of messages at a time.
//!
//! A message is published once the broker has confirmed it and, if it is mandatory, routed it: the broker confirms
//! unroutable messages, too.

use std::{collections::HashSet, time::Duration};

use futures_util::future::try_join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, ErrorKind,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::time::timeout;

use super::connection::{ConnectError, Connection, connect, within_timeout};
use crate::settings;

/// Reply code of AMQP 0-9-1 (1.2): an operator closed the connection, or the broker is shutting down.
const CONNECTION_FORCED: u16 = 320;

/// One message to publish.
#[derive(Clone)]
pub struct Message {
    /// The exchange. The default exchange has an empty name and routes to the queue that the key names.
    pub exchange: String,
    /// The routing key, or the name of a queue.
    pub routing_key: String,
    /// Whether it must be routed to a queue.
    pub mandatory: bool,
    /// The exact bytes.
    pub body: Vec<u8>,
    /// Properties and headers. A mandatory message needs a `message_id` that is unique within its window.
    pub properties: BasicProperties,
}

/// Why one message of a window was not published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unpublished {
    /// It is mandatory, and no queue is bound for its routing key.
    #[error("no queue is bound for this routing key")]
    Unroutable,
    /// The broker refused it, for example because the queue is full.
    #[error("the broker refused the message")]
    Refused,
    /// The broker has not confirmed it in time: a queue that it is routed to may be without a majority of its members.
    #[error("the broker did not confirm the message in time")]
    Late,
    /// The broker has not read it.
    #[error("the broker did not read the message")]
    Unread,
}

impl Unpublished {
    /// Its name, for metrics and traces.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unroutable => "unroutable",
            Self::Refused => "refused",
            Self::Late => "unconfirmed",
            Self::Unread => "unread",
        }
    }
}

/// The outcome of a window is unknown; it must be published again over a new connection.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The channel or connection failed.
    #[error("publishing failed")]
    Lapin(#[from] lapin::Error),
    /// The broker did not confirm in time: it blocks publishers, or cannot be reached.
    #[error("the broker did not confirm within {} ms", .0.as_millis())]
    Timeout(Duration),
}

impl PublishError {
    /// Whether the broker closed the channel or the connection because of a message, and would do so again.
    #[must_use]
    pub fn is_refusal(&self) -> bool {
        let Self::Lapin(error) = self else { return false };
        match error.kind() {
            ErrorKind::ProtocolError(error) => error.get_id() != CONNECTION_FORCED,
            _ => false,
        }
    }
}

/// A connection with one channel in confirm mode.
pub struct Publisher {
    connection: Connection,
    channel: Channel,
    timeout: Duration,
}

impl Publisher {
    /// Connects under the name `purpose` and enables confirms.
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

    /// The connection, for declarations.
    #[must_use]
    pub fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn channel(&self) -> &Channel {
        &self.channel
    }

    /// How long a confirm may take.
    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Publishes the messages and waits for all confirms. Returns one result per message, in order.
    ///
    /// # Errors
    /// After an error the publisher must be dropped, and any of the messages may have been published.
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
        // All at once: awaiting each until it is written would cost two switches to the writing thread per message.
        // A message is queued when its future is first polled, so confirms come in the order of the messages.
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
                // Cannot happen on a channel in confirm mode; without a confirm it does not count as published.
                Confirmation::NotRequested => (Err(Unpublished::Refused), None),
            };
            outcome.push(result);
            returned.extend(message.map(|message| message.delivery.properties.message_id().clone()));
        }
        mark_returned(messages, &returned, &mut outcome);
        Ok(outcome)
    }
}

/// Marks unroutable messages. The library may attach a returned message to the confirm of another one, so they are
/// matched by id; one without an id marks every mandatory message of the window.
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
