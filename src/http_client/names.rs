//! Resolves host names with the system's resolver, which ties up a thread per lookup and cannot be interrupted.
//!
//! A name is looked up once at a time, however many requests wait for it, and all of them share the result. Nothing
//! is cached, so each new connection sees the current addresses. The number of concurrent lookups is limited, and a
//! company may have as many as there are free places, so names that hang leave places for others. A lookup keeps its
//! place until its thread ends, even if nobody waits for it any more.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::{Notify, watch};

/// Looks a name up and blocks meanwhile. The ports of the addresses have no meaning.
type Lookup = dyn Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync;

/// The addresses of a name; `None` if it has none.
type Addresses = Option<Arc<[SocketAddr]>>;

/// Resolves names for one purpose. Cheap to clone; clones share their places.
#[derive(Clone)]
pub(super) struct Names {
    lookup: Arc<Lookup>,
    /// Maximum number of lookups at once.
    places: usize,
    running: Arc<Running>,
}

#[derive(Default)]
struct Running {
    state: Mutex<State>,
    /// Notified when a lookup has ended.
    freed: Notify,
}

#[derive(Default)]
struct State {
    /// The names that are being looked up.
    names: HashMap<String, watch::Receiver<Option<Addresses>>>,
    /// How many of them each company asked for first.
    companies: HashMap<String, usize>,
}

/// What a request for a name has to do.
enum Step {
    Join(watch::Receiver<Option<Addresses>>),
    WaitForAPlace,
}

impl Names {
    /// Uses the system's resolver, with at most `places` threads at once.
    pub(super) fn new(places: usize) -> Self {
        Self::with(places, |name| Ok((name, 0).to_socket_addrs()?.collect()))
    }

    /// Uses another resolver.
    pub(super) fn with(
        places: usize,
        lookup: impl Fn(&str) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self { lookup: Arc::new(lookup), places, running: Arc::default() }
    }

    /// The addresses of a name with this port; empty if it has none. Waits as long as the resolver takes, and before that
    /// for a place, so the caller needs a deadline.
    pub(super) async fn resolve(&self, company: &str, name: &str, port: u16) -> Vec<SocketAddr> {
        loop {
            // Before checking the places, or it would miss one that becomes free in between.
            let freed = self.running.freed.notified();
            match self.step(company, name) {
                Step::Join(mut found) => {
                    // An error means that the lookup panicked.
                    let found = found.wait_for(Option::is_some).await.ok();
                    let addresses = found.and_then(|found| found.clone().flatten());
                    let with_port = |address: &SocketAddr| {
                        let mut address = *address;
                        address.set_port(port);
                        address
                    };
                    return addresses.iter().flat_map(|addresses| addresses.iter().map(with_port)).collect();
                }
                Step::WaitForAPlace => freed.await,
            }
        }
    }

    /// Joins the lookup of this name, or starts one if there is a place.
    fn step(&self, company: &str, name: &str) -> Step {
        let mut state = self.running.state();
        if let Some(found) = state.names.get(name) {
            return Step::Join(found.clone());
        }
        let free = self.places.saturating_sub(state.names.len());
        let of_company = state.companies.get(company).copied().unwrap_or_default();
        if of_company >= free {
            return Step::WaitForAPlace;
        }
        let (sender, found) = watch::channel(None);
        state.names.insert(name.to_owned(), found.clone());
        *state.companies.entry(company.to_owned()).or_default() += 1;
        drop(state);
        let place =
            Place { running: Arc::clone(&self.running), company: company.to_owned(), name: name.to_owned() };
        let lookup = Arc::clone(&self.lookup);
        // Not tracked: it cannot be interrupted, and its result may be unneeded.
        tokio::task::spawn_blocking(move || {
            let addresses = lookup(&place.name).ok().filter(|addresses| !addresses.is_empty());
            drop(place);
            sender.send_replace(Some(addresses.map(Arc::from)));
        });
        Step::Join(found)
    }
}

impl Running {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one lookup. It belongs to the thread, not to the requests that wait.
struct Place {
    running: Arc<Running>,
    company: String,
    name: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.running.state();
        state.names.remove(&self.name);
        if let Entry::Occupied(mut company) = state.companies.entry(self.company.clone()) {
            *company.get_mut() -= 1;
            if *company.get() == 0 {
                company.remove();
            }
        }
        drop(state);
        self.running.freed.notify_waiters();
    }
}

#[cfg(test)]
mod tests;
