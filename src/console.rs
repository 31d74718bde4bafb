//! The HTTP server of a process: health checks, metrics, the API and the console.
//!
//! Every route of the API and the console comes from one table (`route`), which says who may use it. Health checks
//! and metrics are open and not in the table. Nothing here decides what an operator's change does; `operator` does.

mod api;
mod body;
mod caller;
mod connections;
mod decision;
mod health;
mod idempotency;
mod keyring;
mod metrics;
mod origin;
mod pages;
mod problem;
mod released_keys;
mod reply;
mod route;
mod server;
mod shared;
mod sign_in;
mod sign_in_throttle;
mod spans;
mod transfer;
mod upload;
mod write_timeout;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    extract::Request,
    http::Method,
    middleware::{Next, from_fn, from_fn_with_state},
    response::Response,
};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::{
    keyring::Keyring,
    problem::{Kind as ProblemKind, Problem},
    route::Route,
    server::Limits,
    shared::{MAX_PREVIEWS, Shared},
    sign_in_throttle::SignInThrottle,
};
use crate::{
    health::Health,
    metrics::{Metrics, Pool},
    postgres::Database,
    settings::Settings,
    telemetry::traces::Traces,
    workers::queue_depths::Depths,
};

pub use keyring::OneTimeCode;
pub use route::{Face, Kind, RouteInfo};

/// What connections may cost. A client that never finishes its request must not hold up the stop of the process.
const LIMITS: Limits = Limits {
    connections: 512,
    head: 32 << 10,
    head_timeout: Duration::from_secs(30),
    write_timeout: Duration::from_secs(20),
    drain: Duration::from_secs(2),
};

/// The HTTP server could not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is in use, or does not belong to this host.
    #[error("could not listen on {address}; check http.bind")]
    Listen {
        /// Setting `http.bind`.
        address: SocketAddr,
        /// The cause.
        #[source]
        source: std::io::Error,
    },
    /// The database has no address.
    #[error("postgres.url is not an address")]
    Database(#[from] sqlx::Error),
}

/// A bound server that does not accept requests yet.
pub struct Console {
    listener: TcpListener,
    routes: Router,
    changes: TaskTracker,
}

impl Console {
    /// Binds `http.bind`, so that a failure shows before anything else starts. `link` opens the console once.
    ///
    /// # Errors
    /// When the address is in use or does not belong to this host, or `postgres.url` is not an address.
    pub async fn bind(
        settings: Arc<Settings>,
        link: Option<&OneTimeCode>,
        health: Health,
        queue_depths: watch::Receiver<Depths>,
        metrics: Arc<Metrics>,
        traces: Traces,
    ) -> Result<Self, BindError> {
        let address = settings.http.bind;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| BindError::Listen { address, source })?;
        let database = Database::for_console(&settings.postgres)?;
        let for_long_changes = Database::for_long_changes(&settings.postgres)?;
        for (pool, database) in [(Pool::Console, &database), (Pool::ConsoleChanges, &for_long_changes)] {
            let counted = database.clone();
            metrics.watch_pool(pool, database.max_connections(), move || counted.connections());
        }
        let keyring = Arc::new(Keyring::new(&settings.http.tokens, link));
        let changes = TaskTracker::new();
        let shared = Shared {
            settings,
            database,
            for_long_changes,
            keyring,
            sign_in_throttle: Arc::new(SignInThrottle::new(Arc::clone(&metrics))),
            health: health.clone(),
            queue_depths,
            changes: changes.clone(),
            released_keys: Arc::default(),
            previews: Arc::new(Semaphore::new(MAX_PREVIEWS)),
        };
        let open = health::routes(health).merge(metrics::routes(metrics)).layer(from_fn(origin::open));
        let guarded = guarded(&shared).layer(from_fn_with_state(traces, spans::record));
        Ok(Self { listener, routes: guarded.merge(open), changes })
    }

    /// Serves requests until `stop`. Then waits for changes that have begun, even if their clients are long gone.
    pub async fn run(self, stop: CancellationToken) {
        server::serve(self.listener, self.routes, stop, LIMITS).await;
        self.changes.close();
        self.changes.wait().await;
    }
}

/// What a route is, for tests that go through all of them.
#[must_use]
pub fn routes() -> Vec<RouteInfo> {
    table().into_iter().map(|route| route.info).collect()
}

fn table() -> Vec<Route> {
    [sign_in::routes(), api::routes(), pages::routes()].into_iter().flatten().collect()
}

/// The API and the console.
fn guarded(shared: &Shared) -> Router {
    let unknown = async || Problem::new(ProblemKind::NotFound, "there is no such address");
    let other_method = async || Problem::new(ProblemKind::MethodNotAllowed, "this address has other methods");
    route::router(table(), shared)
        .fallback(unknown)
        .method_not_allowed_fallback(other_method)
        .layer(from_fn_with_state(shared.clone(), origin::guard))
        .layer(from_fn(dress))
}

/// Turns a problem into a page for a client that asked for a page. The API answers JSON only.
async fn dress(request: Request, next: Next) -> Response {
    if request.uri().path().starts_with("/api/") {
        return next.run(request).await;
    }
    let (asked, is_form) = (request.headers().clone(), request.method() == Method::POST);
    pages::problem(&asked, is_form, next.run(request).await)
}
