//! Opens a connection to an origin: resolves the host name, checks every address, then connects to one of them.
//! Each new connection repeats all three steps and connects only to addresses that it has just checked, so DNS
//! rebinding gains nothing.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rustls::pki_types::{DnsName, ServerName};
use tokio::{net::TcpStream, time::sleep};
use tokio_rustls::TlsConnector;
use url::Host;

use super::{
    connection::Connection, failure::Failure, guard::Guard, names::Names, pool::Origin, stream::Stream,
    tls::TlsSetup,
};

/// Maximum addresses of one host name to connect to.
const MAX_ADDRESSES: usize = 8;
/// Wait for one address before the next one is tried in parallel (RFC 8305, section 5).
const NEXT_ADDRESS_DELAY: Duration = Duration::from_millis(250);

/// Opens guarded connections.
pub(super) struct Connector {
    pub(super) guard: Guard,
    pub(super) names: Names,
}

impl Connector {
    /// The addresses of the origin, for a request of this company.
    ///
    /// # Errors
    /// When the name does not resolve.
    pub(super) async fn resolve(&self, company: &str, origin: &Origin) -> Result<Vec<SocketAddr>, Failure> {
        let found = match &origin.host {
            Host::Ipv4(ip) => vec![(*ip, origin.port).into()],
            Host::Ipv6(ip) => vec![(*ip, origin.port).into()],
            Host::Domain(name) => self.names.resolve(company, name, origin.port).await,
        };
        if found.is_empty() { Err(Failure::Dns) } else { Ok(found) }
    }

    /// Connects to one of the addresses that [`Self::resolve`] has just found.
    ///
    /// # Errors
    /// When an address is blocked, no address accepts the connection, or TLS fails.
    pub(super) async fn connect(
        &self,
        origin: &Origin,
        addresses: &[SocketAddr],
    ) -> Result<Connection, Failure> {
        self.guard.check(addresses).await?;
        let stream = connect_to_first(addresses).await.map_err(Failure::Connect)?;
        // Each request is written at once, so Nagle's algorithm could only delay it.
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        let stream = match &origin.tls {
            None => Stream::Plain(stream),
            Some(tls) => Stream::Tls(Box::new(start_tls(tls, &origin.host, stream).await?)),
        };
        Connection::open(stream).await.map_err(Failure::Exchange)
    }
}

/// Connects to the addresses in their order and returns the first connection. The next address starts when an
/// earlier one fails or `NEXT_ADDRESS_DELAY` passes.
async fn connect_to_first(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut connecting = FuturesUnordered::new();
    let mut waiting = addresses.iter().take(MAX_ADDRESSES);
    let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = waiting.next() {
            connecting.push(TcpStream::connect(*address));
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(connected) = connecting.next() => match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => last_error = error,
            },
            () = sleep(NEXT_ADDRESS_DELAY), if more => {}
            else => return Err(last_error),
        }
    }
}

async fn start_tls(
    tls: &TlsSetup,
    host: &Host,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
    let name = match host {
        Host::Ipv4(ip) => ServerName::from(std::net::IpAddr::V4(*ip)),
        Host::Ipv6(ip) => ServerName::from(std::net::IpAddr::V6(*ip)),
        // Certificates and SNI have no final dot (RFC 6066, section 3).
        Host::Domain(name) => DnsName::try_from(name.trim_end_matches('.').to_owned())
            .map(ServerName::DnsName)
            .map_err(|_| Failure::Invalid("the URL's host is not a valid DNS name"))?,
    };
    TlsConnector::from(tls.config()).connect(name, stream).await.map_err(Failure::Tls)
}
