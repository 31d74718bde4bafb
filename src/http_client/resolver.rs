//! Name resolution that refuses a name when any of its addresses is not allowed. Were the forbidden
//! ones only left out, a name could pass once and lead inside on the next look.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

use crate::domain::egress::{Blocked, Policy};

/// Resolves through the system, then checks.
pub(super) struct Resolver {
    policy: Policy,
}

impl Resolver {
    pub(super) fn new(policy: Policy) -> Self {
        Self { policy }
    }
}

/// Why a name is not called. The name itself stays out of it.
#[derive(Debug, thiserror::Error)]
pub(super) enum ResolveError {
    /// The system found no address.
    #[error("the name of the receiver does not resolve")]
    NotFound(#[source] Option<std::io::Error>),
    /// An address is not allowed.
    #[error(transparent)]
    Blocked(Blocked),
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.policy.clone();
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await;
            let addresses = found.map_err(|error| ResolveError::NotFound(Some(error)))?;
            Ok(Box::new(checked(&policy, addresses)?.into_iter()) as Addrs)
        })
    }
}

fn checked(
    policy: &Policy,
    found: impl Iterator<Item = SocketAddr>,
) -> Result<Vec<SocketAddr>, ResolveError> {
    let mut addresses = Vec::new();
    for address in found {
        policy.check_ip(address.ip()).map_err(ResolveError::Blocked)?;
        addresses.push(address);
    }
    if addresses.is_empty() { Err(ResolveError::NotFound(None)) } else { Ok(addresses) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ips: &[&str]) -> Result<usize, ResolveError> {
        let addresses = ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 0));
        checked(&Policy::default(), addresses).map(|addresses| addresses.len())
    }

    #[test]
    fn one_forbidden_address_forbids_the_name() {
        assert_eq!(check(&["8.8.8.8", "2606:4700::1111"]).unwrap(), 2);
        assert!(matches!(check(&["8.8.8.8", "10.0.0.1"]), Err(ResolveError::Blocked(_))));
        assert!(matches!(check(&["8.8.8.8", "::ffff:127.0.0.1"]), Err(ResolveError::Blocked(_))));
        assert!(matches!(check(&[]), Err(ResolveError::NotFound(None))));
    }
}
