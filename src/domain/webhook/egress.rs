//! The addresses that webhooks may go to: `https` to public addresses on nearly every port, and what the settings
//! add.
//!
//! Every address is checked twice: the URL before the request, and the resolved address and port before each
//! connection.

mod network;
mod ranges;

use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

pub use network::{AllowedNetwork, BadNetwork};

/// Ports of services that do not speak HTTP, but may do harm with a request that looks like one of theirs
/// (<https://fetch.spec.whatwg.org/#port-blocking>), and 0, which is not a port. Sorted.
const BAD_PORTS: [u16; 83] = [
    0, 1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103,
    104, 109, 110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514,
    515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723,
    2049, 3659, 4045, 4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10_080,
];

/// Whether the Fetch standard keeps browsers from this port. No setting allows it at a public address.
#[must_use]
pub fn is_bad_port(port: u16) -> bool {
    BAD_PORTS.binary_search(&port).is_ok()
}

/// Settings that change the default, and the service's own addresses, which are never allowed.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Allows `http://`.
    pub allow_http: bool,
    /// The ports of public addresses that are allowed besides 443 (and 80, with `allow_http`). If empty, all but the
    /// bad ones are.
    pub allowed_ports: Vec<u16>,
    /// Allowed networks that are not public.
    pub allowed_networks: Vec<AllowedNetwork>,
    /// Addresses of the service's own broker, database and console, always refused. An unspecified or
    /// loopback address means all of them on this machine.
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
        "the receiver's port is not allowed: it belongs to another protocol, is missing in webhook.allowed_ports, or \
         is not the port of its network in webhook.allowed_networks"
    )]
    Port,
    /// A public address of this machine, on a port other than those of HTTP.
    #[error(
        "the receiver has an address of this machine, where only port 443 is allowed; add the address to \
         webhook.allowed_networks"
    )]
    Here,
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

    /// Whether a public address is allowed even if it belongs to this machine itself. Firewalls protect what listens
    /// there from others, but not from us. So it is only on the ports of HTTP, or in an allowed network.
    #[must_use]
    pub fn allows_here(&self, address: SocketAddr) -> bool {
        let (ip, port) = (address.ip().to_canonical(), address.port());
        let is_listed = || self.allowed_networks.iter().any(|network| network.allows(ip, port));
        port == 443 || (port == 80 && self.allow_http) || is_listed()
    }

    fn is_public_port(&self, port: u16) -> bool {
        let is_listed =
            || port == 443 || (port == 80 && self.allow_http) || self.allowed_ports.contains(&port);
        !is_bad_port(port) && (self.allowed_ports.is_empty() || is_listed())
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
