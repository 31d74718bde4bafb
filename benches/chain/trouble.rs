//! What can trouble the service: a pinned snapshot, receivers that refuse or hang, lanes that are closed.

use std::{
    collections::HashSet,
    str::FromStr as _,
    sync::{Arc, Mutex, PoisonError},
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

/// Closes `lanes` lanes of another company: sends events to as many addresses, whose receiver hangs up without an
/// answer, until each has failed once. Afterwards their port refuses connections.
pub(crate) async fn close_lanes(stage: &mut Stage<'_>, lanes: usize) -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/lane", listener.local_addr()?);
    let load = Load { company: "closed".to_owned(), paths: lanes, ..Load::to(&url) };
    eprintln!("publishing {lanes} events for the lanes that will be closed");
    stage.preload(&load, lanes).await?;
    let seen = Arc::new(Mutex::new(HashSet::new()));
    let hang_up = hang_up(listener, Arc::clone(&seen));
    let service = stage.start(Part::Chain)?;
    let all_failed = async {
        let (began, mut tick) = (Instant::now(), interval(Duration::from_millis(100)));
        let mut printed = Instant::now();
        loop {
            tick.tick().await;
            let failed = seen.lock().unwrap_or_else(PoisonError::into_inner).len();
            if failed >= lanes {
                return Ok(());
            }
            anyhow::ensure!(
                began.elapsed() < CLOSE,
                "only {failed} of {lanes} lanes failed within {CLOSE:?}"
            );
            if printed.elapsed() > Duration::from_secs(15) {
                printed = Instant::now();
                eprintln!("{failed} of {lanes} lanes have failed after {:?}", began.elapsed());
            }
        }
    };
    tokio::select! {
        failed = all_failed => failed?,
        ended = hang_up => ended?,
    }
    service.stop().await
}

/// Reads the first line of each request, remembers its path, and hangs up.
async fn hang_up(listener: TcpListener, seen: Arc<Mutex<HashSet<String>>>) -> anyhow::Result<()> {
    let mut requests = JoinSet::new();
    loop {
        let (mut stream, _) = listener.accept().await?;
        let seen = Arc::clone(&seen);
        while requests.try_join_next().is_some() {}
        requests.spawn(async move {
            let mut head = [0; 256];
            let Ok(size) = stream.read(&mut head).await else { return };
            let head = String::from_utf8_lossy(head.get(..size).unwrap_or_default()).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            if !path.is_empty() {
                seen.lock().unwrap_or_else(PoisonError::into_inner).insert(path);
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
