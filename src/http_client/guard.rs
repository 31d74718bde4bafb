//! The egress policy at connect time. It knows the current addresses of the service's own broker and database, and
//! this machine's own addresses.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use tokio::{sync::Mutex, time::timeout};
use url::Url;

use super::names::Names;
use crate::domain::webhook::egress::{Blocked, Policy};

/// Interval between two lookups of the service's own host names, whose addresses may change.
const REFRESH_INTERVAL: Duration = Duration::from_mins(1);
/// The same while any of them has never resolved.
const UNRESOLVED_REFRESH_INTERVAL: Duration = Duration::from_secs(1);
/// Applies to each lookup, within the deadline of the attempt that waits for it.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(1);

/// A broker or database of the service itself. Webhooks must not reach it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnService {
    /// A host name or an IP address, without brackets.
    pub host: String,
    /// The TCP port on which it listens.
    pub port: u16,
}

/// Allows or blocks each address before a connection.
pub(super) struct Guard {
    /// As configured, without the addresses of `services`.
    policy: Policy,
    services: Vec<OwnService>,
    /// With its own places, enough to look up all of them at once.
    names: Names,
    resolved: Mutex<LookupResult>,
    /// Whether this machine has the address.
    is_local: fn(IpAddr) -> bool,
}

/// Result of the last lookup of the service's own host names.
struct LookupResult {
    /// In the order of `Guard::services`. Empty for a name that has never resolved.
    addresses: Vec<Vec<SocketAddr>>,
    /// The configured policy plus these addresses.
    policy: Arc<Policy>,
    resolved_at: Option<Instant>,
}

impl Guard {
    pub(super) fn new(policy: Policy, services: Vec<OwnService>) -> Self {
        let resolved = LookupResult {
            addresses: vec![Vec::new(); services.len()],
            policy: Arc::new(policy.clone()),
            resolved_at: None,
        };
        let names = Names::new(2 * services.len());
        Self { policy, services, names, resolved: Mutex::new(resolved), is_local }
    }

    /// Checks what the URL alone shows, before any lookup.
    pub(super) fn check_url(&self, url: &Url) -> Result<(), Blocked> {
        self.policy.check_url(url)
    }

    /// Blocks the request if any of the addresses is blocked. Skipping only the blocked ones would accept
    /// a host name that also points inside.
    pub(super) async fn check(&self, addresses: &[SocketAddr]) -> Result<(), Blocked> {
        let policy = self.current_policy().await;
        addresses.iter().try_for_each(|address| {
            let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
            if policy.is_own(loopback) && (self.is_local)(address.ip()) {
                return Err(Blocked::Own);
            }
            policy.check_address(*address)?;
            if !policy.allows_here(*address) && (self.is_local)(address.ip()) {
                return Err(Blocked::Here);
            }
            Ok(())
        })
    }

    async fn current_policy(&self) -> Arc<Policy> {
        // Locked during the lookups: concurrent attempts wait for the same result instead of repeating them.
        let mut resolved = self.resolved.lock().await;
        let is_complete = !resolved.addresses.iter().any(Vec::is_empty);
        let interval = if is_complete { REFRESH_INTERVAL } else { UNRESOLVED_REFRESH_INTERVAL };
        if resolved.resolved_at.is_none_or(|at| at.elapsed() >= interval) {
            if resolved.resolved_at.is_some() {
                // Set before the lookups: if a deadline cancels this attempt, the next one uses the old addresses
                // instead of waiting again.
                resolved.resolved_at = Some(Instant::now());
            }
            let found = join_all(self.services.iter().map(|service| self.resolve(service))).await;
            resolved.update(&self.policy, found);
        }
        Arc::clone(&resolved.policy)
    }

    async fn resolve(&self, OwnService { host, port }: &OwnService) -> Vec<SocketAddr> {
        // They belong to no company.
        timeout(LOOKUP_TIMEOUT, self.names.resolve("", host, *port)).await.unwrap_or_default()
    }
}

impl LookupResult {
    /// A service whose lookup found nothing keeps its last addresses.
    fn update(&mut self, policy: &Policy, found: Vec<Vec<SocketAddr>>) {
        for (current, found) in self.addresses.iter_mut().zip(found) {
            if !found.is_empty() {
                *current = found;
            }
        }
        let mut policy = policy.clone();
        policy.own.extend(self.addresses.iter().flatten().copied());
        // A service on a local address may listen on all of them. The loopback entry blocks its port on each.
        let local = policy.own.iter().filter(|own| is_local(own.ip()));
        let loopback: Vec<_> = local.map(|own| SocketAddr::from((Ipv4Addr::LOCALHOST, own.port()))).collect();
        policy.own.extend(loopback);
        self.policy = Arc::new(policy);
        self.resolved_at = Some(Instant::now());
    }
}

