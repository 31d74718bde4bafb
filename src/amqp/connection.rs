//! Opening a connection, and closing it for certain. There is no recovery here: a connection that
//! fails is dropped, and the loop that owns it opens the next one.
//!
//! The client library runs each connection in a thread of its own, which ends when the broker answers:
//! the handshake or the close. A broker that is silent (frozen, or in an alarm that keeps the close
//! from being written) would leave one thread and one socket behind with every try. So the socket is
//! kept here too, and shut down when its time is over.

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
    transport::{self, Repaired},
};
use crate::settings;

/// How long a dropped connection may take for closing in good order.
const CLOSE_PATIENCE: Duration = Duration::from_secs(5);

/// The largest frame, in bytes.
const FRAME_MAX: u32 = 128 * 1024;

/// Why the broker could not be reached. Never holds the address: it carries the password.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// `amqp.url` is no AMQP URI.
    #[error("amqp.url is not an amqp:// or amqps:// address")]
    Uri,
    /// The broker, or something on the way to it, refused.
    #[error("could not connect to the broker")]
    Refused(#[source] lapin::Error),
    /// No answer within `amqp.connect_timeout`.
    #[error("the broker did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
}

/// An open connection. Dropped, it is closed: in good order, or by force after a few seconds.
pub struct Connection {
    // Dropped first, so that the close is on its way before the socket's time begins to run.
    connection: lapin::Connection,
    _socket: Socket,
}

impl Deref for Connection {
    type Target = lapin::Connection;

    fn deref(&self) -> &lapin::Connection {
        &self.connection
    }
}

/// Opens one connection, named for `purpose` in the broker's own listings.
///
/// Consumers and publishers use connections of their own: a broker in a resource alarm blocks a
/// publishing connection as a whole, acks and heartbeats included.
pub async fn connect(settings: &settings::Amqp, purpose: &str) -> Result<Connection, ConnectError> {
    let mut uri: AMQPUri = settings.url.expose_secret().parse().map_err(|_| ConnectError::Uri)?;
    let limit = settings.connect_timeout;
    uri.query.heartbeat.get_or_insert(u16::try_from(settings.heartbeat.as_secs()).unwrap_or(u16::MAX));
    // The broker's own default. Where it is not given, the library makes its buffers small and then
    // writes all 8 MB of them to make them large.
    uri.query.frame_max.get_or_insert(FRAME_MAX);
    let name = format!("{} {purpose}", settings.namespace);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let mut socket = Socket { state: Arc::default(), patience: Duration::ZERO };
    let state = Arc::clone(&socket.state);
    // The library's own deadline covers neither the name, nor TLS, nor the handshake.
    let connecting = lapin::Connection::connector(
        uri,
        transport::runtime(),
        async move |uri, _| {
            let dialed = timeout(limit, dial(&uri)).await;
            let (stream, socket) = dialed.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            State::open(&state, socket)?;
            Ok(AsyncTcpStream::Plain(Repaired::new(stream)))
        },
        properties,
    );
    match timeout(limit, connecting).await {
        Ok(connected) => {
            let connection = connected.map_err(ConnectError::Refused)?;
            socket.patience = CLOSE_PATIENCE;
            Ok(Connection { connection, _socket: socket })
        }
        Err(_) => Err(ConnectError::Timeout(limit)),
    }
}

/// A second handle to the connection's socket. When it is dropped the socket has `patience` left.
struct Socket {
    state: Arc<Mutex<State>>,
    patience: Duration,
}

#[derive(Default)]
enum State {
    #[default]
    Dialing,
    Open(TcpStream),
    /// Nobody waits for it any more.
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
            // An error means that it is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        match Handle::try_current() {
            Ok(runtime) if !self.patience.is_zero() => {
                let (state, patience) = (Arc::clone(&self.state), self.patience);
                runtime.spawn(async move {
                    tokio::time::sleep(patience).await;
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
