//! The command line: parses, calls what does the work, prints.
//!
//! Data goes to standard output, everything else to standard error. No decision about contacts,
//! messages or dead letters is made here.

mod config;
mod confirm;
mod contact;
mod dead_letter;
mod delivery;
mod dev;
mod endpoint;
mod exit;
mod migrate;
mod output;
mod progress;
mod publish;
mod service;
mod since;
mod tail;
mod trigger;

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use anyhow::Context as _;
use clap::{Parser, Subcommand};

use crate::{
    postgres::Database,
    settings::{self, Effective, Log, Origin, Settings},
    telemetry,
};
use exit::Exit;

/// A trigger fires, a contact is upserted, the world is told.
#[derive(Debug, Parser)]
#[command(name = "contact-relay", version, propagate_version = true, after_help = AFTER_HELP)]
struct Cli {
    /// Settings file (TOML), over the built-in defaults and under the environment
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Command,
}

const AFTER_HELP: &str = "\
Settings come from built-in defaults, then --config FILE, then the environment, for example
CONTACT_RELAY__AMQP__URL (or CONTACT_RELAY__AMQP__URL_FILE). `config example` prints them all.

Exit codes: 0 done, 1 failed, 2 usage, 3 partly done, 69 broker or database unreachable,
78 bad configuration.";

#[derive(Debug, Subcommand)]
enum Command {
    /// Try everything: private services, all roles, a demo receiver and sample triggers
    Dev(dev::Args),
    /// Run the service
    Run(service::Run),
    /// Bring the database schema up to date
    Migrate(migrate::Args),
    /// Publish trigger events, one JSON object a line
    Publish(publish::Args),
    /// Subscribe and print events
    Tail(tail::Args),
    /// Check and preview trigger definitions
    #[command(subcommand)]
    Trigger(trigger::Command),
    /// Look at contacts, part and erase them
    #[command(subcommand)]
    Contact(contact::Command),
    /// Look at webhook deliveries and their attempts, and send them again
    #[command(subcommand)]
    Delivery(delivery::Command),
    /// Look at, pause and try the receivers of webhooks
    #[command(subcommand)]
    Endpoint(endpoint::Command),
    /// Look at, replay and discard what could not be done
    #[command(subcommand)]
    DeadLetter(dead_letter::Command),
    /// Check and show the settings
    #[command(subcommand)]
    Config(config::Command),
    /// Private services of `dev`, held by a process of their own
    #[command(hide = true)]
    DevServices(service::DevServices),
}

/// Runs the command of this process and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Nothing is left to tell an error to.
            drop(error.print());
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    match run(cli) {
        Ok(exit) => exit.into(),
        Err(error) => {
            let exit = exit::of(&error);
            if exit != Exit::Done {
                drop(writeln!(std::io::stderr(), "error: {}", telemetry::chain(error.as_ref())));
            }
            exit.into()
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<Exit> {
    let load = || settings::load(cli.config.as_deref(), std::env::vars_os());
    match cli.command {
        Command::Config(config::Command::Example) => return config::example(),
        Command::Trigger(trigger::Command::Check(args)) => return trigger::check(&args),
        Command::DevServices(args) => return service::dev_services(&args),
        _ => {}
    }
    let effective = load()?;
    // The one TLS provider of all clients; a second call could only mean it is there already.
    drop(rustls::crypto::ring::default_provider().install_default());
    telemetry::init(&log(&cli.command, &effective))?;
    telemetry::log_panics();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("could not start the runtime")?
        .block_on(with_settings(cli.command, effective))
}

/// Commands that end by themselves say on standard error what went wrong; the log adds to that only
/// where a filter was asked for.
fn log(command: &Command, effective: &Effective) -> Log {
    let mut log = effective.settings.log.clone();
    let serves = matches!(command, Command::Run(_) | Command::Dev(_));
    if !serves && effective.entries.get("log.filter").is_some_and(|entry| entry.origin == Origin::Default) {
        "warn,lapin=off".clone_into(&mut log.filter);
    }
    log
}

/// The database, once it has answered.
async fn database(settings: &Settings) -> anyhow::Result<Database> {
    let database = Database::new(&settings.postgres)?;
    database.unit(async |_| Ok::<_, sqlx::Error>(())).await.context("could not reach the database")?;
    Ok(database)
}

async fn with_settings(command: Command, effective: Effective) -> anyhow::Result<Exit> {
    let settings = &effective.settings;
    match command {
        Command::Dev(args) => dev::dev(args, effective).await,
        Command::Run(args) => service::run(args, effective).await,
        Command::Migrate(args) => migrate::run(&args, settings).await,
        Command::Publish(args) => publish::run(&args, settings).await,
        Command::Tail(args) => tail::run(&args, settings).await,
        Command::Trigger(trigger::Command::Preview(args)) => trigger::preview(&args, settings),
        Command::Trigger(trigger::Command::Check(args)) => trigger::check(&args),
        Command::Contact(command) => contact::run(command, settings).await,
        Command::Delivery(command) => delivery::run(command, settings).await,
        Command::Endpoint(command) => endpoint::run(command, settings).await,
        Command::DeadLetter(command) => dead_letter::run(command, settings).await,
        Command::Config(command) => config::run(&command, &effective),
        Command::DevServices(args) => service::dev_services(&args),
    }
}

#[cfg(test)]
mod tests;
