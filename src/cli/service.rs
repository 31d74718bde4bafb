//! `run`, `dev` and the hidden `dev-services`: thin, the work is in `app` and `dev`.

use std::path::PathBuf;

use clap::ValueEnum;

use super::exit::Exit;
use crate::settings::Effective;

/// A part of the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum WorkerRole {
    /// Reads trigger events, upserts contacts, publishes contact.upserted
    Upsert,
    /// Sends webhooks
    Webhook,
    /// Stores what the broker itself dead-lettered
    DeadLetter,
    /// /healthz and /readyz
    Console,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  contact-relay run
  contact-relay run --role upsert --role dead-letter

SIGTERM or SIGINT drains within shutdown.grace; a second signal ends at once. Nothing is lost either way.")]
pub(super) struct Run {
    /// Run only this part; may be given several times
    #[arg(long = "role", value_enum, value_name = "ROLE")]
    roles: Vec<WorkerRole>,
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Starts a private PostgreSQL and RabbitMQ on free loopback ports, unless postgres.url and amqp.url are set.
Ctrl-C stops everything; the data stays in the state folder for the next start.")]
pub(super) struct Dev {
    /// Fire the samples, print what happened and end; exit 0 when every one ended as expected
    #[arg(long)]
    once: bool,
    /// Wipe the state folder first
    #[arg(long)]
    fresh: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct DevServices {
    /// State folder
    #[arg(long)]
    state: PathBuf,
    /// Stop at once and remove the state folder at the end
    #[arg(long)]
    disposable: bool,
}

pub(super) async fn run(args: Run, effective: Effective) -> anyhow::Result<Exit> {
    drop((args.roles, effective));
    anyhow::bail!("`run` is not connected yet")
}

pub(super) async fn dev(args: Dev, effective: Effective) -> anyhow::Result<Exit> {
    drop((args.once, args.fresh, effective));
    anyhow::bail!("`dev` is not connected yet")
}

pub(super) fn dev_services(args: &DevServices) -> anyhow::Result<Exit> {
    let _ = (&args.state, args.disposable);
    anyhow::bail!("`dev-services` is not connected yet")
}
