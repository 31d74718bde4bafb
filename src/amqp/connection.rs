//! Opening a connection. There is no recovery here: a connection that fails is dropped, and the
//! loop that owns it opens the next one.

use std::time::Duration;

use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
use secrecy::ExposeSecret as _;

use crate::settings;

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

/// Opens one connection, named for `purpose` in the broker's own listings.
///
/// Consumers and publishers use connections of their own: a broker in a resource alarm blocks a
/// publishing connection as a whole, acks and heartbeats included.
pub async fn connect(settings: &settings::Amqp, purpose: &str) -> Result<Connection, ConnectError> {
    let mut uri: AMQPUri = settings.url.expose_secret().parse().map_err(|_| ConnectError::Uri)?;
    let timeout = settings.connect_timeout;
    uri.query.connection_timeout.get_or_insert(u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX));
    uri.query.heartbeat.get_or_insert(u16::try_from(settings.heartbeat.as_secs()).unwrap_or(u16::MAX));
    let name = format!("{} {purpose}", settings.namespace);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    match tokio::time::timeout(timeout, Connection::connect_uri(uri, properties)).await {
        Ok(connected) => connected.map_err(ConnectError::Refused),
        Err(_) => Err(ConnectError::Timeout(timeout)),
    }
}
