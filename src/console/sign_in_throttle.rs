//! Failed sign-ins are logged, counted and slowed down.
//!
//! Each peer has a burst of failures and then a rate. Further attempts wait, and are refused if they would wait too
//! long. A valid, long token never waits: guessing cannot find one, and its holder may share an address (a proxy)
//! with somebody who fails.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{
    connections::Peer,
    keyring::Bearer,
    problem::{Kind, Problem},
};
use crate::metrics::{Metrics, Proof};

/// How many attempts of a peer may fail before the next ones wait.
const FREE: u32 = 40;

/// The time between two attempts of a peer that has used up the free ones.
const PACE: Duration = Duration::from_millis(250);

/// How long an attempt may wait. One that would wait longer is refused.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// How often a peer's failures are logged.
const LOG_INTERVAL: Duration = Duration::from_mins(1);

/// Maximum number of remembered peers. All others count as one.
const MAX_PEERS: usize = 4096;

/// Maximum number of lines in the log within [`LOG_INTERVAL`].
const MAX_LINES: u32 = 30;

/// Slows down peers whose sign-ins have failed recently.
pub(super) struct SignInThrottle {
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// `None` is the entry of all peers beyond the limit.
    peers: HashMap<Option<Peer>, Record>,
    /// Restarts after [`LOG_INTERVAL`].
    lines: (Option<Instant>, u32),
}

#[derive(Clone, Copy)]
struct Record {
    /// When all failures of the peer will be forgotten. Each failure moves it by [`PACE`].
    forgotten_at: Instant,
    logged_at: Option<Instant>,
    /// Failures since then.
    unlogged: u64,
}

