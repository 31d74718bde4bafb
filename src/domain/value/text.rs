//! Text as people and language models give it: what counts as blank, what is cleaned away before a
//! value is looked at, and the foldings by which two spellings are compared. Nothing here knows fields.

use std::borrow::Cow;

/// Longest name that is quoted, in characters.
const MAX_QUOTED: usize = 64;

/// A character that shows nothing: soft hyphen, zero-width characters, bidirectional marks and
/// the byte order mark. Copied from web pages and chats, they make equal values differ.
pub(in crate::domain) const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn is_edge(c: char) -> bool {
    c.is_whitespace() || c.is_control() || is_invisible(c)
}

/// `text` without space and invisible characters around it, on one line: a value within which a
/// line break or another control character stands has each run of spaces made one space.
/// Empty when nothing visible is in it.
pub(in crate::domain) fn clean(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(is_edge);
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    Cow::Owned(words.collect::<Vec<_>>().join(" "))
}

/// `text` without invisible characters anywhere and without space around it, full-width signs and
/// the decimal digits of all living scripts in ASCII: how keys, dates and codes are read.
pub(in crate::domain) fn plain(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(is_edge);
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let narrowed: String = text.chars().filter(|c| !is_invisible(*c)).map(narrow).collect();
    Cow::Owned(narrowed.trim().to_owned())
}

/// `text` in lower case and without accents: how words are compared.
pub(in crate::domain) fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let visible = text.chars().filter(|c| !is_invisible(*c)).map(narrow);
    visible.flat_map(char::to_lowercase).filter(|c| !matches!(c, '\u{300}'..='\u{36f}')).map(base).collect()
}

/// `text` with every `%` and two hexadecimal digits made the byte that they stand for (RFC 3986, 2.1).
/// None where the bytes are not UTF-8.
pub(in crate::domain) fn percent_decoded(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let decoded = after.split_at_checked(2).filter(|_| *first == b'%').and_then(|(pair, after)| {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.starts_with('+'))?;
            Some((u8::from_str_radix(pair, 16).ok()?, after))
        });
        let (byte, after) = decoded.unwrap_or((*first, after));
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).ok().map(Cow::Owned)
}

/// What follows `prefix`, which is ASCII and may be in any case.
pub(in crate::domain) fn after_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// A name in a message: in backticks, shortened, without control characters.
pub(in crate::domain) fn quote(name: &str) -> String {
    format!("`{}`", shortened(name))
}

/// The same without backticks: a name that an author wrote may be as long as a message.
pub(in crate::domain) fn shortened(name: &str) -> String {
    let shown: String =
        name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(MAX_QUOTED).collect();
    if shown.len() < name.len() && name.chars().nth(MAX_QUOTED).is_some() { shown + "…" } else { shown }
}

/// The zeros of the decimal digits (Unicode category Nd) of the scripts that phones can write.
const ZEROS: [char; 20] = [
    '\u{660}', '\u{6f0}', '\u{7c0}', '\u{966}', '\u{9e6}', '\u{a66}', '\u{ae6}', '\u{b66}', '\u{be6}',
    '\u{c66}', '\u{ce6}', '\u{d66}', '\u{e50}', '\u{ed0}', '\u{f20}', '\u{1040}', '\u{17e0}', '\u{1810}',
    '\u{a9d0}', '\u{abf0}',
];

/// The ASCII character that this one is a wide or local form of.
fn narrow(c: char) -> char {
    match c {
        '\0'..='\u{7f}' => c,
        '\u{3000}' => ' ',
        // Unicode's block of full-width forms repeats ASCII from `!` to `~`.
        '\u{ff01}'..='\u{ff5e}' => char::from_u32(c as u32 - 0xfee0).unwrap_or(c),
        '\u{fe6b}' => '@',
        _ => {
            let digit =
                ZEROS.into_iter().find_map(|zero| (c as u32).checked_sub(zero as u32).filter(|d| *d < 10));
            digit.and_then(|digit| char::from_digit(digit, 10)).unwrap_or(c)
        }
    }
}

/// The letter under the accent, for the languages of the word lists.
const fn base(c: char) -> char {
    match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => 'a',
        'ç' | 'ć' | 'č' => 'c',
        'è'..='ë' | 'ē' | 'ę' | 'ě' => 'e',
        'ì'..='ï' | 'ī' | 'ı' => 'i',
        'ñ' | 'ń' | 'ň' => 'n',
        'ò'..='ö' | 'ø' | 'ō' => 'o',
        'ù'..='ü' | 'ū' | 'ů' => 'u',
        'ý' | 'ÿ' => 'y',
        'ş' | 'ș' | 'š' | 'ś' => 's',
        'ž' | 'ź' | 'ż' => 'z',
        _ => c,
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
    }

    #[test]
    fn makes_plain() {
        for (given, expected) in [
            ("\u{202a}+55\u{200b} 85\u{202c} ", "+55 85"),
            ("＋５５　８５", "+55 85"),
            ("ａｄａ＠ｘ．example", "ada@x.example"),
            ("٠١٢۳४৫", "012345"),
            ("\u{3000}\u{200b}　x", "x"),
            ("²①Ⅷ", "²①Ⅷ"),
        ] {
            assert_eq!(plain(given), expected);
        }
    }

    #[test]
    fn folds() {
        for (given, expected) in [
            ("NÃO Informado", "nao informado"),
            ("Sa\u{303}o Tomé", "sao tome"),
            ("Türkiye", "turkiye"),
            ("İstanbul", "istanbul"),
            ("Ａ", "a"),
        ] {
            assert_eq!(folded(given), expected);
        }
    }

    #[test]
    fn decodes_percents() {
        for (given, expected) in [
            ("a%2Bb", Some("a+b")),
            ("a%", Some("a%")),
            ("%4", Some("%4")),
            ("%+1", Some("%+1")),
            ("%ff", None),
        ] {
            assert_eq!(percent_decoded(given).as_deref(), expected);
        }
    }

    #[test]
    fn quoted_names_are_bounded() {
        assert_eq!(quote("a\nb"), "`a\u{fffd}b`");
        assert_eq!(quote(&"é".repeat(64)), format!("`{}`", "é".repeat(64)));
        assert_eq!(quote(&"é".repeat(65)), format!("`{}…`", "é".repeat(64)));
    }
}
