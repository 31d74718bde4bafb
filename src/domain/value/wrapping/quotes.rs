//! Quotes and brackets around a text, and what spreadsheets write so that a cell stays text.

use std::borrow::Cow;

use crate::domain::value::text::after_prefix;

const QUOTES: [(char, char); 16] = [
    ('"', '"'),
    ('\'', '\''),
    ('`', '`'),
    ('´', '´'),
    ('“', '”'),
    ('”', '”'),
    ('„', '“'),
    ('„', '”'),
    ('‘', '’'),
    ('’', '’'),
    ('«', '»'),
    ('»', '«'),
    ('‹', '›'),
    ('「', '」'),
    ('『', '』'),
    ('″', '″'),
];

const BRACKETS: [(char, char); 4] = [('(', ')'), ('[', ']'), ('{', '}'), ('<', '>')];

/// Takes off quotes around all of the text, but not those of two quoted parts: `"Teles" e "Filhos"`.
pub(super) fn without_quotes(text: &str) -> Option<Cow<'_, str>> {
    QUOTES.iter().find_map(|(open, close)| {
        let inner = text.strip_prefix(*open)?.strip_suffix(*close)?;
        let is_nested = inner.starts_with(*open) && inner.ends_with(*close);
        if *open == '"' && is_doubled(inner) {
            return Some(Cow::Owned(inner.replace("\"\"", "\"")));
        }
        (is_nested || !is_quoted_within(inner, *open, *close)).then_some(Cow::Borrowed(inner))
    })
}

/// Takes off brackets around all of the text, but not those of two parts: `(85) 3333-4444 (casa)`.
pub(super) fn without_brackets(text: &str) -> Option<&str> {
    BRACKETS.iter().find_map(|(open, close)| {
        let inner = text.strip_prefix(*open)?.strip_suffix(*close)?;
        (!inner.contains([*open, *close])).then_some(inner)
    })
}

/// Whether one of these quotes is within, other than as an apostrophe: `O'Neil`.
fn is_quoted_within(inner: &str, open: char, close: char) -> bool {
    inner.match_indices([open, close]).any(|(at, found)| {
        let before = inner.get(..at).and_then(|text| text.chars().next_back());
        let after = inner.get(at + found.len()..).and_then(|text| text.chars().next());
        let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
        !(matches!(found, "'" | "’" | "´" | "`") && is_letter(before) && is_letter(after))
    })
}

/// Whether quotes come in pairs, as within a quoted cell (RFC 4180, 2.7), and there is one.
fn is_doubled(inner: &str) -> bool {
    let mut runs = inner.split(|c: char| c != '"').filter(|run| !run.is_empty()).peekable();
    runs.peek().is_some() && runs.all(|run| run.len() % 2 == 0)
}

/// A formula that shows a text or a link.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Formula {
    Text(String),
    /// Target and label.
    Link(String, String),
}

/// `="text"`, `=T("text")`, `=HYPERLINK("target"; "label")`, also with the function's Portuguese and Spanish names.
pub(super) fn formula(text: &str) -> Option<Formula> {
    let formula = text.strip_prefix('=')?.trim_start();
    if let Some((text, "")) = cell(formula) {
        return Some(Formula::Text(text));
    }
    let call = formula.strip_suffix(')')?;
    if let Some(argument) = after_prefix(call, "T(") {
        let (text, rest) = cell(argument.trim())?;
        return rest.is_empty().then_some(Formula::Text(text));
    }
    let arguments = ["HYPERLINK(", "HIPERLINK(", "HIPERVINCULO(", "HIPERVÍNCULO(", "HIPERLIGAÇÃO("]
        .iter()
        .find_map(|name| after_prefix(call, name))?;
    let (target, rest) = cell(arguments.trim())?;
    let rest = rest.trim_start();
    if rest.is_empty() {
        return Some(Formula::Link(target, String::new()));
    }
    let (label, rest) = cell(rest.strip_prefix([',', ';'])?.trim())?;
    rest.is_empty().then_some(Formula::Link(target, label))
}

