//! The exchanges and queues of one namespace, and their declaration.
//!
//! Declaring is idempotent. An object that exists with other arguments is never overwritten: it is an error that
//! names the object and the difference.

use std::time::Duration;

use lapin::{
    Channel, ErrorKind, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, LongString},
};
use tokio::time::timeout;

use crate::domain::{chain::reply::ReplyQueues, webhook::requested::WEBHOOK_REQUESTED};

/// How often the broker delivers a message before it dead-letters it by itself.
///
/// Brokers before 4.3 count every redelivery, including those after a normal restart of a worker. So the
/// limit is far above what crash detection needs, which has its own count (see `workers::upsert`), and only
/// stops endless redelivery.
const DELIVERY_LIMIT: i64 = 1000;

/// The limit of the dead-letter queue, high enough never to be reached: beyond it the broker would drop the
/// message. It must be given, because brokers from 4.0 on default to 20, and it cannot be -1 (no limit), which
/// loses messages on 3.10.
const NO_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// The reply code of a declaration that an existing object contradicts (`PRECONDITION_FAILED`).
const PRECONDITION_FAILED: u16 = 406;

/// How `RabbitMQ` starts to explain which argument of an existing object differs, after the reply code.
const INEQUIVALENT: &str = "inequivalent arg";

/// The names of the exchanges and queues of a namespace.
#[derive(Clone, Debug)]
pub struct Topology {
    namespace: String,
}

/// Why the topology could not be declared.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// An object exists with other arguments.
    #[error(
        "{kind} `{name}` exists with other arguments ({difference}); \
         choose another amqp.namespace, or migrate it and its messages by hand"
    )]
    Mismatch {
        /// `queue` or `exchange`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What differs, in the broker's words.
        difference: String,
    },
    /// The broker refused a declaration for another reason, or the connection failed. A retry may succeed: a user
    /// gets its permissions, a queue its leader.
    #[error("could not declare {kind} `{name}`")]
    Refused {
        /// `queue`, `exchange` or `binding of queue`.
        kind: &'static str,
        /// Its name.
        name: String,
        /// The broker's reason.
        #[source]
        source: lapin::Error,
    },
    /// The broker opened no channel.
    #[error("could not open a channel to declare the topology")]
    Channel(#[source] lapin::Error),
    /// The broker did not answer in time.
    #[error("the broker did not answer to declarations within {} ms", .0.as_millis())]
    Timeout(Duration),
}

impl TopologyError {
    fn new(kind: &'static str, name: String, source: lapin::Error) -> Self {
        match source.kind() {
            ErrorKind::ProtocolError(error) if error.get_id() == PRECONDITION_FAILED => {
                let text = error.get_message().as_str();
                let difference = text.find(INEQUIVALENT).and_then(|start| text.get(start..)).unwrap_or(text);
                Self::Mismatch { kind, name, difference: difference.to_owned() }
            }
            _ => Self::Refused { kind, name, source },
        }
    }

    /// Whether a retry would fail for the same reason, because an object exists with other arguments.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        matches!(self, Self::Mismatch { .. })
    }
}

