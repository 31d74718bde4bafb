//! `trigger check|preview`: nothing is published, stored or sent.

mod file;
mod preview;

use std::path::PathBuf;

use clap::Subcommand;

use super::{
    exit::Exit,
    output::{self, Output},
    start::Start,
};
use crate::{
    operator::check::{self, Finding},
    settings::Settings,
};
use preview::preview;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Report everything that is wrong with a trigger definition, and what to write instead
    #[command(after_help = "\
FILE contains a definition, an object with `trigger` (and `next`), or a whole trigger.fired event.
Exits 1 when the service would refuse it, and 0 when there are only warnings.")]
    Check(Check),
    /// Show the contact fields and the exact HTTP requests that an event would result in
    #[command(after_help = "\
Example: contact-relay trigger preview lead.json --arguments '{\"name\": \"Ada\", \"email\": \"ada@analytical.example\"}'")]
    Preview(Preview),
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// File with the definition; - reads standard input
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct Preview {
    /// File with the definition; - reads standard input
    file: PathBuf,
    /// Arguments as a JSON object, or @FILE to read them from a file
    #[arg(long, value_name = "JSON")]
    arguments: String,
    /// Client data as a JSON object, or @FILE to read it from a file
    #[arg(long, value_name = "JSON", default_value = "{}")]
    client_data: String,
    /// Company that fires it; endpoint settings may be per company [default: the file's, else preview]
    #[arg(long, value_name = "ID")]
    company: Option<String>,
    #[command(flatten)]
    output: Output,
}

pub(super) fn run(command: &Command, start: &Start) -> anyhow::Result<Exit> {
    match command {
        Command::Check(args) => check(args, &start.settings()?.settings),
        Command::Preview(args) => start.with_settings(async |settings| preview(args, settings)),
    }
}

/// Checks a definition and prints the findings.
fn check(args: &Check, settings: &Settings) -> anyhow::Result<Exit> {
    let findings = check::check(&file::text(&args.file)?, settings);
    if findings.is_empty() && args.output.format == output::Format::Table {
        output::line("the definition is fine")?;
        return Ok(Exit::Done);
    }
    output::listing(args.output.format, ["", "place", "message"], &findings, |finding: &Finding| {
        let severity: &str = finding.severity.into();
        [severity.to_owned(), finding.place.clone(), finding.message.clone()]
    })?;
    Ok(if check::is_accepted(&findings) { Exit::Done } else { Exit::Failed })
}
