//! Results published to a message's `reply_to` queue.

use contact_relay::{
    amqp::Topology,
    domain::chain::outgoing::{OutgoingEvent, ReplyTo},
    postgres::effects::events,
};
use futures_util::StreamExt as _;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::Delivery,
    options::{BasicConsumeOptions, BasicGetOptions, BasicPublishOptions, QueueDeclareOptions},
    types::FieldTable,
};
use macro_rules_attribute::apply;
use serde_json::Value;
use tokio::time::timeout;
use uuid::Uuid;

use super::{hear, id_of, interpreted, lead, result_of, results};
use crate::{
    effects::event,
    support::{WAIT_TIMEOUT, app::TestApp, event::Event, eventually, only, proxy::Proxy, test},
};

/// A direct reply-to that no broker issued. `RabbitMQ` 3.10 closes the connection that publishes to it.
const MADE_UP: &str = "amq.rabbitmq.reply-to.g1h2AA==.x";

/// An assistant with its own reply queue.
pub(super) struct Asker {
    _connection: Connection,
    channel: Channel,
    pub(super) queue: String,
    answers: lapin::Consumer,
    exchange: String,
}

impl Asker {
    pub(super) async fn new(app: &TestApp, direct: bool) -> Self {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&app.setting("amqp.url"), properties).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let queue = if direct {
            "amq.rabbitmq.reply-to".to_owned()
        } else {
            let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
            let declared = channel.queue_declare("".into(), options, FieldTable::default()).await;
            declared.unwrap().name().to_string()
        };
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let answers =
            channel.basic_consume(queue.as_str().into(), "".into(), options, FieldTable::default()).await;
        let exchange = Topology::new(&app.setting("amqp.namespace")).events();
        Self { _connection: connection, channel, queue, answers: answers.unwrap(), exchange }
    }

    pub(super) async fn ask(&self, event: &Event, correlation_id: Option<&str>) {
        let mut properties = asking(event, &self.queue);
        if let Some(id) = correlation_id {
            properties = properties.with_correlation_id(id.into());
        }
        let (exchange, key) = (self.exchange.as_str().into(), "trigger.fired".into());
        let options = BasicPublishOptions::default();
        let body = event.bytes();
        self.channel.basic_publish(exchange, key, options, &body, properties).await.unwrap().await.unwrap();
    }

    pub(super) async fn answer(&mut self) -> Delivery {
        timeout(WAIT_TIMEOUT, self.answers.next()).await.expect("an answer").unwrap().unwrap()
    }
}

fn asking(event: &Event, queue: &str) -> BasicProperties {
    event.properties().with_reply_to(queue.into())
}

pub(super) fn body(answer: &Delivery) -> Value {
    serde_json::from_slice(&answer.data).unwrap()
}

#[apply(test)]
async fn reply_to_queue_receives_the_result(app: &TestApp) {
    app.run(&[]).await;
    let mut asker = Asker::new(app, false).await;
    // `reply_to` suffices; the trigger need not ask for an interpretation.
    let event = lead().webhook(&app.receiver.url("/ok"));
    asker.ask(&event, Some("request 7")).await;
    let answer = asker.answer().await;
    let heard = only(hear(app, 1).await);
    assert_eq!(body(&answer), heard.body, "the same event");
    let (to_asker, to_all) = (&answer.properties, &heard.properties);
    assert_eq!(to_asker.correlation_id().as_ref().unwrap().as_str(), "request 7");
    assert_eq!(to_all.correlation_id().as_ref().unwrap().as_str(), event.event_id());
    assert_eq!((to_asker.message_id(), to_asker.kind()), (to_all.message_id(), to_all.kind()));
    assert_eq!((to_asker.content_type(), to_asker.headers()), (to_all.content_type(), to_all.headers()));
    assert_eq!(answer.exchange.as_str(), "");

    // Without a webhook, and without a correlation id.
    let event = lead();
    asker.ask(&event, None).await;
    let answer = asker.answer().await;
    assert_eq!(body(&answer), result_of(app, &event).await.body);
    assert_eq!(answer.properties.correlation_id(), &None);
}

