//! A test's access to the broker: it publishes like the platform and listens like a subscriber.

use std::time::Duration;

use contact_relay::amqp::Topology;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind,
    message::BasicGetMessage,
    options::{
        BasicGetOptions, BasicPublishOptions, BasicRejectOptions, ConfirmSelectOptions,
        ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions, QueuePurgeOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::Value;
use tokio::{sync::Mutex, time::timeout};

use super::{contracts, event::Event, eventually};

/// Maximum time of one request to the broker before a retry over a new connection.
const WAIT_TIMEOUT: Duration = Duration::from_secs(30);

/// An event as a subscriber receives it.
#[derive(Clone, Debug)]
pub(crate) struct Heard {
    pub(crate) routing_key: String,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Value,
}

impl Heard {
    /// The value at a JSON pointer in the event, or null.
    pub(crate) fn at(&self, pointer: &str) -> &Value {
        self.body.pointer(pointer).unwrap_or(&Value::Null)
    }

    /// A text header.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        match self.properties.headers().as_ref()?.inner().get(name)? {
            AMQPValue::LongString(text) => Some(text.to_string()),
            other => panic!("header {name} is {other:?}"),
        }
    }
}

pub(crate) struct Broker {
    url: String,
    namespace: String,
    channel: Mutex<Option<(Connection, Channel)>>,
    heard: Mutex<Vec<Heard>>,
}

impl Broker {
    /// Declares the exchange like the platform, and subscribes to everything that the service publishes.
    pub(crate) async fn new(url: &str, namespace: &str) -> Self {
        let broker = Self {
            url: url.to_owned(),
            namespace: namespace.to_owned(),
            channel: Mutex::new(None),
            heard: Mutex::new(Vec::new()),
        };
        let (exchange, queue) = (broker.name("events"), broker.name("test-subscriber"));
        let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let channel = broker.channel().await.expect("a broker");
        let fields = FieldTable::default;
        channel
            .exchange_declare(exchange.as_str().into(), ExchangeKind::Topic, options, fields())
            .await
            .unwrap();
        channel.queue_declare(queue.as_str().into(), QueueDeclareOptions::durable(), fields()).await.unwrap();
        for key in ["contact.#", "webhook.requested", "trigger.completed"] {
            let bound = channel.queue_bind(
                queue.as_str().into(),
                exchange.as_str().into(),
                key.into(),
                QueueBindOptions::default(),
                fields(),
            );
            bound.await.unwrap();
        }
        broker
    }

    /// Subscribes to this routing key as well.
    pub(crate) async fn subscribe(&self, routing_key: &str) {
        let (exchange, queue) = (self.name("events"), self.name("test-subscriber"));
        let bind = async |channel: Channel| {
            let (options, fields) = (QueueBindOptions::default(), FieldTable::default());
            let (queue, exchange) = (queue.as_str().into(), exchange.as_str().into());
            channel.queue_bind(queue, exchange, routing_key.into(), options, fields).await
        };
        self.insist("bind", bind).await;
    }

