//! `dev`: runs the whole service on a private Postgres and RabbitMQ and fires sample triggers.

mod demo;
mod print;

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use secrecy::SecretString;

use self::demo::Demo;
use super::{
    exit::{Exit, Unavailable},
    output::note,
};
use crate::{
    app::{App, Role},
    console::OneTimeCode,
    dev::{
        demo_receiver::DemoReceiver,
        services::{Options, Services},
    },
    health::Health,
    postgres::{Database, schema},
    settings::{self, Effective, HttpToken, Origin, Settings},
};

/// Until every component of the service is ready.
const READY_TIMEOUT: Duration = Duration::from_mins(1);

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Starts a private Postgres and RabbitMQ on free loopback ports, unless both postgres.url and amqp.url are set.
Ctrl-C stops everything. The data stays in the state folder for the next start.")]
pub(super) struct Args {
    /// Fire the samples, print what happened and stop; exit 0 if all of them ended as expected
    #[arg(long)]
    once: bool,
    /// Wipe the state folder first
    #[arg(long)]
    fresh: bool,
}

pub(super) async fn run(args: Args, effective: Effective) -> anyhow::Result<Exit> {
    let began = Instant::now();
    let mut settings = effective.settings.clone();
    let services = private_services(&args, &effective).await?;
    if let Some(services) = &services {
        settings.amqp.url = SecretString::from(services.amqp_url());
        settings.postgres.url = SecretString::from(services.postgres_url());
    }
    for_loopback(&mut settings, &effective)?;
    let shown = show(&args, settings, services.as_ref(), began).await;
    if let Some(services) = services {
        note("stopping the private services");
        services.stop().await.context("the private services did not stop")?;
    }
    shown
}

async fn private_services(args: &Args, effective: &Effective) -> anyhow::Result<Option<Services>> {
    if is_given(effective, "amqp.url") && is_given(effective, "postgres.url") {
        note("using the Postgres and RabbitMQ from the settings");
        return Ok(None);
    }
    let options = Options { fresh: args.fresh, ..Options::kept()? };
    note(format!("starting a private Postgres and RabbitMQ in {}", options.state.display()));
    Ok(Some(Services::start(options).await.map_err(Unavailable::services)?))
}

fn is_given(effective: &Effective, key: &str) -> bool {
    effective.entries.get(key).is_some_and(|entry| entry.origin != Origin::Default)
}

/// Allows webhooks to loopback, and to no other address that is not public.
fn for_loopback(settings: &mut Settings, effective: &Effective) -> anyhow::Result<()> {
    settings.webhook.allow_http = true;
    settings.webhook.allowed_networks.push("127.0.0.0/8".parse()?);
    if !is_given(effective, "http.bind") && TcpListener::bind(settings.http.bind).is_err() {
        // The default port is taken, so the system chooses a free one.
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        settings.http.bind = SocketAddr::from((Ipv4Addr::LOCALHOST, free.port()));
    }
    Ok(())
}

async fn show(
    args: &Args,
    mut settings: Settings,
    services: Option<&Services>,
    began: Instant,
) -> anyhow::Result<Exit> {
    let database = Database::connect(&settings.postgres, "dev").await?;
    schema::migrate(&database)
        .await
        .context("could not migrate the database; --fresh deletes the data of another build")?;
    let receiver = DemoReceiver::start().await?;
    let link = one_time_link(&mut settings);
    let app =
        App::new(settings.clone(), <Role as clap::ValueEnum>::value_variants())?.with_link(link.clone());
    let (stop, health) = (app.stop_token(), app.health());
    let mut service = tokio::spawn(app.run());
    let demo = Demo { settings: &settings, database: &database, receiver: &receiver };
    let shown = async {
        ready(&health).await?;
        note(format!("ready after {:.1} s; firing the samples", began.elapsed().as_secs_f64()));
        let outcome = demo.run().await?;
        print::outcome(&outcome)?;
        print::where_to_go(&settings, &link, services, &receiver)?;
        if !args.once {
            note("\nrunning; Ctrl-C stops everything");
        }
        Ok(if outcome.unexpected.is_empty() { Exit::Done } else { Exit::Failed })
    };
    let shown: anyhow::Result<Exit> = tokio::select! {
        shown = shown => shown,
        ended = &mut service => return ended?.map(|()| Exit::Done),
    };
    if args.once || shown.is_err() {
        stop.cancel();
    }
    service.await??;
    shown
}

/// Adds a token that nobody knows, and makes a link that signs in with it.
fn one_time_link(settings: &mut Settings) -> OneTimeCode {
    let secret =
        || SecretString::from(format!("{:032x}{:032x}", rand::random::<u128>(), rand::random::<u128>()));
    let name = "dev".to_owned();
    settings
        .http
        .tokens
        .insert(0, HttpToken { name: name.clone(), role: settings::Role::Admin, token: secret() });
    OneTimeCode { code: secret(), name }
}

/// Waits until every component of the service has reported that it is ready.
async fn ready(health: &Health) -> anyhow::Result<()> {
    let poll = async {
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        loop {
            tick.tick().await;
            let report = health.report();
            let started = ["upsert-1", "outbox-relay", "webhook-wake-ups", "dead-letter-collector"];
            let reported = started.iter().all(|component| report.contains_key(*component));
            if reported && report.values().all(Option::is_none) {
                return;
            }
        }
    };
    let waited = tokio::time::timeout(READY_TIMEOUT, poll).await;
    waited.with_context(|| format!("the service is not ready: {:?}", health.report()))
}
