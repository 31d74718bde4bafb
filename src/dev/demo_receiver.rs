//! A webhook receiver on loopback that keeps the requests it receives and answers as their path asks.
//!
//! It stands in for a stranger's server in `dev` and in tests, so nothing here knows the service.

mod email;
mod slack;

use std::{
    io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse as _, Response},
};
use slack::Slack;
use tokio::{net::TcpListener, sync::watch, task::AbortHandle, time::timeout};

/// Bytes of a body; a longer one is answered with 413.
const MAX_BODY: usize = 4 * 1024 * 1024;

/// One request as it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Received {
    /// HTTP method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Received {
    /// The value of a header, if it is present and text.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not JSON.
    pub fn json(&self) -> serde_json::Result<serde_json::Value> {
        serde_json::from_slice(&self.body)
    }
}

/// The running receiver. It stops when this is dropped.
///
/// The path decides the response. Requests are counted per whole path.
///
/// - `/status/503`: this status; `/status/410/1`: this status once, then 200.
/// - `/flaky/2`: 503 twice, then 200.
/// - `/slow/250`: 200 after 250 ms.
/// - `/held`: 200 once [`DemoReceiver::release`] has been called.
/// - `/hang`: no response.
/// - `/retry-after/7`: 429 with this `Retry-After`; `/retry-after/7/2`: the same twice, then 200.
/// - `/redirect`: 302 to `/redirected`.
/// - `/slack/…`: like one of Slack's incoming webhooks, which accept one message per second; `/slack/gone`: like
///   one that was removed.
/// - `/email/…`: like a service that sends email.
/// - Any other path: 200.
#[derive(Debug)]
pub struct DemoReceiver {
    address: SocketAddr,
    received: watch::Receiver<Vec<Received>>,
    released: Arc<watch::Sender<bool>>,
    server: AbortHandle,
}

#[derive(Clone)]
struct Shared {
    received: Arc<watch::Sender<Vec<Received>>>,
    released: Arc<watch::Sender<bool>>,
    slack: Arc<Slack>,
}

impl DemoReceiver {
    /// Starts a receiver on a free port of 127.0.0.1, on the current runtime.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (sender, received) = watch::channel(Vec::new());
        let released = Arc::new(watch::Sender::new(false));
        let (received_here, slack) = (Arc::new(sender), Arc::default());
        let shared = Shared { received: received_here, released: Arc::clone(&released), slack };
        let router = Router::new().fallback(receive).with_state(shared);
        let server = tokio::spawn(async move { axum::serve(listener, router).await }).abort_handle();
        Ok(Self { address, received, released, server })
    }

    /// The URL of a path, which begins with `/`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Answers the requests waiting at `/held`; from now on requests there are answered at once.
    pub fn release(&self) {
        self.released.send_replace(true);
    }

    /// All requests so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Received> {
        self.received.borrow().clone()
    }

    /// Waits until the requests so far satisfy `condition`; `None` after `limit`.
    pub async fn wait_for(
        &self,
        limit: Duration,
        mut condition: impl FnMut(&[Received]) -> bool,
    ) -> Option<Vec<Received>> {
        let mut received = self.received.clone();
        let satisfied = timeout(limit, received.wait_for(|all| condition(all))).await;
        satisfied.ok()?.ok().map(|all| all.clone())
    }
}

impl Drop for DemoReceiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(State(shared): State<Shared>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
    let Ok(body) = to_bytes(body, MAX_BODY).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let received = Received { method: parts.method, path: path.clone(), headers: parts.headers, body };
    let imitated = match path.split('/').nth(1) {
        Some("slack") => Some(shared.slack.answer(&received, Instant::now())),
        Some("email") => Some(email::answer(&received)),
        _ => None,
    };
    let mut earlier = 0;
    shared.received.send_modify(|all| {
        earlier = all.iter().filter(|other| other.path == path).count();
        all.push(received);
    });
    match imitated {
        Some(answer) => answer,
        None => answer(&path, earlier, shared.released.subscribe()).await,
    }
}