impl SignInThrottle {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { metrics, state: Mutex::default() }
    }

    /// The holder that `find` returns for the token or code.
    ///
    /// # Errors
    /// When `find` returns none, or the peer has failed too often.
    pub(super) async fn admit(
        &self,
        peer: Peer,
        proof: Proof,
        is_long: bool,
        find: impl Fn() -> Option<Bearer>,
    ) -> Result<Bearer, Problem> {
        if is_long && let Some(bearer) = find() {
            return Ok(bearer);
        }
        let now = Instant::now();
        let Some(wait) = self.lock().charge(peer, now) else {
            self.report(peer, proof, now);
            let detail = "too many attempts from this address have failed; try again later";
            return Err(Problem::new(Kind::TooManyAttempts, detail).retry_after(5));
        };
        if !wait.is_zero() {
            sleep(wait).await;
        }
        if let Some(bearer) = find() {
            self.lock().refund(peer);
            return Ok(bearer);
        }
        self.report(peer, proof, now);
        Err(Problem::new(Kind::Unauthenticated, "the token is not valid; see http.tokens"))
    }

    fn report(&self, peer: Peer, proof: Proof, now: Instant) {
        self.metrics.failed_sign_ins.add(proof, 1);
        if let Some(failures) = self.lock().log(peer, now) {
            let with: &str = proof.into();
            tracing::warn!(%peer, with, failures, "a sign-in from {peer} failed");
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts an attempt as a failure, and says how long it must wait; `None` if that would be too long, in which case it does
    /// not count.
    fn charge(&mut self, peer: Peer, now: Instant) -> Option<Duration> {
        let record = self.of(peer, now);
        let forgotten_at = record.forgotten_at.max(now);
        let wait = forgotten_at.saturating_duration_since(now + FREE * PACE);
        let wait = if wait.is_zero() { wait } else { wait + PACE };
        if wait > MAX_WAIT {
            return None;
        }
        record.forgotten_at = forgotten_at + PACE;
        Some(wait)
    }

    /// The attempt has not failed.
    fn refund(&mut self, peer: Peer) {
        let key = if self.peers.contains_key(&Some(peer)) { Some(peer) } else { None };
        if let Some(record) = self.peers.get_mut(&key) {
            record.forgotten_at -= PACE;
        }
    }

    /// How many failures the log has to name now.
    fn log(&mut self, peer: Peer, now: Instant) -> Option<u64> {
        let (since, lines) = self.lines;
        let is_over = since.is_none_or(|since| now.saturating_duration_since(since) > LOG_INTERVAL);
        let (since, lines) = if is_over { (Some(now), 0) } else { (since, lines) };
        let record = self.of(peer, now);
        record.unlogged += 1;
        let is_due = record.logged_at.is_none_or(|at| now.saturating_duration_since(at) > LOG_INTERVAL);
        if !is_due || lines >= MAX_LINES {
            self.lines = (since, lines);
            return None;
        }
        record.logged_at = Some(now);
        let failures = std::mem::take(&mut record.unlogged);
        self.lines = (since, lines + 1);
        Some(failures)
    }

    fn of(&mut self, peer: Peer, now: Instant) -> &mut Record {
        let mut key = Some(peer);
        if !self.peers.contains_key(&key) && self.peers.len() >= MAX_PEERS {
            // Recently logged peers are remembered, too, or the log would name them again.
            self.peers.retain(|_, record| {
                record.forgotten_at > now
                    || record.logged_at.is_some_and(|at| now.saturating_duration_since(at) <= LOG_INTERVAL)
            });
            if self.peers.len() >= MAX_PEERS {
                key = None;
            }
        }
        self.peers.entry(key).or_insert(Record { forgotten_at: now, logged_at: None, unlogged: 0 })
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use super::*;

    fn peer(number: u32) -> Peer {
        Peer::from(SocketAddr::from((std::net::Ipv4Addr::from(number), 1)))
    }

    fn wait(state: &mut State, number: u32, now: Instant) -> Option<Duration> {
        state.charge(peer(number), now)
    }

    #[test]
    fn attempts_wait_after_the_free_ones_and_end_refused() {
        let (mut state, now) = (State::default(), Instant::now());
        for _ in 0..=FREE {
            assert_eq!(wait(&mut state, 1, now), Some(Duration::ZERO));
        }
        let waits: Vec<_> = std::iter::from_fn(|| wait(&mut state, 1, now)).collect();
        assert!(waits.is_sorted() && waits.len() > 3, "{waits:?}");
        assert!(waits.iter().all(|wait| !wait.is_zero() && *wait <= MAX_WAIT), "{waits:?}");
        // Others do not wait, and a refused attempt makes nothing worse.
        assert_eq!(wait(&mut state, 2, now), Some(Duration::ZERO));
        assert!(wait(&mut state, 1, now + PACE).is_some());
        assert_eq!(wait(&mut state, 1, now + Duration::from_mins(1)), Some(Duration::ZERO));
    }

    #[test]
    fn attempt_that_does_not_fail_costs_nothing() {
        let (mut state, now) = (State::default(), Instant::now());
        for _ in 0..10 * FREE {
            assert_eq!(wait(&mut state, 1, now), Some(Duration::ZERO));
            state.refund(peer(1));
        }
    }

    #[test]
    fn failures_are_logged_once_in_a_while() {
        let (mut state, now) = (State::default(), Instant::now());
        assert_eq!(state.log(peer(1), now), Some(1));
        for _ in 0..5 {
            assert_eq!(state.log(peer(1), now), None);
        }
        assert_eq!(state.log(peer(2), now), Some(1));
        let later = now + LOG_INTERVAL + Duration::from_secs(1);
        assert_eq!(state.log(peer(1), later), Some(6));
        let lines = (10..10_000).filter(|number| state.log(peer(*number), later).is_some()).count();
        assert_eq!(lines, MAX_LINES as usize - 1);
    }

    #[test]
    fn peers_without_room_share_a_record() {
        let (mut state, now) = (State::default(), Instant::now());
        for number in 0..20_000 {
            let _ = wait(&mut state, number, now);
        }
        assert!(state.peers.len() <= MAX_PEERS + 1);
        assert_eq!(wait(&mut state, 30_000, now), None);
        assert_eq!(wait(&mut state, 30_000, now + Duration::from_mins(1)), Some(Duration::ZERO));
    }
}