    /// Subscribes a queue that holds one message. By its `overflow`, it refuses all others (`reject-publish`) or holds the last
    /// one (`drop-head`). The caller deletes it.
    pub(crate) async fn subscribe_one(&self, queue: &str, routing_key: &str, overflow: &str) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
        arguments.insert("x-overflow".into(), AMQPValue::LongString(overflow.into()));
        self.subscribe_queue(queue, routing_key, arguments).await;
    }

    /// Subscribes a quorum queue. The caller deletes it.
    pub(crate) async fn subscribe_quorum(&self, queue: &str, routing_key: &str) {
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        self.subscribe_queue(queue, routing_key, arguments).await;
    }

    async fn subscribe_queue(&self, queue: &str, routing_key: &str, arguments: FieldTable) {
        let (exchange, queue) = (self.name("events"), self.name(queue));
        let subscribe = async |channel: Channel| {
            let arguments = arguments.clone();
            let options = QueueDeclareOptions::durable();
            channel.queue_declare(queue.as_str().into(), options, arguments).await?;
            let (options, fields) = (QueueBindOptions::default(), FieldTable::default());
            let (queue, exchange) = (queue.as_str().into(), exchange.as_str().into());
            channel.queue_bind(queue, exchange, routing_key.into(), options, fields).await
        };
        self.insist("subscribe", subscribe).await;
    }

    /// Declares the service's queues, so that events can be published before it starts.
    pub(crate) async fn declare(&self) {
        let channel = self.channel().await.expect("a broker");
        Topology::new(&self.namespace).declare(&channel).await.expect("the topology");
    }

    /// Declares a queue of the service with different arguments.
    pub(crate) async fn declare_otherwise(&self, queue: &str) {
        let (queue, options) = (self.name(queue), QueueDeclareOptions::durable());
        let declare = async |channel: Channel| {
            channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await
        };
        self.insist("declare", declare).await;
    }

    /// Declares a queue of the service that only the returned connection may use. The broker deletes the queue with it.
    pub(crate) async fn hold(&self, queue: &str) -> Connection {
        let connection =
            Connection::connect(&self.url, ConnectionProperties::default()).await.expect("a broker");
        let channel = connection.create_channel().await.expect("a channel");
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let name = self.name(queue);
        channel.queue_declare(name.as_str().into(), options, FieldTable::default()).await.expect("a queue");
        connection
    }

    /// Publishes like the platform: persistent, confirmed, routed. After a lost connection it publishes again, so an
    /// event may arrive twice.
    pub(crate) async fn publish(&self, event: &Event) {
        self.publish_bytes("trigger.fired", &event.bytes(), event.properties()).await;
    }

    /// Publishes many events without waiting for each confirm.
    pub(crate) async fn publish_all(&self, events: &[Event]) {
        let all = async {
            let channel = self.channel().await?;
            let mut confirms = Vec::new();
            for event in events {
                let body = event.bytes();
                confirms.push(self.send(&channel, "trigger.fired", &body, event.properties()).await?);
            }
            for confirm in confirms {
                assert_published(&confirm.await?);
            }
            lapin::Result::Ok(())
        };
        all.await.expect("the broker takes the events");
    }

    /// Publishes each event after the previous one is applied, and returns the contact ids.
    pub(crate) async fn publish_in_turn(&self, events: &[Event]) -> Vec<String> {
        let mut ids = Vec::new();
        for event in events {
            self.publish(event).await;
            ids.push(self.upserted(event).await.at("/subject").as_str().expect("an id").to_owned());
        }
        ids
    }

    /// Waits for the `contact.upserted` of an event.
    pub(crate) async fn upserted(&self, event: &Event) -> Heard {
        eventually("the event is applied", async || {
            let heard = self.heard().await;
            let mut upserted = heard.into_iter().filter(|heard| heard.at("/type") == "contact.upserted");
            upserted.find(|heard| heard.at("/data/trigger/eventId") == event.event_id())
        })
        .await
    }

    /// Publishes any bytes with any properties to the events exchange.
    pub(crate) async fn publish_bytes(&self, routing_key: &str, body: &[u8], properties: BasicProperties) {
        let publish = async |channel: Channel| {
            let confirm = self.send(&channel, routing_key, body, properties.clone()).await?;
            confirm.await
        };
        assert_published(&self.insist("publish", publish).await);
    }

    /// Publishes a message to the dead-letter queue as the broker does when it drops one.
    pub(crate) async fn publish_dead_letter(&self, body: &[u8]) {
        self.publish_to_dead_letters(body, BasicProperties::default()).await;
    }

    /// Publishes a message to it that has expired in the webhook queue.
    pub(crate) async fn publish_dead_webhook(&self, body: &[u8]) {
        let text = |text: &str| AMQPValue::LongString(text.into());
        let mut death = FieldTable::default();
        death.insert("queue".into(), text(&self.name("webhook")));
        death.insert("reason".into(), text("expired"));
        let mut headers = FieldTable::default();
        headers.insert("x-death".into(), AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into()));
        self.publish_to_dead_letters(body, BasicProperties::default().with_headers(headers)).await;
    }

    async fn publish_to_dead_letters(&self, body: &[u8], properties: BasicProperties) {
        let exchange = self.name("dead-letters");
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let publish = async |channel: Channel| {
            let publish = channel.basic_publish(
                exchange.as_str().into(),
                "trigger.fired".into(),
                options,
                body,
                properties.clone(),
            );
            publish.await?.await
        };
        assert_published(&self.insist("publish", publish).await);
    }

    /// Every event heard so far, in order of arrival.
    pub(crate) async fn heard(&self) -> Vec<Heard> {
        let queue = self.name("test-subscriber");
        let get = async |channel: Channel| {
            channel.basic_get(queue.as_str().into(), BasicGetOptions { no_ack: true }).await
        };
        while let Some(message) = self.insist("basic.get", get).await {
            let body = serde_json::from_slice(&message.data).expect("a JSON event");
            contracts::check_published(&body);
            let routing_key = message.routing_key.to_string();
            let heard = Heard { routing_key, properties: message.properties.clone(), body };
            self.heard.lock().await.push(heard);
        }
        self.heard.lock().await.clone()
    }

    /// Waits until at least `count` events have been heard, and returns them.
    pub(crate) async fn hear(&self, count: usize) -> Vec<Heard> {
        eventually(&format!("{count} events are heard"), async || {
            let heard = self.heard().await;
            (heard.len() >= count).then_some(heard)
        })
        .await
    }

    /// Ready messages of a queue. Unacknowledged ones do not count, and a missing queue is empty.
    pub(crate) async fn depth(&self, queue: &str) -> u32 {
        let queue = self.name(queue);
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let declare = async |channel: Channel| {
            match channel.queue_declare(queue.as_str().into(), options, FieldTable::default()).await {
                Ok(state) => Ok(state.message_count()),
                // Not found: the broker closes the channel, and `channel` opens another one.
                Err(error) if error.is_amqp_soft_error() => Ok(0),
                Err(error) => Err(error),
            }
        };
        self.insist("passive declare", declare).await
    }

    /// Waits for a message of a queue and takes it.
    pub(crate) async fn take(&self, queue: &str) -> BasicGetMessage {
        let name = self.name(queue);
        let get = async |channel: Channel| {
            channel.basic_get(name.as_str().into(), BasicGetOptions { no_ack: true }).await
        };
        eventually(&format!("a message is in {queue}"), async || self.insist("basic.get", get).await).await
    }

    /// Waits for a message of a queue and rejects it without requeuing, like another consumer.
    #[expect(clippy::disallowed_methods, reason = "the service never rejects a message; a stranger may")]
    pub(crate) async fn reject(&self, queue: &str) {
        let queue = self.name(queue);
        let options = BasicRejectOptions { requeue: false };
        let reject = async |channel: Channel| match channel
            .basic_get(queue.as_str().into(), BasicGetOptions::default())
            .await?
        {
            Some(message) => message.delivery.acker.reject(options).await,
            None => Ok(false),
        };
        eventually(&format!("a message of {queue} is rejected"), async || {
            self.insist("basic.reject", reject).await.then_some(())
        })
        .await;
    }

    /// Waits for a message of a queue and loses it with the channel, like a consumer that crashes. It comes back.
    pub(crate) async fn lose(&self, queue: &str) {
        let queue = self.name(queue);
        let lose = async |channel: Channel| {
            let taken = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await?;
            channel.close(200, "lost".into()).await?;
            Ok(taken.is_some())
        };
        eventually(&format!("a message of {queue} is lost"), async || {
            self.insist("basic.get", lose).await.then_some(())
        })
        .await;
    }

    /// Drops its messages.
    pub(crate) async fn purge(&self, queue: &str) {
        let queue = self.name(queue);
        let purge = async |channel: Channel| {
            channel.queue_purge(queue.as_str().into(), QueuePurgeOptions::default()).await
        };
        self.insist("purge", purge).await;
    }

    /// Deletes a queue with its messages. The broker cancels its consumers.
    pub(crate) async fn delete(&self, queue: &str) {
        let queue = self.name(queue);
        let delete = async |channel: Channel| {
            channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await
        };
        self.insist("delete", delete).await;
    }

    /// Removes every object of the namespace.
    pub(crate) async fn clear(&self) {
        let Ok(channel) = self.channel().await else { return };
        for queue in ["trigger-fired", "webhook", "dead-letters", "test-subscriber"] {
            let queue = self.name(queue);
            let _ = channel.queue_delete(queue.as_str().into(), QueueDeleteOptions::default()).await;
        }
        for exchange in ["events", "dead-letters"] {
            let exchange = self.name(exchange);
            let _ = channel.exchange_delete(exchange.as_str().into(), ExchangeDeleteOptions::default()).await;
        }
    }

    fn name(&self, object: &str) -> String {
        format!("{}.{object}", self.namespace)
    }

    async fn send(
        &self,
        channel: &Channel,
        routing_key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) -> lapin::Result<impl Future<Output = lapin::Result<lapin::Confirmation>> + use<>> {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let exchange = self.name("events");
        channel.basic_publish(exchange.as_str().into(), routing_key.into(), options, body, properties).await
    }

    /// Runs an operation on a channel, and retries it over new connections until it succeeds.
    async fn insist<T>(&self, what: &str, act: impl AsyncFn(Channel) -> lapin::Result<T>) -> T {
        eventually(&format!("the broker answers to {what}"), async || {
            let once = async { act(self.channel().await?).await };
            if let Ok(Ok(done)) = timeout(WAIT_TIMEOUT, once).await {
                return Some(done);
            }
            *self.channel.lock().await = None;
            None
        })
        .await
    }

    async fn channel(&self) -> lapin::Result<Channel> {
        let mut slot = self.channel.lock().await;
        if let Some((_, channel)) = slot.as_ref().filter(|(_, channel)| channel.status().connected()) {
            return Ok(channel.clone());
        }
        let name = format!("{} test", self.namespace);
        let properties = ConnectionProperties::default().with_connection_name(name.into());
        let connection = Connection::connect(&self.url, properties).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        *slot = Some((connection, channel.clone()));
        Ok(channel)
    }
}

fn assert_published(confirmation: &lapin::Confirmation) {
    let published = matches!(confirmation, lapin::Confirmation::Ack(None));
    assert!(
        published,
        "no queue took the event: start the service, which declares them, before: {confirmation:?}"
    );
}
