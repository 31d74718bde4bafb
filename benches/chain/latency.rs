//! Latencies of steadily published events, and where an event's time goes.

use std::{collections::HashMap, future::Future, time::Duration};

use anyhow::Context as _;
use contact_relay::amqp::{self, BatchLimits, Consumer, Subscriber};
use lapin::{
    options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use tokio::task::JoinHandle;

use crate::{
    arguments::Arguments,
    floor::Floor,
    load::{Load, Sent},
    receiver::{Arrival, micros},
    report::{self, Report},
    stage::{Part, Stage},
    world::World,
};

/// For events to arrive after the last one was published.
const ARRIVE: Duration = Duration::from_mins(1);

/// Before idle memory is read: connections are open, and nothing has happened.
const SETTLE: Duration = Duration::from_secs(3);

/// Seconds of events that do not count: caches, plans and connections are new.
const WARM_UP: u32 = 2;

/// The latencies at the given rate and at `half` the maximum, each beside those of the bare floor.
pub(crate) async fn measure(
    world: &World,
    arguments: &Arguments,
    half: f64,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (rate, seconds) = (arguments.rate, arguments.seconds);
    eprintln!("latency at {rate} events/s for {seconds} s");
    let load = Load::to(&world.receiver().url);
    let mut stage = Stage::new(world, "paced").await?;
    // Latency on tables that are not empty.
    stage.measure(Part::Chain, &load, arguments.events).await?;
    floor(world, rate, seconds, report).await?;
    let service = stage.start(Part::Chain)?;
    tokio::time::sleep(SETTLE).await;
    report.add("all roles", report::IDLE_RSS, megabytes(service.memory("VmRSS")?));
    paced(world, &mut stage, &load, rate, seconds, &format!("{rate}/s: service"), report).await?;
    eprintln!("where an event's time goes");
    steps(world, &mut stage, &load, rate, seconds, report).await?;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rate")]
    let half = half.max(1.0) as u32;
    eprintln!("latency at half the maximum, {half} events/s");
    floor(world, half, seconds, report).await?;
    let part = format!("half the maximum, {half}/s: service");
    paced(world, &mut stage, &load, half, seconds, &part, report).await?;
    service.stop().await?;
    stage.remove().await
}

/// Publishes to a running service at a steady rate and records how long requests take to arrive.
pub(crate) async fn paced(
    world: &World,
    stage: &mut Stage<'_>,
    load: &Load,
    rate: u32,
    seconds: u32,
    part: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    let sent = publish(world, stage, load, rate, seconds).await?;
    record_arrivals(world, &sent, part, report).await
}

/// Publishes events for the warm-up, and then those that count. Returns the latter once all requests have arrived.
async fn publish(
    world: &World,
    stage: &mut Stage<'_>,
    load: &Load,
    rate: u32,
    seconds: u32,
) -> anyhow::Result<Vec<Sent>> {
    let exchange = stage.topology().events();
    let (warm_up, events) = ((rate * WARM_UP) as usize, (rate * seconds) as usize);
    let numbers = stage.numbers(warm_up);
    world.receiver().take().await?;
    load.paced(stage.amqp(), &exchange, "trigger.fired", rate, numbers).await?;
    let numbers = stage.numbers(events);
    let sent = load.paced(stage.amqp(), &exchange, "trigger.fired", rate, numbers).await?;
    world.receiver().until(warm_up + events).await?;
    Ok(sent)
}

async fn record_arrivals(
    world: &World,
    sent: &[Sent],
    part: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    let counted = sent.iter().map(|sent| sent.at).min().unwrap_or_default();
    let arrivals = world.receiver().take().await?;
    let counted = arrivals.iter().filter(|arrival| arrival.sent >= counted);
    let delays = counted.map(|arrival| arrival.at.saturating_sub(arrival.sent)).collect();
    report.add_latencies(part, report::LATENCY, delays);
    Ok(())
}

/// The bare floor's latencies: its loops on the same load.
async fn floor(world: &World, rate: u32, seconds: u32, report: &mut Report) -> anyhow::Result<()> {
    let (warm_up, events) = ((rate * WARM_UP) as usize, (rate * seconds) as usize);
    let sent = Floor::paced(world, rate, warm_up, events).await?;
    record_arrivals(world, &sent, &format!("{rate}/s: bare floor"), report).await
}

/// Times by event id, in microseconds since 1970.
type Times = HashMap<String, u64>;

/// Measures when an event passes each place that can be seen from outside. The observers take processor time, so
/// this is a part of its own.
async fn steps(
    world: &World,
    stage: &mut Stage<'_>,
    load: &Load,
    rate: u32,
    seconds: u32,
    report: &mut Report,
) -> anyhow::Result<()> {
    let expected = (rate * (WARM_UP + seconds)) as usize;
    let consumed = consumer(world, stage, expected).await?;
    let upserted = subscriber(stage, expected).await?;
    let sent = publish(world, stage, load, rate, seconds).await?;
    let (consumed, upserted) = (observed(consumed).await?, observed(upserted).await?);
    let arrivals = world.receiver().take().await?;
    let arrived: HashMap<u64, u64> = arrivals.iter().rev().map(|Arrival { sent, at }| (*sent, *at)).collect();
    let mut rows: [(&str, Vec<u64>); 6] = [
        ("publish to confirm", Vec::new()),
        ("publish to consumed by a plain consumer", Vec::new()),
        ("publish to contact.upserted", Vec::new()),
        ("publish to request", Vec::new()),
        ("consumed to contact.upserted", Vec::new()),
        ("consumed to request", Vec::new()),
    ];
    for sent in &sent {
        let missing = || format!("event {} was not observed", sent.id);
        let consumed = *consumed.get(&sent.id).with_context(missing)?;
        let upserted = *upserted.get(&sent.id).with_context(missing)?;
        let request = *arrived.get(&sent.at).with_context(missing)?;
        let times = [
            sent.confirmed.saturating_sub(sent.at),
            consumed.saturating_sub(sent.at),
            upserted.saturating_sub(sent.at),
            request.saturating_sub(sent.at),
            upserted.saturating_sub(consumed),
            request.saturating_sub(consumed),
        ];
        rows.iter_mut().zip(times).for_each(|(row, time)| row.1.push(time));
    }
    for (name, times) in rows {
        report.add_latencies(&format!("{rate}/s, observed: {name}"), report::LATENCY, times);
    }
    let body = load.event(0).body;
    let mut answers = Vec::new();
    let mut tick = tokio::time::interval(Duration::from_secs(1) / rate);
    for _ in 0..rate * WARM_UP {
        tick.tick().await;
        answers.push(world.receiver().round_trip(body.clone()).await?);
    }
    world.receiver().take().await?;
    report.add_latencies("receiver: request to answer", report::LATENCY, answers);
    Ok(())
}

/// A consumer of a quorum queue of its own shows when the service can have a message.
async fn consumer(
    world: &World,
    stage: &Stage<'_>,
    expected: usize,
) -> anyhow::Result<JoinHandle<anyhow::Result<Times>>> {
    let queue = format!("{}.observed", stage.topology().trigger_fired());
    let exchange = stage.topology().events();
    let queues = world.queues().await?;
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let (options, bind) = (QueueDeclareOptions::durable(), QueueBindOptions::default());
    queues.channel().queue_declare(queue.as_str().into(), options, arguments).await?;
    let (name, key) = (queue.as_str().into(), "trigger.fired.#".into());
    queues.channel().queue_bind(name, exchange.into(), key, bind, FieldTable::default()).await?;
    let connection = amqp::connect(stage.amqp(), "observer").await?;
    let mut consumer = Consumer::open(&connection, &queue, 200).await?;
    Ok(observe(async move {
        let mut times = Times::new();
        let limits = BatchLimits { count: 200, bytes: usize::MAX };
        while times.len() < expected {
            let Some(batch) = consumer.next_batch(&limits).await? else { continue };
            let now = micros();
            let ids = batch.messages.iter().filter_map(|message| message.properties.message_id().as_ref());
            times.extend(ids.map(|id| (id.to_string(), now)));
            consumer.acknowledge(batch).await?;
        }
        queues.channel().queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        drop(connection);
        Ok(times)
    }))
}

/// A subscriber of `contact.upserted`.
async fn subscriber(stage: &Stage<'_>, expected: usize) -> anyhow::Result<JoinHandle<anyhow::Result<Times>>> {
    let connection = amqp::connect(stage.amqp(), "observer").await?;
    let keys = ["contact.upserted.#".to_owned()];
    let mut subscriber = Subscriber::open(&connection, &stage.topology().events(), &keys).await?;
    Ok(observe(async move {
        let mut times = Times::new();
        while times.len() < expected {
            let message = subscriber.next().await?;
            let id = message.properties.correlation_id().as_ref().context("no correlation id")?;
            times.entry(id.to_string()).or_insert_with(micros);
        }
        drop(connection);
        Ok(times)
    }))
}

fn observe(
    times: impl Future<Output = anyhow::Result<Times>> + Send + 'static,
) -> JoinHandle<anyhow::Result<Times>> {
    tokio::spawn(times)
}

async fn observed(task: JoinHandle<anyhow::Result<Times>>) -> anyhow::Result<Times> {
    tokio::time::timeout(ARRIVE, task).await.context("not every event was observed")??
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
