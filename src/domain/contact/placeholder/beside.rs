//! Removes what programs leave beside a value where a part was missing: `Ana undefined`, `ada@x.example / null`.

use std::borrow::Cow;

use super::{Placeholders, Why, sentences, spreadsheet::is_spreadsheet_error};
use crate::domain::{contact::field::Field, value::wrapping::members::printed_items};

/// Nobody's name, at any place in a text: what JavaScript writes for a missing part, and for an object.
const ANYWHERE: [&str; 2] = ["undefined", "[object Object]"];
/// At the end of any text, in exactly this case. "Jennifer Null" and "Ana None" are people.
const AT_END: [&str; 9] =
    ["null", "NaN", "<nil>", "<null>", "(null)", "<undefined>", "%!s(<nil>)", "N/A", "n/a"];
/// Between two names of a person, in exactly this case: `${first} ${middle} ${last}`.
const BETWEEN_NAMES: [&str; 3] = ["null", "NaN", "N/A"];
/// Between a position and its company, in lower case.
const PREPOSITIONS: [&str; 12] = ["at", "na", "no", "da", "do", "de", "em", "en", "in", "for", "of", "@"];
/// At both ends of what is not words, in any case.
const AROUND_KEYS: [&str; 10] =
    ["undefined", "null", "none", "nil", "nan", "n/a", "<nil>", "<null>", "(null)", "[object object]"];
/// What separates such a word from a key. `nan_lee@x.example` and `nil-kumar@x.example` are people.
const APART: [char; 5] = [' ', ',', ';', '/', '|'];
/// The same in other texts: `dev/null` is a name.
const APART_IN_TEXT: [char; 4] = [' ', ',', ';', '|'];
/// What goes with such a word, if it is between the word and the value.
const BETWEEN: [char; 8] = [' ', ',', ';', '/', '|', '-', '–', ':'];

/// Between the parts of a key. A slash alone is in "N/A", too.
const SEPARATORS: [&str; 11] = [",", ";", "|", " / ", " ou ", " or ", " o ", " e ", " y ", " and ", " & "];
/// Of parts of a key.
const MAX_PARTS: usize = 4;
/// In bytes: longer texts are not looked through.
const MAX_TEXT: usize = 4096;

impl Placeholders {
    /// The text without what says "no value" beside its value. `None` without such words, or without anything else. Empty if
    /// the rest alone is not a value.
    #[must_use]
    pub fn without_beside(&self, field: Field, text: &str) -> Option<String> {
        if text.len() > MAX_TEXT || !has_separator(text) {
            return None;
        }
        if let Some(item) = self.only_item(field, text) {
            return Some(item.to_owned());
        }
        if field == Field::Street && is_street_without_a_name(text) {
            return Some(String::new());
        }
        if field == Field::City && self.is_only_a_state(text) {
            return Some(String::new());
        }
        if field.is_free_text() {
            let rest = if may_have_words(field, text) { without_words(field, text) } else { None };
            let rest = rest.or_else(|| self.without_remark(field, text).map(str::to_owned));
            // What was removed closed a bracket: it was in a list, not beside a value.
            return rest.filter(|rest| is_closed(rest));
        }
        let rest = Self::without_words_around(text).map(str::to_owned);
        let is_key = matches!(field, Field::Phone | Field::Email);
        rest.or_else(|| if is_key { self.without_parts(field, text) } else { None })
    }

    /// Whether a city is missing before the two letters of its state: `undefined, SP`, `N/A - SP`. "None, TO" is a town.
    fn is_only_a_state(&self, text: &str) -> bool {
        let Some((city, _)) = text.rsplit_once([' ', ',', '/', '-']).filter(|(_, state)| is_state(state))
        else {
            return false;
        };
        let city = city.trim_end_matches(BETWEEN);
        text.get(city.len()..).is_some_and(|rest| rest.trim_start().starts_with([',', '/', '-', '–', '|']))
            && matches!(self.why(Field::City, city, ""), Some(Why::Word | Why::Filler))
    }

