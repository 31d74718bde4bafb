//! An entry of `webhook.allowed_networks`: a network, optionally with a port.

use std::{net::IpAddr, str::FromStr};

use ipnet::IpNet;

/// An allowed network that is not public: `10.20.0.0/16`, or with a port `10.20.0.0/16:8443` and
/// `[fd00::/8]:8443`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct AllowedNetwork {
    network: IpNet,
    /// `None` allows every port. Never 0.
    port: Option<u16>,
}

/// The text is not a network. Does not repeat the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid network; give an address and its prefix length, such as \"10.20.0.0/16\", optionally with a port, \
     such as \"10.20.0.0/16:8443\" or \"[fd00::/8]:8443\""
)]
pub struct BadNetwork;

impl AllowedNetwork {
    pub(super) fn contains(&self, ip: IpAddr) -> bool {
        self.network.contains(&ip)
    }

    pub(super) fn allows_port(&self, port: u16) -> bool {
        self.port.is_none_or(|only| only == port)
    }

    pub(super) fn allows(&self, ip: IpAddr, port: u16) -> bool {
        self.contains(ip) && self.allows_port(port)
    }
}

impl FromStr for AllowedNetwork {
    type Err = BadNetwork;

    fn from_str(text: &str) -> Result<Self, BadNetwork> {
        if let Ok(network) = text.parse() {
            return Ok(Self { network, port: None });
        }
        let (network, port) = text.rsplit_once(':').ok_or(BadNetwork)?;
        let network = match network.strip_prefix('[').map(|network| network.strip_suffix(']')) {
            Some(inner) => IpNet::V6(inner.ok_or(BadNetwork)?.parse().map_err(|_| BadNetwork)?),
            None => IpNet::V4(network.parse().map_err(|_| BadNetwork)?),
        };
        let is_plain = port.bytes().all(|byte| byte.is_ascii_digit());
        let port = port.parse().ok().filter(|port| *port != 0 && is_plain).ok_or(BadNetwork)?;
        Ok(Self { network, port: Some(port) })
    }
}

impl TryFrom<String> for AllowedNetwork {
    type Error = BadNetwork;

    fn try_from(text: String) -> Result<Self, BadNetwork> {
        text.parse()
    }
}
