//! IANA's registries of special addresses as tables, and IPv6 addresses that embed an IPv4 one.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The IPv4 address of an IPv4-mapped address (RFC 4291, 2.5.5.2), or of NAT64's well-known prefix (RFC 6052).
pub(super) fn other_spelling(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    let well_known = || matches!(ip.segments(), [0x64, 0xff9b, 0, 0, 0, 0, _, _]).then(|| last(ip));
    ip.to_ipv4_mapped().or_else(well_known)
}

/// The IPv4 address that the network may route an IPv6 address to: every [other spelling](other_spelling), and
/// tunnels (6to4, RFC 3056; ISATAP, RFC 5214).
pub(super) fn embedded(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(v6) = ip else { return None };
    let octets = v6.octets();
    other_spelling(ip).or_else(|| match v6.segments() {
        // The loopback and the unspecified address do not embed an IPv4 address.
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        // IPv4-compatible (RFC 4291, 2.5.5.1), IPv4-translated (RFC 7915), ISATAP.
        [0, 0, 0, 0, 0 | 0xffff, 0, _, _] | [_, _, _, _, 0 | 0x200, 0x5efe, _, _] => Some(last(v6)),
        // NAT64's local-use prefix of 48 bits (RFC 8215; RFC 6052, 2.2).
        [0x64, 0xff9b, 1, ..] => {
            let [.., a, b, _, c, d, _, _, _, _, _] = octets;
            Some(Ipv4Addr::new(a, b, c, d))
        }
        [0x2002, ..] => {
            let [_, _, a, b, c, d, ..] = octets;
            Some(Ipv4Addr::new(a, b, c, d))
        }
        _ => None,
    })
}

fn last(ip: Ipv6Addr) -> Ipv4Addr {
    let [.., a, b, c, d] = ip.octets();
    Ipv4Addr::new(a, b, c, d)
}

/// The kind of network; `None` if it is public.
pub(super) fn kind(ip: IpAddr) -> Option<&'static str> {
    match ip {
        IpAddr::V4(ip) => first_match(u32::from(ip).into(), 32, &V4),
        IpAddr::V6(ip) => {
            let bits = u128::from(ip);
            // Only 2000::/3 is assigned to global unicast (RFC 4291, 2.4).
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

/// IANA IPv6 Special-Purpose Address Registry, deprecated ranges, and multicast.
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
