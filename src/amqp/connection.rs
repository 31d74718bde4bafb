//! Opens connections and makes sure that they close. A failed connection is not recovered: its owner drops it and
//! opens a new one.
//!
//! The client library runs each connection in a thread, which ends only when the broker answers the handshake or the
//! close. A silent broker (frozen, or in an alarm that blocks the close) would leak a thread and a socket per
//! connection. So this module keeps a second handle to the socket and shuts it down after a timeout.

use std::{
    io,
    net::{Shutdown, TcpStream},
    ops::Deref,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use lapin::{AsyncTcpStream, ConnectionProperties, uri::AMQPUri};
use secrecy::ExposeSecret as _;
use tokio::{runtime::Handle, time::timeout};

use super::{
    dial::dial,
    inbox::Inbox,
    transport::{self, Repaired},
};
use crate::settings;

/// Maximum time for a dropped connection to close in an orderly way.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// The largest frame, in bytes.
const FRAME_MAX: u32 = 128 * 1024;

/// Why the broker could not be reached. Names host and port, never the password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `amqp.url` cannot be parsed.
    #[error("amqp.url is not an amqp:// or amqps:// address")]
    Uri,
    /// The broker, or something on the way to it, refused. The cause is not a `source`, because the advice
    /// follows it.
    #[error("could not reach RabbitMQ at {address}: {}; check amqp.url", cause(.error))]
    Refused {
        /// Host and port.
        address: String,
        /// The client library's error.
        error: lapin::Error,
    },
    /// No answer within `amqp.connect_timeout`.
    #[error("could not reach RabbitMQ at {address}: no answer within {} ms; check amqp.url", limit.as_millis())]
    Timeout {
        /// Host and port.
        address: String,
        /// The deadline.
        limit: Duration,
    },
}

/// The library's error without the prefix that only says that it is one.
pub(super) fn cause(error: &lapin::Error) -> String {
    match error.kind() {
        lapin::ErrorKind::IOError(error) => error.to_string(),
        lapin::ErrorKind::ProtocolError(error) => error.to_string(),
        _ => error.to_string(),
    }
}

/// Waits for `opening` within `amqp.connect_timeout`; an error names the broker's address.
pub(super) async fn within_timeout<T>(
    settings: &settings::Amqp,
    opening: impl Future<Output = lapin::Result<T>>,
) -> Result<T, ConnectError> {
    let limit = settings.connect_timeout;
    let address = || uri(settings).map(|uri| format!("{}:{}", uri.authority.host, uri.authority.port));
    match timeout(limit, opening).await {
        Ok(Ok(opened)) => Ok(opened),
        Ok(Err(error)) => Err(ConnectError::Refused { address: address()?, error }),
        Err(_) => Err(ConnectError::Timeout { address: address()?, limit }),
    }
}

pub(super) fn uri(settings: &settings::Amqp) -> Result<AMQPUri, ConnectError> {
    settings.url.expose_secret().parse().map_err(|_| ConnectError::Uri)
}

/// An open connection. Dropping it closes it, by force after 5 seconds.
pub struct Connection {
    // Dropped first, so that the close is sent before the timeout of the socket begins.
    inner: lapin::Connection,
    _socket: Socket,
    inbox: Option<Inbox>,
}

impl Connection {
    /// The bytes that its consumers hold, if limited.
    pub(super) const fn inbox(&self) -> Option<&Inbox> {
        self.inbox.as_ref()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The answer to the close comes after all messages that the broker has sent.
        if let Some(inbox) = &self.inbox {
            inbox.forget_all();
        }
    }
}

impl Deref for Connection {
    type Target = lapin::Connection;

    fn deref(&self) -> &lapin::Connection {
        &self.inner
    }
}

/// Opens a connection that appears as `purpose` in the broker's list of connections.
///
/// Consumers and publishers use separate connections: in a resource alarm the broker blocks a publishing
/// connection as a whole, including acks and heartbeats.
pub async fn connect(settings: &settings::Amqp, purpose: &str) -> Result<Connection, ConnectError> {
    open(settings, purpose, None).await
}

/// Opens a connection for consumers, like [`connect`]. Once their unacknowledged messages have `max_bytes`, nothing more
/// is read.
pub async fn connect_consumer(
    settings: &settings::Amqp,
    purpose: &str,
    max_bytes: usize,
) -> Result<Connection, ConnectError> {
    open(settings, purpose, Some(Inbox::new(max_bytes))).await
}

async fn open(
    settings: &settings::Amqp,
    purpose: &str,
    inbox: Option<Inbox>,
) -> Result<Connection, ConnectError> {
    let mut uri = uri(settings)?;
    let limit = settings.connect_timeout;
    uri.query.heartbeat.get_or_insert(u16::try_from(settings.heartbeat.as_secs()).unwrap_or(u16::MAX));
    // The broker's default. Without it the library starts with small buffers and later grows them, which
    // writes all 8 MB.
    uri.query.frame_max.get_or_insert(FRAME_MAX);
    let name = format!("{} {purpose}", settings.namespace);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let mut socket = Socket { state: Arc::default(), timeout: Duration::ZERO };
    let (state, limit_of_reads) = (Arc::clone(&socket.state), inbox.clone());
    // The library's own timeout covers neither name resolution, nor TLS, nor the handshake.
    let connecting = lapin::Connection::connector(
        uri,
        transport::runtime(),
        async move |uri, _| {
            let dialed = timeout(limit, dial(&uri)).await;
            let (stream, socket) = dialed.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            State::open(&state, socket)?;
            Ok(AsyncTcpStream::Plain(Repaired::new(stream, limit_of_reads.clone())))
        },
        properties,
    );
    let inner = within_timeout(settings, connecting).await?;
    socket.timeout = CLOSE_TIMEOUT;
    Ok(Connection { inner, _socket: socket, inbox })
}

/// A second handle to the connection's socket, which is shut down `timeout` after this is dropped.
struct Socket {
    state: Arc<Mutex<State>>,
    timeout: Duration,
}

#[derive(Default)]
enum State {
    #[default]
    Dialing,
    Open(TcpStream),
    /// Its owner is gone.
    Abandoned,
}

impl State {
    fn open(state: &Mutex<Self>, descriptor: OwnedFd) -> io::Result<()> {
        let mut state = lock(state);
        if matches!(*state, Self::Abandoned) {
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        *state = Self::Open(descriptor.into());
        Ok(())
    }

    fn abandon(state: &Mutex<Self>) {
        if let Self::Open(socket) = std::mem::replace(&mut *lock(state), Self::Abandoned) {
            // An error means that the socket is already closed.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        match Handle::try_current() {
            Ok(runtime) if !self.timeout.is_zero() => {
                let (state, timeout) = (Arc::clone(&self.state), self.timeout);
                runtime.spawn(async move {
                    tokio::time::sleep(timeout).await;
                    State::abandon(&state);
                });
            }
            _ => State::abandon(&self.state),
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
