//! Characters without a glyph of their own: most only make equal values differ, some are needed where they stand.
//!
//! The non-joiner and the joiner follow RFC 5892 (A.1 and A.2), which permits them in host names where a script
//! needs them; in addition a joiner stays in sequences of emoji (Unicode TS 51) and beside a cursive letter, which
//! it gives its joined form (the Unicode Standard, 9.2).

use std::borrow::Cow;

use icu_properties::{
    CodePointMapData, CodePointMapDataBorrowed as PropertyOf, CodePointSetData,
    CodePointSetDataBorrowed as SetOf,
    props::{CanonicalCombiningClass, EmojiModifier, ExtendedPictographic, JoiningType},
};

const JOINING: PropertyOf<'static, JoiningType> = CodePointMapData::new();
const COMBINING: PropertyOf<'static, CanonicalCombiningClass> = CodePointMapData::new();
const PICTOGRAPHS: SetOf<'static> = CodePointSetData::new::<ExtendedPictographic>();
const SKIN_TONES: SetOf<'static> = CodePointSetData::new::<EmojiModifier>();

/// Marks between a cursive letter and a non-joiner; a longer run is not text, and searching it takes time.
const MAX_MARKS: usize = 8;

const NON_JOINER: char = '\u{200c}';
const JOINER: char = '\u{200d}';
/// Lengthens the line between cursive letters, and joins both.
const KASHIDA: char = '\u{640}';
/// The frame around a digit that makes it an emoji.
const KEYCAP: char = '\u{20e3}';
/// Before the scripts and symbols with variants come Latin, Greek, Cyrillic and others that have none.
const FIRST_WITH_VARIANTS: char = '\u{1000}';
/// Begins the flags of England, Scotland and Wales, which tags spell out.
const BLACK_FLAG: char = '\u{1f3f4}';

/// Soft hyphens, the grapheme joiner, zero-width spaces, bidirectional marks and overrides, invisible operators,
/// the byte order mark, and the marks of annotations, of musical notation and of the old language tags.
pub(super) const fn is_needless(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}'
        | '\u{e0001}')
}

/// Joiners, variation selectors, the Mongolian vowel separator and tags.
pub(super) const fn is_contextual(c: char) -> bool {
    matches!(c, NON_JOINER | JOINER | '\u{180e}') || is_selector(c) || is_tag(c)
}

/// Letters and symbols that show nothing. A value made of them is blank.
pub(super) const fn is_blank(c: char) -> bool {
    matches!(c, '\u{115f}' | '\u{1160}' | '\u{2800}' | '\u{3164}' | '\u{ffa0}')
}

const fn is_selector(c: char) -> bool {
    matches!(c, '\u{180b}'..='\u{180d}' | '\u{180f}' | '\u{fe00}'..='\u{fe0f}' | '\u{e0100}'..='\u{e01ef}')
}

const fn is_tag(c: char) -> bool {
    matches!(c, '\u{e0020}'..='\u{e007f}')
}

/// Removes invisible characters that are not needed where they are.
pub(super) fn without_needless(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| is_needless(c) || is_contextual(c)) {
        return Cow::Borrowed(text);
    }
    let mut kept = String::with_capacity(text.len());
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if !is_needless(c) && (!is_contextual(c) || is_needed(c, &kept, rest.as_str())) {
            kept.push(c);
        }
    }
    if kept.len() == text.len() { Cow::Borrowed(text) } else { Cow::Owned(kept) }
}

/// Removes everything invisible, needed or not.
pub(super) fn without_any(text: &str) -> String {
    text.chars().filter(|c| !is_needless(*c) && !is_contextual(*c)).collect()
}

/// Whether the contextual character `c` changes how the text around it looks.
fn is_needed(c: char, before: &str, after: &str) -> bool {
    let Some(last) = before.chars().next_back() else { return false };
    let next = after.chars().find(|c| !is_needless(*c));
    match c {
        NON_JOINER => is_virama(last) || separates_cursive_letters(before, after),
        JOINER => {
            is_virama(last)
                || next.is_some_and(is_virama)
                || gives_joined_form(last, next)
                || is_end_of_emoji(last) && next.is_some_and(|next| PICTOGRAPHS.contains(next))
        }
        '\u{180e}' => matches!(last, '\u{1820}'..='\u{18aa}'),
        _ if is_tag(c) => last == BLACK_FLAG || is_tag(last),
        _ => has_variants(last, next),
    }
}

fn is_virama(c: char) -> bool {
    COMBINING.get(c) == CanonicalCombiningClass::Virama
}

/// Whether a cursive letter is on one side only. Two of them join by themselves.
fn gives_joined_form(last: char, next: Option<char>) -> bool {
    let joins_next =
        matches!(JOINING.get(last), JoiningType::LeftJoining | JoiningType::DualJoining) || last == KASHIDA;
    let joins_last = next.is_some_and(|next| {
        matches!(JOINING.get(next), JoiningType::RightJoining | JoiningType::DualJoining) || next == KASHIDA
    });
    joins_next != joins_last
}

fn is_end_of_emoji(c: char) -> bool {
    PICTOGRAPHS.contains(c) || SKIN_TONES.contains(c) || c == '\u{fe0f}'
}

/// Whether a selector can change the character (Unicode's standardized variants, TS 37 and TS 51): an emoji, the
/// digit of a keycap, or a character of a script that has variants. Letters of European scripts have none.
fn has_variants(last: char, next: Option<char>) -> bool {
    if last < FIRST_WITH_VARIANTS || matches!(last, '\u{1e00}'..='\u{1fff}') {
        let is_key = last.is_ascii_digit() || matches!(last, '#' | '*');
        return PICTOGRAPHS.contains(last) || is_key && next == Some(KEYCAP);
    }
    !(last.is_whitespace() || is_contextual(last) || is_blank(last))
}

