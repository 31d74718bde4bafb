//! Worker 1 measured several times in one run: with two builds, or with different numbers of contacts.

use std::path::Path;

use contact_relay::{dev::services::Services, settings::Settings};

use crate::{own_binary, receiver::Receiver, stage::Stage};

/// Rounds of each build.
const ROUNDS: usize = 3;

/// Alternates this build and another one, each time on an empty database.
pub(crate) async fn builds(
    settings: &Settings,
    services: &Services,
    other: &Path,
    events: usize,
) -> anyhow::Result<()> {
    let receiver = Receiver::start().await?;
    let (mut own, mut others) = (Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        for (binary, name, rates) in [(other, "other", &mut others), (own_binary(), "own", &mut own)] {
            let stage = Stage::new(settings, services, binary, &format!("{name}{round}")).await?;
            stage.preload(&receiver, events).await?;
            let measured = stage.upsert_alone(events).await?;
            eprintln!("{name}: {:.0} events/s, CPU {:.2?}", measured.rate(), measured.cpu);
            rates.push(measured.rate());
        }
    }
    let (own, other) = (median(own), median(others));
    println!("worker 1, {events} events, median of {ROUNDS}: this build {own:.0}/s, the other {other:.0}/s");
    println!("this build by the other: {:.2}", own / other);
    Ok(())
}

/// Runs this build on databases with stored contacts.
pub(crate) async fn sizes(
    settings: &Settings,
    services: &Services,
    contacts: &[usize],
    events: usize,
) -> anyhow::Result<()> {
    println!("| contacts before | worker 1, events/s |\n|---:|---:|");
    for (number, contacts) in contacts.iter().enumerate() {
        let stage = Stage::new(settings, services, own_binary(), &format!("size{number}")).await?;
        eprintln!("storing {contacts} contacts");
        stage.store_contacts(*contacts).await?;
        stage.preload_about_stored(events, *contacts).await?;
        let measured = stage.upsert_alone(events).await?;
        println!("| {contacts} | {:.0} |", measured.rate());
    }
    Ok(())
}

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_unstable_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or_default()
}