/// A quoted text of a formula, and what follows it.
fn cell(text: &str) -> Option<(String, &str)> {
    let mut rest = text.strip_prefix('"')?;
    let mut cell = String::new();
    loop {
        let (part, after) = rest.split_once('"')?;
        cell.push_str(part);
        match after.strip_prefix('"') {
            Some(after) => {
                cell.push('"');
                rest = after;
            }
            None => return Some((cell, after)),
        }
    }
}

/// Takes off the apostrophe that makes a cell text. In free text only before a number, or before what would be a
/// formula: `'t Hooft` and `'Abd` begin with one.
pub(super) fn without_apostrophe(text: &str, is_free_text: bool) -> Option<&str> {
    // The first of several texts in quotes: `'ada@x.example', None`.
    let rest = text.strip_prefix(['\'', '’', '‘', '´', '`']).filter(|rest| !rest.contains("',"))?;
    let is_number =
        || rest.starts_with(|c: char| c.is_ascii_digit() || c == '(') && !rest.contains(char::is_alphabetic);
    (!is_free_text || rest.starts_with(['=', '+', '-', '@']) || is_number()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_around_all_of_the_text_are_taken_off() {
        for (text, expected) in [
            ("\"Ana\"", Some("Ana")),
            ("'Ana'", Some("Ana")),
            ("“Ana”", Some("Ana")),
            ("‘O’Neil’", Some("O’Neil")),
            ("'O'Neil'", Some("O'Neil")),
            ("«Ana»", Some("Ana")),
            ("„Ana“", Some("Ana")),
            ("「Ana」", Some("Ana")),
            ("`Ana`", Some("Ana")),
            ("\"Teles \"\"T\"\" Filhos\"", Some("Teles \"T\" Filhos")),
            ("\"\"Ana\"\"", Some("\"Ana\"")),
            ("\"\"", Some("")),
            ("\"Teles\" e \"Filhos\"", None),
            ("'Rock' 'n' 'Roll'", None),
            ("'t Hooft", None),
            ("O'Neil", None),
            ("\"", None),
            ("", None),
        ] {
            assert_eq!(without_quotes(text).as_deref(), expected, "{text}");
        }
        assert_eq!(without_brackets("[60175-055]"), Some("60175-055"));
        for text in ["(85) 3333-4444", "(85) 3333-4444 (casa)", "85"] {
            assert_eq!(without_brackets(text), None, "{text}");
        }
    }

    #[test]
    fn formulas_show_their_text() {
        let text = |text: &str| Some(Formula::Text(text.to_owned()));
        let link = |target: &str, label: &str| Some(Formula::Link(target.to_owned(), label.to_owned()));
        for (given, expected) in [
            ("=\"85999990001\"", text("85999990001")),
            ("=\"a \"\"b\"\" c\"", text("a \"b\" c")),
            ("=T(\"85999990001\")", text("85999990001")),
            ("=HYPERLINK(\"mailto:ada@x.example\",\"Ada\")", link("mailto:ada@x.example", "Ada")),
            ("=hiperlink( \"mailto:ada@x.example\" ; \"Ada\" )", link("mailto:ada@x.example", "Ada")),
            ("=HIPERLINK(\"tel:+5585999990001\";\"85\")", link("tel:+5585999990001", "85")),
            ("=HYPERLINK(\"mailto:ada@x.example\")", link("mailto:ada@x.example", "")),
            ("=\"a\"&\"b\"", None),
            ("=HYPERLINK(A1)", None),
            ("=SUM(1)", None),
            ("=", None),
            ("=\"a", None),
            ("", None),
        ] {
            assert_eq!(formula(given), expected, "{given}");
        }
    }

    #[test]
    fn apostrophes_of_cells_are_taken_off() {
        for text in ["'85999990001", "'+5585", "'=x", "'@x", "'(85) 3333-4444", "'-1"] {
            assert_eq!(without_apostrophe(text, true), text.strip_prefix('\''), "{text}");
        }
        for text in ["'t Hooft", "'Abd", "'47 Brand", "'", "Ana"] {
            assert_eq!(without_apostrophe(text, true), None, "{text}");
        }
        assert_eq!(without_apostrophe("’ada@x.example", false), Some("ada@x.example"));
        assert_eq!(without_apostrophe("'ada@x.example', None", false), None);
    }
}
