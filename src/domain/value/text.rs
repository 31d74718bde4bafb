//! Cleans text from people and language models, and folds it so that spellings compare equal.

use std::{borrow::Cow, iter, ops::RangeInclusive, sync::LazyLock};

use icu_normalizer::{
    ComposingNormalizerBorrowed as Composing, DecomposingNormalizerBorrowed as Decomposing,
};
use icu_properties::{
    CodePointMapData, CodePointMapDataBorrowed as PropertyOf,
    props::{EastAsianWidth, GeneralCategory},
};

use crate::domain::value::joiners;

/// In characters; the rest of a quoted name is cut.
const MAX_QUOTED: usize = 64;

/// How often a text is composed again because a removed character was between a letter and its accent.
const MAX_ROUNDS: usize = 4;

/// Characters that an identifier, a date or a word is compared without, the frame of a keycap included.
pub(in crate::domain) const fn is_invisible(c: char) -> bool {
    joiners::is_needless(c) || joiners::is_contextual(c) || c == '\u{20e3}'
}

/// Trimmed from both ends. A joiner, selector or tag may belong to the letter or emoji at the end, so these stay.
fn is_edge(c: char) -> bool {
    c.is_whitespace() || c.is_control() || joiners::is_needless(c) || joiners::is_blank(c) || c == '\u{180e}'
}

/// Composes the text (Unicode NFC), removes invisible characters where no script and no emoji needs them, trims
/// it, and puts it on one line: if it contains a line break or another control character, each run of spaces
/// becomes one space. Spaces of other widths become spaces. Empty if nothing visible remains.
pub(in crate::domain) fn clean(text: &str) -> Cow<'_, str> {
    let text = text.trim_matches(is_edge);
    if text.is_ascii() {
        return on_one_line(text);
    }
    match composed(text) {
        Cow::Borrowed(text) => on_one_line(text),
        Cow::Owned(text) => Cow::Owned(on_one_line(&text).into_owned()),
    }
}

/// Removing a character can let a letter compose with its accent or bring something to the edge, and that can
/// show that another one is needless, so all steps repeat. A text that still changes after that is not a text: it
/// loses all invisible characters.
fn composed(text: &str) -> Cow<'_, str> {
    if is_latin(text) {
        return Cow::Borrowed(text);
    }
    let mut text = Cow::Borrowed(text);
    for _ in 0..MAX_ROUNDS {
        let needed = joiners::without_needless(&text);
        let composed = NFC.normalize(&needed);
        let trimmed = composed.trim_matches(is_edge);
        let changed = (trimmed != text).then(|| trimmed.to_owned());
        drop(needed);
        match changed {
            Some(changed) => text = Cow::Owned(changed),
            None => return text,
        }
    }
    let visible = joiners::without_any(&text);
    Cow::Owned(NFC.normalize(&visible).trim_matches(is_edge).to_owned())
}

/// Whether all characters come before the combining accents, and none is invisible: such a text is composed.
fn is_latin(text: &str) -> bool {
    const FIRST_BYTE_OF_ACCENTS: u8 = 0xcc;
    text.bytes().all(|byte| byte < FIRST_BYTE_OF_ACCENTS) && !text.contains('\u{ad}')
}

/// Composes letters and their accents (Unicode NFC).
pub(in crate::domain) fn nfc(text: &str) -> Cow<'_, str> {
    if text.is_ascii() { Cow::Borrowed(text) } else { NFC.normalize(text) }
}

fn on_one_line(text: &str) -> Cow<'_, str> {
    let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
    let is_ascii = text.is_ascii();
    let has_breaks =
        if is_ascii { text.bytes().any(|byte| byte.is_ascii_control()) } else { text.contains(breaks) };
    if !has_breaks {
        let is_other_space = |c: char| !c.is_ascii() && c.is_whitespace();
        if is_ascii || !text.contains(is_other_space) {
            return Cow::Borrowed(text);
        }
        return Cow::Owned(text.chars().map(|c| if is_other_space(c) { ' ' } else { c }).collect());
    }
    let words = text.split(|c: char| c.is_whitespace() || breaks(c)).filter(|word| !word.is_empty());
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
#[must_use]
pub fn folded(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    if let Some(letters) = text.chars().map(folded_latin).collect() {
        return letters;
    }
    let visible = text.chars().filter(|c| !is_invisible(*c)).map(narrow);
    let letters = NFD.normalize_iter(visible).filter(|c| !is_accent(*c));
    letters.flat_map(char::to_lowercase).map(base).collect()
}

/// Like [`folded`], one letter of Latin-1. `None` for the soft hyphen and all other letters.
pub(in crate::domain) fn folded_latin(c: char) -> Option<char> {
    match c {
        _ if c.is_ascii() => Some(c.to_ascii_lowercase()),
        '\u{ad}' => None,
        '\u{80}'..='\u{ff}' => Some(latin_base(c.to_lowercase().next().unwrap_or(c))),
        _ => None,
    }
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

const NFC: Composing<'static> = Composing::new_nfc();
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

/// A mark that stands on a letter or beside it: an accent, a vowel sign, a virama, a tone mark.
pub(in crate::domain) fn is_mark(c: char) -> bool {
    use GeneralCategory::{NonspacingMark, SpacingMark};
    !c.is_ascii() && matches!(CATEGORY.get(c), NonspacingMark | SpacingMark)
}

/// A zero-width joiner or non-joiner, with which some scripts spell words.
pub(in crate::domain) const fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200c}' | '\u{200d}')
}

/// A combining accent of a decomposed letter (Unicode's block Combining Diacritical Marks).
pub(in crate::domain) const fn is_accent(c: char) -> bool {
    matches!(c, '\u{300}'..='\u{36f}')
}

/// The ASCII character of which `c` is a full-width or local form.
///
/// Other compatibility characters stay as they are: NFKD makes `²` a `2` and `ª` an `a`, so a footnote mark
/// would become part of an identifier.
pub(in crate::domain) fn narrow(c: char) -> char {
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

/// The letter of Latin-1 without its accent, as decomposing gives it.
const fn latin_base(c: char) -> char {
    match c {
        'à'..='å' => 'a',
        'ç' => 'c',
        'è'..='ë' => 'e',
        'ì'..='ï' => 'i',
        'ñ' => 'n',
        'ò'..='ö' => 'o',
        'ù'..='ü' => 'u',
        'ý' | 'ÿ' => 'y',
        _ => base(c),
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
mod tests;