impl Topology {
    /// Derives the names from the setting `amqp.namespace`.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned() }
    }

    /// The topic exchange that the platform publishes to and subscribers bind to.
    #[must_use]
    pub fn events(&self) -> String {
        format!("{}.events", self.namespace)
    }

    /// The queue of worker 1.
    #[must_use]
    pub fn trigger_fired(&self) -> String {
        format!("{}.trigger-fired", self.namespace)
    }

    /// The queue that wakes worker 2.
    #[must_use]
    pub fn webhook(&self) -> String {
        format!("{}.webhook", self.namespace)
    }

    /// The dead-letter exchange and the queue of the same name.
    #[must_use]
    pub fn dead_letters(&self) -> String {
        format!("{}.dead-letters", self.namespace)
    }

    /// The queues that may receive answers: those that `allowed` describes, but none that this service consumes.
    #[must_use]
    pub fn reply_queues(&self, allowed: &[String]) -> ReplyQueues {
        ReplyQueues::new([self.trigger_fired(), self.webhook(), self.dead_letters()], allowed)
    }

    /// Declares every object on a new channel, within `limit`.
    pub async fn declare_over(
        &self,
        connection: &lapin::Connection,
        limit: Duration,
    ) -> Result<(), TopologyError> {
        let declared = async {
            let channel = connection.create_channel().await.map_err(TopologyError::Channel)?;
            self.declare(&channel).await
        };
        timeout(limit, declared).await.unwrap_or(Err(TopologyError::Timeout(limit)))
    }

    /// Declares every object, the dead-letter queue first, so that no message is dead-lettered before it exists.
    pub async fn declare(&self, channel: &Channel) -> Result<(), TopologyError> {
        self.exchange(channel, self.dead_letters(), ExchangeKind::Fanout).await?;
        self.queue(channel, self.dead_letters(), false).await?;
        self.bind(channel, self.dead_letters(), self.dead_letters(), "").await?;
        self.exchange(channel, self.events(), ExchangeKind::Topic).await?;
        self.queue(channel, self.trigger_fired(), true).await?;
        self.bind(channel, self.trigger_fired(), self.events(), "trigger.fired.#").await?;
        self.queue(channel, self.webhook(), true).await?;
        self.bind(channel, self.webhook(), self.events(), "contact.upserted.#").await?;
        self.bind(channel, self.webhook(), self.events(), WEBHOOK_REQUESTED).await
    }

    pub(super) async fn exchange(
        &self,
        channel: &Channel,
        name: String,
        kind: ExchangeKind,
    ) -> Result<(), TopologyError> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel
            .exchange_declare(name.as_str().into(), kind, options, FieldTable::default())
            .await
            .map_err(|source| TopologyError::new("exchange", name, source))
    }

    pub(super) async fn queue(
        &self,
        channel: &Channel,
        name: String,
        dead_lettered: bool,
    ) -> Result<(), TopologyError> {
        let mut arguments = FieldTable::default();
        let mut set = |key: &str, value: &str| {
            arguments.insert(key.into(), AMQPValue::LongString(LongString::from(value)));
        };
        set("x-queue-type", "quorum");
        let limit = if dead_lettered { DELIVERY_LIMIT } else { NO_DELIVERY_LIMIT };
        if dead_lettered {
            // `at-least-once` requires `reject-publish`. Together they lose no message between the two queues.
            set("x-dead-letter-exchange", &self.dead_letters());
            set("x-dead-letter-strategy", "at-least-once");
            set("x-overflow", "reject-publish");
        }
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(limit));
        channel
            .queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), arguments)
            .await
            .map(|_| ())
            .map_err(|source| TopologyError::new("queue", name, source))
    }

    async fn bind(
        &self,
        channel: &Channel,
        queue: String,
        exchange: String,
        key: &str,
    ) -> Result<(), TopologyError> {
        channel
            .queue_bind(
                queue.as_str().into(),
                exchange.into(),
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .map_err(|source| TopologyError::new("binding of queue", queue, source))
    }
}

#[cfg(test)]
mod tests {
    use lapin::protocol::{AMQPError, AMQPSoftError};

    use super::*;

    fn refused(kind: AMQPSoftError, text: &str) -> TopologyError {
        let source = ErrorKind::ProtocolError(AMQPError::new(kind.into(), text.into())).into();
        TopologyError::new("queue", "ns.webhook".to_owned(), source)
    }

    #[test]
    fn only_other_arguments_are_permanent() {
        let differs = refused(
            AMQPSoftError::PRECONDITIONFAILED,
            "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'ns.webhook'",
        );
        assert!(differs.is_permanent());
        assert!(
            differs.to_string().contains("(inequivalent arg 'x-queue-type' for queue 'ns.webhook')"),
            "{differs}"
        );
        let invalid = refused(AMQPSoftError::PRECONDITIONFAILED, "PRECONDITION_FAILED - invalid arg");
        assert!(invalid.is_permanent());
        for (kind, text) in [
            (AMQPSoftError::ACCESSREFUSED, "ACCESS_REFUSED - configure access refused"),
            // A quorum queue without a leader.
            (AMQPSoftError::NOTFOUND, "NOT_FOUND - queue 'ns.webhook' process is stopped by supervisor"),
            (AMQPSoftError::RESOURCELOCKED, "RESOURCE_LOCKED - inequivalent arg or not, it is locked"),
        ] {
            assert!(!refused(kind, text).is_permanent(), "{text}");
        }
    }
}
