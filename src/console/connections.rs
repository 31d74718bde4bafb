//! The open connections: how many there may be, and which one is closed when a new one needs its place.
//!
//! A new connection is never refused. The peer with the most connections loses the one that has waited longest for
//! its client. So a client that opens hundreds of connections closes its own, and probes are still answered.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

/// Minimum time between two warnings that places have run out.
const WARNING_INTERVAL: Duration = Duration::from_mins(1);

/// Who is on the other end: an IPv4 address, or the first 64 bits of an IPv6 address, within which one host may choose any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Peer(IpAddr);

impl From<SocketAddr> for Peer {
    fn from(address: SocketAddr) -> Self {
        match address.ip().to_canonical() {
            IpAddr::V6(address) => Self(Ipv6Addr::from(u128::from(address) >> 64 << 64).into()),
            address @ IpAddr::V4(_) => Self(address),
        }
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "{address}/64"),
        }
    }
}

/// All open connections.
pub(super) struct Connections {
    places: Arc<Semaphore>,
    open: Arc<Mutex<Open>>,
}

#[derive(Default)]
struct Open {
    /// Grows with each arrival and each request.
    turn: u64,
    entries: HashMap<u64, Entry>,
    warned_at: Option<Instant>,
}

struct Entry {
    peer: Peer,
    /// Whether a request is being processed. Otherwise the connection waits for its client.
    is_busy: bool,
    /// The turn of its last request, or of its arrival.
    since: u64,
    leave: CancellationToken,
}

/// An open connection. It has a place until it is dropped.
pub(super) struct Connection {
    id: u64,
    pub(super) peer: Peer,
    /// Canceled once another connection needs the place.
    pub(super) leave: CancellationToken,
    open: Arc<Mutex<Open>>,
    _place: OwnedSemaphorePermit,
}

impl Connections {
    pub(super) fn new(places: usize) -> Self {
        Self { places: Arc::new(Semaphore::new(places)), open: Arc::default() }
    }

    /// A place for a new connection. If none is free, another connection is closed. `None` never happens: the places are
    /// never closed.
    pub(super) async fn admit(&self, peer: Peer) -> Option<Connection> {
        let place = if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            place
        } else {
            lock(&self.open).dismiss();
            Arc::clone(&self.places).acquire_owned().await.ok()?
        };
        let leave = CancellationToken::new();
        let id = lock(&self.open).enter(peer, leave.clone());
        Some(Connection { id, peer, leave, open: Arc::clone(&self.open), _place: place })
    }
}

impl Open {
    fn enter(&mut self, peer: Peer, leave: CancellationToken) -> u64 {
        self.turn += 1;
        self.entries.insert(self.turn, Entry { peer, is_busy: false, since: self.turn, leave });
        self.turn
    }

    /// Closes one connection.
    fn dismiss(&mut self) {
        let mut counts: HashMap<Peer, usize> = HashMap::new();
        for connection in self.entries.values() {
            *counts.entry(connection.peer).or_default() += 1;
        }
        let most = counts.values().copied().max().unwrap_or_default();
        let of_largest =
            self.entries.iter().filter(|(_, connection)| counts.get(&connection.peer) == Some(&most));
        let longest = of_largest.min_by_key(|(_, connection)| (connection.is_busy, connection.since));
        let Some(connection) = longest.map(|(id, _)| *id).and_then(|id| self.entries.remove(&id)) else {
            return;
        };
        connection.leave.cancel();
        if self.warned_at.is_none_or(|at| at.elapsed() > WARNING_INTERVAL) {
            self.warned_at = Some(Instant::now());
            let peer = connection.peer;
            tracing::warn!(
                %peer,
                connections = most,
                "too many connections to the HTTP server; closing those of {peer}, which has {most}"
            );
        }
    }

    fn mark(&mut self, id: u64, is_busy: bool) {
        self.turn += 1;
        let turn = self.turn;
        if let Some(connection) = self.entries.get_mut(&id) {
            (connection.is_busy, connection.since) = (is_busy, turn);
        }
    }
}

impl Connection {
    /// A request begins.
    pub(super) fn begin(&self) {
        lock(&self.open).mark(self.id, true);
    }

    /// Its answer is ready to be sent.
    pub(super) fn end(&self) {
        lock(&self.open).mark(self.id, false);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        lock(&self.open).entries.remove(&self.id);
    }
}

fn lock(open: &Mutex<Open>) -> std::sync::MutexGuard<'_, Open> {
    open.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(number: u8) -> Peer {
        Peer(IpAddr::from([192, 0, 2, number]))
    }

    /// Drops the connections that are to be closed, until the newcomer has its place.
    async fn admit(connections: &Connections, present: &mut Vec<Connection>, number: u8) -> Vec<u8> {
        let arrives = connections.admit(peer(number));
        tokio::pin!(arrives);
        let mut left = Vec::new();
        loop {
            if let std::task::Poll::Ready(connection) = futures_util::poll!(arrives.as_mut()) {
                present.push(connection.unwrap());
                return left;
            }
            let leaving = |connection: &mut Connection| connection.leave.is_cancelled();
            left.extend(present.extract_if(.., leaving).map(|connection| match connection.peer.0 {
                IpAddr::V4(address) => address.octets()[3],
                IpAddr::V6(_) => 0,
            }));
        }
    }

    #[tokio::test]
    async fn peer_with_the_most_connections_gives_one_up() {
        let (connections, mut present) = (Connections::new(4), Vec::new());
        for number in [1, 2, 2, 2] {
            assert!(admit(&connections, &mut present, number).await.is_empty());
        }
        assert_eq!(admit(&connections, &mut present, 3).await, [2]);
        // Two of 2, one each of 1 and 3.
        assert_eq!(admit(&connections, &mut present, 2).await, [2]);
        assert_eq!(admit(&connections, &mut present, 1).await, [2]);
        let mut peers: Vec<Peer> = present.iter().map(|connection| connection.peer).collect();
        peers.sort_by_key(|peer| peer.0);
        assert_eq!(peers, [peer(1), peer(1), peer(2), peer(3)]);
    }

    #[tokio::test]
    async fn connection_that_waits_longest_for_its_client_leaves_first() {
        let (connections, mut present) = (Connections::new(3), Vec::new());
        for _ in 0..3 {
            admit(&connections, &mut present, 1).await;
        }
        let ids: Vec<u64> = present.iter().map(|connection| connection.id).collect();
        present[0].begin();
        present[1].begin();
        present[1].end();
        let mut is_left = async |connections: &Connections| {
            admit(connections, &mut present, 1).await;
            let left: Vec<bool> =
                ids.iter().map(|id| present.iter().all(|connection| connection.id != *id)).collect();
            left
        };
        assert_eq!(is_left(&connections).await, [false, false, true]);
        assert_eq!(is_left(&connections).await, [false, true, true]);
    }

    #[test]
    fn one_host_with_many_addresses_is_one_peer() {
        let peer = |text: &str| Peer::from(SocketAddr::new(text.parse().unwrap(), 1));
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_eq!(peer("::ffff:192.0.2.1"), peer("192.0.2.1"));
        assert_ne!(peer("2001:db8:0:1::1"), peer("2001:db8::1"));
        assert_eq!(peer("2001:db8::1").to_string(), "2001:db8::/64");
    }
}
