//! What programming languages write around a text when they print it: `['Ana']`, `Optional("Ana")`, `b'Ana'`. The
//! text must be in quotes, a number, or in what only programs write, so nothing is guessed.

use super::members::{is_nothing, is_number};
use crate::domain::value::text::after_prefix;

/// What prints a text in parentheses: Swift, Rust, Haskell, Scala; `MongoDB`'s shell, pandas, JavaScript, `NumPy`, Python.
const CALLS: [&str; 12] = [
    "Optional(",
    "Some(",
    "Just(",
    "ISODate(",
    "Timestamp(",
    "new Date(",
    "new String(",
    "np.str_(",
    "numpy.str_(",
    "Decimal(",
    "UUID(",
    "String(",
];
/// What prints a number: `MongoDB`'s shell, `NumPy`.
const NUMBERS: [&str; 8] = [
    "NumberLong(",
    "NumberInt(",
    "NumberDecimal(",
    "Long(",
    "np.int64(",
    "np.float64(",
    "numpy.int64(",
    "numpy.float64(",
];
/// Before a quoted text: bytes, Unicode and raw texts of Python, national ones of T-SQL.
const PREFIXES: [char; 7] = ['b', 'B', 'u', 'U', 'r', 'N', 'E'];
/// Python's dates. The numbers after the day are a time.
const DATES: [&str; 2] = ["datetime.date(", "datetime.datetime("];

/// The text that a program has printed. Empty if it has printed nothing.
pub(super) fn without_literal(text: &str) -> Option<&str> {
    let has_cast = || text.contains(':') && text.contains("::");
    if !text.ends_with([')', ']', '}', '\'', '"']) && !has_cast() {
        return None;
    }
    let call = || {
        let inner = CALLS.iter().find_map(|call| after_prefix(text, call))?.strip_suffix(')')?;
        quoted(inner)
    };
    let list = || {
        let inner = [("[", "]"), ("(", ")"), ("{", "}")]
            .into_iter()
            .find_map(|(open, close)| text.strip_prefix(open)?.strip_suffix(close))?;
        quoted(inner.trim_end_matches([',', ' ']))
    };
    let prefixed = || quoted(text.strip_prefix(PREFIXES)?);
    let number = || {
        let inner = NUMBERS.iter().find_map(|call| text.strip_prefix(call))?.strip_suffix(')')?;
        quoted(inner).or_else(|| Some(inner).filter(|inner| is_number(inner)))
    };
    // Postgres: `'Ana'::text`.
    let cast = || {
        let (literal, kind) = text.rsplit_once("::")?;
        let is_of_kind = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || " ()[]".contains(c);
        let is_kind = kind.starts_with(|c: char| c.is_ascii_lowercase()) && kind.chars().all(is_of_kind);
        if !is_kind {
            return None;
        }
        if is_nothing(literal) { Some("") } else { quoted(literal) }
    };
    call().or_else(list).or_else(prefixed).or_else(number).or_else(|| without_quotes(text)).or_else(cast)
}

/// The text that Java and Scala print without quotes: `Optional[Ana]`, `Some(Ana)`. A company may be `Some(one)`.
fn without_quotes(text: &str) -> Option<&str> {
    let optional = || text.strip_prefix("Optional[")?.strip_suffix(']');
    let is_value = |inner: &&str| {
        inner.contains([' ', '@']) || is_nothing(inner) || !inner.starts_with(char::is_lowercase)
    };
    let some = || text.strip_prefix("Some(")?.strip_suffix(')').filter(is_value);
    let inner = optional().or_else(some)?;
    let is_one = !inner.is_empty() && !inner.contains(['(', ')', '[', ']']);
    is_one.then(|| if is_nothing(inner) { "" } else { inner })
}

/// The numbers of year, month and day that Python has printed: `datetime.date(1990, 5, 20)`.
pub(super) fn date_numbers(text: &str) -> Option<&str> {
    let numbers = DATES.iter().find_map(|date| text.strip_prefix(date))?.strip_suffix(')')?;
    let end = numbers.match_indices(',').nth(2).map_or(numbers.len(), |(at, _)| at);
    numbers.get(..end)
}

