//! `delivery list|show|resend`.

mod resend;
mod select;
mod show;

use clap::Subcommand;
use time::OffsetDateTime;

use super::{
    exit::Exit,
    output::{self, Output, moment, span},
};
use crate::{
    operator::{
        deliveries::{self, Listed, Summary},
        endpoints::shortened,
        lane::{LaneState, Waits},
    },
    postgres::Database,
    settings::Settings,
};
pub(super) use resend::wake;
use select::Filters;
pub(super) use show::{attempt_json, attempt_text, body_text};

/// What a listing shows without `--limit`.
const LIMIT: u32 = 50;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List webhook deliveries, newest first: what each waits for, and how its last attempt ended
    #[command(after_help = LIST_HELP)]
    List(List),
    /// Show everything of one delivery: its request with the secrets left out, and every attempt
    #[command(after_help = show::HELP)]
    Show(show::Show),
    /// Send deliveries again, with the same id and the same bytes
    #[command(after_help = resend::HELP)]
    Resend(resend::Resend),
}

const LIST_HELP: &str = "\
Without --since it shows those of the last 24 hours; what is pending it shows whatever its age.

Examples:
  contact-relay delivery list --state pending
  contact-relay delivery list --company acme --endpoint https://hooks.example/sales --since 7d";

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(command: Command, settings: &Settings) -> anyhow::Result<Exit> {
    let database = super::database(settings).await?;
    match command {
        Command::List(args) => list(&database, &args).await,
        Command::Show(args) => show::run(&database, &args).await,
        Command::Resend(args) => resend::run(&database, &args, settings).await,
    }
}

async fn list(database: &Database, args: &List) -> anyhow::Result<Exit> {
    let mut filter = args.filters.filter(database).await?;
    let limit = args.filters.limit.unwrap_or(LIMIT);
    filter.limit = Some(i64::from(limit) + 1);
    let rows = deliveries::list(database, &filter).await?;
    output::page(limit, &rows, |rows| print(args.output, rows))?;
    Ok(Exit::Done)
}

fn print(output: Output, rows: &[Listed]) -> anyhow::Result<()> {
    let columns = [
        "id",
        "company",
        "trigger",
        "state",
        "waits for",
        "attempts",
        "last",
        "endpoint",
        "created",
        "next attempt",
    ];
    output::listing(output.format, columns, rows, |Listed { summary, .. }| {
        [
            short(summary),
            summary.company.clone(),
            summary.trigger.clone(),
            summary.state.clone(),
            waits(summary),
            summary.attempts.to_string(),
            last(summary),
            summary.endpoint_url.as_deref().map(shortened).unwrap_or_default(),
            moment(summary.created_at),
            summary.next_attempt_at.map(moment).unwrap_or_default(),
        ]
    })
}

/// Ids are derived from events and so evenly spread: twelve digits of one are enough to find it again.
fn short(summary: &Summary) -> String {
    summary.id.to_string().chars().take(13).collect()
}

/// The status of the last answer, or what was wrong where none came.
fn last(summary: &Summary) -> String {
    let status = summary.last_status.map(|status| status.to_string());
    status.or_else(|| summary.last_class.clone()).unwrap_or_default()
}

/// What it waits for, for a person.
fn waits(summary: &Summary) -> String {
    let within = |at: OffsetDateTime| span(at - summary.now);
    match Waits::of(summary) {
        None => String::new(),
        Some(Waits::Answer) => "in flight".to_owned(),
        Some(Waits::Worker | Waits::Endpoint(LaneState::Open | LaneState::Failing, _)) => "due".to_owned(),
        Some(Waits::Retry(at)) => format!("retry in {}", within(at)),
        Some(Waits::Digest(at)) => format!("digest in {}", within(at)),
        Some(Waits::Due(at)) => format!("due in {}", within(at)),
        Some(Waits::Rate(_)) => "rate limit".to_owned(),
        Some(Waits::Endpoint(LaneState::Paused, _)) => "endpoint paused".to_owned(),
        Some(Waits::Endpoint(LaneState::Disabled, _)) => "endpoint disabled".to_owned(),
        Some(Waits::Endpoint(LaneState::BreakerOpen, _)) => "breaker open".to_owned(),
        Some(Waits::Endpoint(LaneState::Held, until)) => {
            until.map_or_else(|| "held".to_owned(), |at| format!("held for {}", within(at)))
        }
    }
}