#[apply(test)]
async fn direct_reply_to_receives_the_result(app: &TestApp) {
    app.run(&[]).await;
    let mut asker = Asker::new(app, true).await;
    for event in [lead(), lead().webhook(&app.receiver.url("/ok"))] {
        asker.ask(&event, Some("request 8")).await;
        let answer = asker.answer().await;
        assert_eq!(body(&answer)["id"], id_of(&event).to_string());
        assert_eq!(answer.properties.correlation_id().as_ref().unwrap().as_str(), "request 8");
    }
}

/// The workers run in separate processes, so that neither helps the other.
#[apply(test)]
async fn reply_does_not_wait_for_a_sweep(app: &TestApp) {
    app.set("outbox.sweep_interval", "1h");
    app.set("outbox.retry_interval", "1h");
    app.run(&["upsert"]).await;
    app.run(&["webhook"]).await;
    let mut asker = Asker::new(app, false).await;
    for _ in 0..20 {
        asker.ask(&lead().webhook(&app.receiver.url("/ok")), None).await;
        asker.answer().await;
    }
}

#[apply(test)]
async fn unroutable_reply_delays_nothing(app: &TestApp) {
    let service = app.run(&[]).await;
    let gone = ["nobody-listens", "amq.rabbitmq.reply-to.gone", MADE_UP, " "];
    for queue in gone {
        let event = lead().webhook(&app.receiver.url("/ok"));
        app.broker.publish_bytes("trigger.fired", &event.bytes(), asking(&event, queue)).await;
        result_of(app, &event).await;
    }
    app.wait_for_unpublished(0).await;
    assert_eq!(hear(app, gone.len()).await.len(), gone.len());
    service.ready().await;
    assert!(!service.log().contains("reconnects"), "{}", service.log());
}

/// All messages wait before the service starts, so that one window has all replies.
#[apply(test)]
async fn refused_reply_does_not_lose_others(app: &TestApp) {
    app.broker.declare().await;
    let mut asker = Asker::new(app, false).await;
    let mut missing = Vec::new();
    for _ in 0..20 {
        let (refused, event) = (lead(), lead());
        let properties = asking(&refused, MADE_UP);
        app.broker.publish_bytes("trigger.fired", &refused.bytes(), properties).await;
        asker.ask(&event, None).await;
        missing.push(id_of(&event).to_string());
    }
    let service = app.run(&[]).await;
    while !missing.is_empty() {
        let answered = body(&asker.answer().await)["id"].clone();
        missing.retain(|id| *id != answered);
    }
    app.wait_for_unpublished(0).await;
    assert!(!service.log().contains("reconnects"), "{}", service.log());
}

/// Answers have a connection of their own.
#[apply(test)]
async fn answers_whose_connection_is_refused_delay_nothing(app: &TestApp) {
    let url = app.setting("amqp.url");
    let mut asker = Asker::new(app, false).await;
    let proxy = Proxy::before(&url).await;
    app.set("amqp.url", proxy.url());
    let service = app.run(&[]).await;
    app.broker.publish(&interpreted(lead())).await;
    hear(app, 1).await;
    proxy.close_new();
    for count in 2..5 {
        asker.ask(&interpreted(lead()), None).await;
        hear(app, count).await;
    }
    let dropped = async || service.log().contains("dropped 1 answers").then_some(());
    eventually("they are dropped", dropped).await;
    app.wait_for_unpublished(0).await;
    service.ready().await;
    assert!(!service.log().contains("reconnects"), "{}", service.log());
    proxy.open();
    let event = lead();
    asker.ask(&event, None).await;
    while body(&asker.answer().await)["id"] != id_of(&event).to_string() {}
    app.set("amqp.url", &url);
}

