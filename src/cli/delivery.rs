//! `delivery list|show|resend|discard`.

mod discard;
mod outcome;
mod resend;
pub(super) mod select;
mod show;

use std::cell::Cell;

use clap::Subcommand;
use time::OffsetDateTime;

use super::{
    bulk::{Bulk, Select as _},
    dead_letter::{Paging, pages},
    exit::Exit,
    output::{self, Output, moment, span},
};
use crate::{
    operator::{
        deliveries::{self, Filter, Listed, Summary},
        endpoints::shortened,
        lane::{LaneState, Waits},
        paging::Cursor,
    },
    postgres::Database,
    settings::Settings,
};
pub(super) use discard::Waiting;
use select::Filters;
pub(super) use show::{attempt_text, request_text};

/// Rows of a listing without `--limit`.
const DEFAULT_LIMIT: u32 = 50;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List webhook deliveries, newest first, with what each waits for and how its last attempt ended
    #[command(after_help = LIST_HELP)]
    List(List),
    /// Show one delivery in full: its request without secrets, and every attempt
    #[command(after_help = show::HELP)]
    Show(show::Show),
    /// Resend deliveries with the same id and the same bytes
    #[command(after_help = resend::HELP)]
    Resend(resend::Resend),
    /// Give up deliveries that wait, for example behind an endpoint that is gone
    #[command(after_help = discard::HELP)]
    Discard(Bulk<Waiting>),
}

const LIST_HELP: &str = "\
Without --since it lists the last 24 hours. `--state pending` and `--state discarded` alone list deliveries of any age.

Examples:
  contact-relay delivery list --state pending
  contact-relay delivery list --company acme --endpoint https://hooks.example/sales --since 7d";

#[derive(Debug, clap::Args)]
pub(super) struct List {
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(command: Command, database: &Database, settings: &Settings) -> anyhow::Result<Exit> {
    match command {
        Command::List(args) => list(database, &args).await,
        Command::Show(args) => show::run(database, &args).await,
        Command::Resend(args) => resend::run(database, &args, settings).await,
        Command::Discard(args) => discard::run(database, &args, settings).await,
    }
}

async fn list(database: &Database, args: &List) -> anyhow::Result<Exit> {
    let filter = Filter { limit: None, ..args.filters.filter(database).await? };
    let limit = args.filters.limit.unwrap_or(DEFAULT_LIMIT);
    let is_complete = Cell::new(true);
    let fetch = async |after: Option<Cursor>, limit| {
        let filter = Filter { before: after.map(Cursor::position), ..filter.clone() };
        let found = deliveries::page(database, &filter, limit).await?;
        is_complete.set(is_complete.get() && found.is_complete);
        Ok(found.page)
    };
    let page = pages(limit, args.paging.after, fetch).await?;
    print(args.output, &page.items)?;
    output::more(limit, &page);
    if !is_complete.get() {
        output::note(
            "too many deliveries wait for their first attempt to search all of them; the oldest are not listed",
        );
    }
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

/// The first twelve digits of the id. Ids are hashes of events, so twelve digits identify one.
fn short(summary: &Summary) -> String {
    summary.id.to_string().chars().take(13).collect()
}

/// The status of the last response, or the class of the failure when there was none.
fn last(summary: &Summary) -> String {
    let status = summary.last_status.map(|status| status.to_string());
    status.or_else(|| summary.last_class.clone()).unwrap_or_default()
}

/// What the delivery waits for, in a few words.
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
