//! The broker objects of one namespace, and their declaration.
//!
//! Invariant: declaring is idempotent, and an object that exists with other arguments is an error
//! that names it, never overwritten.

use std::time::Duration;

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, LongString},
};
use tokio::time::timeout;

/// How often the broker hands a message out before it dead-letters it by itself.
///
/// Brokers before 4.3 count every redelivery against this limit, those after a mere restart of a
/// worker too, so it is far above what crash detection needs (which counts by itself, see
/// `workers::upsert`) and only ends what would never end.
const DELIVERY_LIMIT: i64 = 1000;

/// The same for the dead-letter queue, whose messages have nowhere to go but the collector: beyond the
/// limit the broker drops them, and brokers from 4.0 on have a limit of 20 where none is given. One
/// that is never reached; -1, which means none to those, loses messages on 3.10.
const NO_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// The names of a namespace.
#[derive(Clone, Debug)]
pub struct Topology {
    namespace: String,
}

/// The objects are not all declared.
#[derive(Debug, thiserror::Error)]
pub enum TopologyError {
    /// The broker refused a declaration.
    #[error(
        "could not declare {kind} `{name}`; where it exists with other arguments, delete it or choose another amqp.namespace"
    )]
    Refused {
        /// What kind of object.
        kind: &'static str,
        /// Its name.
        name: String,
        /// What the broker says.
        #[source]
        source: lapin::Error,
    },
    /// There was no channel to declare on.
    #[error("the connection failed")]
    Channel(#[source] lapin::Error),
    /// No answer in time.
    #[error("the broker did not answer to declarations within {} ms", .0.as_millis())]
    Timeout(Duration),
}

impl TopologyError {
    /// Whether an object exists with other arguments: no retry mends that.
    #[must_use]
    pub fn is_mismatch(&self) -> bool {
        matches!(self, Self::Refused { source, .. } if source.is_amqp_soft_error())
    }
}

impl Topology {
    /// The topology of `namespace` (setting `amqp.namespace`).
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.to_owned() }
    }

    /// The topic exchange that the platform publishes to and subscribers bind to.
    #[must_use]
    pub fn events(&self) -> String {
        format!("{}.events", self.namespace)
    }

    /// The queue of the upsert worker.
    #[must_use]
    pub fn trigger_fired(&self) -> String {
        format!("{}.trigger-fired", self.namespace)
    }

    /// The queue of the webhook worker.
    #[must_use]
    pub fn webhook(&self) -> String {
        format!("{}.webhook", self.namespace)
    }

    /// The dead-letter exchange and the queue of the same name.
    #[must_use]
    pub fn dead_letters(&self) -> String {
        format!("{}.dead-letters", self.namespace)
    }

    /// Whether the service itself consumes the queue of this name.
    #[must_use]
    pub fn is_own_queue(&self, name: &str) -> bool {
        [self.trigger_fired(), self.webhook(), self.dead_letters()].iter().any(|own| own == name)
    }

    /// Declares every object, on a channel of its own, in at most `limit`.
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

    /// Declares every object. The dead-letter queue comes first: nothing can be dead-lettered
    /// into nowhere.
    pub async fn declare(&self, channel: &Channel) -> Result<(), TopologyError> {
        self.exchange(channel, self.dead_letters(), ExchangeKind::Fanout).await?;
        self.queue(channel, self.dead_letters(), false).await?;
        self.bind(channel, self.dead_letters(), self.dead_letters(), "").await?;
        self.exchange(channel, self.events(), ExchangeKind::Topic).await?;
        self.queue(channel, self.trigger_fired(), true).await?;
        self.bind(channel, self.trigger_fired(), self.events(), "trigger.fired.#").await?;
        self.queue(channel, self.webhook(), true).await?;
        self.bind(channel, self.webhook(), self.events(), "contact.upserted.#").await?;
        self.bind(channel, self.webhook(), self.events(), "webhook.requested").await
    }

    async fn exchange(
        &self,
        channel: &Channel,
        name: String,
        kind: ExchangeKind,
    ) -> Result<(), TopologyError> {
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        channel
            .exchange_declare(name.as_str().into(), kind, options, FieldTable::default())
            .await
            .map_err(|source| TopologyError::Refused { kind: "exchange", name, source })
    }

    async fn queue(&self, channel: &Channel, name: String, dead_lettered: bool) -> Result<(), TopologyError> {
        let mut arguments = FieldTable::default();
        let mut set = |key: &str, value: &str| {
            arguments.insert(key.into(), AMQPValue::LongString(LongString::from(value)));
        };
        set("x-queue-type", "quorum");
        let limit = if dead_lettered { DELIVERY_LIMIT } else { NO_DELIVERY_LIMIT };
        if dead_lettered {
            // `at-least-once` needs `reject-publish`; together nothing is lost between the queues.
            set("x-dead-letter-exchange", &self.dead_letters());
            set("x-dead-letter-strategy", "at-least-once");
            set("x-overflow", "reject-publish");
        }
        arguments.insert("x-delivery-limit".into(), AMQPValue::LongLongInt(limit));
        channel
            .queue_declare(name.as_str().into(), QueueDeclareOptions::durable(), arguments)
            .await
            .map(|_| ())
            .map_err(|source| TopologyError::Refused { kind: "queue", name, source })
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
            .map_err(|source| TopologyError::Refused { kind: "binding of queue", name: queue, source })
    }
}
