//! `--noisy`: the webhooks of one company while another company's addresses refuse connections, and while another
//! company's hosts hang. `--backlog`: the same while another company has many webhooks that are due.

use std::time::{Duration, Instant};

use crate::{
    arguments::Arguments,
    load::Load,
    report::{self, Report},
    stage::{Part, Stage},
    trouble::{self, Hanging},
    world::World,
};

/// Webhooks of the company that does nothing wrong.
const OTHERS: usize = 2_000;
/// Hosts that hang.
const HOSTS: u8 = 40;
/// Events for each of them.
const EVENTS_PER_HOST: usize = 100;
/// Events of a backlog that are committed in one go.
const PORTION: usize = 100_000;
/// For the webhooks of the other company. Those that arrive later do not count.
const LIMIT: Duration = Duration::from_mins(3);

/// Runs and prints all parts.
pub(crate) async fn measure(
    world: &World,
    arguments: &Arguments,
    addresses: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let rounds = arguments.rounds(3);
    let noisy = |load: Load| Load { company: "noisy".to_owned(), ..load };
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        part(world, &format!("quiet{round}"), "alone", None, report).await?;
        let load = noisy(Load { paths: addresses, ..Load::to(&trouble::refusing_url().await?) });
        let name = format!("beside {addresses} addresses that refuse");
        part(world, &format!("refusing{round}"), &name, Some((load, addresses)), report).await?;
        let hanging = Hanging::start(HOSTS).await?;
        let load = noisy(Load { urls: hanging.urls.clone(), ..Load::to("") });
        let events = usize::from(HOSTS) * EVENTS_PER_HOST;
        let name = format!("beside {HOSTS} hosts that hang");
        part(world, &format!("hanging{round}"), &name, Some((load, events)), report).await?;
    }
    print(report, rounds);
    Ok(())
}

/// Runs and prints both parts: alone, and beside a company with `due` webhooks that are due, and go on meanwhile.
pub(crate) async fn beside_backlog(
    world: &World,
    arguments: &Arguments,
    due: usize,
    report: &mut Report,
) -> anyhow::Result<()> {
    let rounds = arguments.rounds(1);
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        part(world, &format!("quiet{round}"), "alone", None, report).await?;
        let mut stage = Stage::new(world, &format!("backlog{round}")).await?;
        let load = Load { company: "noisy".to_owned(), ..Load::to(&world.receiver().uncounted()) };
        eprintln!("committing {due} events");
        let mut left = due;
        while left > 0 {
            let portion = left.min(PORTION);
            stage.measure(Part::Upsert, &load, portion).await?;
            left -= portion;
        }
        let service = stage.start(Part::Chain)?;
        publish(world, &mut stage, &format!("beside {due} webhooks that are due"), report).await?;
        service.stop().await?;
        stage.remove().await?;
    }
    print(report, rounds);
    Ok(())
}

fn print(report: &Report, rounds: usize) {
    println!("{OTHERS} webhooks of another company. Median (lowest, highest) of {rounds} rounds.\n");
    let names = [report::TIME, report::P50, report::P95, report::MAX, report::RECEIVED, report::OF_FIRST];
    report.print("From publication to the request; the ratio is that of the time", &names);
}

/// Lets the service take the noise, and then publishes the other company's events.
async fn part(
    world: &World,
    stage: &str,
    name: &str,
    noise: Option<(Load, usize)>,
    report: &mut Report,
) -> anyhow::Result<()> {
    eprintln!("{name}");
    let mut stage = Stage::new(world, stage).await?;
    let service = stage.start(Part::Chain)?;
    if let Some((load, events)) = noise {
        stage.preload(&load, events).await?;
    }
    stage.until_taken().await?;
    publish(world, &mut stage, name, report).await?;
    service.stop().await?;
    stage.remove().await
}

/// Publishes the other company's events at once, and records when its webhooks arrive.
#[expect(clippy::cast_precision_loss, reason = "figures for people")]
async fn publish(
    world: &World,
    stage: &mut Stage<'_>,
    name: &str,
    report: &mut Report,
) -> anyhow::Result<()> {
    world.receiver().take().await?;
    let began = Instant::now();
    let load = Load { company: "other".to_owned(), ..Load::to(&world.receiver().url) };
    stage.preload(&load, OTHERS).await?;
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    while world.receiver().count().await? < OTHERS && began.elapsed() < LIMIT {
        tick.tick().await;
    }
    let time = began.elapsed().as_secs_f64();
    let arrivals = world.receiver().take().await?;
    let delays = arrivals.iter().map(|arrival| arrival.at.saturating_sub(arrival.sent)).collect();
    report.add(name, report::TIME, time);
    report.add(name, report::RECEIVED, arrivals.len() as f64);
    report.add_latencies(name, &[report::P50, report::P95, report::MAX], delays);
    if let Some(alone) = report.last("alone", report::TIME).filter(|_| name != "alone") {
        report.add(name, report::OF_FIRST, time / alone);
    }
    Ok(())
}
