//! `trigger check|preview`: nothing is published, stored or sent.

mod definition;
mod preview;

use std::path::PathBuf;

use clap::Subcommand;
use serde::Serialize;

use super::{
    exit::Exit,
    output::{self, Output},
};
pub(super) use preview::preview;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tell everything that is wrong with a trigger definition, and what to write instead
    #[command(after_help = "\
FILE holds a definition, an object with `trigger` (and `next`), or a whole trigger.fired event.
Exits 1 when the service would refuse it; warnings alone exit 0.")]
    Check(Check),
    /// Show the contact fields and the exact HTTP requests that a firing would give
    #[command(after_help = "\
Example: contact-relay trigger preview lead.json --arguments '{\"name\": \"Ada\", \"email\": \"ada@analytical.example\"}'")]
    Preview(Preview),
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// File with the definition; - is standard input
    file: PathBuf,
    #[command(flatten)]
    output: Output,
}

#[derive(Debug, clap::Args)]
pub(super) struct Preview {
    /// File with the definition; - is standard input
    file: PathBuf,
    /// Arguments as a JSON object, or @FILE to read them from there
    #[arg(long, value_name = "JSON")]
    arguments: String,
    /// Client data as a JSON object, or @FILE to read it from there
    #[arg(long, value_name = "JSON", default_value = "{}")]
    client_data: String,
    /// Company that it fires for; settings may differ for its endpoints [default: the file's, else preview]
    #[arg(long, value_name = "ID")]
    company: Option<String>,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Error,
    Warning,
}

/// One thing to tell the author.
#[derive(Debug, Serialize)]
struct Finding {
    severity: Severity,
    /// JSON pointer (RFC 6901) into the file.
    place: String,
    message: String,
}

/// Checks a definition and prints what is found.
pub(super) fn check(args: &Check) -> anyhow::Result<Exit> {
    let text = definition::read(&args.file)?;
    let findings: Vec<Finding> =
        definition::find(&text)?.into_iter().flat_map(|found| definition::lint(&found)).collect();
    if findings.is_empty() && args.output.format == output::Format::Table {
        output::line("the definition is fine")?;
        return Ok(Exit::Done);
    }
    output::listing(args.output.format, ["", "place", "message"], &findings, |finding| {
        let severity = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        [severity.to_owned(), finding.place.clone(), finding.message.clone()]
    })?;
    let wrong = findings.iter().any(|finding| finding.severity == Severity::Error);
    Ok(if wrong { Exit::Failed } else { Exit::Done })
}
