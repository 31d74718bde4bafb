//! The webhook receiver, a separate process so that its work does not count as the service's.

use std::{
    collections::HashSet,
    net::SocketAddr,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use axum::{
    Router,
    body::Bytes,
    extract::{ConnectInfo, State},
    http::{HeaderMap, StatusCode},
    routing::{get, post},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

/// The argument that makes this program the receiver.
pub(crate) const COMMAND: &str = "receiver";

/// Precedes the time of publication in an event and in its webhook.
const MARKER: &[u8] = b"\"sentAt\":";

/// The failing address fails one request in so many.
const FAILS_ONCE_IN: usize = 1_000;

/// For requests to arrive after the last event was published.
const ARRIVE: Duration = Duration::from_mins(1);

/// The receiver's records.
#[derive(Clone, Default)]
struct Shared {
    arrivals: Arc<Mutex<Vec<Arrival>>>,
    /// The addresses of all connections.
    peers: Arc<Mutex<HashSet<SocketAddr>>>,
    /// `webhook-id` of every request since the arrivals were taken.
    ids: Arc<Mutex<HashSet<String>>>,
    /// How many requests the failing address had.
    to_failing: Arc<AtomicUsize>,
}

/// A request, in microseconds since 1970.
#[derive(Clone, Copy)]
pub(crate) struct Arrival {
    /// When its event was published; the time of arrival if the body does not say.
    pub(crate) sent: u64,
    /// When the request arrived.
    pub(crate) at: u64,
}

/// Serves until standard input ends.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let routes = Router::new()
        .route("/hook", post(hook))
        .route("/hook/{endpoint}", post(hook))
        .route("/failing", post(failing))
        .route("/uncounted", post(async || "ok"))
        .route("/hang", post(async || std::future::pending::<()>().await))
        .route("/count", get(count))
        .route("/distinct", get(distinct))
        .route("/connections", get(connections))
        .route("/arrivals", get(take))
        .with_state(Shared::default())
        .into_make_service_with_connect_info::<SocketAddr>();
    let parent_gone = async {
        let mut nothing = Vec::new();
        drop(tokio::io::stdin().read_to_end(&mut nothing).await);
    };
    tokio::select! {
        served = axum::serve(listener, routes) => Ok(served?),
        () = parent_gone => Ok(()),
    }
}

async fn hook(
    State(shared): State<Shared>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> &'static str {
    let at = micros();
    if let Some(id) = headers.get("webhook-id").and_then(|id| id.to_str().ok()) {
        shared.ids.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned());
    }
    shared.peers.lock().unwrap_or_else(PoisonError::into_inner).insert(peer);
    let place = body.windows(MARKER.len()).position(|window| window == MARKER);
    let digits =
        place.map(|place| body.iter().skip(place + MARKER.len()).take_while(|byte| byte.is_ascii_digit()));
    let sent = digits.map_or(at, |digits| digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
    shared.arrivals.lock().unwrap_or_else(PoisonError::into_inner).push(Arrival { sent, at });
    "ok"
}

/// Records each request as [`hook`] does, and fails some.
async fn failing(
    State(shared): State<Shared>,
    peer: ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, &'static str) {
    let fails = shared.to_failing.fetch_add(1, Ordering::Relaxed) % FAILS_ONCE_IN == FAILS_ONCE_IN - 1;
    let answer = hook(State(shared), peer, headers, body).await;
    (if fails { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK }, answer)
}

async fn connections(State(shared): State<Shared>) -> String {
    shared.peers.lock().unwrap_or_else(PoisonError::into_inner).len().to_string()
}

async fn count(State(shared): State<Shared>) -> String {
    shared.arrivals.lock().unwrap_or_else(PoisonError::into_inner).len().to_string()
}

async fn distinct(State(shared): State<Shared>) -> String {
    shared.ids.lock().unwrap_or_else(PoisonError::into_inner).len().to_string()
}

async fn take(State(shared): State<Shared>) -> String {
    shared.ids.lock().unwrap_or_else(PoisonError::into_inner).clear();
    let taken = std::mem::take(&mut *shared.arrivals.lock().unwrap_or_else(PoisonError::into_inner));
    taken.iter().map(|arrival| format!("{} {}", arrival.sent, arrival.at)).collect::<Vec<_>>().join("\n")
}

/// Microseconds since 1970.
pub(crate) fn micros() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The receiver process, as its parent sees it.
pub(crate) struct Receiver {
    /// The URL for webhooks.
    pub(crate) url: String,
    address: String,
    client: reqwest::Client,
    process: Child,
}

impl Receiver {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(COMMAND)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().context("no output")?;
        let address =
            BufReader::new(output).lines().next_line().await?.context("the receiver did not start")?;
        let url = format!("http://{address}/hook");
        Ok(Self { url, address, client: reqwest::Client::builder().no_proxy().build()?, process })
    }

    /// An address whose requests are answered and not recorded.
    pub(crate) fn uncounted(&self) -> String {
        format!("http://{}/uncounted", self.address)
    }

    /// An address that fails one request in a thousand.
    pub(crate) fn failing(&self) -> String {
        format!("http://{}/failing", self.address)
    }

    /// An address that never answers.
    pub(crate) fn hanging(&self) -> String {
        format!("http://{}/hang", self.address)
    }

    pub(crate) fn pid(&self) -> anyhow::Result<u32> {
        self.process.id().context("the receiver has ended")
    }

    /// Number of connections with webhooks since the start.
    pub(crate) async fn connections(&self) -> anyhow::Result<usize> {
        Ok(self.get("connections").await?.parse()?)
    }

    /// Number of requests since the last call of [`Receiver::take`].
    pub(crate) async fn count(&self) -> anyhow::Result<usize> {
        Ok(self.get("count").await?.parse()?)
    }

    /// Number of different webhooks since the last call of [`Receiver::take`].
    pub(crate) async fn distinct(&self) -> anyhow::Result<usize> {
        Ok(self.get("distinct").await?.parse()?)
    }

    /// Waits until this many requests have arrived since the last call of [`Receiver::take`].
    pub(crate) async fn until(&self, requests: usize) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        let began = Instant::now();
        loop {
            let arrived = self.count().await?;
            if arrived >= requests {
                return Ok(());
            }
            anyhow::ensure!(
                began.elapsed() < ARRIVE,
                "only {arrived} of {requests} requests within {ARRIVE:?}"
            );
            tick.tick().await;
        }
    }

    /// Takes the requests and resets the count.
    pub(crate) async fn take(&self) -> anyhow::Result<Vec<Arrival>> {
        let text = self.get("arrivals").await?;
        let arrival = |line: &str| {
            let (sent, at) = line.split_once(' ').context("a line of the receiver")?;
            Ok(Arrival { sent: sent.parse()?, at: at.parse()? })
        };
        text.lines().map(arrival).collect()
    }

    /// How long one request on an open connection takes, in microseconds.
    pub(crate) async fn round_trip(&self, body: Vec<u8>) -> anyhow::Result<u64> {
        let began = Instant::now();
        self.client.post(&self.url).body(body).send().await?.error_for_status()?.bytes().await?;
        Ok(u64::try_from(began.elapsed().as_micros())?)
    }

    async fn get(&self, path: &str) -> anyhow::Result<String> {
        let request = self.client.get(format!("http://{}/{path}", self.address));
        let response = request.timeout(Duration::from_mins(1)).send().await?;
        Ok(response.error_for_status()?.text().await?)
    }
}
