//! From an origin to a connection: resolve, judge every address, connect to one that was just judged.
//! Nothing is remembered between two connections, so a name that changes its mind gains nothing.

use std::{io, net::SocketAddr, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use rustls::pki_types::{DnsName, ServerName};
use tokio::{
    net::{TcpStream, lookup_host},
    time::sleep,
};
use tokio_rustls::TlsConnector;
use url::Host;

use super::{
    connection::Connection, failure::Failure, guard::Guard, pool::Origin, stream::Stream, tls::TlsSetup,
};

/// How many addresses of one name are tried.
const MAX_TRIED: usize = 8;
/// How long one address may take before the next is tried beside it (RFC 8305, 5).
const HEAD_START: Duration = Duration::from_millis(250);

/// Makes connections.
pub(super) struct Connector {
    pub(super) guard: Guard,
}

impl Connector {
    /// A new connection to an origin.
    pub(super) async fn connect(&self, origin: &Origin) -> Result<Connection, Failure> {
        let addresses = resolve(origin).await?;
        self.guard.check(&addresses).await?;
        let stream = first_of(&addresses).await.map_err(Failure::Connect)?;
        // A request is written at once; there is nothing to wait for.
        stream.set_nodelay(true).map_err(Failure::Connect)?;
        let stream = match &origin.tls {
            None => Stream::Plain(stream),
            Some(tls) => Stream::Tls(Box::new(shake_hands(tls, &origin.host, stream).await?)),
        };
        Connection::open(stream).await.map_err(Failure::Exchange)
    }
}

async fn resolve(origin: &Origin) -> Result<Vec<SocketAddr>, Failure> {
    match &origin.host {
        Host::Ipv4(ip) => Ok(vec![(*ip, origin.port).into()]),
        Host::Ipv6(ip) => Ok(vec![(*ip, origin.port).into()]),
        Host::Domain(name) => {
            let found = lookup_host((name.as_str(), origin.port)).await.map_err(|_| Failure::Dns)?;
            let addresses: Vec<_> = found.collect();
            if addresses.is_empty() { Err(Failure::Dns) } else { Ok(addresses) }
        }
    }
}

/// The first connection that comes about. The addresses are tried in their order, the next one when
/// those before have failed or had their head start.
async fn first_of(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut attempts = FuturesUnordered::new();
    let mut waiting = addresses.iter().take(MAX_TRIED);
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = waiting.next() {
            attempts.push(TcpStream::connect(*address));
        }
        let more = waiting.len() > 0;
        tokio::select! {
            Some(connected) = attempts.next() => match connected {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = error,
            },
            () = sleep(HEAD_START), if more => {}
            else => return Err(failed),
        }
    }
}

async fn shake_hands(
    tls: &TlsSetup,
    host: &Host,
    stream: TcpStream,
) -> Result<tokio_rustls::client::TlsStream<TcpStream>, Failure> {
    let name = match host {
        Host::Ipv4(ip) => ServerName::from(std::net::IpAddr::V4(*ip)),
        Host::Ipv6(ip) => ServerName::from(std::net::IpAddr::V6(*ip)),
        // Certificates and SNI know no final dot (RFC 6066, 3).
        Host::Domain(name) => DnsName::try_from(name.trim_end_matches('.').to_owned())
            .map(ServerName::DnsName)
            .map_err(|_| Failure::Invalid("the url's host is not a name"))?,
    };
    TlsConnector::from(tls.config()).connect(name, stream).await.map_err(Failure::Tls)
}
