//! `audit list`: what operators changed.

use clap::{Subcommand, builder::PossibleValuesParser};

use super::{
    dead_letter::{Paging, pages},
    exit::Exit,
    output::{self, Output, moment},
    value::Since,
};
use crate::{
    operator::audit::{self, ACTIONS, Filter},
    postgres::Database,
};

/// Rows of a listing without `--limit`.
const DEFAULT_LIMIT: u32 = 100;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List what operators changed, newest first
    #[command(after_help = HELP)]
    List(List),
}

const HELP: &str = "\
Each change is recorded in the transaction that makes it, and the database refuses to change a record.

Examples:
  contact-relay audit list --operator ada --since 24h
  contact-relay audit list --object 0193f5a0-7c1e-7b8a-9a55-3f6f1f0c2b11 -o ndjson";

#[derive(Debug, clap::Args)]
pub(super) struct List {
    /// Only changes by this operator
    #[arg(long, value_name = "NAME")]
    operator: Option<String>,
    /// Only changes of this kind
    #[arg(long, value_parser = PossibleValuesParser::new(ACTIONS))]
    action: Option<String>,
    /// Only changes in this company; '' selects changes without a company
    #[arg(long)]
    company: Option<String>,
    /// Only changes of the object with this whole id: a dead letter, delivery, endpoint or contact, or the signature of a group
    #[arg(long, value_name = "ID")]
    object: Option<String>,
    /// Only changes since a time (2026-11-22T10:00:00Z) or within a duration (24h)
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    since: Option<Since>,
    /// Only changes before a time, or longer ago than a duration
    #[arg(long, value_name = "TIME", value_parser = Since::parse)]
    until: Option<Since>,
    /// Only the newest N
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    #[command(flatten)]
    paging: Paging,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(command: Command, database: &Database) -> anyhow::Result<Exit> {
    let Command::List(args) = command;
    let filter = Filter {
        operator: args.operator.clone(),
        action: args.action.clone(),
        company: args.company.clone(),
        object: args.object.clone(),
        since: args.since.map(Since::moment).transpose()?,
        until: args.until.map(Since::moment).transpose()?,
        before: None,
    };
    let limit = args.limit.unwrap_or(DEFAULT_LIMIT);
    let fetch = async |before, limit| {
        let filter = Filter { before, ..filter.clone() };
        Ok(audit::list(database, &filter, limit).await?)
    };
    let page = pages(limit, args.paging.after, fetch).await?;
    let columns = ["at", "operator", "via", "action", "company", "object", "before", "after", "reason"];
    output::listing(args.output.format, columns, &page.items, |row| {
        let text =
            |value: &Option<serde_json::Value>| value.as_ref().map(ToString::to_string).unwrap_or_default();
        [
            moment(row.at),
            row.operator.clone(),
            row.via.clone(),
            row.action.clone(),
            row.company.clone(),
            row.object.clone(),
            text(&row.before),
            text(&row.after),
            row.reason.clone().unwrap_or_default(),
        ]
    })?;
    output::more(limit, &page);
    Ok(Exit::Done)
}