#[apply(test)]
async fn own_queues_receive_no_reply(app: &TestApp) {
    let service = app.run(&[]).await;
    let topology = Topology::new(&app.setting("amqp.namespace"));
    for queue in [topology.trigger_fired(), topology.webhook(), topology.dead_letters()] {
        for event in [lead(), interpreted(lead())] {
            app.broker.publish_bytes("trigger.fired", &event.bytes(), asking(&event, &queue)).await;
        }
    }
    assert_eq!(hear(app, 3).await.len(), 3, "only interpreted events have a result");
    app.assert_settled().await;
    assert_eq!(results(app).await.len(), 3);
    assert_eq!(app.rows("dead_letters").await, 0);
    assert!(service.log().contains("it names a queue of this service"));
}

#[apply(test)]
async fn operators_say_which_queues_receive_a_reply(app: &TestApp) {
    app.set("amqp.reply_queues", "amq.gen-*");
    let service = app.run(&[]).await;
    let mut asker = Asker::new(app, false).await;
    let others =
        Topology::new(&app.setting("amqp.namespace")).trigger_fired().replace("trigger-fired", "others");
    let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    asker.channel.queue_declare(others.as_str().into(), options, FieldTable::default()).await.unwrap();
    for event in [lead(), interpreted(lead())] {
        app.broker.publish_bytes("trigger.fired", &event.bytes(), asking(&event, &others)).await;
    }
    hear(app, 1).await;
    // Committed before the setting was narrowed.
    let reply_to = Some(ReplyTo { queue: others.clone(), correlation_id: None });
    let committed = OutgoingEvent { reply_to, ..event("trigger.completed") };
    let mut conn = app.pool.acquire().await.unwrap();
    events::insert(&mut conn, Uuid::now_v7(), None, vec![committed]).await.unwrap();
    hear(app, 2).await;
    // Answers are published in order.
    asker.ask(&lead(), None).await;
    asker.answer().await;
    let found = asker.channel.basic_get(others.as_str().into(), BasicGetOptions::default()).await.unwrap();
    assert!(found.is_none(), "{found:?}");
    assert_eq!(results(app).await.len(), 3, "without an answer nobody waits for the first chain");
    for line in ["one that amqp.reply_queues does not allow", "amqp.reply_queues does not allow the queue"] {
        assert!(service.log().contains(line), "{line}: {}", service.log());
    }
}

#[apply(test)]
async fn replayed_message_is_answered(app: &TestApp) {
    app.set("contacts.on_unidentified", "reject");
    let service = app.run(&[]).await;
    let mut asker = Asker::new(app, false).await;
    asker.ask(&Event::lead("Ada"), Some("request 9")).await;
    app.wait_for_rows("dead_letters", 1).await;
    service.sigterm();
    service.ended().await;
    app.set("contacts.on_unidentified", "create");
    app.run(&[]).await;
    let replayed = app.cli(&["dead-letter", "replay", "--all", "--yes"]).await;
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    assert_eq!(asker.answer().await.properties.correlation_id().as_ref().unwrap().as_str(), "request 9");
}

#[apply(test)]
async fn reply_to_names_of_any_bytes_delay_nothing(app: &TestApp) {
    app.run(&[]).await;
    let long = "é".repeat(127);
    for name in ["a\0b", "", "\u{1b}[2J", "\n", &long] {
        let event = lead().webhook(&app.receiver.url("/ok"));
        let properties = asking(&event, name).with_correlation_id(name.into());
        app.broker.publish_bytes("trigger.fired", &event.bytes(), properties).await;
    }
    let last = interpreted(lead().webhook(&app.receiver.url("/ok")));
    app.broker.publish(&last).await;
    result_of(app, &last).await;
    app.wait_for_rows("chain_results", 0).await;
    app.wait_for_unpublished(0).await;
}
