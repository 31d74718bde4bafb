//! `config check|show|example`.

use clap::Subcommand;
use serde::Serialize;

use super::{
    exit::Exit,
    output::{self, Output},
    start::Start,
};
use crate::settings::{DEFAULTS, Effective};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Report every fault in the settings at once
    Check,
    /// Show each setting with its value and origin; secrets are redacted
    Show(Output),
    /// Print every setting with its default and a description, as a file to start from
    Example,
}

pub(super) fn run(command: &Command, start: &Start) -> anyhow::Result<Exit> {
    match command {
        Command::Check => {
            let effective = start.checked()?;
            effective.warnings().for_each(|fault| output::note(format_args!("warning: {fault}")));
            output::line("the settings are fine")?;
        }
        Command::Show(output) => show(*output, &start.settings()?)?,
        Command::Example => output::line(DEFAULTS.trim_end())?,
    }
    Ok(Exit::Done)
}

#[derive(Serialize)]
struct Row<'a> {
    key: &'a str,
    value: &'a str,
    origin: String,
}

fn show(output: Output, effective: &Effective) -> anyhow::Result<()> {
    let rows: Vec<Row<'_>> = effective
        .entries
        .iter()
        .map(|(key, entry)| Row { key, value: &entry.shown, origin: entry.origin.to_string() })
        .collect();
    output::listing(output.format, ["key", "value", "origin"], &rows, |row| {
        [row.key.to_owned(), row.value.to_owned(), row.origin.clone()]
    })
}
