//! Accepts connections and bounds what one of them may cost: head, time and number.

use std::{pin::pin, sync::Arc, time::Duration};

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Maximum number of connections. Others wait to be accepted.
const MAX_CONNECTIONS: usize = 512;

/// Maximum size of a request's head; more is answered with 431.
const MAX_HEAD: usize = 32 << 10;

/// How long a head may take to arrive, and a connection may be idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// The pause after a failed accept, for example because file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves requests until `stop`, then waits for open ones up to `drain`.
pub(super) async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken, drain: Duration) {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let connections = TaskTracker::new();
    while let Some((stream, place)) = accept(&listener, &places, &stop).await {
        let (routes, stop) = (routes.clone(), stop.clone());
        connections.spawn(async move {
            converse(stream, routes, stop).await;
            drop(place);
        });
    }
    // A client that connects now is refused, and may ask another process.
    drop(listener);
    connections.close();
    if timeout(drain, connections.wait()).await.is_err() {
        tracing::info!("open requests outlasted the stop of the HTTP server");
    }
}

/// The next connection, with its place; `None` at the stop.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
    stop: &CancellationToken,
) -> Option<(TcpStream, OwnedSemaphorePermit)> {
    loop {
        let next = async {
            let place = Arc::clone(places).acquire_owned().await.ok()?;
            Some((listener.accept().await, place))
        };
        match stop.run_until_cancelled(next).await?? {
            (Ok((stream, _)), place) => return Some((stream, place)),
            (Err(error), _) => {
                tracing::warn!(error = crate::telemetry::chain(&error), "could not accept a connection");
                stop.run_until_cancelled(sleep(ACCEPT_PAUSE)).await?;
            }
        }
    }
}

/// Answers the requests of one connection, one after the other.
async fn converse(stream: TcpStream, routes: Router, stop: CancellationToken) {
    // A response is written at once, so nothing is gained by waiting for more to send.
    let _ = stream.set_nodelay(true);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).max_header_size(MAX_HEAD);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes)));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    // The client's fault, or its leaving; the next request has its own connection.
    if let Err(error) = ended {
        tracing::debug!(error = crate::telemetry::chain(&error), "a connection ended early");
    }
}
