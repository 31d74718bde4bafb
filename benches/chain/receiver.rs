//! The webhook receiver, a separate process so that its work does not count as the service's.

use std::{
    collections::HashSet,
    net::SocketAddr,
    process::Stdio,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use axum::{
    Router,
    body::Bytes,
    extract::{ConnectInfo, State},
    routing::{get, post},
};
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    net::TcpListener,
    process::{Child, Command},
};

/// The receiver's records.
#[derive(Clone, Default)]
struct Shared {
    /// Microseconds from the publication or due time in each request's body to its arrival.
    delays: Arc<Mutex<Vec<u64>>>,
    /// The addresses of all connections.
    peers: Arc<Mutex<HashSet<SocketAddr>>>,
}

/// Serves until standard input ends.
pub(crate) async fn serve() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let routes = Router::new()
        .route("/hook", post(hook))
        .route("/hook/{endpoint}", post(hook))
        .route("/hang/{endpoint}", post(async || std::future::pending::<()>().await))
        .route("/count", get(count))
        .route("/connections", get(connections))
        .route("/delays", get(take))
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
    body: Bytes,
) -> &'static str {
    let now = micros();
    shared.peers.lock().unwrap_or_else(PoisonError::into_inner).insert(peer);
    let marker = b"\"sentAt\":";
    let place = body.windows(marker.len()).position(|window| window == marker);
    let digits =
        place.map(|place| body.iter().skip(place + marker.len()).take_while(|byte| byte.is_ascii_digit()));
    let sent = digits.map_or(now, |digits| digits.fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')));
    shared.delays.lock().unwrap_or_else(PoisonError::into_inner).push(now.saturating_sub(sent));
    "ok"
}

async fn connections(State(shared): State<Shared>) -> String {
    shared.peers.lock().unwrap_or_else(PoisonError::into_inner).len().to_string()
}

async fn count(State(shared): State<Shared>) -> String {
    shared.delays.lock().unwrap_or_else(PoisonError::into_inner).len().to_string()
}

async fn take(State(shared): State<Shared>) -> String {
    let taken = std::mem::take(&mut *shared.delays.lock().unwrap_or_else(PoisonError::into_inner));
    taken.iter().map(u64::to_string).collect::<Vec<_>>().join("\n")
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
    _process: Child,
}

impl Receiver {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg("receiver")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let output = process.stdout.take().context("no output")?;
        let address =
            BufReader::new(output).lines().next_line().await?.context("the receiver did not start")?;
        let url = format!("http://{address}/hook");
        Ok(Self { url, address, client: reqwest::Client::builder().no_proxy().build()?, _process: process })
    }

    /// An address that never answers.
    pub(crate) fn hanging(&self) -> String {
        format!("http://{}/hang", self.address)
    }

    /// Number of connections with webhooks since the start.
    pub(crate) async fn connections(&self) -> anyhow::Result<usize> {
        Ok(self.get("connections").await?.parse()?)
    }

    /// Clears the delays.
    pub(crate) async fn reset(&self) -> anyhow::Result<()> {
        self.delays().await.map(drop)
    }

    /// Waits until this many requests have arrived since the last reset.
    pub(crate) async fn wait_for(&self, requests: usize) -> anyhow::Result<()> {
        let mut tick = tokio::time::interval(Duration::from_millis(50));
        loop {
            tick.tick().await;
            if self.get("count").await?.parse::<usize>()? >= requests {
                return Ok(());
            }
        }
    }

    /// The delays since the last reset.
    pub(crate) async fn delays(&self) -> anyhow::Result<Vec<Duration>> {
        let text = self.get("delays").await?;
        text.lines().map(|line| Ok(Duration::from_micros(line.parse()?))).collect()
    }

    async fn get(&self, path: &str) -> anyhow::Result<String> {
        Ok(self.client.get(format!("http://{}/{path}", self.address)).send().await?.text().await?)
    }
}
