//! Cleans text from people and language models, and folds it so that spellings compare equal.
//! Nothing here knows the fields of a contact.

use std::{borrow::Cow, iter, ops::RangeInclusive, sync::LazyLock};

use icu_normalizer::DecomposingNormalizerBorrowed as Decomposing;
use icu_properties::{
    CodePointMapData, CodePointMapDataBorrowed as PropertyOf,
    props::{EastAsianWidth, GeneralCategory},
};

/// In characters; the rest of a quoted name is cut.
const MAX_QUOTED: usize = 64;

/// Soft hyphens, zero-width characters, bidirectional marks and the byte order mark. Copied from web
/// pages and chats, they make equal values differ.
///
/// Unicode's property `Default_Ignorable_Code_Point` does not serve: it includes the variation selectors
/// and tags that end an emoji.
pub(in crate::domain) const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
        | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn is_edge(c: char) -> bool {
    c.is_whitespace() || c.is_control() || is_invisible(c)
}

/// Trims spaces and invisible characters, and puts the value on one line: if it contains a line break or
/// another control character, each run of spaces becomes one space. Empty if nothing visible remains.
pub(in crate::domain) fn clean(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(is_edge);
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    Cow::Owned(words.collect::<Vec<_>>().join(" "))
}

/// Removes invisible characters and the space around the text, and turns full-width characters and the
/// decimal digits of all scripts into ASCII. Identifiers, dates and codes are parsed from this form.
pub(in crate::domain) fn plain(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(is_edge);
    if text.is_ascii() {
        return Cow::Borrowed(text);
    }
    let narrowed: String = text.chars().filter(|c| !is_invisible(*c)).map(narrow).collect();
    Cow::Owned(narrowed.trim().to_owned())
}

/// Lower case without accents, for comparing words.
pub(in crate::domain) fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    let visible = text.chars().filter(|c| !is_invisible(*c)).map(narrow);
    let letters = NFD.normalize_iter(visible).filter(|c| !is_accent(*c));
    letters.flat_map(char::to_lowercase).map(base).collect()
}

/// Decodes each `%` with two hexadecimal digits (RFC 3986, 2.1); anything else stays as it is.
/// `None` if the result is not UTF-8.
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

/// The text after `prefix`, which is ASCII and matches in any case.
pub(in crate::domain) fn after_prefix<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// Quotes a name for a message: in backticks, shortened, without control characters.
pub(in crate::domain) fn quote(name: &str) -> String {
    format!("`{}`", shortened(name))
}

/// Like [`quote`] without the backticks. An author can write a name as long as a whole message.
pub(in crate::domain) fn shortened(name: &str) -> String {
    let shown: String =
        name.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).take(MAX_QUOTED).collect();
    if shown.len() < name.len() && name.chars().nth(MAX_QUOTED).is_some() { shown + "…" } else { shown }
}

const NFD: Decomposing<'static> = Decomposing::new_nfd();
const NFKD: Decomposing<'static> = Decomposing::new_nfkd();
const CATEGORY: PropertyOf<'static, GeneralCategory> = CodePointMapData::new();
const WIDTH: PropertyOf<'static, EastAsianWidth> = CodePointMapData::new();

/// The decimal digits of all scripts. Each range begins with a zero and holds whole sets of ten
/// (Unicode's stability policy for the category Nd).
static DIGITS: LazyLock<Vec<RangeInclusive<u32>>> =
    LazyLock::new(|| CATEGORY.iter_ranges_for_value(GeneralCategory::DecimalNumber).collect());

/// The ASCII digit for a decimal digit of any script.
pub(in crate::domain) fn digit(c: char) -> Option<char> {
    if c.is_ascii() || CATEGORY.get(c) != GeneralCategory::DecimalNumber {
        return Some(c).filter(char::is_ascii_digit);
    }
    let code = u32::from(c);
    let range = DIGITS.get(DIGITS.partition_point(|range| *range.end() < code))?;
    char::from_digit((code - range.start()) % 10, 10)
}

/// A combining accent of a decomposed letter (Unicode's block Combining Diacritical Marks).
pub(in crate::domain) const fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// The ASCII character of which `c` is a full-width or local form.
///
/// Other compatibility characters stay as they are: NFKD makes `²` a `2` and `ª` an `a`, so a footnote mark
/// would become part of an identifier.
fn narrow(c: char) -> char {
    // Neither a local digit nor a full-width form comes before the Arabic-Indic zero.
    if c < '\u{660}' {
        return c;
    }
    if let Some(digit) = digit(c) {
        return digit;
    }
    if WIDTH.get(c) != EastAsianWidth::Fullwidth && c != '﹫' {
        return c;
    }
    let mut decomposed = NFKD.normalize_iter(iter::once(c));
    match (decomposed.next(), decomposed.next()) {
        (Some(narrow), None) if narrow.is_ascii() => narrow,
        _ => c,
    }
}

/// The base of the two letters in the word lists that Unicode does not decompose.
const fn base(c: char) -> char {
    match c {
        'ø' => 'o',
        'ı' => 'i',
        _ => c,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clean_trims_and_joins_lines() {
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
    fn plain_reads_wide_and_local_characters() {
        for (given, expected) in [
            ("\u{202a}+55\u{200b} 85\u{202c} ", "+55 85"),
            ("＋５５　８５", "+55 85"),
            ("ａｄａ＠ｘ．example", "ada@x.example"),
            ("٠١٢۳४৫", "012345"),
            ("᠐᥇𞥒", "012"),
            ("\u{1d7d8}\u{1d7e1}\u{1d7e2}", "090"),
            ("ａ～￥￠", "a~￥￠"),
            ("\u{3000}\u{200b}　x", "x"),
            ("²①Ⅷ", "²①Ⅷ"),
        ] {
            assert_eq!(plain(given), expected);
        }
    }

    #[test]
    fn folded_removes_case_and_accents() {
        for (given, expected) in [
            ("NÃO Informado", "nao informado"),
            ("Sa\u{303}o Tomé", "sao tome"),
            ("Türkiye", "turkiye"),
            ("İstanbul", "istanbul"),
            ("Diyarbakır", "diyarbakir"),
            ("Tromsø", "tromso"),
            ("Łódź", "łodz"),
            ("Ａ", "a"),
        ] {
            assert_eq!(folded(given), expected);
        }
    }

    #[test]
    fn percent_decoded_keeps_incomplete_escapes() {
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
    fn quote_shortens_and_removes_control_characters() {
        assert_eq!(quote("a\nb"), "`a\u{fffd}b`");
        assert_eq!(quote(&"é".repeat(64)), format!("`{}`", "é".repeat(64)));
        assert_eq!(quote(&"é".repeat(65)), format!("`{}…`", "é".repeat(64)));
    }
}
