//! `cargo bench --bench chain`: each worker alone and the whole chain, compared with two floors: the least work
//! that moves the same events through the same services, and the least work that also keeps the service's
//! promises. Prints tables; asserts nothing. `docs/performance.md` describes the method, and
//! `cargo bench --bench chain -- --help` the options.
//!
//! Everything is measured from outside: queues, the receiver, `/proc` and the statistics of Postgres. Nothing
//! here reads a table of the service, so that builds with different tables can be compared.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a benchmark prints")]

#[path = "chain/arguments.rs"]
mod arguments;
#[path = "chain/collector.rs"]
mod collector;
#[path = "chain/cost.rs"]
mod cost;
#[path = "chain/finished.rs"]
mod finished;
#[path = "chain/floor.rs"]
mod floor;
#[path = "chain/kills.rs"]
mod kills;
#[path = "chain/lanes.rs"]
mod lanes;
#[path = "chain/latency.rs"]
mod latency;
#[path = "chain/load.rs"]
mod load;
#[path = "chain/noisy.rs"]
mod noisy;
#[path = "chain/pairs.rs"]
mod pairs;
#[path = "chain/probe.rs"]
mod probe;
#[path = "chain/processes.rs"]
mod processes;
#[path = "chain/promises.rs"]
mod promises;
#[path = "chain/receiver.rs"]
mod receiver;
#[path = "chain/report.rs"]
mod report;
#[path = "chain/rounds.rs"]
mod rounds;
#[path = "chain/stage.rs"]
mod stage;
#[path = "chain/trouble.rs"]
mod trouble;
#[path = "chain/waiting.rs"]
mod waiting;
#[path = "chain/world.rs"]
mod world;

use arguments::Arguments;
use clap::Parser as _;
use report::Report;
use world::World;

fn main() -> anyhow::Result<()> {
    drop(rustls::crypto::ring::default_provider().install_default());
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if std::env::args().nth(1).as_deref() == Some(receiver::COMMAND) {
        return runtime.block_on(receiver::serve());
    }
    runtime.block_on(bench(&Arguments::parse()))
}

async fn bench(arguments: &Arguments) -> anyhow::Result<()> {
    let world = World::start().await?;
    let mut report = Report::default();
    let outcome = measure(&world, arguments, &mut report).await;
    // What was measured before an error is printed as well.
    let written = match &arguments.json {
        Some(path) => report.write(path, arguments, world.versions()),
        None => Ok(()),
    };
    world.stop().await?;
    outcome.and(written)
}

async fn measure(world: &World, arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    println!("{}\n", world.versions());
    let option = &arguments.instead;
    if let Some(events) = option.waiting {
        waiting::measure(world, arguments, events, report).await
    } else if let Some(rows) = option.finished {
        finished::measure(world, arguments, rows, report).await
    } else if let Some(addresses) = option.noisy {
        noisy::measure(world, arguments, addresses, report).await
    } else if let Some(due) = option.backlog {
        noisy::beside_backlog(world, arguments, due, report).await
    } else if let Some(kills) = option.kills {
        kills::measure(world, arguments, kills, report).await
    } else if option.lanes {
        lanes::measure(world, arguments, report).await
    } else if let Some(comparison) = pairs::Comparison::chosen(arguments) {
        comparison.measure(world, arguments, report).await
    } else {
        rounds::measure(world, arguments, report).await
    }
}
