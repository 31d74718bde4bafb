//! `dead-letter list|groups|show|replay|discard|restore|edit|note|export|import`.

mod edit;
mod groups;
pub(super) mod select;
mod settle;
mod show;
mod transfer;

use clap::Subcommand;

use super::{
    bulk::Bulk,
    exit::Exit,
    output::{self, Output, moment},
};
use crate::{
    operator::{
        dead_letters::{self, Summary},
        paging::{Cursor, MAX_PAGE, Page},
    },
    postgres::Database,
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
    /// Group open and replaying dead letters by stage, reason, trigger, endpoint and message, with counts
    #[command(after_help = "Example: contact-relay dead-letter groups --company acme --since 24h")]
    Groups(groups::Groups),
    /// Show one dead letter in full, with the body and properties of its message
    Show(Show),
    /// Send dead letters back to the stage that failed
    #[command(after_help = REPLAY_HELP)]
    Replay(Replay),
    /// Correct the event of a dead letter and send it as a new event
    #[command(after_help = edit::HELP)]
    Edit(edit::Edit),
    /// Discard dead letters, and the webhook deliveries behind them
    #[command(after_help = DISCARD_HELP)]
    Discard(Bulk<DeadLetters>),
    /// Reopen discarded dead letters, and the webhook deliveries behind them
    #[command(after_help = RESTORE_HELP)]
    Restore(Bulk<DeadLetters>),
    /// Write a note on a group of dead letters, for the operators who see it next
    #[command(after_help = groups::NOTE_HELP)]
    Note(groups::Note),
    /// Export complete dead letters to standard output, one JSON object per line
    #[command(after_help = transfer::EXPORT_HELP)]
    Export(transfer::Exporting),
    /// Import exported dead letters
    #[command(after_help = transfer::IMPORT_HELP)]
    Import(transfer::Importing),
}

const REPLAY_HELP: &str = "\
Replaying twice does no harm: events and deliveries take effect once. A replay is an operation: if it is interrupted, a
running service goes on with it, and `operation` lists, pauses, resumes and cancels it.
Exits 3 when some were skipped (already settled, or their delivery has left) or could not be published.

Examples:
  contact-relay dead-letter replay 0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11
  contact-relay dead-letter replay --reason webhook_exhausted --company acme --dry-run
  contact-relay dead-letter replay --all --rate 50 --yes";

const DISCARD_HELP: &str = "\
Exits 3 when some were skipped (already settled).

Example: contact-relay dead-letter discard --reason undecodable --operator ada";

const RESTORE_HELP: &str = "\
Filters select discarded dead letters. Exits 3 when some were skipped (not discarded, without
contents, or their delivery has left).

Example: contact-relay dead-letter restore --company acme --since 1h --yes";

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    output: Output,
}

/// The option to continue a listing.
#[derive(Clone, Copy, Debug, Default, clap::Args)]
pub(super) struct Paging {
    /// Continue after this cursor of an earlier listing
    #[arg(long, value_name = "CURSOR")]
    pub(super) after: Option<Cursor>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Replay {
    #[command(flatten)]
    bulk: Bulk<DeadLetters>,
    /// Replay 1, then 10, then 100 before all others, and pause if most of them fail again
    #[arg(long)]
    canary: bool,
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
        Command::Groups(args) => groups::run(database, &args).await,
        Command::Show(args) => show::run(database, &args).await,
        Command::Replay(args) => settle::replay(database, &args, settings).await,
        Command::Edit(args) => edit::run(database, &args, settings).await,
        Command::Discard(args) => settle::discard(database, &args, settings).await,
        Command::Restore(args) => settle::restore(database, &args, settings).await,
        Command::Note(args) => groups::note(database, &args).await,
        Command::Export(args) => transfer::export(database, &args).await,
        Command::Import(args) => transfer::import(database, &args, settings).await,
    }
}

async fn list(database: &Database, args: &List) -> anyhow::Result<Exit> {
    let filter = args.filters.filter()?;
    let limit = args.filters.limit.unwrap_or(DEFAULT_LIMIT);
    let fetch = async |after, limit| Ok(dead_letters::list(database, &filter, after, limit).await?);
    let page = pages(limit, args.paging.after, fetch).await?;
    print(args.output, &page.items)?;
    output::more(limit, &page);
    Ok(Exit::Done)
}

/// As many pages as it takes to get `limit` rows.
pub(super) async fn pages<T>(
    limit: u32,
    mut after: Option<Cursor>,
    fetch: impl AsyncFn(Option<Cursor>, u32) -> anyhow::Result<Page<T>>,
) -> anyhow::Result<Page<T>> {
    let mut items = Vec::new();
    loop {
        let left = limit.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        let page = fetch(after, left.min(MAX_PAGE)).await?;
        items.extend(page.items);
        if page.next.is_none() || u32::try_from(items.len()).is_ok_and(|count| count >= limit) {
            return Ok(Page { items, next: page.next });
        }
        after = page.next;
    }
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
