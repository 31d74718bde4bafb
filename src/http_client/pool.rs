//! Connections that wait for their next request: of one origin, the last used first.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use url::{Host, Url};

use super::{connection::Connection, tls::TlsSetup};

/// How long an idle connection is kept. Shorter than the usual 5 s of servers: a request on a
/// connection that the server is closing is a failed attempt.
const IDLE: Duration = Duration::from_secs(4);
/// How old a connection gets. Then the name is resolved and judged anew, whatever its address is now.
const MAX_AGE: Duration = Duration::from_mins(3);
/// Most idle connections of one origin.
const MAX_OF_ORIGIN: usize = 1024;
/// Most idle connections of all.
const MAX_OF_ALL: usize = 2048;
/// How often connections are looked at that nobody asks for.
const SWEEP: Duration = Duration::from_secs(1);

/// Whom a connection leads to, and with what credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct Origin {
    pub(super) host: Host,
    pub(super) port: u16,
    /// `None` for `http`.
    pub(super) tls: Option<TlsSetup>,
}

impl Origin {
    /// The origin of an `http` or `https` URL.
    pub(super) fn of(url: &Url, tls: &TlsSetup) -> Option<Self> {
        let tls = (url.scheme() == "https").then(|| tls.clone());
        Some(Self { host: url.host()?.to_owned(), port: url.port_or_known_default()?, tls })
    }
}

/// The idle connections of a client.
#[derive(Default)]
pub(super) struct Pool {
    idle: Mutex<Idle>,
}

#[derive(Default)]
struct Idle {
    /// No list is empty.
    by_origin: HashMap<Origin, Vec<Kept>>,
    count: usize,
    /// Whether a task looks at what nobody asks for.
    is_swept: bool,
}

/// Ordered by `since` in its list.
struct Kept {
    connection: Connection,
    since: Instant,
}

impl Kept {
    fn is_fresh(&self) -> bool {
        self.since.elapsed() < IDLE && self.connection.opened.elapsed() < MAX_AGE
    }
}

impl Pool {
    /// A connection to this origin. The receiver may have closed it meanwhile.
    pub(super) fn take(&self, origin: &Origin) -> Option<Connection> {
        let mut idle = self.lock();
        let list = idle.by_origin.get_mut(origin)?;
        let (mut taken, mut found) = (0, None);
        while let Some(kept) = list.pop() {
            taken += 1;
            if kept.is_fresh() {
                found = Some(kept.connection);
                break;
            }
        }
        if list.is_empty() {
            idle.by_origin.remove(origin);
        }
        idle.count = idle.count.saturating_sub(taken);
        found
    }

    /// Keeps a connection for its next request, where there is room for it.
    pub(super) fn keep(self: &Arc<Self>, origin: Origin, connection: Connection) {
        let mut idle = self.lock();
        if idle.count >= MAX_OF_ALL {
            return;
        }
        let list = idle.by_origin.entry(origin).or_default();
        if list.len() >= MAX_OF_ORIGIN {
            return;
        }
        list.push(Kept { connection, since: Instant::now() });
        idle.count += 1;
        if !std::mem::replace(&mut idle.is_swept, true) {
            // Not on a tracker: there is nothing that it would have to finish.
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes what has waited for too long. Whether anything is left.
    fn close_stale(&self) -> bool {
        let mut idle = self.lock();
        idle.by_origin.retain(|_, list| {
            list.retain(Kept::is_fresh);
            !list.is_empty()
        });
        idle.count = idle.by_origin.values().map(Vec::len).sum();
        idle.is_swept = idle.count > 0;
        idle.is_swept
    }
}

/// Runs until nothing is left.
async fn sweep(pool: Weak<Pool>) {
    loop {
        tokio::time::sleep(SWEEP).await;
        if !pool.upgrade().is_some_and(|pool| pool.close_stale()) {
            return;
        }
    }
}
