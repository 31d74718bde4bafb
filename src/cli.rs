//! The command line: parses arguments, calls the operation, prints its result.
//!
//! Data goes to standard output, everything else to standard error. No decision about contacts,
//! messages or dead letters is made here.

mod audit;
mod bulk;
mod config;
mod confirm;
mod contact;
mod dead_letter;
mod delivery;
mod dev;
mod endpoint;
mod exit;
mod input;
mod migrate;
mod output;
mod progress;
mod publish;
mod service;
mod start;
mod tail;
mod trigger;
mod value;

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{Parser, Subcommand};

use crate::telemetry;
use exit::Exit;
use start::Start;

/// Upserts contacts from fired triggers, publishes the changes and sends the webhooks.
#[derive(Debug, Parser)]
#[command(name = "contact-relay", version, propagate_version = true, after_help = AFTER_HELP)]
struct Cli {
    /// Settings file (TOML); overrides the built-in defaults, and the environment overrides it
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

#[derive(Debug, Subcommand, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
enum Command {
    /// Try everything: private services, all roles, a demo receiver and sample triggers
    Dev(dev::Args),
    /// Run the service
    Run(service::Run),
    /// Migrate the database schema
    Migrate(migrate::Args),
    /// Publish trigger-fired events, one JSON object per line
    Publish(publish::Args),
    /// Subscribe to events and print them
    Tail(tail::Args),
    /// Check and preview trigger definitions
    #[command(subcommand)]
    Trigger(trigger::Command),
    /// Find, unmerge and erase contacts
    #[command(subcommand)]
    Contact(contact::Command),
    /// Inspect webhook deliveries and their attempts, and resend them
    #[command(subcommand)]
    Delivery(delivery::Command),
    /// Inspect, pause and test the endpoints that receive webhooks
    #[command(subcommand)]
    Endpoint(endpoint::Command),
    /// Inspect, replay, edit and discard messages that could not be processed
    #[command(subcommand)]
    DeadLetter(dead_letter::Command),
    /// See what operators changed
    #[command(subcommand)]
    Audit(audit::Command),
    /// Check and show the settings
    #[command(subcommand)]
    Config(config::Command),
    /// Hold the private services of `dev`
    #[command(hide = true)]
    DevServices(service::DevServices),
}

/// Runs the command that this process was started with and returns its exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // If standard error is closed, there is nowhere left to report that.
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

fn run(Cli { config, command }: Cli) -> anyhow::Result<Exit> {
    let start = Start { config, command: (&command).into() };
    match command {
        Command::Dev(args) => start.serving(async |effective| dev::run(args, effective).await),
        Command::Run(args) => start.serving(async |effective| service::run(args, effective).await),
        Command::Migrate(args) => {
            start.with_any_schema(async |database, _| migrate::run(&args, database).await)
        }
        Command::Publish(args) => start.with_settings(async |settings| publish::run(&args, settings).await),
        Command::Tail(args) => start.with_settings(async |settings| tail::run(&args, settings).await),
        Command::Trigger(command) => trigger::run(&command, &start),
        Command::Contact(command) => {
            start.with_database(async |database, settings| contact::run(command, database, settings).await)
        }
        Command::Delivery(command) => {
            start.with_database(async |database, settings| delivery::run(command, database, settings).await)
        }
        Command::Endpoint(command) => {
            start.with_database(async |database, settings| endpoint::run(command, database, settings).await)
        }
        Command::DeadLetter(command) => start
            .with_database(async |database, settings| dead_letter::run(command, database, settings).await),
        Command::Audit(command) => {
            start.with_database(async |database, _| audit::run(command, database).await)
        }
        Command::Config(command) => config::run(&command, &start),
        Command::DevServices(args) => service::dev_services(&args),
    }
}

#[cfg(test)]
mod tests;