/// The text within one pair of quotes.
fn quoted(text: &str) -> Option<&str> {
    ['\'', '"'].into_iter().find_map(|quote| {
        let inner = text.trim().strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.is_empty() && !inner.contains(quote)).then_some(inner)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn printed_texts_are_read() {
        for (text, expected, source) in [
            ("Optional(\"Ana\")", "Ana", "https://developer.apple.com/documentation/swift/optional"),
            ("Some(\"Ana\")", "Ana", "https://doc.rust-lang.org/std/option/: Debug"),
            ("Just(\"Ana\")", "Ana", "https://wiki.haskell.org/Maybe, with parentheses"),
            ("['Ana']", "Ana", "https://docs.python.org/3/library/functions.html#repr: a list"),
            ("[\"Ana\"]", "Ana", "RFC 8259, 5: an array as text"),
            ("('Ana',)", "Ana", "https://docs.python.org/3/library/stdtypes.html#tuple"),
            ("{'Ana'}", "Ana", "https://docs.python.org/3/library/stdtypes.html#set"),
            ("b'Ana'", "Ana", "https://docs.python.org/3/library/stdtypes.html#bytes"),
            ("u'Ana'", "Ana", "https://docs.python.org/2/library/functions.html#unicode"),
            (
                "N'Ana'",
                "Ana",
                "https://learn.microsoft.com/en-us/sql/t-sql/data-types/constants-transact-sql",
            ),
            ("'Ana'::text", "Ana", "https://www.postgresql.org/docs/current/sql-expressions.html: a cast"),
            ("'Ana'::character varying", "Ana", "as above"),
            ("np.str_('Ana')", "Ana", "https://numpy.org/neps/nep-0051-scalar-representation.html"),
            (
                "ISODate(\"1990-05-20T00:00:00Z\")",
                "1990-05-20T00:00:00Z",
                "https://www.mongodb.com/docs/manual/reference/method/Date/",
            ),
            (
                "Timestamp('1990-05-20 00:00:00')",
                "1990-05-20 00:00:00",
                "https://pandas.pydata.org/docs/reference/api/pandas.Timestamp.html",
            ),
            ("new Date(\"1990-05-20\")", "1990-05-20", "ECMA-262, 21.4.2"),
            ("Optional[Ana Souza]", "Ana Souza", "Java: Optional.toString"),
            ("Optional[null]", "", "Java: nothing"),
            ("Some(Ana Souza)", "Ana Souza", "https://www.scala-lang.org/api/current/scala/Some.html"),
            ("Some(None)", "", "as above: nothing"),
            ("NULL::text", "", "https://www.postgresql.org/docs/current/sql-expressions.html: a cast"),
            ("'Ana'::varchar(255)", "Ana", "as above"),
            (
                "NumberLong(\"5585988124471\")",
                "5585988124471",
                "https://www.mongodb.com/docs/manual/reference/mongodb-extended-json-v1/",
            ),
            ("NumberLong(5585988124471)", "5585988124471", "as above"),
            (
                "np.int64(85988124471)",
                "85988124471",
                "https://numpy.org/neps/nep-0051-scalar-representation.html",
            ),
        ] {
            assert_eq!(without_literal(text), Some(expected), "{text} ({source})");
        }
        assert_eq!(date_numbers("datetime.date(1990, 5, 20)"), Some("1990, 5, 20"), "Python: repr of a date");
        assert_eq!(date_numbers("datetime.datetime(1990, 5, 20, 0, 0)"), Some("1990, 5, 20"));
        assert_eq!(date_numbers("date(1990, 5, 20)"), None);
    }

    #[test]
    fn other_texts_stay() {
        for text in [
            "Optional(Ana)",
            "Some(one)",
            "Some (Ana)",
            "Optional[]",
            "Long(Ana)",
            "Nada::text",
            "Ana",
            "['Ana', 'Bia']",
            "[solidcore]",
            "Ana 'Bia'",
            "O'Neil'",
            "b'",
            "''",
            "N''",
            "[]",
            "('')",
            "\"Ana\"",
            "Bob's Cafe'",
            "Ana::Bia",
            "'Ana'::",
            "{\"name\":\"Ana\"}",
            "E'x'y'",
            "",
        ] {
            assert_eq!(without_literal(text), None, "{text}");
        }
    }
}
