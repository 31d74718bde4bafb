//! Data on standard output: lines, and listings as a table, JSON or NDJSON.

use std::{
    fmt::Display,
    io::{ErrorKind, Write as _},
};

use clap::ValueEnum;
use comfy_table::{Table, presets};
use serde::Serialize;

use super::exit::OutputClosed;
use crate::operator::paging::Page;
pub(super) use crate::operator::views::moment;

/// The format of data on standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Format {
    /// Text for people
    Table,
    /// One JSON document
    Json,
    /// One JSON object per line
    Ndjson,
}

/// The option of every command that prints data.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct Output {
    /// Output format
    #[arg(short = 'o', long = "output", value_enum, default_value_t = Format::Table)]
    pub(super) format: Format,
}

/// Prints one line.
pub(super) fn line(line: impl Display) -> anyhow::Result<()> {
    text(format_args!("{line}\n"))
}

fn text(text: impl Display) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match write!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Err(OutputClosed.into()),
        written => Ok(written?),
    }
}

/// Notes where a listing continues, if it does.
pub(super) fn more<T>(limit: u32, page: &Page<T>) {
    if let Some(next) = page.next {
        note(format_args!(
            "there are more than these {limit}; raise --limit, or continue with --after {next}"
        ));
    }
}

/// Prints one object as one line of JSON.
pub(super) fn ndjson<T: Serialize>(value: &T) -> anyhow::Result<()> {
    line(harmless(&serde_json::to_string(value)?))
}

/// Prints a remark on standard error.
pub(super) fn note(text: impl Display) {
    // If standard error is closed, there is nowhere left to report that.
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Prints a list: a table with these columns, or all members of `T` as JSON.
pub(super) fn listing<T: Serialize, const N: usize>(
    format: Format,
    columns: [&str; N],
    rows: &[T],
    cells: impl Fn(&T) -> [String; N],
) -> anyhow::Result<()> {
    let mut list = Rows::new(format, columns);
    list.print(rows, cells)?;
    list.end()
}

/// A list that is printed while it is read, part by part. Each part has its own table, the first one with column names.
pub(super) struct Rows<'a, const N: usize> {
    format: Format,
    columns: [&'a str; N],
    is_begun: bool,
}

impl<'a, const N: usize> Rows<'a, N> {
    pub(super) const fn new(format: Format, columns: [&'a str; N]) -> Self {
        Self { format, columns, is_begun: false }
    }

    /// Prints the next rows.
    pub(super) fn print<T: Serialize>(
        &mut self,
        rows: &[T],
        cells: impl Fn(&T) -> [String; N],
    ) -> anyhow::Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let is_first = !std::mem::replace(&mut self.is_begun, true);
        match self.format {
            Format::Table => {
                let names = is_first.then_some(self.columns);
                line(laid_out(names, rows.iter().map(cells)))
            }
            Format::Json => rows.iter().enumerate().try_for_each(|(number, row)| {
                let before = if is_first && number == 0 { "[\n  " } else { ",\n  " };
                let row = harmless(&serde_json::to_string_pretty(row)?).replace('\n', "\n  ");
                text(format_args!("{before}{row}"))
            }),
            Format::Ndjson => rows.iter().try_for_each(|row| line(harmless(&serde_json::to_string(row)?))),
        }
    }

    /// Ends the list.
    pub(super) fn end(self) -> anyhow::Result<()> {
        match (self.format, self.is_begun) {
            (Format::Table, false) => line(table(self.columns, std::iter::empty())),
            (Format::Json, false) => line("[]"),
            (Format::Json, true) => line("\n]"),
            (Format::Table, true) | (Format::Ndjson, _) => Ok(()),
        }
    }
}

/// Prints one object: `text` for people, or JSON.
pub(super) fn object<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    match format {
        Format::Table => line(text(value)),
        Format::Json => line(harmless(&serde_json::to_string_pretty(value)?)),
        Format::Ndjson => line(harmless(&serde_json::to_string(value)?)),
    }
}

/// Prints what a command has done. A closed standard output does not change the exit code: the work is done.
pub(super) fn report<T: Serialize>(
    format: Format,
    value: &T,
    text: impl FnOnce(&T) -> String,
) -> anyhow::Result<()> {
    match object(format, value, text) {
        Err(error) if error.is::<OutputClosed>() => Ok(()),
        printed => printed,
    }
}

/// Names and values, one pair per line, without the pairs whose value is empty. `width` is that of the names.
pub(super) fn facts(width: usize, facts: Vec<(&str, String)>) -> Vec<String> {
    let given = facts.into_iter().filter(|(_, value)| !value.is_empty());
    given.map(|(name, value)| format!("{name:<width$}{}", printable(&value))).collect()
}

/// A table without borders, its cells printable.
pub(super) fn table<const N: usize>(columns: [&str; N], rows: impl Iterator<Item = [String; N]>) -> String {
    laid_out(Some(columns), rows)
}

fn laid_out<const N: usize>(columns: Option<[&str; N]>, rows: impl Iterator<Item = [String; N]>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    if let Some(columns) = columns {
        table.set_header(columns.map(str::to_uppercase));
    }
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell)));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Replaces characters that could move a terminal's cursor, break a table's line or reverse the text beside
/// them: strangers choose these texts.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if moves(c) { '\u{fffd}' } else { c }).collect()
}

/// The same JSON document with those characters escaped. Line breaks are the writer's own and stay.
fn harmless(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        // All of them are in the basic plane and occur only inside strings.
        if c != '\n' && moves(c) {
            text.extend(format!("\\u{:04x}", u32::from(c)).chars());
        } else {
            text.push(c);
        }
    }
    text
}

/// Control characters, line and paragraph separators, and explicit directional formatting (UAX 9, section 2).
fn moves(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A duration in its largest unit, rounded down: `45s`, `3m`, `26h`, `9d`.
pub(super) fn span(duration: time::Duration) -> String {
    let duration = duration.max(time::Duration::ZERO);
    match (duration.whole_minutes(), duration.whole_hours()) {
        (0, _) => format!("{}s", duration.whole_seconds()),
        (minutes, 0) => format!("{minutes}m"),
        (_, hours @ ..48) => format!("{hours}h"),
        _ => format!("{}d", duration.whole_days()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn span_is_rounded_down_to_one_unit() {
        for (seconds, expected) in [
            (-5, "0s"),
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (3_599, "59m"),
            (3_600, "1h"),
            (172_799, "47h"),
            (172_800, "2d"),
        ] {
            assert_eq!(span(time::Duration::seconds(seconds)), expected);
        }
    }

    #[test]
    fn json_is_escaped_without_changing_its_value() {
        let value = serde_json::json!({"a\u{9b}": "\u{1b}[2J\u{9b}2J\u{202e}\u{7f}é\n"});
        let shown = harmless(&serde_json::to_string_pretty(&value).unwrap());
        assert!(!shown.chars().any(|c| c != '\n' && moves(c)) && shown.contains('é'), "{shown:?}");
        assert_eq!(serde_json::from_str::<Value>(&shown).unwrap(), value);
    }

    #[test]
    fn table_row_stays_on_one_line() {
        let rows = [["1".to_owned(), "a\nb\u{1b}[2J\u{202e}c\u{2028}d\u{2066}".to_owned()]];
        let shown = table(["id", "name"], rows.into_iter());
        assert_eq!(shown.lines().count(), 2);
        let cell = "a\u{fffd}b\u{fffd}[2J\u{fffd}c\u{fffd}d\u{fffd}";
        assert!(shown.ends_with(cell) && shown.contains("ID"), "{shown:?}");
    }
}
