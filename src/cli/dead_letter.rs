//! `dead-letter list|show|replay|discard`.

pub(super) mod select;
mod settle;
mod show;

use clap::Subcommand;

use super::{
    bulk::Bulk,
    exit::Exit,
    output::{self, Output, moment},
};
use crate::{
    operator::dead_letters,
    postgres::{Database, dead_letters::Summary},
    settings::Settings,
};
use select::{DeadLetters, Filters};

/// Rows of a listing without `--limit`.
const DEFAULT_LIMIT: u32 = 100;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List dead letters, newest first; without --state only open and replaying ones
    #[command(after_help = "Example: contact-relay dead-letter list --reason webhook_exhausted --since 24h")]
    List(List),
    /// Show one dead letter in full, with the body and properties of its message
    Show(Show),
    /// Send dead letters back to the stage that failed
    #[command(after_help = REPLAY_HELP)]
    Replay(Bulk<DeadLetters>),
    /// Discard dead letters, and the webhook deliveries behind them
    #[command(after_help = DISCARD_HELP)]
    Discard(Bulk<DeadLetters>),
}

const REPLAY_HELP: &str = "\
Replaying twice does no harm: events and deliveries take effect once. An interrupted replay can be repeated.
Exits 3 when some were skipped (already settled) or could not be published.

Examples:
  contact-relay dead-letter replay 0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11
  contact-relay dead-letter replay --reason webhook_exhausted --company acme --dry-run
  contact-relay dead-letter replay --all --rate 50 --yes";

const DISCARD_HELP: &str = "\
Exits 3 when some were skipped (already settled).

Example: contact-relay dead-letter discard --reason undecodable --operator ada";

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct Show {
    /// Dead letter id, or its first 8 or more digits
    id: String,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(command: Command, database: &Database, settings: &Settings) -> anyhow::Result<Exit> {
    match command {
        Command::List(args) => list(database, &args).await,
        Command::Show(args) => show::run(database, &args).await,
        Command::Replay(args) => settle::replay(database, &args, settings).await,
        Command::Discard(args) => settle::discard(database, &args).await,
    }
}

async fn list(database: &Database, args: &List) -> anyhow::Result<Exit> {
    let mut filter = args.filters.filter()?;
    let limit = args.filters.limit.unwrap_or(DEFAULT_LIMIT);
    filter.limit = Some(i64::from(limit) + 1);
    let rows = dead_letters::list(database, &filter).await?;
    output::page(limit, &rows, |rows| print(args.output, rows))?;
    Ok(Exit::Done)
}

fn print(output: Output, rows: &[Summary]) -> anyhow::Result<()> {
    let columns = [
        "id",
        "reason",
        "stage",
        "state",
        "company",
        "trigger",
        "attempts",
        "replays",
        "first seen",
        "last seen",
        "message",
    ];
    output::listing(output.format, columns, rows, |row| {
        [
            row.id.to_string(),
            row.reason.clone(),
            row.stage.clone(),
            row.state.clone(),
            row.company.clone(),
            row.trigger.clone().unwrap_or_default(),
            row.attempts.to_string(),
            row.replays.to_string(),
            moment(row.first_seen_at),
            moment(row.last_seen_at),
            row.message.clone(),
        ]
    })
}
