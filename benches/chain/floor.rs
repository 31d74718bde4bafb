//! The floors: the same broker, rows and requests with nothing in between, in batches, with the same confirms,
//! fsyncs and acks.
//!
//! The bare floor consumes, does one plain multi-row upsert, forwards the same bytes to a queue and acks; then
//! it consumes, POSTs the same bytes and acks. The floor with promises also does what the service's promises
//! cost at least; see [`crate::promises`].

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use contact_relay::{
    amqp::{self, Batch, BatchLimits, Consumer, Message, Publisher},
    settings::Settings,
};
use futures_util::{StreamExt as _, stream};
use lapin::{
    ExchangeKind,
    options::{
        ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::task::JoinSet;

use crate::{
    load::{self, Load, Sent},
    probe::{Measured, Probe},
    promises,
    stage::Part,
    world::World,
};

/// Messages of one batch. More or fewer make the floor slower.
const BATCH: usize = 200;
/// The service's default numbers of consumers and requests in flight.
const CONSUMERS: usize = 2;
const IN_FLIGHT: usize = 128;
const PREFETCH: u16 = 400;

const FIRST: &str = "floor.first";
const SECOND: &str = "floor.second";

/// Which floor.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Bare,
    Promises,
}

impl Kind {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare floor",
            Self::Promises => "floor with promises",
        }
    }
}

/// A database and queues for one part of a floor.
pub(crate) struct Floor<'a> {
    world: &'a World,
    kind: Kind,
    settings: Settings,
}

/// The name of the floor's database.
const DATABASE: &str = "bench_floor";

impl<'a> Floor<'a> {
    /// Measures one part of a floor.
    pub(crate) async fn measure(
        world: &'a World,
        kind: Kind,
        part: Part,
        events: usize,
    ) -> anyhow::Result<Measured> {
        let floor = Self::new(world, kind).await?;
        let load = Load::to(&world.receiver().url);
        match (part, kind) {
            (Part::Webhook, Kind::Promises) => {
                let message = |number| promises::message(&load.event(number).body);
                load::publish(&floor.settings.amqp, 0..events, message).await?;
            }
            (Part::Webhook, Kind::Bare) => floor.preload(&load, SECOND, events).await?,
            (Part::Upsert | Part::Chain, _) => floor.preload(&load, FIRST, events).await?,
        }
        world.receiver().take().await?;
        let queues = world.queues().await?;
        let probe = Probe::begin(world, DATABASE).await?;
        let watch = probe.watch(&[], events, None, async || match part {
            Part::Upsert => queues.depth(SECOND).await,
            Part::Webhook | Part::Chain => world.receiver().count().await,
        });
        let (watched, ()) = tokio::try_join!(watch, floor.run(part, events))?;
        let measured = probe.end(watched).await?;
        world.drop_database(DATABASE).await?;
        Ok(measured)
    }

    /// Publishes `warm_up` and then `events` events to the bare floor at a steady rate. Returns the latter once all
    /// have arrived at the receiver.
    pub(crate) async fn paced(
        world: &'a World,
        rate: u32,
        warm_up: usize,
        events: usize,
    ) -> anyhow::Result<Vec<Sent>> {
        let floor = Self::new(world, Kind::Bare).await?;
        let load = Load::to(&world.receiver().url);
        let amqp = &floor.settings.amqp;
        let publishing = async {
            load.paced(amqp, "", FIRST, rate, 0..warm_up).await?;
            let sent = load.paced(amqp, "", FIRST, rate, warm_up..warm_up + events).await?;
            world.receiver().until(warm_up + events).await?;
            Ok(sent)
        };
        world.receiver().take().await?;
        let (sent, ()) = tokio::try_join!(publishing, floor.run(Part::Chain, warm_up + events))?;
        world.drop_database(DATABASE).await?;
        Ok(sent)
    }

    /// Creates empty quorum queues, an exchange and a database.
    async fn new(world: &'a World, kind: Kind) -> anyhow::Result<Self> {
        let settings = world.create_database(DATABASE).await?;
        let queues = world.queues().await?;
        let channel = queues.channel();
        let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
        let exchange = promises::EXCHANGE;
        channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
        channel
            .exchange_declare(exchange.into(), ExchangeKind::Topic, durable, FieldTable::default())
            .await?;
        for queue in [FIRST, SECOND] {
            channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
            let mut arguments = FieldTable::default();
            arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
            channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await?;
        }
        let (key, options) = ("contact.upserted.#", QueueBindOptions::default());
        channel
            .queue_bind(SECOND.into(), exchange.into(), key.into(), options, FieldTable::default())
            .await?;
        let mut database = PgConnection::connect(settings.postgres.url.expose_secret()).await?;
        let tables = match kind {
            Kind::Bare => TABLE,
            Kind::Promises => promises::TABLES,
        };
        sqlx::raw_sql(tables).execute(&mut database).await?;
        database.close().await?;
        Ok(Self { world, kind, settings })
    }

    async fn preload(&self, load: &Load, queue: &str, events: usize) -> anyhow::Result<()> {
        load.publish(&self.settings.amqp, "", queue, 0..events).await
    }

