//! The command line: parses arguments, calls the operation, prints its result.
//!
//! Data goes to standard output, everything else to standard error. Nothing here makes decisions about contacts,
//! messages or dead letters.

mod audit;
mod bulk;
mod completions;
mod config;
mod confirm;
mod contact;
mod dead_letter;
mod delivery;
mod dev;
mod doctor;
mod endpoint;
mod exit;
mod exported;
mod healthcheck;
mod input;
mod migrate;
mod operation;
mod output;
mod progress;
mod publish;
mod service;
mod start;
mod tail;
mod trigger;
mod value;
mod verify;

use std::{io::Write as _, path::PathBuf, process::ExitCode};

use clap::{CommandFactory as _, Parser, Subcommand};

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
    /// Inspect webhook deliveries and their attempts, resend them, and discard those that wait
    #[command(subcommand)]
    Delivery(delivery::Command),
    /// Inspect, pause and test the endpoints that receive webhooks
    #[command(subcommand)]
    Endpoint(endpoint::Command),
    /// Inspect, replay, edit and discard messages that could not be processed
    #[command(subcommand)]
    DeadLetter(dead_letter::Command),
    /// Watch, pause, resume and cancel operations on many dead letters or deliveries
    #[command(subcommand)]
    Operation(operation::Command),
    /// See what operators changed
    #[command(subcommand)]
    Audit(audit::Command),
    /// Ask the running service whether it is ready
    Healthcheck(healthcheck::Args),
    /// Inspect broker, database and settings, and report which promises this deployment keeps
    Doctor(doctor::Args),
    /// Prove on the rows of the database that nothing is lost
    Verify(verify::Args),
    /// Check and show the settings
    #[command(subcommand)]
    Config(config::Command),
    /// Print a script that completes this command line in a shell
    Completions(completions::Args),
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
        Command::Operation(command) => {
            start.with_database(async |database, settings| operation::run(command, database, settings).await)
        }
        Command::Audit(command) => {
            start.with_database(async |database, _| audit::run(command, database).await)
        }
        Command::Healthcheck(args) => {
            start.with_settings(async |settings| healthcheck::run(&args, settings).await)
        }
        Command::Doctor(args) => start.looking(async |effective| doctor::run(&args, effective).await),
        Command::Verify(args) => {
            start.with_database(async |database, settings| verify::run(&args, database, settings).await)
        }
        Command::Config(command) => config::run(&command, &start),
        Command::Completions(args) => completions::run(&args, Cli::command()),
        Command::DevServices(args) => service::dev_services(&args),
    }
}

#[cfg(test)]
mod tests;
