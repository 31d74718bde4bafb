//! What can trouble the service: a pinned snapshot, receivers that refuse or hang, lanes that are closed.

use std::{
    collections::HashSet,
    str::FromStr as _,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use sqlx::{ConnectOptions as _, PgConnection, postgres::PgConnectOptions};
use tokio::{
    io::AsyncReadExt as _,
    net::TcpListener,
    task::JoinSet,
    time::{Instant, interval},
};

use crate::{
    load::Load,
    stage::{Part, Stage},
};

/// The name of the session that pins a snapshot.
pub(crate) const SNAPSHOT: &str = "bench snapshot";

/// Settings under which one failure closes a lane for as long as a run takes.
pub(crate) const CLOSE_AT_ONCE: &[(&str, &str)] = &[
    ("WEBHOOK__BREAKER_FAILURES", "1"),
    ("WEBHOOK__BREAKER_AFTER", "0s"),
    // The longest possible.
    ("WEBHOOK__BREAKER_WAIT", "5m"),
];

/// For all lanes to be closed.
const CLOSE: Duration = Duration::from_mins(10);

/// Pins a snapshot until the connection is dropped: vacuum removes nothing that died since.
pub(crate) async fn pin_snapshot(stage: &Stage<'_>) -> anyhow::Result<PgConnection> {
    let url = stage.settings().postgres.url.expose_secret();
    let mut conn = PgConnectOptions::from_str(url)?.application_name(SNAPSHOT).connect().await?;
    // A transaction has no snapshot before its first query.
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM pg_class")
        .execute(&mut conn)
        .await?;
    Ok(conn)
}

/// The URL of a port that refuses connections.
pub(crate) async fn refusing_url() -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    Ok(format!("http://{}/refused", listener.local_addr()?))
}

/// Lanes of another company that are closed. Their receiver hangs up on each request without an answer.
pub(crate) struct ClosedLanes {
    /// The paths that were requested.
    paths: Arc<Mutex<HashSet<String>>>,
    requests: Arc<AtomicUsize>,
    _receiver: JoinSet<()>,
}

impl ClosedLanes {
    /// Sends events to `lanes` addresses until each has failed once, which closes it.
    pub(crate) async fn close(stage: &mut Stage<'_>, lanes: usize) -> anyhow::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let url = format!("http://{}/lane", listener.local_addr()?);
        let (paths, requests, mut receiver) = (Arc::default(), Arc::default(), JoinSet::new());
        receiver.spawn(hang_up(listener, Arc::clone(&paths), Arc::clone(&requests)));
        let closed = Self { paths, requests, _receiver: receiver };
        let load = Load { company: "closed".to_owned(), paths: lanes, ..Load::to(&url) };
        eprintln!("closing {lanes} lanes");
        stage.preload(&load, lanes).await?;
        let service = stage.start(Part::Chain)?;
        closed.until_failed(lanes).await?;
        service.stop().await?;
        Ok(closed)
    }

    async fn until_failed(&self, lanes: usize) -> anyhow::Result<()> {
        let (began, mut tick) = (Instant::now(), interval(Duration::from_millis(100)));
        let mut printed = began;
        loop {
            tick.tick().await;
            let failed = self.paths.lock().unwrap_or_else(PoisonError::into_inner).len();
            if failed >= lanes {
                return Ok(());
            }
            anyhow::ensure!(
                began.elapsed() < CLOSE,
                "only {failed} of {lanes} lanes failed within {CLOSE:?}"
            );
            if printed.elapsed() > Duration::from_secs(15) {
                printed = Instant::now();
                eprintln!("{failed} of {lanes} lanes have failed after {:.0?}", began.elapsed());
            }
        }
    }

    /// Requests since the start. A lane that is closed gets none.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Reads the beginning of each request, remembers its path, and hangs up.
async fn hang_up(listener: TcpListener, paths: Arc<Mutex<HashSet<String>>>, requests: Arc<AtomicUsize>) {
    let mut connections = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        let (paths, requests) = (Arc::clone(&paths), Arc::clone(&requests));
        connections.spawn(async move {
            let mut head = [0; 256];
            let Ok(size) = stream.read(&mut head).await else { return };
            let head = String::from_utf8_lossy(head.get(..size).unwrap_or_default()).into_owned();
            if let Some(path) = head.split(' ').nth(1) {
                requests.fetch_add(1, Ordering::SeqCst);
                paths.lock().unwrap_or_else(PoisonError::into_inner).insert(path.to_owned());
            }
        });
    }
}

/// Hosts that accept connections and never answer, until this is dropped.
pub(crate) struct Hanging {
    /// One URL for each host.
    pub(crate) urls: Vec<String>,
    _tasks: JoinSet<()>,
}

impl Hanging {
    /// Starts `hosts` hosts, each with a loopback address of its own.
    pub(crate) async fn start(hosts: u8) -> anyhow::Result<Self> {
        let (mut urls, mut tasks) = (Vec::new(), JoinSet::new());
        for host in 1..=hosts {
            let listener =
                TcpListener::bind(format!("127.0.1.{host}:0")).await.context("a loopback address")?;
            urls.push(format!("http://{}/hang", listener.local_addr()?));
            tasks.spawn(hang(listener));
        }
        Ok(Self { urls, _tasks: tasks })
    }
}

/// Holds each connection until the other side closes it.
async fn hang(listener: TcpListener) {
    let mut connections = JoinSet::new();
    while let Ok((mut stream, _)) = listener.accept().await {
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            let mut nothing = [0; 1024];
            while stream.read(&mut nothing).await.is_ok_and(|size| size > 0) {}
        });
    }
}
