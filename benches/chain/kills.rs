//! `--kills`: how many requests are made twice because a process is killed under full load.

use std::time::{Duration, Instant};

use crate::{
    arguments::Arguments,
    load::Load,
    report::{self, Report},
    stage::{Part, Stage},
    world::World,
};

/// For all webhooks to arrive after the kill.
const LIMIT: Duration = Duration::from_mins(3);

/// Without a request for so long, nothing is left: other processes take over within ten seconds.
const QUIET: Duration = Duration::from_secs(20);

/// Kills a process while it works on full queues, starts another one, and counts.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
pub(crate) async fn measure(
    world: &World,
    arguments: &Arguments,
    kills: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let (receiver, events) = (world.receiver(), arguments.events);
    let load = Load::to(&receiver.url);
    for kill in 1..=kills {
        eprintln!("kill {kill} of {kills}");
        let mut stage = Stage::new(world, &format!("kill{kill}")).await?;
        receiver.take().await?;
        stage.preload(&load, events).await?;
        let killed = stage.start(Part::Chain)?;
        let mut tick = tokio::time::interval(Duration::from_millis(5));
        while receiver.count().await? < events / 4 {
            tick.tick().await;
        }
        killed.kill().await?;
        let before = receiver.count().await?;
        let (service, began) = (stage.start(Part::Chain)?, Instant::now());
        while receiver.distinct().await? < events && began.elapsed() < LIMIT {
            tick.tick().await;
        }
        let distinct = receiver.distinct().await?;
        anyhow::ensure!(distinct == events, "{distinct} of {events} webhooks arrived within {LIMIT:?}");
        let (mut requests, mut since) = (distinct, Instant::now());
        while since.elapsed() < QUIET {
            tick.tick().await;
            let count = receiver.count().await?;
            if count > requests {
                (requests, since) = (count, Instant::now());
            }
        }
        let twice = requests - events;
        service.stop().await?;
        report.add("a kill", report::BEFORE_KILL, before as f64);
        report.add("a kill", report::TWICE, twice as f64);
        stage.remove().await?;
    }
    println!("{events} events, one endpoint. Median (lowest, highest) of {kills} kills.\n");
    report.print("Webhooks that were sent twice", &[report::BEFORE_KILL, report::TWICE]);
    Ok(())
}
