//! `--lanes`: worker 2 with one endpoint, with many, and beside one that hangs with many deliveries waiting; then
//! the latency of steady events to many endpoints, with and without the hanging one.

use crate::{
    arguments::Arguments,
    floor::{Floor, Kind},
    latency,
    load::Load,
    report::{self, Report},
    stage::{Part, Stage},
    world::World,
};

/// Endpoints of the parts with many.
const MANY: usize = 50;
/// Deliveries that wait for the hanging endpoint, for each event of a part.
const BACKLOG: usize = 5;
/// Numbers of endpoints, and whether one more hangs.
const PARTS: [(usize, bool); 3] = [(1, false), (MANY, false), (MANY, true)];
/// Events a second of the steady parts, and their seconds.
const STEADY: (u32, u32) = (1_000, 10);

/// Runs and prints all parts.
#[expect(clippy::cast_precision_loss, reason = "a count for people")]
pub(crate) async fn measure(world: &World, arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, events) = (arguments.rounds(5), arguments.events);
    let backlog = BACKLOG * events;
    let mut stages = Vec::new();
    for (place, (endpoints, hanging)) in PARTS.into_iter().enumerate() {
        let mut stage = Stage::new(world, &format!("lanes{place}")).await?;
        let load = Load { paths: endpoints, ..Load::to(&world.receiver().url) };
        if hanging {
            eprintln!("{backlog} events for the endpoint that hangs");
            stage.measure(Part::Upsert, &Load::to(&world.receiver().hanging()), backlog).await?;
        }
        let beside =
            if hanging { format!(", beside one that hangs with {backlog} waiting") } else { String::new() };
        let name = format!("worker 2, endpoints: {endpoints}{beside}");
        stages.push((stage, load, name));
    }
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        let floor = Floor::measure(world, Kind::Bare, Part::Webhook, events).await?;
        floor.record(report, "bare floor, worker 2");
        for (stage, load, name) in &mut stages {
            stage.measure(Part::Upsert, load, events).await?;
            let before = world.receiver().connections().await?;
            let measured = stage.measure(Part::Webhook, load, events).await?;
            let connections = world.receiver().connections().await? - before;
            measured.record(report, name);
            report.add(name, report::OF_BARE, measured.rate() / floor.rate());
            report.add(name, report::CONNECTIONS, connections as f64);
        }
    }
    println!("{events} deliveries a part. Median (lowest, highest) of {rounds} rounds.\n");
    report.print("Rates, and their ratios to the floor of the same round", report::RATES);
    report.print("Processor time of an event", report::CPU);
    report.print("Other costs of an event, and memory", report::COST);
    for (stage, ..) in stages {
        stage.remove().await?;
    }
    for hanging in [false, true] {
        steady(world, hanging.then_some(backlog), report).await?;
    }
    report.print("Latency from publication", report::LATENCY);
    Ok(())
}

/// Measures the latency of steady events to many endpoints.
async fn steady(world: &World, backlog: Option<usize>, report: &mut Report) -> anyhow::Result<()> {
    let (rate, seconds) = STEADY;
    let beside = if backlog.is_some() { ", beside one that hangs" } else { "" };
    let part = format!("{rate}/s to {MANY} endpoints{beside}");
    eprintln!("{part}");
    let mut stage = Stage::new(world, if backlog.is_some() { "beside" } else { "steady" }).await?;
    if let Some(backlog) = backlog {
        stage.preload(&Load::to(&world.receiver().hanging()), backlog).await?;
    }
    let service = stage.start(Part::Chain)?;
    stage.until_taken().await?;
    let load = Load { paths: MANY, ..Load::to(&world.receiver().url) };
    latency::paced(world, &mut stage, &load, rate, seconds, &part, report).await?;
    service.stop().await?;
    stage.remove().await
}