    /// The one value of a list that a program has printed: `['Ana', 'N/A']`. Empty if it has none.
    fn only_item<'t>(&self, field: Field, text: &'t str) -> Option<&'t str> {
        let items = printed_items(text)?;
        let is_value = |item: &&&str| !item.trim().is_empty() && self.why(field, item, "").is_none();
        let mut values = items.iter().filter(is_value).copied();
        match (values.next(), values.next()) {
            (None, _) => Some(""),
            (only, None) => only,
            (Some(_), Some(_)) => None,
        }
    }

    /// A key or another value of digits without the words for nothing at its ends, regardless of the settings:
    /// `ada@x.example / null`.
    pub(super) fn without_words_around(text: &str) -> Option<&str> {
        // Each of the words has a letter.
        if !text.bytes().any(|byte| byte.is_ascii_alphabetic()) {
            return None;
        }
        without_ends(text, &AROUND_KEYS, &AROUND_KEYS, &APART, |word, at| at.eq_ignore_ascii_case(word))
    }

    /// Without a remark at the end that says that something is not known: `Ana (não informado)`, `Ana [sobrenome]`,
    /// `Ana - sobrenome não informado`, and as a name `Ana Não Informado`.
    fn without_remark<'t>(&self, field: Field, text: &'t str) -> Option<&'t str> {
        let says_nothing = |remark: &str| {
            let why = self.why(field, remark, "");
            // One word may be a part of the value: `Belém, PA (NA)`.
            matches!(why, Some(Why::Word)) && remark.contains([' ', '/'])
                || matches!(why, Some(Why::Expression))
        };
        let before = |at: usize| text.get(..at).map(|value| value.trim_end_matches(BETWEEN));
        let brackets = [('(', ')'), ('[', ']'), ('<', '>')].into_iter().find_map(|(open, close)| {
            let at = text.ends_with(close).then(|| text.rfind(open))??;
            let (remark, inner) = (text.get(at..)?, text.get(at + 1..text.len() - 1)?);
            // The end of an element: `<value>Ana</value>`.
            if remark.starts_with("</") {
                return None;
            }
            // Of a name only its surname may be in brackets.
            let is_blank = close != ')' && field == Field::Name && self.why(field, remark, "").is_some();
            if is_blank || says_nothing(inner) { before(at) } else { None }
        });
        let parts = || {
            text.contains(['-', '–', ',']).then_some(())?;
            [" - ", " – ", ", "].into_iter().find_map(|between| {
                let at = text.rfind(between)?;
                let remark = text.get(at + between.len()..)?;
                if says_nothing(remark) { before(at) } else { None }
            })
        };
        let words = || {
            let mut ends = text.match_indices(' ').filter(|_| field == Field::Name).map(|(at, _)| at);
            ends.find_map(|at| {
                let is_whole = |remark: &&str| remark.contains(' ') && !remark.ends_with([']', ')', '>']);
                let remark = text.get(at + 1..).filter(is_whole)?;
                let denied = remark.split(' ').next().is_some_and(is_denial);
                if denied && says_nothing(remark) { before(at) } else { None }
            })
        };
        brackets.or_else(parts).or_else(words).filter(|value| value.contains(char::is_alphanumeric))
    }

    /// Without the parts of a key that are not values: `ada@x.example, não informado`.
    fn without_parts(&self, field: Field, text: &str) -> Option<String> {
        let has_words = || text.contains(' ') && text.contains(char::is_alphabetic);
        if !text.contains([',', ';', '|', '/']) && !has_words() {
            return None;
        }
        // What was made up is reported: it is a second value.
        let is_nothing = |part: &&str| self.why(field, part, "").is_some_and(|why| why != Why::MadeUp);
        let kept = |separators: &[&str]| {
            let parts = split(text, separators)?;
            let kept: Vec<&str> = parts.iter().copied().filter(|part| !is_nothing(part)).collect();
            (!kept.is_empty() && kept.len() < parts.len()).then_some(kept)
        };
        // Links have slashes, too.
        let is_one = |kept: &Vec<&str>| matches!(kept.as_slice(), [only] if is_like_a_key(only));
        let kept = kept(&SEPARATORS).or_else(|| kept(&["/"]).filter(is_one))?;
        Some(kept.join("; "))
    }
}

