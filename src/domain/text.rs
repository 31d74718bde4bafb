//! Text as people and language models give it: what counts as blank, and what is cleaned away
//! before a value is looked at. Nothing here knows fields.

use std::borrow::Cow;

/// A character that shows nothing: soft hyphen, zero-width characters, bidirectional marks and
/// the byte order mark. Copied from web pages and chats, they make equal values differ.
pub(super) const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn is_edge(c: char) -> bool {
    c.is_whitespace() || c.is_control() || is_invisible(c)
}

/// `text` without space and invisible characters around it, on one line: a value within which a
/// line break or another control character stands has each run of spaces made one space.
/// Empty when nothing visible is in it.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(is_edge);
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    Cow::Owned(words.collect::<Vec<_>>().join(" "))
}

/// `text` without invisible characters anywhere and without space around it.
pub(super) fn without_invisible(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(is_edge);
    if text.contains(is_invisible) {
        Cow::Owned(text.chars().filter(|c| !is_invisible(*c)).collect())
    } else {
        Cow::Borrowed(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleans() {
        for (given, expected) in [
            (" Ada\u{a0}", "Ada"),
            ("\u{200b}\u{feff} \t\n", ""),
            ("Ada  Lovelace", "Ada  Lovelace"),
            ("Rua A,\r\n  12\t B", "Rua A, 12 B"),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("\u{202e}Ada\u{202c}", "Ada"),
        ] {
            assert_eq!(clean(given), expected);
        }
        assert_eq!(without_invisible("\u{202a}+55\u{200b} 85\u{202c} "), "+55 85");
    }
}
