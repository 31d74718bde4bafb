//! Tables of inputs whose rows name where they come from. `docs/sources.md` explains the names.

use std::path::Path;

/// The kinds of input, and the files and folders of `src` that have their tables.
pub(crate) const KINDS: [(&str, &[&str]); 7] = [
    ("schemas that tools write", &["domain/trigger/parameters"]),
    (
        "shapes that languages write",
        &["domain/event", "domain/trigger/fired", "domain/trigger/shapes", "domain/trigger/spelling"],
    ),
    (
        "what is around a value",
        &[
            "domain/chain/plan/tests/wrapped",
            "domain/value/email",
            "domain/value/joiners",
            "domain/value/label",
            "domain/value/relatives",
            "domain/value/text",
            "domain/value/wrapping",
        ],
    ),
    ("what is in place of a value", &["domain/chain/plan/tests/placeholders", "domain/contact/placeholder"]),
    (
        "numbers and dates",
        &[
            "domain/value/birthday",
            "domain/value/damaged",
            "domain/value/identity",
            "domain/value/phone",
            "domain/value/zip_code",
        ],
    ),
    ("webhooks that authors write", &["operator/check", "domain/webhook"]),
    ("receivers as they answer", &["http_client"]),
];

/// How many rows each kind has at least.
pub(crate) const MIN_ROWS: usize = 25;

/// The places in [`KINDS`] of the kinds that have tables in the file.
pub(crate) fn kinds(file: &Path) -> impl Iterator<Item = usize> {
    let inside = file.strip_prefix("src").unwrap_or(file).with_extension("");
    let has_tables = move |places: &[&str]| places.iter().any(|place| inside.starts_with(place));
    (0..KINDS.len()).filter(move |kind| has_tables(KINDS[*kind].1))
}

/// What the bibliography names.
pub(crate) struct Names(Vec<String>);

/// One row of a table.
pub(crate) struct Row {
    /// Counted from 1.
    pub(crate) line: usize,
    /// The last text of the row, or of the constant that stands there; the first one in tables of schemas.
    pub(crate) source: Option<String>,
    /// Whether no row is above it.
    is_first: bool,
}

impl Names {
    /// Reads the first column of its table.
    pub(crate) fn read(document: &str) -> Self {
        let cells = document.lines().filter_map(|line| line.strip_prefix("| ")?.split(" |").next());
        Self(cells.skip(1).map(str::to_owned).collect())
    }

    /// Whether the row has an address, a standard, a name of the bibliography, or varies the row above it.
    pub(crate) fn explain(&self, row: &Row) -> bool {
        let Some(source) = &row.source else { return false };
        let is_after = |name: &str| {
            let rest = source.strip_prefix(name);
            rest.is_some_and(|rest| !rest.starts_with(char::is_alphanumeric))
        };
        let is_numbered = |standard: &str| {
            let number = source.strip_prefix(standard);
            number.is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
        };
        source.contains("https://")
            || source.contains("http://")
            || ["RFC ", "ISO "].into_iter().any(is_numbered)
            || is_after("as above") && !row.is_first
            || self.0.iter().any(|name| is_after(name))
    }
}

/// The rows of all tables whose rows have a source: loops over `…, source)`, constants whose description has that word, lists
/// that are given to a function `check`, and schemas that are given to `test`. `code` is the text without comments and
/// literals.
pub(crate) fn rows(text: &str, code: &str) -> Vec<Row> {
    let has_schemas = code.contains("for (source, schema, accepted");
    let (text, code): (Vec<char>, Vec<char>) = (text.chars().collect(), code.chars().collect());
    let mut rows = Vec::new();
    for at in (0..code.len()).filter(|at| code[*at] == '[') {
        let begins_schemas = has_schemas && code[..at].ends_with(&"test(vec!".chars().collect::<Vec<_>>());
        if !begins_schemas && !begins_table(&text, &code, at) {
            continue;
        }
        for (index, (start, end)) in tuples(&code, at + 1).into_iter().enumerate() {
            let line = text[..end].iter().filter(|c| **c == '\n').count() + 1;
            let source =
                if begins_schemas { first(&text[start..end]) } else { last(&text, &code, start, end) };
            rows.push(Row { line, source, is_first: index == 0 });
        }
    }
    rows
}

fn first(row: &[char]) -> Option<String> {
    let row: String = row.iter().collect();
    row.trim_start().strip_prefix('"')?.split('"').next().map(str::to_owned)
}

fn begins_table(text: &[char], code: &[char], at: usize) -> bool {
    let before: String = code[at.saturating_sub(400)..at].iter().collect();
    let before = before.trim_end_matches('&');
    let statement = before.rsplit([';', '{', '}']).next().unwrap_or_default();
    if before.ends_with("source) in ") {
        return true;
    }
    if let Some((declared, given)) = statement.rsplit_once("check(") {
        return !declared.ends_with("fn ") && !given.contains('[') && code[at - 1] == '&';
    }
    let is_constant = statement.contains("const ") && before.ends_with("&str)] = ");
    is_constant && description(text, at).contains("source")
}

/// The comment before the declaration that this is in.
fn description(text: &[char], at: usize) -> String {
    let before: String = text[..at].iter().collect();
    before.rsplit("\n\n").next().unwrap_or_default().to_owned()
}

/// Where the tuples of a list begin and end, without their parentheses.
fn tuples(code: &[char], from: usize) -> Vec<(usize, usize)> {
    let (mut found, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in code.iter().enumerate().skip(from) {
        match c {
            '(' | '[' | '{' => {
                if depth == 0 {
                    start = at + 1;
                }
                depth += 1;
            }
            ')' | ']' | '}' if depth == 0 => break,
            ')' | ']' | '}' => {
                depth -= 1;
                if depth == 0 && *c == ')' {
                    found.push((start, at));
                }
            }
            _ => {}
        }
    }
    found
}

/// The last member of a tuple.
fn last(text: &[char], code: &[char], start: usize, end: usize) -> Option<String> {
    let is_empty = |from: usize, to: usize| text[from..to].iter().all(|c| c.is_whitespace());
    let (mut depth, mut from, mut before) = (0_usize, start, start);
    for (at, c) in code.iter().enumerate().take(end).skip(start) {
        match c {
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 0 => (before, from) = (from, at + 1),
            _ => {}
        }
    }
    let (from, to) = if is_empty(from, end) { (before, from - 1) } else { (from, end) };
    let member: String = text[from..to].iter().collect();
    let member = member.trim();
    if let Some(literal) = member.strip_prefix('"') {
        return literal.strip_suffix('"').map(str::to_owned);
    }
    let text: String = text.iter().collect();
    let (_, constant) = text.split_once(&format!("const {member}: &str ="))?;
    constant.trim_start().strip_prefix('"')?.split('"').next().map(str::to_owned)
}