/// Whether only the separator is left of a city and its state: `, SP`, `- SP`.
pub(super) fn is_state_alone(text: &str) -> bool {
    let rest = text.trim_start_matches(BETWEEN);
    rest.len() < text.len() && is_state(rest)
}

fn is_state(text: &str) -> bool {
    text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Whether one of [`BETWEEN`] is in the text.
fn has_separator(text: &str) -> bool {
    text.bytes().any(|byte| matches!(byte, b' ' | b',' | b';' | b'/' | b'|' | b'-' | b':'))
        || text.contains('–')
}

/// Whether each bracket has its other half.
fn is_closed(text: &str) -> bool {
    let count = |c: char| text.matches(c).count();
    [('(', ')'), ('[', ']'), ('{', '}')].into_iter().all(|(open, close)| count(open) == count(close))
}

/// Whether such a remark can begin with the word.
fn is_denial(word: &str) -> bool {
    ["não", "nÃo", "nao", "no", "not", "sem", "sin", "sans", "ohne", "non", "without"]
        .iter()
        .any(|denial| denial.eq_ignore_ascii_case(word))
}

/// Whether the text can be an address or a number, and is not part of a link.
fn is_like_a_key(text: &str) -> bool {
    text.contains('@') || !text.contains(char::is_alphabetic) && text.contains(|c: char| c.is_ascii_digit())
}

/// Whether a street has words for nothing where its name should be, beside its kind and numbers: `Rua undefined, 12`.
/// `Rua 12` is a street.
fn is_street_without_a_name(text: &str) -> bool {
    // Most streets have none of these letters.
    let may_have_words = text.bytes().any(|byte| matches!(byte, b'f' | b'l' | b'N'));
    if !may_have_words || !["undefined", "null", "NaN", "nil"].iter().any(|word| text.contains(word)) {
        return false;
    }
    let (mut has_nothing, mut is_after_kind) = (false, false);
    text.split(BETWEEN).filter(|word| !word.is_empty()).all(|word| {
        let is_nothing = AT_END.contains(&word) || ANYWHERE.contains(&word);
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
        let is_kind = sentences::is_street_kind(&word.trim_end_matches('.').to_lowercase());
        has_nothing |= is_nothing;
        let is_name = is_number && is_after_kind;
        is_after_kind = is_kind;
        is_nothing || is_kind || is_number && !is_name
    }) && has_nothing
}

/// `false` if the text certainly has none of the words that free text is looked through for: each has one of these
/// characters somewhere, or begins and ends with one of them.
fn may_have_words(field: Field, text: &str) -> bool {
    let bytes = text.as_bytes();
    field == Field::Name && bytes.windows(3).any(|end| matches!(end, b"ll " | b"aN " | b"/A "))
        || bytes.iter().any(|byte| matches!(byte, b'f' | b'[' | b'#' | b'<' | b'('))
        || matches!(bytes.last(), Some(b'l' | b'N'))
        || text.ends_with("/A")
        || text.ends_with("/a")
        || matches!(bytes.first(), Some(b'n' | b'N'))
}

fn split<'a>(text: &'a str, separators: &[&str]) -> Option<Vec<&'a str>> {
    if !separators.iter().any(|separator| text.contains(separator)) {
        return None;
    }
    let mut parts = vec![text];
    for separator in separators {
        parts = parts.into_iter().flat_map(|part| part.split(separator)).collect();
    }
    let parts: Vec<&str> = parts.into_iter().map(str::trim).filter(|part| !part.is_empty()).collect();
    (2..=MAX_PARTS).contains(&parts.len()).then_some(parts)
}