/// Whether this machine owns the address: packets to it would then have it as their source, too. Sends nothing.
fn is_local(ip: IpAddr) -> bool {
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
    async fn one_blocked_address_blocks_the_host_name() {
        let guard = Guard::new(Policy::default(), Vec::new());
        assert_eq!(guard.check(&addresses(&["8.8.8.8:443", "[2606:4700::1111]:443"])).await, Ok(()));
        for bad in ["10.0.0.1:443", "[::ffff:127.0.0.1]:443", "1.1.1.1:22"] {
            assert!(guard.check(&addresses(&["8.8.8.8:443", bad])).await.is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn own_services_are_blocked_by_name_and_by_address() {
        let guard = guard(&[("localhost", 5672), ("10.0.0.5", 5432), ("no-such-name.invalid", 1)]);
        for own in ["127.0.0.1:5672", "127.1.2.3:5672", "10.0.0.5:5432", "0.0.0.0:5672"] {
            assert_eq!(guard.check(&addresses(&[own])).await, Err(Blocked::Own), "{own}");
        }
        for other in ["127.0.0.1:5432", "10.0.0.5:5672", "10.0.0.6:5432", "10.0.0.5:1"] {
            assert_eq!(guard.check(&addresses(&[other])).await, Ok(()), "{other}");
        }
    }

    #[tokio::test]
    async fn public_addresses_of_this_machine_are_for_http_only() {
        let check = async |policy: Policy, address: &str| {
            let is_local = |ip: IpAddr| ["203.0.114.7", "2a00::7"].iter().any(|own| own.parse() == Ok(ip));
            let guard = Guard { is_local, ..Guard::new(policy, Vec::new()) };
            guard.check(&addresses(&[address])).await
        };
        let http = || Policy { allow_http: true, ..Policy::default() };
        let listed = |network: &str| Policy {
            allowed_networks: vec![network.parse().unwrap()],
            allowed_ports: vec![6443],
            ..Policy::default()
        };
        for own in ["203.0.114.7", "[2a00::7]"] {
            for port in [2375, 5601, 6443, 8500, 9200, 10_250, 11_211] {
                let address = format!("{own}:{port}");
                assert_eq!(check(Policy::default(), &address).await, Err(Blocked::Here), "{address}");
                assert_eq!(check(http(), &address).await, Err(Blocked::Here), "{address}");
            }
            assert_eq!(check(Policy::default(), &format!("{own}:443")).await, Ok(()));
            assert_eq!(check(http(), &format!("{own}:80")).await, Ok(()));
            assert_eq!(check(Policy::default(), &format!("{own}:80")).await, Err(Blocked::Here));
            // A port that is allowed at public addresses is not meant for this machine.
            assert_eq!(check(listed("10.0.0.0/8"), &format!("{own}:6443")).await, Err(Blocked::Here));
        }
        assert_eq!(check(listed("203.0.114.7/32"), "203.0.114.7:6443").await, Ok(()));
        assert_eq!(check(listed("203.0.114.7/32:5678"), "203.0.114.7:6443").await, Err(Blocked::Here));
        for other in ["203.0.114.8:9200", "[2a00::8]:6443"] {
            assert_eq!(check(Policy::default(), other).await, Ok(()), "{other}");
        }
    }

    #[tokio::test]
    async fn unresolved_service_keeps_its_last_addresses() {
        let guard = guard(&[("10.0.0.5", 5432), ("10.0.0.6", 5672)]);
        let policy = guard.current_policy().await;
        assert_eq!(policy.own, addresses(&["10.0.0.5:5432", "10.0.0.6:5672"]));
        let mut resolved = guard.resolved.lock().await;
        resolved.update(&guard.policy, vec![Vec::new(), addresses(&["10.0.0.7:5672"])]);
        assert_eq!(resolved.policy.own, addresses(&["10.0.0.5:5432", "10.0.0.7:5672"]));
    }

    #[test]
    fn local_addresses_are_recognized() {
        assert!(is_local([127, 0, 0, 1].into()));
        assert!(is_local("::ffff:127.0.0.1".parse().unwrap()));
        assert!(!is_local([192, 0, 2, 1].into()));
    }
}
