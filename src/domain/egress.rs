//! Which addresses webhooks may go to: `https` to public addresses, and what the settings add.
//!
//! Every address is checked twice over: literals before the request (an HTTP client resolves no
//! literal), and what a name resolves to before the connection.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use url::{Host, Url};

/// What the settings `webhook.allow_http` and `webhook.allowed_networks` allow beyond the default.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// Whether `http://` is allowed.
    pub allow_http: bool,
    /// Networks that are allowed although they are not public.
    pub allowed_networks: Vec<IpNet>,
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
}

impl Policy {
    /// Whether a request to this URL may be made, as far as the URL tells: scheme, userinfo and an
    /// IP literal. [`Url`] has turned every spelling of a literal (decimal, octal, hex) into an address.
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
        match url.host() {
            Some(Host::Domain(_)) => Ok(()),
            Some(Host::Ipv4(ip)) => self.check_ip(ip.into()),
            Some(Host::Ipv6(ip)) => self.check_ip(ip.into()),
            None => Err(Blocked::Scheme),
        }
    }

    /// Whether a connection to this address may be made.
    ///
    /// An IPv6 address that stands for an IPv4 one (mapped, RFC 4291; NAT64, RFC 6052) is judged as that one.
    pub fn check_ip(&self, ip: IpAddr) -> Result<(), Blocked> {
        if self.allowed_networks.iter().any(|network| network.contains(&ip)) {
            return Ok(());
        }
        if let IpAddr::V6(ip) = ip
            && let Some(inner) = ip.to_ipv4_mapped().or_else(|| translated(ip))
        {
            return self.check_ip(inner.into());
        }
        kind(ip).map_or(Ok(()), |kind| Err(Blocked::Address(kind)))
    }
}

/// The address behind NAT64's well-known prefix, `64:ff9b::/96`.
fn translated(ip: Ipv6Addr) -> Option<Ipv4Addr> {
    let [.., a, b, c, d] = ip.octets();
    matches!(ip.segments(), [0x64, 0xff9b, 0, 0, 0, 0, _, _]).then(|| Ipv4Addr::new(a, b, c, d))
}

/// The kind of network, when it is not a public one.
fn kind(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => first_match(u32::from(ip).into(), 32, &V4),
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            // Only 2000::/3 is given out as global unicast (RFC 4291, 2.4).
            let unassigned = || (bits >> 125 != 0b001).then_some("an unassigned address");
            first_match(bits, 128, &V6).or_else(unassigned)
        }
    }
}

fn first_match(bits: u128, width: u32, table: &[(u128, u32, &'static str)]) -> Option<&'static str> {
    let inside = |network: u128, length: u32| (bits ^ network).checked_shr(width - length).unwrap_or(0) == 0;
    table.iter().find(|(network, length, _)| inside(*network, *length)).map(|(_, _, kind)| *kind)
}

const fn v4(a: u8, b: u8, c: u8, d: u8) -> u128 {
    u32::from_be_bytes([a, b, c, d]) as u128
}

/// IANA IPv4 Special-Purpose Address Registry, and multicast.
const V4: [(u128, u32, &str); 17] = [
    (v4(0, 0, 0, 0), 8, "an unspecified address"),
    (v4(10, 0, 0, 0), 8, "a private address"),
    (v4(100, 64, 0, 0), 10, "a shared (carrier-grade NAT) address"),
    (v4(127, 0, 0, 0), 8, "a loopback address"),
    (v4(169, 254, 0, 0), 16, "a link-local address"),
    (v4(172, 16, 0, 0), 12, "a private address"),
    (v4(192, 0, 0, 0), 24, "a reserved address"),
    (v4(192, 0, 2, 0), 24, "a documentation address"),
    (v4(192, 31, 196, 0), 24, "a reserved address"),
    (v4(192, 52, 193, 0), 24, "a reserved address"),
    (v4(192, 88, 99, 0), 24, "a reserved address"),
    (v4(192, 168, 0, 0), 16, "a private address"),
    (v4(198, 18, 0, 0), 15, "a benchmark address"),
    (v4(198, 51, 100, 0), 24, "a documentation address"),
    (v4(203, 0, 113, 0), 24, "a documentation address"),
    (v4(224, 0, 0, 0), 4, "a multicast address"),
    (v4(240, 0, 0, 0), 4, "a reserved or broadcast address"),
];

/// IANA IPv6 Special-Purpose Address Registry, and what was withdrawn or is no unicast.
const V6: [(u128, u32, &str); 15] = [
    (0, 128, "an unspecified address"),
    (1, 128, "a loopback address"),
    (0, 96, "an IPv4-compatible address"),
    (0x0064_ff9b_0001 << 80, 48, "a private translation address"),
    (0x0100 << 112, 64, "a discard-only address"),
    (0x2001 << 112, 32, "a Teredo address"),
    (0x2001 << 112, 23, "a reserved address"),
    (0x2001_0db8 << 96, 32, "a documentation address"),
    (0x2002 << 112, 16, "a 6to4 address"),
    (0x3fff << 112, 20, "a documentation address"),
    (0x5f00 << 112, 16, "a segment-routing address"),
    (0xfc00 << 112, 7, "a private (unique local) address"),
    (0xfe80 << 112, 10, "a link-local address"),
    (0xfec0 << 112, 10, "a site-local address"),
    (0xff00 << 112, 8, "a multicast address"),
];

#[cfg(test)]
mod tests;
