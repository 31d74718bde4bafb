//! `--waiting`: memory and rate of the service when it starts on a long queue.

use std::time::Duration;

use crate::{
    arguments::Arguments,
    load::Load,
    report::{self, Report},
    stage::{Part, Stage},
    world::World,
};

/// The longest time that the service works on a queue.
const LIMIT: Duration = Duration::from_mins(8);

/// Runs and prints the chain on a short queue and on a long one.
pub(crate) async fn measure(
    world: &World,
    arguments: &Arguments,
    waiting: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let load = Load::to(&world.receiver().url);
    for (round, events) in [arguments.events, waiting, arguments.events].into_iter().enumerate() {
        eprintln!("{events} events waiting");
        let mut stage = Stage::new(world, &format!("waiting{round}")).await?;
        stage.preload(&load, events).await?;
        let measured = stage.run(Part::Chain, events, Some(LIMIT)).await?;
        measured.record(report, &format!("chain, waiting at the start: {events}"));
        stage.remove().await?;
    }
    println!("The short queue before and after the long one; at most {} s each.\n", LIMIT.as_secs());
    report.print("Rate and memory", &[report::RATE, report::PEAK_RSS]);
    Ok(())
}
