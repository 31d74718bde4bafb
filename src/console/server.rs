//! Accepts connections, and limits what they cost: head size, time and number.

use std::{
    convert::Infallible,
    pin::{Pin, pin},
    sync::Arc,
    time::Duration,
};

use axum::{Router, response::Response};
use hyper::{Request, body::Incoming, server::conn::http1, service::Service};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    connections::{Connection, Connections, Peer},
    write_timeout::WriteTimeout,
};

/// The pause after a failed accept, for example because file descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What connections may cost.
#[derive(Clone, Copy)]
pub(super) struct Limits {
    /// Maximum number of connections. Beyond that, others are closed.
    pub(super) connections: usize,
    /// Maximum size of a request's head; more is answered with 431.
    pub(super) head: usize,
    /// How long a head may take to arrive, and a connection may be idle.
    pub(super) head_timeout: Duration,
    /// How long a client may accept nothing of an answer.
    pub(super) write_timeout: Duration,
    /// How long open requests may take after the stop.
    pub(super) drain: Duration,
}

/// Serves requests until `stop`, then waits for open ones.
pub(super) async fn serve(listener: TcpListener, routes: Router, stop: CancellationToken, limits: Limits) {
    let connections = Connections::new(limits.connections);
    let tasks = TaskTracker::new();
    while let Some((stream, connection)) = accept(&listener, &connections, &stop).await {
        let (routes, stop) = (routes.clone(), stop.clone());
        tasks.spawn(converse(stream, connection, routes, stop, limits));
    }
    // A client that connects now is refused, and may ask another process.
    drop(listener);
    tasks.close();
    if timeout(limits.drain, tasks.wait()).await.is_err() {
        tracing::info!("open requests outlasted the stop of the HTTP server");
    }
}

/// The next connection, with its place; `None` at the stop.
async fn accept(
    listener: &TcpListener,
    connections: &Connections,
    stop: &CancellationToken,
) -> Option<(TcpStream, Connection)> {
    loop {
        match stop.run_until_cancelled(listener.accept()).await? {
            Ok((stream, address)) => {
                let connection = stop.run_until_cancelled(connections.admit(Peer::from(address))).await??;
                return Some((stream, connection));
            }
            Err(error) => {
                tracing::warn!(error = crate::telemetry::chain(&error), "could not accept a connection");
                stop.run_until_cancelled(sleep(ACCEPT_PAUSE)).await?;
            }
        }
    }
}

/// Answers the requests of one connection, one after the other.
async fn converse(
    stream: TcpStream,
    connection: Connection,
    routes: Router,
    stop: CancellationToken,
    limits: Limits,
) {
    // A response is written at once, so waiting for more to send gains nothing.
    let _ = stream.set_nodelay(true);
    let stream = TokioIo::new(WriteTimeout::new(stream, limits.write_timeout));
    let leave = connection.leave.clone();
    let service = Served { routes: TowerToHyperService::new(routes), connection: Arc::new(connection) };
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.head_timeout).max_header_size(limits.head);
    let mut conversation = pin!(http.serve_connection(stream, service));
    let ended = tokio::select! {
        ended = conversation.as_mut() => ended,
        () = leave.cancelled() => return,
        () = stop.cancelled() => {
            conversation.as_mut().graceful_shutdown();
            conversation.await
        }
    };
    // The client's fault, or it disconnected; the next request has its own connection.
    if let Err(error) = ended {
        tracing::debug!(error = crate::telemetry::chain(&error), "a connection ended early");
    }
}

/// The routes for one connection. Each request learns its [`Peer`].
struct Served {
    routes: TowerToHyperService<Router>,
    connection: Arc<Connection>,
}

impl Service<Request<Incoming>> for Served {
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.connection.peer);
        self.connection.begin();
        let (connection, answer) = (Arc::clone(&self.connection), self.routes.call(request));
        Box::pin(async move {
            let answer = answer.await;
            connection.end();
            answer
        })
    }
}

#[cfg(test)]
mod tests {
    use axum::{body::Body, routing::get};
    use bytes::Bytes;
    use futures_util::stream;
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpSocket,
        task::JoinHandle,
    };

    use super::*;

    const LIMITS: Limits = Limits {
        connections: 4,
        head: 8 << 10,
        head_timeout: Duration::from_hours(1),
        write_timeout: Duration::from_hours(1),
        drain: Duration::from_secs(1),
    };

    /// Serves a short answer at `/`, and one without an end at `/endless`.
    async fn server(limits: Limits) -> (std::net::SocketAddr, JoinHandle<()>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let endless = || stream::repeat_with(|| Ok::<_, Infallible>(Bytes::from_static(&[b'x'; 1 << 12])));
        let routes = Router::new()
            .route("/", get(async || "short"))
            .route("/endless", get(async move || Body::from_stream(endless())));
        (address, tokio::spawn(serve(listener, routes, CancellationToken::new(), limits)))
    }

    async fn connect(from: [u8; 4], to: std::net::SocketAddr) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        socket.connect(to).await.unwrap()
    }

    async fn ask(stream: &mut TcpStream, path: &str) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
    }

    async fn answer(mut stream: TcpStream) -> String {
        ask(&mut stream, "/").await;
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn others_are_answered_while_one_peer_has_taken_all_places() {
        let (address, server) = server(LIMITS).await;
        let mut greedy = Vec::new();
        for _ in 0..LIMITS.connections {
            greedy.push(connect([127, 0, 0, 2], address).await);
        }
        // Some of them do not read what they asked for.
        for stream in &mut greedy[..2] {
            ask(stream, "/endless").await;
        }
        for from in [[127, 0, 0, 1], [127, 0, 0, 1], [127, 0, 0, 2]] {
            assert!(answer(connect(from, address).await).await.ends_with("short"));
        }
        server.abort();
    }

    #[tokio::test]
    async fn connection_whose_client_does_not_read_is_closed() {
        let (address, server) =
            server(Limits { connections: 1, write_timeout: Duration::from_millis(1), ..LIMITS }).await;
        let mut stream = connect([127, 0, 0, 1], address).await;
        ask(&mut stream, "/endless").await;
        // Nothing is read until the server has given up: then what it wrote has an end.
        let closed = async {
            loop {
                if stream.write_all(b"x").await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(Duration::from_mins(1), closed).await.unwrap();
        server.abort();
    }
}
