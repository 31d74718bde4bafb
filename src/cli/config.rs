//! `config check|show|example`.

use clap::Subcommand;
use serde::Serialize;

use super::{
    exit::Exit,
    output::{self, Output},
};
use crate::settings::{DEFAULTS, Effective};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Tell everything that is wrong with the settings at once
    Check,
    /// Show each setting with its value and where it comes from; secrets are redacted
    Show(Output),
    /// Print every setting with its default and what it means, as a file to start from
    Example,
}

pub(super) fn example() -> anyhow::Result<Exit> {
    output::line(DEFAULTS.trim_end())?;
    Ok(Exit::Done)
}

/// Settings with faults do not come this far: loading them failed with all faults.
pub(super) fn run(command: &Command, effective: &Effective) -> anyhow::Result<Exit> {
    match command {
        Command::Check => output::line("the settings are fine")?,
        Command::Show(output) => show(*output, effective)?,
        Command::Example => return example(),
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