/// Whether the letters around, apart from their marks, would join.
fn separates_cursive_letters(before: &str, after: &str) -> bool {
    let first = joining_of_letter(before.chars().rev());
    let second = joining_of_letter(after.chars().filter(|c| !is_needless(*c)));
    matches!(first, Some(JoiningType::LeftJoining | JoiningType::DualJoining))
        && matches!(second, Some(JoiningType::RightJoining | JoiningType::DualJoining))
}

/// How the first letter joins, after at most [`MAX_MARKS`] marks.
fn joining_of_letter(characters: impl Iterator<Item = char>) -> Option<JoiningType> {
    let mut types = characters.take(MAX_MARKS + 1).map(|c| JOINING.get(c));
    types.find(|joining| *joining != JoiningType::Transparent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_and_emoji_keep_what_they_need() {
        for (text, source) in [
            ("می\u{200c}خواهم", "RFC 5892, A.1: Persian"),
            ("کتاب\u{200c}ها", "RFC 5892, A.1: Persian plural"),
            ("क्\u{200d}ष", "RFC 5892, A.2: Hindi half form"),
            ("क्\u{200c}ष", "RFC 5892, A.1: Hindi explicit virama"),
            ("র\u{200d}্য", "Unicode Standard, 12.2: Bengali ya-phalaa"),
            ("ශ්\u{200d}රී", "Unicode Standard, 13.2: Sinhala"),
            ("ه\u{200d} ۱۴۰۳", "Unicode Standard, 9.2: an initial form, the mark of the Hijri year"),
            ("👩\u{200d}👩\u{200d}👧", "Unicode TS 51: a family"),
            ("👩🏽\u{200d}💻", "Unicode TS 51: with a skin tone"),
            ("🏳\u{fe0f}\u{200d}🌈", "Unicode TS 51: with a variation selector"),
            (
                "🏴\u{e0067}\u{e0062}\u{e0065}\u{e006e}\u{e0067}\u{e007f}",
                "Unicode TS 51: the flag of England",
            ),
            ("❤\u{fe0f} Ana", "Unicode TS 51: presentation as emoji"),
            ("葛\u{e0100}城", "Unicode TS 37: ideographic variation"),
            ("ᠠ\u{180e}ᠠ", "Unicode Standard, 13.5: Mongolian vowel separator"),
            ("1\u{fe0f}\u{20e3}", "Unicode TS 51: a keycap"),
            ("©\u{fe0f} Ana", "Unicode TS 51: an emoji among Latin symbols"),
            ("José", "as above: nothing invisible"),
        ] {
            assert_eq!(without_needless(text), text, "{source}");
        }
    }

    #[test]
    fn what_no_script_needs_is_removed() {
        for (text, expected, source) in [
            ("Ana\u{200d}Souza", "AnaSouza", "RFC 5892, A.2: Latin letters do not join"),
            ("Ana\u{200c} Souza", "Ana Souza", "RFC 5892, A.2: Latin letters do not join"),
            ("So\u{ad}uza", "Souza", "web pages: a soft hyphen"),
            ("A\u{200b}n\u{2060}a", "Ana", "web pages: zero-width spaces"),
            ("\u{202e}anA\u{202c}", "anA", "UAX 9: an override turns the order round"),
            ("Ana\u{2068} Souza\u{2069}", "Ana Souza", "UAX 9: isolates of chats"),
            ("Ana\u{e0041}\u{e0042}", "Ana", "Unicode TS 51: tags outside of flags"),
            ("\u{fe0f}Ana", "Ana", "Unicode TS 37: a selector without a base"),
            ("A\u{fe0f}na 1\u{fe0f}", "Ana 1", "Unicode TS 37: Latin letters and digits have no variants"),
            ("Tiê\u{fe0e}n ễ\u{fe00}", "Tiên ễ", "Unicode TS 37: Latin letters have no variants"),
            ("م\u{200d}ح\u{200d}مد", "محمد", "RFC 5892, A.2: letters that join by themselves"),
            ("Ana \u{fe0f}", "Ana ", "Unicode TS 37: a selector after a space"),
            ("مد\u{200c}رس", "مدرس", "RFC 5892, A.1: dal joins nothing after it"),
            ("a\u{180e}b", "ab", "Unicode Standard, 13.5: no Mongolian letter before it"),
            ("👩\u{200d}Ana", "👩Ana", "Unicode TS 51: an emoji joins only another one"),
            ("\u{fff9}Ana\u{fffb}", "Ana", "Unicode Standard, 23.8: annotations"),
            ("Ana\u{206a}\u{feff}", "Ana", "Unicode Standard, 23.3: deprecated format characters"),
        ] {
            assert_eq!(without_needless(text), expected, "{source}");
        }
        assert_eq!(without_any("👩\u{200d}👧 می\u{200c}خ\u{feff}"), "👩👧 میخ");
    }

    /// Or a flood of marks and non-joiners would take time in proportion to the square of its length.
    #[test]
    fn letters_are_searched_behind_a_few_marks_only() {
        let text = |marks: usize| format!("ی{}\u{200c}خ", "\u{64b}".repeat(marks));
        assert_eq!(without_needless(&text(MAX_MARKS)), text(MAX_MARKS));
        assert!(!without_needless(&text(MAX_MARKS + 1)).contains(NON_JOINER));
    }
}
