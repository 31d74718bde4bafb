//! Names that hang until a test releases them.

use std::{
    sync::{
        Condvar,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{future::join_all, poll};
use tokio::{task::JoinHandle, time::timeout};

use super::*;

/// Only a failure uses it.
const WAIT_TIMEOUT: Duration = Duration::from_mins(2);

/// A resolver for which names that begin with `slow` hang until it is dropped.
struct Resolver {
    names: Names,
    hung: Arc<Hung>,
}

#[derive(Default)]
struct Hung {
    started: AtomicUsize,
    is_over: Mutex<bool>,
    over: Condvar,
}

impl Resolver {
    fn new(places: usize) -> Self {
        let hung = Arc::new(Hung::default());
        let here = Arc::clone(&hung);
        let lookup = move |name: &str| {
            here.started.fetch_add(1, Ordering::SeqCst);
            if name.starts_with("slow") {
                let is_over = here.is_over.lock().unwrap();
                drop(here.over.wait_while(is_over, |is_over| !*is_over).unwrap());
            }
            if name.starts_with("none") { Ok(Vec::new()) } else { Ok(vec!["192.0.2.1:0".parse().unwrap()]) }
        };
        Self { names: Names::with(places, lookup), hung }
    }

    fn started(&self) -> usize {
        self.hung.started.load(Ordering::SeqCst)
    }

    async fn started_are(&self, count: usize) {
        let started = async {
            while self.started() != count {
                tokio::task::yield_now().await;
            }
        };
        assert!(timeout(WAIT_TIMEOUT, started).await.is_ok(), "{} of {count} lookups", self.started());
    }

    async fn resolve(&self, company: &str, name: &str) -> Vec<SocketAddr> {
        timeout(WAIT_TIMEOUT, self.names.resolve(company, name, 443)).await.expect("a result")
    }

    /// Asks for this many names that hang.
    fn spawn(&self, company: &'static str, count: usize) -> Vec<JoinHandle<Vec<SocketAddr>>> {
        let one = |n: usize| {
            let names = self.names.clone();
            tokio::spawn(async move { names.resolve(company, &format!("slow-{company}-{n}"), 443).await })
        };
        (0..count).map(one).collect()
    }

    fn release(&self) {
        *self.hung.is_over.lock().unwrap() = true;
        self.hung.over.notify_all();
    }
}

impl Drop for Resolver {
    /// The runtime waits for its threads.
    fn drop(&mut self) {
        self.release();
    }
}

fn found() -> Vec<SocketAddr> {
    vec!["192.0.2.1:443".parse().unwrap()]
}

#[tokio::test]
async fn hanging_names_leave_places_for_other_companies() {
    let resolver = Resolver::new(64);
    let greedy = resolver.spawn("greedy", 600);
    resolver.started_are(32).await;
    assert_eq!(resolver.resolve("modest", "works").await, found());
    // Another company whose names hang gets half of what is left.
    let other = resolver.spawn("other", 600);
    resolver.started_are(32 + 1 + 16).await;
    assert_eq!(resolver.resolve("modest", "works").await, found());
    resolver.release();
    let all = timeout(WAIT_TIMEOUT, join_all(greedy.into_iter().chain(other))).await.unwrap();
    assert!(all.into_iter().all(|addresses| addresses.unwrap() == found()));
    assert_eq!(resolver.started(), 600 + 600 + 2);
}

#[tokio::test]
async fn requests_for_one_name_share_a_lookup() {
    let resolver = Resolver::new(8);
    let mut waiting: Vec<_> =
        ["a", "a", "b", "c"].map(|company| Box::pin(resolver.names.resolve(company, "slow", 443))).into();
    for one in &mut waiting {
        assert!(poll!(one).is_pending());
    }
    resolver.started_are(1).await;
    resolver.release();
    let all = timeout(WAIT_TIMEOUT, join_all(waiting)).await.unwrap();
    assert_eq!((all, resolver.started()), (vec![found(); 4], 1));
    assert_eq!(resolver.resolve("a", "slow").await, found());
    assert_eq!(resolver.started(), 2, "no result is kept");
}

/// The deadline of a request drops its future, but the thread continues.
#[tokio::test]
async fn request_that_gives_up_frees_no_place() {
    let resolver = Resolver::new(2);
    let mut first = Box::pin(resolver.names.resolve("acme", "slow-1", 443));
    assert!(poll!(&mut first).is_pending());
    resolver.started_are(1).await;
    drop(first);
    let mut second = Box::pin(resolver.names.resolve("acme", "slow-2", 443));
    assert!(poll!(&mut second).is_pending());
    assert_eq!(resolver.names.running.state().names.keys().collect::<Vec<_>>(), ["slow-1"]);
    resolver.release();
    assert_eq!(timeout(WAIT_TIMEOUT, second).await.unwrap(), found());
}

#[tokio::test]
async fn name_without_addresses_and_lookup_that_panics_free_their_places() {
    let resolver = Resolver::new(1);
    for name in ["none-1", "none-2", "none-3"] {
        assert_eq!(resolver.resolve("acme", name).await, []);
    }
    let names = Names::with(1, |_| panic!("a defect"));
    for name in ["a", "b", "c"] {
        assert_eq!(timeout(WAIT_TIMEOUT, names.resolve("acme", name, 443)).await.unwrap(), []);
    }
}

#[tokio::test]
async fn system_resolver_knows_localhost() {
    let addresses = Names::new(1).resolve("acme", "localhost", 5672).await;
    assert!(!addresses.is_empty());
    assert!(
        addresses.iter().all(|address| address.ip().is_loopback() && address.port() == 5672),
        "{addresses:?}"
    );
}
