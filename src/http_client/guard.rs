//! The egress policy at the moment of connecting: where the service's own broker and database are by now,
//! and which addresses are this machine's.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{net::lookup_host, sync::Mutex, time::timeout};
use url::Url;

use crate::domain::webhook::egress::{Blocked, Policy};

/// How long an answer about the own services is good for: a broker may move.
const GOOD_FOR: Duration = Duration::from_mins(1);
/// The same while one of them has never resolved.
const RETRY: Duration = Duration::from_secs(1);
/// How long one of these names may take. The attempt that waits for it has its own deadline.
const LOOKUP: Duration = Duration::from_secs(1);

/// A part of the service itself, which no webhook may reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnService {
    /// A name or an address, without brackets.
    pub host: String,
    /// Where it listens.
    pub port: u16,
}

/// Judges addresses.
pub(super) struct Guard {
    policy: Policy,
    services: Vec<OwnService>,
    known: Mutex<Known>,
}

/// Where the own services were when last looked at.
struct Known {
    /// In the order of the services; empty for one that has never resolved.
    addresses: Vec<Vec<SocketAddr>>,
    /// The policy with these addresses.
    policy: Arc<Policy>,
    resolved_at: Option<Instant>,
}

impl Guard {
    pub(super) fn new(policy: Policy, services: Vec<OwnService>) -> Self {
        let known = Known {
            addresses: vec![Vec::new(); services.len()],
            policy: Arc::new(policy.clone()),
            resolved_at: None,
        };
        Self { policy, services, known: Mutex::new(known) }
    }

    /// What can be refused without looking further.
    pub(super) fn check_url(&self, url: &Url) -> Result<(), Blocked> {
        self.policy.check_url(url)
    }

    /// Refuses all when one is forbidden. Were the forbidden ones only left out, a name could pass once
    /// and lead inside on the next look.
    pub(super) async fn check(&self, addresses: &[SocketAddr]) -> Result<(), Blocked> {
        let policy = self.policy_by_now().await;
        addresses.iter().try_for_each(|address| {
            let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
            if policy.is_own(loopback) && is_here(address.ip()) {
                return Err(Blocked::Own);
            }
            policy.check_address(*address)
        })
    }

    async fn policy_by_now(&self) -> Arc<Policy> {
        // Held while the names are looked up: whoever comes meanwhile needs the answer as well.
        let mut known = self.known.lock().await;
        let good_for = if known.addresses.iter().any(Vec::is_empty) { RETRY } else { GOOD_FOR };
        if known.resolved_at.is_none_or(|at| at.elapsed() >= good_for) {
            if known.resolved_at.is_some() {
                // Before, not after: should this attempt be cut off, the next ones need not wait again.
                known.resolved_at = Some(Instant::now());
            }
            let found = join_all(self.services.iter().map(resolve)).await;
            known.take(&self.policy, found);
        }
        Arc::clone(&known.policy)
    }
}

impl Known {
    /// What does not resolve now stays where it was last known to be.
    fn take(&mut self, policy: &Policy, found: Vec<Vec<SocketAddr>>) {
        for (known, found) in self.addresses.iter_mut().zip(found) {
            if !found.is_empty() {
                *known = found;
            }
        }
        let mut policy = policy.clone();
        policy.own.extend(self.addresses.iter().flatten().copied());
        // Behind an address of this machine there may be a listener for all of them.
        let here = policy.own.iter().filter(|own| is_here(own.ip()));
        let here: Vec<_> = here.map(|own| SocketAddr::from((Ipv4Addr::LOCALHOST, own.port()))).collect();
        policy.own.extend(here);
        self.policy = Arc::new(policy);
        self.resolved_at = Some(Instant::now());
    }
}

async fn resolve(service: &OwnService) -> Vec<SocketAddr> {
    let found = timeout(LOOKUP, lookup_host((service.host.as_str(), service.port))).await;
    found.ok().and_then(Result::ok).map(Iterator::collect).unwrap_or_default()
}

/// Whether this is an address of this machine: then it is where packets to it would come from. Sends nothing.
fn is_here(ip: IpAddr) -> bool {
    let ip = ip.to_canonical();
    let any = if ip.is_ipv4() { IpAddr::from(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
    let source = UdpSocket::bind((any, 0)).and_then(|socket| {
        socket.connect((ip, 9))?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(list: &[&str]) -> Vec<SocketAddr> {
        list.iter().map(|address| address.parse().unwrap()).collect()
    }

    fn guard(services: &[(&str, u16)]) -> Guard {
        let policy = Policy { allowed_networks: vec!["0.0.0.0/0".parse().unwrap()], ..Policy::default() };
        let service = |(host, port): &(&str, u16)| OwnService { host: (*host).to_owned(), port: *port };
        Guard::new(policy, services.iter().map(service).collect())
    }

    #[tokio::test]
    async fn one_forbidden_address_forbids_the_name() {
        let guard = Guard::new(Policy::default(), Vec::new());
        assert_eq!(guard.check(&addresses(&["8.8.8.8:443", "[2606:4700::1111]:443"])).await, Ok(()));
        for bad in ["10.0.0.1:443", "[::ffff:127.0.0.1]:443", "1.1.1.1:22"] {
            assert!(guard.check(&addresses(&["8.8.8.8:443", bad])).await.is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn own_services_are_refused_by_name_and_by_address() {
        let guard = guard(&[("localhost", 5672), ("10.0.0.5", 5432), ("no-such-name.invalid", 1)]);
        for own in ["127.0.0.1:5672", "127.1.2.3:5672", "10.0.0.5:5432", "0.0.0.0:5672"] {
            assert_eq!(guard.check(&addresses(&[own])).await, Err(Blocked::Own), "{own}");
        }
        for other in ["127.0.0.1:5432", "10.0.0.5:5672", "10.0.0.6:5432", "10.0.0.5:1"] {
            assert_eq!(guard.check(&addresses(&[other])).await, Ok(()), "{other}");
        }
    }

    #[tokio::test]
    async fn a_service_that_does_not_resolve_stays_where_it_was() {
        let guard = guard(&[("10.0.0.5", 5432), ("10.0.0.6", 5672)]);
        let policy = guard.policy_by_now().await;
        assert_eq!(policy.own, addresses(&["10.0.0.5:5432", "10.0.0.6:5672"]));
        let mut known = guard.known.lock().await;
        known.take(&guard.policy, vec![Vec::new(), addresses(&["10.0.0.7:5672"])]);
        assert_eq!(known.policy.own, addresses(&["10.0.0.5:5432", "10.0.0.7:5672"]));
    }

    #[test]
    fn addresses_of_this_machine_are_known() {
        assert!(is_here([127, 0, 0, 1].into()));
        assert!(is_here("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!is_here([192, 0, 2, 1].into()));
    }
}