/// Free text without these words at any place or at its ends.
fn without_words(field: Field, text: &str) -> Option<String> {
    let mut rest = Cow::Borrowed(text);
    // "undefined labs" is a company.
    let is_company = field == Field::Company && text.starts_with("undefined ");
    for word in ANYWHERE.into_iter().filter(|_| !is_company) {
        while let Some(shorter) = without_word(&rest, word) {
            rest = Cow::Owned(shorter);
        }
    }
    // At the ends they are looked for below.
    for word in BETWEEN_NAMES.iter().filter(|_| field == Field::Name) {
        let between = format!(" {word} ");
        while let Some((before, after)) = rest.split_once(between.as_str()) {
            rest = Cow::Owned(format!("{before} {after}"));
        }
    }
    // `${first} ${last}` can lack its first part; elsewhere a text may begin with such a word.
    let at_start = if field == Field::Name { AT_END.as_slice() } else { &[] };
    let is_word = |word: &str, at: &str| {
        at == word
            || field == Field::Name && at == "Undefined"
            || at.starts_with('#') && is_spreadsheet_error(at)
    };
    let rest = match without_ends(&rest, at_start, &AT_END, &APART_IN_TEXT, is_word) {
        Some(shorter) => shorter.to_owned(),
        None if rest.len() == text.len() => return None,
        None => rest.into_owned(),
    };
    // `Company: N/A`, `Exception: null`: only a label is left.
    if text.strip_prefix(rest.as_str()).is_some_and(|end| end.starts_with(':')) && is_label(&rest) {
        return Some(String::new());
    }
    let rest = if field == Field::Position { without_preposition(&rest).to_owned() } else { rest };
    rest.contains(char::is_alphanumeric).then_some(rest)
}

/// `Company`, `Exception`. `Ana: null` has a name.
fn is_label(text: &str) -> bool {
    matches!(text, "Error" | "Exception") || sentences::is_label(&text.to_lowercase())
}

/// `Gerente at` lacks its company.
fn without_preposition(position: &str) -> &str {
    let shorter =
        position.rsplit_once(' ').filter(|(_, last)| PREPOSITIONS.contains(last)).map(|(rest, _)| rest);
    shorter.unwrap_or(position)
}

/// Without the first of these words that is alone: parentheses around it are removed, too.
fn without_word(text: &str, word: &str) -> Option<String> {
    text.match_indices(word).find_map(|(at, found)| {
        let (mut before, mut after) = (text.get(..at)?, text.get(at + found.len()..)?);
        if let (Some(outer), Some(rest)) = (before.strip_suffix('('), after.strip_prefix(')')) {
            (before, after) = (outer, rest);
        }
        let is_alone = (before.is_empty() || before.ends_with([' ', ',', ';', '/', '|']))
            && (after.is_empty() || after.starts_with([' ', ',', ';', '/', '|']));
        let (start, end) = (before.trim_end_matches(BETWEEN), after.trim_start_matches(BETWEEN));
        match (start, end) {
            _ if !is_alone => None,
            ("", end) => Some(end.to_owned()),
            (start, "") => Some(start.to_owned()),
            // The separator after it separates what remains.
            (start, _) => Some(format!("{start}{after}")),
        }
    })
}

/// Without these words at the ends. `None` if there are none, or nothing else.
fn without_ends<'a>(
    text: &'a str,
    at_start: &[&str],
    at_end: &[&str],
    apart: &[char],
    is_word: impl Fn(&str, &str) -> bool,
) -> Option<&'a str> {
    let mut rest = text;
    for _ in 0..MAX_PARTS {
        let end = at_end.iter().find_map(|word| {
            let (before, found) = rest.split_at_checked(rest.len().checked_sub(word.len())?)?;
            (before.ends_with(apart) && is_word(word, found)).then_some(before.trim_end_matches(BETWEEN))
        });
        let last = || {
            rest.rsplit_once(' ')
                .filter(|(_, last)| is_word("", last))
                .map(|(before, _)| before.trim_end_matches(BETWEEN))
        };
        let start = || {
            at_start.iter().find_map(|word| {
                let (found, after) = rest.split_at_checked(word.len())?;
                (after.starts_with(apart) && is_word(word, found))
                    .then_some(after.trim_start_matches(BETWEEN))
            })
        };
        let first = || {
            rest.split_once(' ')
                .filter(|(first, _)| is_word("", first))
                .map(|(_, after)| after.trim_start_matches(BETWEEN))
        };
        match end.or_else(last).or_else(start).or_else(first) {
            Some(shorter) => rest = shorter,
            None => break,
        }
    }
    (rest.len() < text.len() && rest.contains(char::is_alphanumeric)).then_some(rest)
}
