//! The HTTP server of a process: health checks and metrics.

mod health;
mod metrics;

use std::{future::IntoFuture as _, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{health::Health, metrics::Metrics};

/// How long open requests may take once the server stops. A client that never finishes its request must not hold
/// up the process.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);

/// The HTTP server could not start.
#[derive(Debug, thiserror::Error)]
#[error("could not listen on {address}; check http.bind")]
pub struct BindError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// A bound server that does not accept requests yet.
#[derive(Debug)]
pub struct Console {
    listener: TcpListener,
    routes: Router,
}

impl Console {
    /// Binds the address, so that a failure shows before anything else starts.
    ///
    /// # Errors
    /// When the address is in use or does not belong to this host.
    pub async fn bind(address: SocketAddr, health: Health, metrics: Arc<Metrics>) -> Result<Self, BindError> {
        let listener = TcpListener::bind(address).await.map_err(|source| BindError { address, source })?;
        Ok(Self { listener, routes: health::routes(health).merge(metrics::routes(metrics)) })
    }

    /// Serves requests until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let served =
            axum::serve(self.listener, self.routes).with_graceful_shutdown(stop.clone().cancelled_owned());
        let drained = async {
            stop.cancelled().await;
            tokio::time::sleep(DRAIN_TIMEOUT).await;
        };
        tokio::select! {
            served = served.into_future() => if let Err(error) = served {
                tracing::error!(error = crate::telemetry::chain(&error), "the HTTP server stopped unexpectedly");
            },
            () = drained => {}
        }
    }
}