async fn answer(path: &str, earlier: usize, mut released: watch::Receiver<bool>) -> Response {
    let mut segments = path.split(['/', '?']).skip(1);
    let (behavior, argument) = (segments.next().unwrap_or_default(), segments.next().unwrap_or_default());
    let is_over =
        segments.next().is_some_and(|times| times.parse().is_ok_and(|times: usize| earlier >= times));
    match behavior {
        "status" | "retry-after" if is_over => "received".into_response(),
        "status" => argument.parse().unwrap_or(StatusCode::BAD_REQUEST).into_response(),
        "flaky" if argument.parse().is_ok_and(|failures: usize| earlier < failures) => {
            StatusCode::SERVICE_UNAVAILABLE.into_response()
        }
        "slow" => {
            tokio::time::sleep(Duration::from_millis(argument.parse().unwrap_or_default())).await;
            StatusCode::OK.into_response()
        }
        "held" => {
            // An error means that the receiver is gone, and nothing can release the request.
            let _ = released.wait_for(|released| *released).await;
            StatusCode::OK.into_response()
        }
        "hang" => std::future::pending().await,
        "retry-after" => {
            let wait = [(header::RETRY_AFTER, argument.to_owned())];
            (StatusCode::TOO_MANY_REQUESTS, wait, "too many requests").into_response()
        }
        "redirect" => (StatusCode::FOUND, [(header::LOCATION, "/redirected")]).into_response(),
        _ => "received".into_response(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpStream,
    };

    use super::*;

    async fn post(receiver: &DemoReceiver, path: &str) -> String {
        let mut stream = TcpStream::connect(receiver.address).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nx-test: yes\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{{}}"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer.to_ascii_lowercase()
    }

    #[tokio::test]
    async fn path_decides_the_response() {
        let receiver = DemoReceiver::start().await.unwrap();
        for (path, status) in [
            ("/ok", "200"),
            ("/status/503", "503"),
            ("/status/nonsense", "400"),
            ("/status/410/1", "410"),
            ("/status/410/1", "200"),
            ("/retry-after/7/1", "429"),
            ("/retry-after/7/1", "200"),
            ("/flaky/2?key=a", "503"),
            ("/flaky/2?key=b", "503"),
            ("/flaky/2?key=a", "503"),
            ("/flaky/2?key=a", "200"),
            ("/flaky/2?key=b", "503"),
            ("/slow/1", "200"),
            ("/redirect", "302"),
        ] {
            let answer = post(&receiver, path).await;
            assert!(answer.starts_with(&format!("http/1.1 {status} ")), "{path}: {answer}");
        }
        assert!(post(&receiver, "/retry-after/7").await.contains("\r\nretry-after: 7\r\n"));
    }

    #[tokio::test]
    async fn held_request_is_answered_after_release() {
        let receiver = DemoReceiver::start().await.unwrap();
        let held = async {
            let answer = post(&receiver, "/held").await;
            assert!(*receiver.released.borrow(), "{answer}");
            answer
        };
        let release = async {
            receiver.wait_for(Duration::from_mins(2), |all| all.len() == 1).await.unwrap();
            receiver.release();
        };
        let (answer, ()) = tokio::join!(held, release);
        assert!(answer.starts_with("http/1.1 200 "), "{answer}");
    }

    #[tokio::test]
    async fn requests_are_kept() {
        let receiver = DemoReceiver::start().await.unwrap();
        assert_eq!(receiver.wait_for(Duration::ZERO, |all| !all.is_empty()).await, None);
        post(&receiver, "/ok?a=b").await;
        let all = receiver.wait_for(Duration::from_mins(2), |all| all.len() == 1).await.unwrap();
        assert_eq!(all, receiver.requests());
        let first = all.first().unwrap();
        assert_eq!((first.method.as_str(), first.path.as_str()), ("POST", "/ok?a=b"));
        assert_eq!((first.header("x-test"), first.json().unwrap()), (Some("yes"), serde_json::json!({})));
    }
}
