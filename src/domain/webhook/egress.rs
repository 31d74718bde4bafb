//! Which addresses webhooks may go to: `https` to port 443 of public addresses, and what the settings add.
//!
//! Every address is checked twice over: what a URL tells by itself before the request, and what a name
//! resolves to, with the port, before each connection.

mod network;
mod ranges;

use std::net::{IpAddr, SocketAddr};

use url::{Host, Url};

pub use network::{AllowedNetwork, BadNetwork};

/// What is allowed beyond the default, and what never is.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Whether `http://`, and with it port 80, is allowed.
    pub allow_http: bool,
    /// Ports of public addresses that are allowed beside 443.
    pub allowed_ports: Vec<u16>,
    /// Networks that are allowed although they are not public.
    pub allowed_networks: Vec<AllowedNetwork>,
    /// Where the service's own broker, database and console listen: refused whatever else is allowed. An
    /// unspecified or a loopback address stands for every such address of this machine.
    pub own: Vec<SocketAddr>,
}

/// Why an address is not called. Names the rule, not the address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Blocked {
    /// `http://`, without `allow_http`.
    #[error("http is not allowed (webhook.allow_http); write an https address")]
    Http,
    /// Neither `http` nor `https`.
    #[error("only http and https addresses can be called")]
    Scheme,
    /// `https://user:password@…`, which would end in logs of others.
    #[error("an address must not carry a user name or password; use an Authorization header")]
    Userinfo,
    /// An address that is not public, and the kind of network that it is in.
    #[error("the receiver has {0}, and no network of webhook.allowed_networks holds it")]
    Address(&'static str),
    /// A port that webhooks do not go to.
    #[error(
        "the receiver's port is not allowed: it is neither 443 (or 80, with webhook.allow_http), nor one of \
         webhook.allowed_ports, nor that of its network in webhook.allowed_networks"
    )]
    Port,
    /// A part of the service itself.
    #[error("the address is that of the service's own broker, database or console")]
    Own,
}

impl Policy {
    /// Whether a request to this URL may be made, as far as the URL tells: scheme, userinfo, port and an
    /// IP literal. [`Url`] has turned every spelling of a literal (decimal, octal, hex) into an address.
    ///
    /// What passes may still be refused by [`Policy::check_address`], once its name is resolved.
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

    /// Whether a connection to this address and port may be made.
    pub fn check_address(&self, address: SocketAddr) -> Result<(), Blocked> {
        if self.is_own(address) { Err(Blocked::Own) } else { self.check(address.ip(), address.port()) }
    }

    /// Whether the service itself listens there, as far as the addresses tell.
    #[must_use]
    pub fn is_own(&self, address: SocketAddr) -> bool {
        let wanted = Listener::of(address);
        self.own.iter().any(|own| Listener::of(*own) == wanted)
    }

    /// An IPv6 address that is another spelling of an IPv4 one is judged as that one; one that leads through
    /// a tunnel to an IPv4 address is allowed only where that is, too.
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

    /// A name may have any address, so its port is refused only where no address would allow it.
    fn check_port_of_a_name(&self, port: u16) -> Result<(), Blocked> {
        let somewhere = || self.allowed_networks.iter().any(|network| network.allows_port(port));
        if self.is_public_port(port) || somewhere() { Ok(()) } else { Err(Blocked::Port) }
    }
}

/// Who listens at an address: equal for all addresses that reach the same.
#[derive(PartialEq, Eq)]
enum Listener {
    /// A port of this machine.
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
