//! The floor: the same broker, rows and requests with nothing in between. In batches: consume, one plain
//! multi-row upsert, forward the same bytes with confirms, ack; then POST the same bytes.

use std::time::{Duration, Instant};

use contact_relay::{
    amqp::{self, BatchLimits, Consumer, Publisher},
    settings::Settings,
};
use futures_util::{StreamExt as _, stream};
use lapin::{
    options::{QueueDeclareOptions, QueueDeleteOptions},
    types::{AMQPValue, FieldTable},
};
use secrecy::ExposeSecret as _;
use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::task::JoinSet;

use crate::{FLOOR_BATCH, load, receiver::Receiver, stage::Measured};

/// The service's default numbers of consumers and requests in flight.
const CONSUMERS: usize = 2;
const IN_FLIGHT: usize = 128;

const FIRST: &str = "floor.first";
const SECOND: &str = "floor.second";

pub(crate) async fn upsert(
    settings: &Settings,
    receiver: &Receiver,
    events: usize,
) -> anyhow::Result<Measured> {
    prepare(settings).await?;
    load::publish(settings, "", FIRST, &receiver.url, 0..events).await?;
    let began = Instant::now();
    forward(settings, events).await?;
    Ok(Measured::of(events, began.elapsed()))
}

pub(crate) async fn post(
    settings: &Settings,
    receiver: &Receiver,
    events: usize,
) -> anyhow::Result<Measured> {
    prepare(settings).await?;
    receiver.reset().await?;
    load::publish(settings, "", SECOND, &receiver.url, 0..events).await?;
    let began = Instant::now();
    send(settings, &receiver.url, events).await?;
    receiver.wait_for(events).await?;
    Ok(Measured::of(events, began.elapsed()))
}

pub(crate) async fn chain(
    settings: &Settings,
    receiver: &Receiver,
    events: usize,
) -> anyhow::Result<Measured> {
    prepare(settings).await?;
    receiver.reset().await?;
    load::publish(settings, "", FIRST, &receiver.url, 0..events).await?;
    let began = Instant::now();
    tokio::try_join!(forward(settings, events), send(settings, &receiver.url, events))?;
    receiver.wait_for(events).await?;
    Ok(Measured::of(events, began.elapsed()))
}

/// Creates empty quorum queues and an empty table.
async fn prepare(settings: &Settings) -> anyhow::Result<()> {
    let connection = amqp::connect(&settings.amqp, "floor").await?;
    let channel = connection.create_channel().await?;
    for queue in [FIRST, SECOND] {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
        let mut arguments = FieldTable::default();
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), arguments).await?;
    }
    let mut database = PgConnection::connect(settings.postgres.url.expose_secret()).await?;
    sqlx::raw_sql(
        "DROP TABLE IF EXISTS floor;
         CREATE TABLE floor (company text, email text, phone text, name text, employer text, updated timestamptz,
             PRIMARY KEY (company, email))",
    )
    .execute(&mut database)
    .await?;
    Ok(())
}

/// Consumes, upserts, forwards and acks batches with parallel consumers until `events` messages are done.
async fn forward(settings: &Settings, events: usize) -> anyhow::Result<()> {
    let pool = PgPool::connect(settings.postgres.url.expose_secret()).await?;
    let mut tasks = JoinSet::new();
    let left = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(events));
    for _ in 0..CONSUMERS {
        let (settings, pool, left) = (settings.clone(), pool.clone(), std::sync::Arc::clone(&left));
        tasks.spawn(async move {
            let connection = amqp::connect(&settings.amqp, "floor").await?;
            let mut consumer = Consumer::open(&connection, FIRST, 2 * 200).await?;
            let mut publisher = Publisher::connect(&settings.amqp, "floor").await?;
            while left.load(std::sync::atomic::Ordering::SeqCst) > 0 {
                let Ok(batch) =
                    tokio::time::timeout(Duration::from_millis(200), consumer.next_batch(&limits())).await
                else {
                    continue;
                };
                let Some(batch) = batch? else { continue };
                let bodies: Vec<&[u8]> =
                    batch.messages.iter().map(|message| message.body.as_slice()).collect();
                plain_upsert(&pool, &bodies).await?;
                let messages: Vec<_> =
                    bodies.iter().map(|body| load::message("", SECOND, body.to_vec())).collect();
                for sent in publisher.publish(&messages).await? {
                    sent?;
                }
                batch.ack().await?;
                left.fetch_sub(messages.len(), std::sync::atomic::Ordering::SeqCst);
            }
            anyhow::Ok(())
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    Ok(())
}

fn limits() -> BatchLimits {
    BatchLimits { count: FLOOR_BATCH, bytes: usize::MAX, linger: Duration::ZERO }
}

#[derive(serde::Deserialize)]
struct Row {
    name: String,
    email: String,
    phone: String,
    company: String,
}

/// Upserts a batch in one statement, with the last row of each email: a statement cannot update a row twice.
async fn plain_upsert(pool: &PgPool, bodies: &[&[u8]]) -> anyhow::Result<()> {
    #[derive(serde::Deserialize)]
    struct Data {
        arguments: Row,
    }
    #[derive(serde::Deserialize)]
    struct Event {
        data: Data,
    }
    let mut rows = std::collections::BTreeMap::new();
    for body in bodies {
        let row = serde_json::from_slice::<Event>(body)?.data.arguments;
        rows.insert(row.email.clone(), row);
    }
    let column = |value: fn(&Row) -> &String| rows.values().map(|row| value(row).clone()).collect::<Vec<_>>();
    sqlx::query(
        "INSERT INTO floor SELECT 'bench', *, now() FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[])
         ON CONFLICT (company, email) DO UPDATE SET phone = excluded.phone, name = excluded.name,
             employer = excluded.employer, updated = excluded.updated",
    )
    .bind(column(|row| &row.email))
    .bind(column(|row| &row.phone))
    .bind(column(|row| &row.name))
    .bind(column(|row| &row.company))
    .execute(pool)
    .await?;
    Ok(())
}

async fn send(settings: &Settings, url: &str, events: usize) -> anyhow::Result<()> {
    let connection = amqp::connect(&settings.amqp, "floor").await?;
    let mut consumer = Consumer::open(&connection, SECOND, 2 * 200).await?;
    let client = reqwest::Client::builder().no_proxy().build()?;
    let mut left = events;
    while left > 0 {
        let Some(mut batch) = consumer.next_batch(&limits()).await? else { continue };
        let bodies: Vec<Vec<u8>> =
            batch.messages.iter_mut().map(|message| std::mem::take(&mut message.body)).collect();
        left -= bodies.len().min(left);
        let mut requests =
            stream::iter(bodies).map(|body| client.post(url).body(body).send()).buffer_unordered(IN_FLIGHT);
        while let Some(response) = requests.next().await {
            response?.error_for_status()?.bytes().await?;
        }
        drop(requests);
        batch.ack().await?;
    }
    Ok(())
}
