//! Finds phone numbers and numeric documents in any text. Only whole numbers match, never a part of a longer one.

use std::ops::Range;

use super::is_number;
use crate::domain::value::{
    phone::{Phone, Region},
    text,
};

/// Digits of one number: those of E.164 with a prefix, or those of a document.
const MAX_DIGITS: usize = 20;
/// Digits of an international number after its `+` (ITU-T E.164).
const MAX_E164: usize = 15;
/// All spellings of a phone number share these last digits.
pub(super) const TAIL_DIGITS: usize = 7;
/// Characters between two groups of digits of one number.
const MAX_GAP: usize = 4;
/// A document with fewer digits must have its leading zeros.
const MIN_WITHOUT_ZEROS: usize = 8;

/// The numbers to find.
#[derive(Clone, Copy)]
pub(super) struct Sought<'a> {
    pub(super) phones: &'a [Phone],
    /// Documents; those with letters are ignored here.
    pub(super) codes: &'a [String],
    pub(super) region: Region,
}

/// A run of digits.
struct Group {
    /// Byte range in the text.
    range: Range<usize>,
    /// ASCII.
    digits: String,
    /// Whether only punctuation is between it and the group before.
    joined: bool,
    /// Whether a plus sign precedes it.
    plus: bool,
}

/// Whether the text contains one of the numbers.
pub(super) fn mentions(text: &str, sought: &Sought<'_>) -> bool {
    let codes = sought.codes.iter().any(|code| is_number(code));
    if sought.phones.is_empty() && !codes {
        return false;
    }
    any(text, |digits, plus| sought.is(digits, plus))
}

/// Whether `is_sought` accepts the digits of a number in the text, and whether a plus sign precedes them.
pub(super) fn any(text: &str, mut is_sought: impl FnMut(&str, bool) -> bool) -> bool {
    let groups = groups(text);
    (0..groups.len()).any(|from| any_from(text, &groups, from, &mut is_sought))
}

/// Looks at the numbers that start at the group `from`.
fn any_from(
    text: &str,
    groups: &[Group],
    from: usize,
    is_sought: &mut impl FnMut(&str, bool) -> bool,
) -> bool {
    let mut digits = String::new();
    for (index, group) in groups.iter().enumerate().skip(from) {
        if (index > from && !group.joined) || digits.len() + group.digits.len() > MAX_DIGITS {
            return false;
        }
        digits.push_str(&group.digits);
        let plus = groups.get(from).is_some_and(|first| first.plus);
        if !is_within_international(groups, from, digits.len()) && is_sought(&digits, plus) {
            return true;
        }
        if index == from && exponent(text, groups, from).is_some_and(|number| is_sought(&number, false)) {
            return true;
        }
    }
    false
}

impl Sought<'_> {
    /// Whether all of these digits together are one of the numbers.
    fn is(&self, digits: &str, plus: bool) -> bool {
        let is_phone = |phone: &&Phone| {
            let tail =
                phone.as_str().get(phone.as_str().len().saturating_sub(TAIL_DIGITS)..).unwrap_or_default();
            digits.ends_with(tail)
        };
        self.phones
            .iter()
            .filter(is_phone)
            .any(|phone| self::phone(digits, plus, self.region).is_some_and(|read| read == *phone))
            || self.codes.iter().any(|code| is_code(code, digits))
    }
}

/// The phone that these digits are, if they are one.
pub(super) fn phone(digits: &str, plus: bool, region: Region) -> Option<Phone> {
    Phone::parse(&format!("{}{digits}", if plus { "+" } else { "" }), region)
}

/// Whether the digits are the document. Stored as a number, a document loses its leading zeros.
fn is_code(code: &str, digits: &str) -> bool {
    let [short, given] = [code, digits].map(|text| text.trim_start_matches('0'));
    code == digits || (short.len() >= MIN_WITHOUT_ZEROS && short == given && is_number(code))
}

/// Whether the `length` digits from the group `from` on are the end of an international number:
/// `+1 85 99999 0001` is not `85 99999 0001`.
fn is_within_international(groups: &[Group], from: usize, length: usize) -> bool {
    let mut length = length;
    for index in (1..=from).rev() {
        let (Some(group), Some(before)) = (groups.get(index), groups.get(index - 1)) else { return false };
        length += before.digits.len();
        if !group.joined || length > MAX_E164 {
            return false;
        }
        if before.plus {
            return true;
        }
    }
    false
}

/// The digits of a float such as `1.1987654321E10` or `1,1987654321E+10` that starts at the group `from`.
fn exponent(text: &str, groups: &[Group], from: usize) -> Option<String> {
    let (whole, fraction) = (groups.get(from)?, groups.get(from + 1)?);
    let power = text.get(fraction.range.end..)?.strip_prefix(['e', 'E'])?;
    let power = power.strip_prefix('+').unwrap_or(power);
    let power: usize = power.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()?;
    let is_float = matches!(text.get(whole.range.end..fraction.range.start), Some("." | ","));
    let (kept, zeros) = if let Some(zeros) = power.checked_sub(fraction.digits.len()) {
        (fraction.digits.as_str(), zeros)
    } else {
        let (kept, rest) = fraction.digits.split_at_checked(power)?;
        (kept, if rest.bytes().all(|byte| byte == b'0') { 0 } else { return None })
    };
    (is_float && zeros < MAX_DIGITS).then(|| format!("{}{kept}{}", whole.digits, "0".repeat(zeros)))
}

fn groups(text: &str) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    // Since the last group: number of characters, whether all are punctuation, whether a plus came.
    let (mut gap, mut only_punctuation, mut plus) = (usize::MAX, false, false);
    for (at, c) in text.char_indices() {
        let Some(digit) = text::digit(c) else {
            gap = gap.saturating_add(1);
            only_punctuation &= is_punctuation(c);
            plus = matches!(c, '+' | '\u{ff0b}') || (plus && matches!(c, '(' | ' '));
            continue;
        };
        match groups.last_mut().filter(|group| group.range.end == at) {
            Some(group) => {
                group.digits.push(digit);
                group.range.end = at + c.len_utf8();
            }
            None => groups.push(Group {
                range: at..at + c.len_utf8(),
                digits: digit.to_string(),
                joined: only_punctuation && gap <= MAX_GAP,
                plus,
            }),
        }
        (gap, only_punctuation, plus) = (0, true, false);
    }
    groups
}

/// Separators between the groups of one number; `,` and `;` separate two numbers, unless `written` joins them.
fn is_punctuation(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '-' | '.' | '/' | '(' | ')' | '[' | ']' | '~' | '_' | '\u{2010}'..='\u{2015}'
            | '\u{2212}' | '\u{30fc}' | '\u{ff08}' | '\u{ff09}' | '\u{ff0d}'..='\u{ff0f}')
}
