//! Opens the stream to the broker: TCP, with TLS for `amqps`.
//!
//! The client library can do this, too, but its TLS feature compiles a reader for PKCS #12 key stores that nothing
//! here uses, and forty crates with it.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use futures_util::io::{AsyncRead, AsyncWrite};
use lapin::uri::{AMQPScheme, AMQPUri};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::compat::TokioAsyncReadCompatExt as _;

/// Bytes in both directions, in the form that the client library reads and writes.
pub(super) trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Duplex for S {}

/// A connected stream, with TLS or without.
pub(super) type Dialed = Box<dyn Duplex>;

/// Connects to the broker. Returns the stream and a second handle to its socket.
pub(super) async fn dial(uri: &AMQPUri) -> io::Result<(Dialed, OwnedFd)> {
    let authority = &uri.authority;
    let tcp = TcpStream::connect((authority.host.as_str(), authority.port)).await?;
    // The client library collects frames itself and writes them at once.
    tcp.set_nodelay(true)?;
    let socket = tcp.as_fd().try_clone_to_owned()?;
    let stream: Dialed = match uri.scheme {
        AMQPScheme::AMQP => Box::new(tcp.compat()),
        AMQPScheme::AMQPS => Box::new(encrypt(tcp, &authority.host, system_roots()).await?.compat()),
    };
    Ok((stream, socket))
}

/// TLS over `tcp`, with a server that proves to be `host` with a certificate under one of `roots`.
async fn encrypt(tcp: TcpStream, host: &str, roots: RootCertStore) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    TlsConnector::from(Arc::new(config)).connect(name, tcp).await
}

/// The system's CA certificates. They are read for each connection, so that renewed ones take effect.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // A system may have certificates that TLS cannot read. The others work without them.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    roots
}

#[cfg(test)]
mod tests;
