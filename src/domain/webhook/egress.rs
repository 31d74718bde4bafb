//! The addresses that webhooks may go to: `https` on port 443 of public addresses, and what the settings add.
//!
//! Every address is checked twice: the URL before the request, and the resolved address and port before each
//! connection.

mod network;
mod ranges;

use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

pub use network::{AllowedNetwork, BadNetwork};

/// Settings that allow more than the default, and the service's own addresses, which are never allowed.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Allows `http://`, and with it port 80.
    pub allow_http: bool,
    /// Ports of public addresses that are allowed in addition to 443.
    pub allowed_ports: Vec<u16>,
    /// Allowed networks that are not public.
    pub allowed_networks: Vec<AllowedNetwork>,
    /// Addresses of the service's own broker, database and console, always refused. An unspecified or
    /// loopback address stands for all of them on this machine.
    pub own: Vec<SocketAddr>,
}

/// The rule that forbids an address. Does not contain the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// `http://` without `allow_http`.
    #[error("http is not allowed; use https, or set webhook.allow_http")]
    Http,
    /// Neither `http` nor `https`.
    #[error("the scheme is neither http nor https")]
    Scheme,
    /// `https://user:password@…`, which would end up in other people's logs.
    #[error("the url has a user name or password; use an Authorization header instead")]
    Userinfo,
    /// An address that is not public, with the kind of network.
    #[error("the receiver has {0}, which is in none of webhook.allowed_networks")]
    Address(&'static str),
    /// A port that is not allowed for this address.
    #[error(
        "the receiver's port is not allowed; allowed are 443 (and 80 with webhook.allow_http), \
         webhook.allowed_ports, and the port of its network in webhook.allowed_networks"
    )]
    Port,
    /// The service's own broker, database or console.
    #[error("the address belongs to the service's own broker, database or console")]
    Own,
}

impl Policy {
    /// Checks scheme, userinfo, port and an IP literal. [`Url`] has normalized every spelling of a literal
    /// (decimal, octal, hex).
    ///
    /// [`Policy::check_address`] may still refuse the URL once its host name is resolved.
    pub fn check_url(&self, url: &Url) -> Result<(), Blocked> {
        match url.scheme() {
            "https" => {}
            "http" if self.allow_http => {}
            "http" => return Err(Blocked::Http),
            _ => return Err(Blocked::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(Blocked::Userinfo);
        }
        let port = url.port_or_known_default().ok_or(Blocked::Scheme)?;
        match url.host() {
            Some(Host::Domain(_)) => self.check_port_of_a_name(port),
            Some(Host::Ipv4(ip)) => self.check_address((ip, port).into()),
            Some(Host::Ipv6(ip)) => self.check_address((ip, port).into()),
            None => Err(Blocked::Scheme),
        }
    }

    /// Checks a resolved address before the connection.
    pub fn check_address(&self, address: SocketAddr) -> Result<(), Blocked> {
        if self.is_own(address) { Err(Blocked::Own) } else { self.check(address.ip(), address.port()) }
    }

    /// Whether the address belongs to the service itself.
    #[must_use]
    pub fn is_own(&self, address: SocketAddr) -> bool {
        let wanted = Listener::of(address);
        self.own.iter().any(|own| Listener::of(*own) == wanted)
    }

    /// An IPv6 address that maps to an IPv4 one is checked as the IPv4 address. A tunnel to an IPv4 address
    /// is allowed only if that address is allowed, too.
    fn check(&self, ip: IpAddr, port: u16) -> Result<(), Blocked> {
        if self.allowed_networks.iter().any(|network| network.allows(ip, port)) {
            return Ok(());
        }
        if let Some(inner) = ranges::other_spelling(ip) {
            return self.check(inner.into(), port);
        }
        if let Some(kind) = ranges::kind(ip) {
            let in_network = self.allowed_networks.iter().any(|network| network.contains(ip));
            return Err(if in_network { Blocked::Port } else { Blocked::Address(kind) });
        }
        if let Some(inner) = ranges::embedded(ip) {
            self.check(inner.into(), port)?;
        }
        if self.is_public_port(port) { Ok(()) } else { Err(Blocked::Port) }
    }

    fn is_public_port(&self, port: u16) -> bool {
        port == 443 || (port == 80 && self.allow_http) || self.allowed_ports.contains(&port)
    }

    /// A name can resolve to any address, so its port is refused only if no address would allow it.
    fn check_port_of_a_name(&self, port: u16) -> Result<(), Blocked> {
        let somewhere = || self.allowed_networks.iter().any(|network| network.allows_port(port));
        if self.is_public_port(port) || somewhere() { Ok(()) } else { Err(Blocked::Port) }
    }
}

/// The listener at an address. All loopback and unspecified addresses with the same port are equal.
#[derive(PartialEq, Eq)]
enum Listener {
    Here(u16),
    There(IpAddr, u16),
}

impl Listener {
    fn of(address: SocketAddr) -> Self {
        let ip = ranges::embedded(address.ip()).map_or(address.ip(), IpAddr::V4);
        let is_this_network = matches!(ip, IpAddr::V4(ip) if ip.octets().starts_with(&[0]));
        if ip.is_loopback() || ip.is_unspecified() || is_this_network {
            Self::Here(address.port())
        } else {
            Self::There(ip, address.port())
        }
    }
}

#[cfg(test)]
mod tests;
