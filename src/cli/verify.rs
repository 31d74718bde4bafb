//! `verify`.

use super::{
    exit::Exit,
    output::{self, Format, Output},
    progress,
};
use crate::{
    operator::verify::{self, Report},
    postgres::Database,
    settings::Settings,
};

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Reads every row that a promise depends on, in pages, while workers run. It changes and locks nothing. What seems wrong is
looked at again some seconds later. Exit 0: nothing contradicts a promise; 1: something does.

Examples:
  contact-relay verify
  contact-relay verify --company acme -o json")]
pub(super) struct Args {
    /// Only the rows of this company
    #[arg(long)]
    company: Option<String>,
    #[command(flatten)]
    output: Output,
}

pub(super) async fn run(args: &Args, database: &Database, settings: &Settings) -> anyhow::Result<Exit> {
    let bar = progress::bar(None, "checking");
    let reports = verify::verify(database, settings, args.company.as_deref(), |rows| {
        bar.set_message(format!("{rows} rows"));
    })
    .await;
    bar.finish_and_clear();
    let reports = reports?;
    print(args.output.format, &reports)?;
    let violations: u64 = reports.iter().map(|report| report.violations).sum();
    Ok(if violations == 0 { Exit::Done } else { Exit::Failed })
}

fn print(format: Format, reports: &[Report]) -> anyhow::Result<()> {
    let columns = ["check", "rows", "violations", "proves"];
    output::listing(format, columns, reports, |report| {
        let proves = report.proves.to_owned();
        [report.check.to_owned(), report.rows.to_string(), report.violations.to_string(), proves]
    })?;
    if format != Format::Table {
        return Ok(());
    }
    for report in reports.iter().filter(|report| report.violations > 0) {
        output::line(format_args!("\n{}: {} violations", report.check, report.violations))?;
        for sample in &report.samples {
            let company = output::printable(&sample.company);
            output::line(format_args!("  {company} {}: {}", sample.id, sample.found))?;
        }
    }
    Ok(())
}