    async fn run(&self, part: Part, events: usize) -> anyhow::Result<()> {
        let pool = PgPool::connect(self.settings.postgres.url.expose_secret()).await?;
        match part {
            Part::Upsert => self.forward(&pool, events).await?,
            Part::Webhook => self.send(&pool, events).await?,
            Part::Chain => {
                tokio::try_join!(self.forward(&pool, events), self.send(&pool, events))?;
            }
        }
        pool.close().await;
        Ok(())
    }

    /// Consumes, stores, forwards and acks batches with parallel consumers until `events` messages are done.
    async fn forward(&self, pool: &PgPool, events: usize) -> anyhow::Result<()> {
        let mut tasks = JoinSet::new();
        let left = Arc::new(AtomicUsize::new(events));
        for _ in 0..CONSUMERS {
            let (settings, pool, left) = (self.settings.amqp.clone(), pool.clone(), Arc::clone(&left));
            let kind = self.kind;
            tasks.spawn(async move {
                let connection = amqp::connect(&settings, "floor").await?;
                let mut consumer = Consumer::open(&connection, FIRST, PREFETCH).await?;
                let mut publisher = Publisher::connect(&settings, "floor").await?;
                while left.load(Ordering::SeqCst) > 0 {
                    // The other consumer may take the last messages.
                    let limits = limits();
                    let next = tokio::time::timeout(Duration::from_millis(200), consumer.next_batch(&limits));
                    let Ok(batch) = next.await else { continue };
                    let Some(batch) = batch? else { continue };
                    forward_batch(kind, &pool, &mut publisher, &batch).await?;
                    let done = batch.messages.len();
                    consumer.acknowledge(batch).await?;
                    left.fetch_sub(done, Ordering::SeqCst);
                }
                anyhow::Ok(())
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(())
    }

    /// Consumes, POSTs, records and acks batches until `events` messages are done.
    async fn send(&self, pool: &PgPool, events: usize) -> anyhow::Result<()> {
        let connection = amqp::connect(&self.settings.amqp, "floor").await?;
        let mut consumer = Consumer::open(&connection, SECOND, PREFETCH).await?;
        let client = reqwest::Client::builder().no_proxy().build()?;
        let url = &self.world.receiver().url;
        let mut left = events;
        while left > 0 {
            let Some(mut batch) = consumer.next_batch(&limits()).await? else { continue };
            let deliveries = match self.kind {
                Kind::Bare => Vec::new(),
                Kind::Promises => promises::deliveries(&batch, url)?,
            };
            let bodies: Vec<_> =
                batch.messages.iter_mut().map(|message| std::mem::take(&mut message.body)).collect();
            left -= bodies.len().min(left);
            let mut requests = stream::iter(bodies)
                .map(|body| client.post(url).body(body).send())
                .buffer_unordered(IN_FLIGHT);
            while let Some(response) = requests.next().await {
                response?.error_for_status()?.bytes().await?;
            }
            drop(requests);
            if self.kind == Kind::Promises {
                promises::record(pool, &deliveries).await?;
            }
            consumer.acknowledge(batch).await?;
        }
        Ok(())
    }
}

const TABLE: &str = "CREATE TABLE floor (company text, email text, phone text, name text, employer text,
     updated timestamptz, PRIMARY KEY (company, email))";

fn limits() -> BatchLimits {
    BatchLimits { count: BATCH, bytes: usize::MAX }
}

async fn forward_batch(
    kind: Kind,
    pool: &PgPool,
    publisher: &mut Publisher,
    batch: &Batch,
) -> anyhow::Result<()> {
    let bodies: Vec<&[u8]> = batch.messages.iter().map(|message| message.body.as_ref()).collect();
    let (messages, packed) = match kind {
        Kind::Bare => {
            plain_upsert(pool, &bodies).await?;
            (bodies.iter().map(|body| plain_message(body)).collect::<Vec<_>>(), None)
        }
        Kind::Promises => {
            let messages: Vec<Message> = bodies.iter().map(|body| promises::message(body)).collect();
            let packed = promises::store(pool, &bodies, &messages).await?;
            (messages, Some(packed))
        }
    };
    for sent in publisher.publish(&messages).await? {
        sent?;
    }
    match packed {
        Some(packed) => promises::settle(pool, packed).await,
        None => Ok(()),
    }
}

/// The same bytes for the second queue.
fn plain_message(body: &[u8]) -> Message {
    Message {
        exchange: String::new(),
        routing_key: SECOND.to_owned(),
        mandatory: true,
        body: body.to_vec(),
        properties: lapin::BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/cloudevents+json".into()),
    }
}

/// Upserts a batch in one statement, with the last row of each email: a statement cannot update a row twice.
async fn plain_upsert(pool: &PgPool, bodies: &[&[u8]]) -> anyhow::Result<()> {
    let mut rows = std::collections::BTreeMap::new();
    for body in bodies {
        let row = serde_json::from_slice::<promises::Fired<'_>>(body)?.data.arguments;
        rows.insert(row.email, row);
    }
    let column = |value: fn(&promises::Arguments<'_>) -> String| rows.values().map(value).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO floor SELECT 'bench', *, now() FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[])
         ON CONFLICT (company, email) DO UPDATE SET phone = excluded.phone, name = excluded.name,
             employer = excluded.employer, updated = excluded.updated",
    )
    .bind(column(|row| row.email.to_owned()))
    .bind(column(|row| row.phone.to_owned()))
    .bind(column(|row| row.name.to_owned()))
    .bind(column(|row| row.company.to_owned()))
    .execute(pool)
    .await?;
    Ok(())
}
