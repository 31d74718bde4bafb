//! `cargo bench --bench chain`: the whole chain and each half of it, compared with the floor, the least work
//! that moves the same events through the same services. Prints one table; asserts nothing.
//!
//! Options after `--`: `--events N` (default 50000), `--waiting N` (memory with N events waiting,
//! default 0: not measured), `--rate N` and `--seconds N` of the latency part (50 and 20).
//!
//! Three options measure something else instead: `--compare BINARY` alternates worker 1 of this build and of
//! another one; `--contacts N,M` runs it on databases with that many contacts; `--lanes` measures worker 2
//! with many endpoints, beside one that hangs, and beside many finished deliveries.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

#[path = "chain/floor.rs"]
mod floor;
#[path = "chain/lanes.rs"]
mod lanes;
#[path = "chain/load.rs"]
mod load;
#[path = "chain/pairs.rs"]
mod pairs;
#[path = "chain/receiver.rs"]
mod receiver;
#[path = "chain/stage.rs"]
mod stage;

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use contact_relay::{
    dev::services::{Mode, Options, Services},
    settings::{self, Settings},
};
use receiver::Receiver;
use stage::{Measured, Stage};

/// Messages of one batch of the floor.
const FLOOR_BATCH: usize = 200;

struct Arguments {
    events: usize,
    waiting: usize,
    rate: u32,
    seconds: u32,
    compare: Option<PathBuf>,
    contacts: Vec<usize>,
    lanes: bool,
}

fn main() -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut arguments = std::env::args().skip(1);
    if std::env::args().nth(1).as_deref() == Some("receiver") {
        return runtime()?.block_on(receiver::serve());
    }
    let mut parsed = Arguments {
        events: 50_000,
        waiting: 0,
        rate: 50,
        seconds: 20,
        compare: None,
        contacts: Vec::new(),
        lanes: false,
    };
    while let Some(name) = arguments.next() {
        let mut value = || arguments.next().context("a value is missing");
        let mut number = || Ok::<usize, anyhow::Error>(value()?.parse()?);
        match name.as_str() {
            "--events" => parsed.events = number()?,
            "--waiting" => parsed.waiting = number()?,
            "--rate" => parsed.rate = u32::try_from(number()?)?,
            "--seconds" => parsed.seconds = u32::try_from(number()?)?,
            "--compare" => parsed.compare = Some(value()?.into()),
            "--contacts" => {
                parsed.contacts = value()?.split(',').map(str::parse).collect::<Result<_, _>>()?;
            }
            "--lanes" => parsed.lanes = true,
            // Passed by cargo.
            "--bench" => {}
            other => anyhow::bail!("unknown option {other}"),
        }
    }
    runtime()?.block_on(bench(&parsed))
}

/// The service of this build.
fn own_binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_contact-relay"))
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().enable_all().build()?)
}

async fn bench(arguments: &Arguments) -> anyhow::Result<()> {
    // Persistent, not disposable: commits and confirms reach the disk as in production.
    let binary = own_binary().to_owned();
    let state = Options::disposable(binary.clone()).state;
    let options = Options { binary, state: state.clone(), mode: Mode::Kept, fresh: true };
    eprintln!("starting private services");
    let services = Services::start(options).await?;
    let pairs = if arguments.lanes {
        Some(lanes::measure(&base(&services)?, &services, arguments.events).await)
    } else if let Some(other) = &arguments.compare {
        Some(pairs::builds(&base(&services)?, &services, other, arguments.events).await)
    } else if arguments.contacts.is_empty() {
        None
    } else {
        Some(pairs::sizes(&base(&services)?, &services, &arguments.contacts, arguments.events).await)
    };
    let outcome = match pairs {
        Some(done) => done,
        None => measure(arguments, &services).await.map(|results| print(arguments, &results)),
    };
    services.stop().await?;
    std::fs::remove_dir_all(&state)?;
    outcome
}

struct Results {
    floor_upsert: Measured,
    floor_post: Measured,
    floor_chain: Measured,
    upsert: Measured,
    webhook: Measured,
    chain: Measured,
    idle_rss: u64,
    waiting_rss: Option<u64>,
    latencies: Vec<Duration>,
}

