//! Inspects the broker for operators, as far as a client can. `management` shows the rest.
//!
//! A passive declaration does not compare arguments. So what exists is declared as the service declares it at every
//! start, which changes nothing. What does not exist is not created.

use std::{io, time::Duration};

use futures_util::io::{AsyncReadExt as _, AsyncWriteExt as _};
use lapin::{
    BasicProperties, Connection, ErrorKind, ExchangeKind,
    options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions},
    protocol::{AMQPClass, connection::AMQPMethod, parse_class},
    types::{AMQPValue, FieldTable},
};
use tokio::time::timeout;

use super::{
    ConnectError, QueueDepth, Topology, TopologyError,
    connection::{self, connect, uri},
    dial::dial,
};
use crate::settings;

/// The reply code of a passive declaration of what does not exist (`NOT_FOUND`).
const NOT_FOUND: u16 = 404;

/// The protocol header of AMQP 0-9-1.
const PROTOCOL: &[u8; 8] = b"AMQP\x00\x00\x09\x01";

/// The longest greeting that is read. `RabbitMQ` sends half a KiB.
const MAX_GREETING: usize = 64 * 1024;

/// What the broker reports.
#[derive(Debug)]
pub struct Inspection {
    /// The product and its version, such as `RabbitMQ` and `3.13.7`.
    pub server: Option<(String, String)>,
    /// Exchanges and queues of the namespace.
    pub objects: Vec<Object>,
    /// The outcome of a message that no queue takes.
    pub publishing: Publishing,
}

/// An exchange or a queue.
#[derive(Debug)]
pub struct Object {
    /// `exchange` or `queue`.
    pub kind: &'static str,
    /// Its name.
    pub name: String,
    /// Whether it is as the service needs it.
    pub state: ObjectState,
}

/// Whether an exchange or a queue is as the service needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectState {
    /// It does not exist.
    Missing,
    /// It has other arguments, in the broker's words.
    Differs(String),
    /// The broker refused to answer, in its words.
    Refused(String),
    /// It is as needed.
    Exchange,
    /// It exists.
    Queue(QueueDepth),
}

/// The outcome of a message to a queue that does not exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Publishing {
    /// The broker confirmed it.
    Confirmed,
    /// The broker blocks publishers, because of an alarm.
    Blocked,
    /// It must not be published, in the broker's words.
    Refused(String),
    /// No answer within `amqp.publish_timeout`.
    Unanswered,
}

/// Inspects the broker.
///
/// # Errors
/// When it cannot be reached.
pub async fn inspect(settings: &settings::Amqp) -> Result<Inspection, ConnectError> {
    let connection = connect(settings, "doctor").await?;
    let topology = Topology::new(&settings.namespace);
    let mut objects = Vec::new();
    for (name, kind) in
        [(topology.dead_letters(), ExchangeKind::Fanout), (topology.events(), ExchangeKind::Topic)]
    {
        let looked = timeout(settings.connect_timeout, exchange(&connection, &topology, &name, kind)).await;
        objects.push(Object { kind: "exchange", name, state: looked.unwrap_or_else(|_| silent()) });
    }
    for (name, is_dead_lettered) in
        [(topology.dead_letters(), false), (topology.trigger_fired(), true), (topology.webhook(), true)]
    {
        let looking = queue(&connection, &topology, &name, is_dead_lettered);
        let looked = timeout(settings.connect_timeout, looking).await;
        objects.push(Object { kind: "queue", name, state: looked.unwrap_or_else(|_| silent()) });
    }
    let server = timeout(settings.connect_timeout, greeting(settings)).await.ok().and_then(Result::ok);
    // Last, because an alarm blocks the connection.
    let publishing = publish(&connection, settings.publish_timeout).await;
    Ok(Inspection { server: server.flatten(), objects, publishing })
}

fn silent() -> ObjectState {
    ObjectState::Refused("no answer".to_owned())
}

async fn exchange(
    connection: &Connection,
    topology: &Topology,
    name: &str,
    kind: ExchangeKind,
) -> ObjectState {
    let looked = async {
        let channel = connection.create_channel().await?;
        let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        channel.exchange_declare(name.into(), kind.clone(), passive, FieldTable::default()).await?;
        Ok(channel)
    };
    match looked.await {
        Err(error) => refused(&error),
        Ok(channel) => match topology.exchange(&channel, name.to_owned(), kind).await {
            Ok(()) => ObjectState::Exchange,
            Err(error) => differs(error),
        },
    }
}

async fn queue(
    connection: &Connection,
    topology: &Topology,
    name: &str,
    is_dead_lettered: bool,
) -> ObjectState {
    let looked = async {
        let depth = QueueDepth::ask(connection, name).await?;
        Ok((connection.create_channel().await?, depth))
    };
    match looked.await {
        Err(error) => refused(&error),
        Ok((channel, depth)) => match topology.queue(&channel, name.to_owned(), is_dead_lettered).await {
            Ok(()) => ObjectState::Queue(depth),
            Err(error) => differs(error),
        },
    }
}

fn refused(error: &lapin::Error) -> ObjectState {
    match error.kind() {
        // A queue without a leader is not found either.
        ErrorKind::ProtocolError(error)
            if error.get_id() == NOT_FOUND
                && ["no queue", "no exchange"]
                    .iter()
                    .any(|text| error.get_message().as_str().contains(text)) =>
        {
            ObjectState::Missing
        }
        _ => ObjectState::Refused(connection::cause(error)),
    }
}

fn differs(error: TopologyError) -> ObjectState {
    match error {
        TopologyError::Mismatch { difference, .. } => ObjectState::Differs(difference),
        TopologyError::Refused { source, .. } | TopologyError::Channel(source) => {
            ObjectState::Refused(connection::cause(&source))
        }
        TopologyError::Timeout(_) => silent(),
    }
}

/// Publishes twice to a queue that does not exist, through the exchange that replays and answers use. The broker confirms and
/// drops it. In an alarm it still accepts the first message of a connection, and then stops reading.
async fn publish(connection: &Connection, limit: Duration) -> Publishing {
    let published = async {
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let nobody = uuid::Uuid::now_v7().to_string();
        for _ in 0..2 {
            let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
            channel.basic_publish("".into(), nobody.as_str().into(), options, &[], properties).await?.await?;
        }
        Ok::<_, lapin::Error>(())
    };
    match timeout(limit, published).await {
        Ok(Ok(())) => Publishing::Confirmed,
        Ok(Err(error)) => Publishing::Refused(connection::cause(&error)),
        Err(_) if connection.status().blocked() => Publishing::Blocked,
        Err(_) => Publishing::Unanswered,
    }
}

/// The product and the version with which the broker greets. The client library keeps them to itself.
async fn greeting(settings: &settings::Amqp) -> io::Result<Option<(String, String)>> {
    let uri = uri(settings).map_err(io::Error::other)?;
    let (mut stream, _socket) = dial(&uri).await?;
    stream.write_all(PROTOCOL).await?;
    stream.flush().await?;
    // A frame: type, channel, size, payload, end.
    let mut head = [0; 7];
    stream.read_exact(&mut head).await?;
    let [.., a, b, c, d] = head;
    let size = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let mut payload = vec![0; size.min(MAX_GREETING)];
    stream.read_exact(&mut payload).await?;
    let Ok((_, AMQPClass::Connection(AMQPMethod::Start(start)))) = parse_class(payload.as_slice()) else {
        return Ok(None);
    };
    let text = |name: &str| match start.server_properties.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    Ok(text("product").zip(text("version")))
}
