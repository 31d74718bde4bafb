//! The main run: rounds of the floors, worker 1 alone, worker 2 alone and the chain, and then latencies.
//!
//! The speed of a machine may change by half within minutes, so a part is compared with the floor of its own
//! round only.

use crate::{
    arguments::Arguments,
    floor::{Floor, Kind},
    latency,
    load::Load,
    report::{self, Report},
    stage::{Part, Stage},
    world::World,
};

pub(crate) async fn measure(world: &World, arguments: &Arguments, report: &mut Report) -> anyhow::Result<()> {
    let (rounds, events) = (arguments.rounds(5), arguments.events);
    let mut outcome = Ok(());
    for number in 1..=rounds {
        eprintln!("round {number} of {rounds}");
        outcome = round(world, events, number, report).await;
        if outcome.is_err() {
            break;
        }
    }
    println!("{events} events a part, 80 % new contacts. Median (lowest, highest) of {rounds} rounds.\n");
    report.print("Rates, and their ratios to the floors of the same round", report::RATES);
    report.print("Processor time of an event", report::CPU);
    report.print("Other costs of an event, and memory", report::COST);
    outcome?;
    let half = report.median(Part::Chain.name(), report::RATE).unwrap_or_default() / 2.0;
    let measured = latency::measure(world, arguments, half, report).await;
    report.print("Latency from publication", report::LATENCY);
    report.print("Memory before the first event", &[report::IDLE_RSS]);
    measured
}

async fn round(world: &World, events: usize, number: usize, report: &mut Report) -> anyhow::Result<()> {
    let mut floors = Vec::new();
    for kind in [Kind::Bare, Kind::Promises] {
        for part in Part::ALL {
            let measured = Floor::measure(world, kind, part, events).await?;
            measured.record(report, &format!("{}, {}", kind.name(), part.name()));
            floors.push((kind, part, measured.rate()));
        }
    }
    let load = Load::to(&world.receiver().url);
    let mut halves = Stage::new(world, &format!("halves{number}")).await?;
    let mut whole = Stage::new(world, &format!("whole{number}")).await?;
    for part in Part::ALL {
        let stage = if part == Part::Chain { &mut whole } else { &mut halves };
        let measured = stage.measure(part, &load, events).await?;
        measured.record(report, part.name());
        for (kind, _, floor) in floors.iter().filter(|floor| floor.1 == part) {
            let name = match kind {
                Kind::Bare => report::OF_BARE,
                Kind::Promises => report::OF_PROMISES,
            };
            report.add(part.name(), name, measured.rate() / floor);
        }
    }
    halves.remove().await?;
    whole.remove().await
}