async fn measure(arguments: &Arguments, services: &Services) -> anyhow::Result<Results> {
    let receiver = Receiver::start().await?;
    let settings = base(services)?;
    let events = arguments.events;
    eprintln!("floor: consume, upsert, forward, ack");
    let floor_upsert = floor::upsert(&settings, &receiver, events).await?;
    eprintln!("floor: consume, POST, ack");
    let floor_post = floor::post(&settings, &receiver, events).await?;
    eprintln!("floor: the whole chain");
    let floor_chain = floor::chain(&settings, &receiver, events).await?;

    eprintln!("worker 1 alone");
    let halves = Stage::new(&settings, services, own_binary(), "halves").await?;
    halves.preload(&receiver, events).await?;
    let upsert = halves.upsert_alone(events).await?;
    eprintln!("worker 2 alone");
    let webhook = halves.webhook_alone(&receiver, events).await?;
    eprintln!("the whole chain");
    let whole = Stage::new(&settings, services, own_binary(), "whole").await?;
    whole.preload(&receiver, events).await?;
    let chain = whole.chain(&receiver, events).await?;
    eprintln!("latency at {} events/s for {} s", arguments.rate, arguments.seconds);
    let (idle_rss, latencies) = whole.latency(&receiver, arguments.rate, arguments.seconds).await?;
    let mut waiting_rss = None;
    if arguments.waiting > 0 {
        eprintln!("memory with {} events waiting", arguments.waiting);
        let full = Stage::new(&settings, services, own_binary(), "full").await?;
        full.preload(&receiver, arguments.waiting).await?;
        waiting_rss = Some(full.peak_rss(Duration::from_secs(20)).await?);
    }
    Ok(Results {
        floor_upsert,
        floor_post,
        floor_chain,
        upsert,
        webhook,
        chain,
        idle_rss,
        waiting_rss,
        latencies,
    })
}

fn base(services: &Services) -> anyhow::Result<Settings> {
    let url = |name: &str, value: &str| (format!("CONTACT_RELAY__{name}__URL").into(), value.into());
    let environment = [url("AMQP", services.amqp_url()), url("POSTGRES", services.postgres_url())];
    Ok(settings::load(None, environment)?.settings)
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn print(arguments: &Arguments, results: &Results) {
    println!("{} events, 80 % new contacts, 20 % hits, quorum queues\n", arguments.events);
    println!("| what | events/s | of its floor | CPU s per 1,000 | peak RSS MB |");
    println!("|---|---:|---:|---:|---:|");
    let row = |name: &str, measured: &Measured, floor: Option<&Measured>| {
        let ratio = floor.map_or_else(String::new, |floor| format!("{:.2}", measured.rate() / floor.rate()));
        let cpu = measured.cpu.map_or_else(String::new, |cpu| {
            format!("{:.3}", cpu.as_secs_f64() * 1000.0 / measured.events as f64)
        });
        let rss = measured.peak_rss.map_or_else(String::new, |bytes| format!("{:.0}", megabytes(bytes)));
        println!("| {name} | {:.0} | {ratio} | {cpu} | {rss} |", measured.rate());
    };
    row("floor: consume, upsert, forward, ack", &results.floor_upsert, None);
    row("floor: consume, POST, ack", &results.floor_post, None);
    row("floor: both, the whole chain", &results.floor_chain, None);
    row("worker 1 alone", &results.upsert, Some(&results.floor_upsert));
    row("worker 2 alone", &results.webhook, Some(&results.floor_post));
    row("the whole chain", &results.chain, Some(&results.floor_chain));
    let mut latencies = results.latencies.clone();
    latencies.sort_unstable();
    let quantile = |share: f64| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "an index")]
        let index = ((latencies.len() as f64 - 1.0) * share).round() as usize;
        latencies.get(index).copied().unwrap_or_default().as_secs_f64() * 1000.0
    };
    println!(
        "\npublish to webhook at {} events/s: p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms ({} events)",
        arguments.rate,
        quantile(0.5),
        quantile(0.99),
        quantile(1.0),
        latencies.len()
    );
    println!("RSS idle: {:.0} MB", megabytes(results.idle_rss));
    if let Some(bytes) = results.waiting_rss {
        println!("peak RSS with {} events waiting: {:.0} MB", arguments.waiting, megabytes(bytes));
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
