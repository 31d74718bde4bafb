//! Recognizes phone numbers that nobody has: typed to get past a form, or invented by a language model.

use crate::domain::value::{
    phone::{Phone, Strength, brazil::without_blanks},
    text,
};

/// Fewer digits in sequence can be a real number.
const MIN_SEQUENCE: usize = 6;
/// Digits of a Brazilian mobile number after its area code, and nearly all of a number elsewhere. "98765-4321" is a real
/// number in every area, so only repeated and ascending digits count there.
const SUBSCRIBER_DIGITS: usize = 9;
/// All ten digits in sequence. Where they are a mobile number, they are still what people type.
const ALL_DIGITS: [&str; 3] = ["0123456789", "1234567890", "9876543210"];
/// Digits of a country code (ITU-T E.164).
const LONGEST_CODE: usize = 3;
/// Digits of the longest number (E.164, 6.1). More are two numbers, of which one may be real.
const LONGEST: usize = 15;
/// In a document or postal code, fewer can be somebody's.
const MIN_REPEATED: usize = 5;
/// The exchange, and area code, that North America leaves to films (NANPA; ATIS-0300115).
const FICTION: &str = "555";
/// North America's areas for calls that cost nothing. Their exchange 555 has real numbers, but for 0100 to 0199.
const TOLL_FREE: [&str; 8] = ["800", "822", "833", "844", "855", "866", "877", "888"];
/// The example of a number without its marks, which is how language models send it.
const EXAMPLES: [&str; 2] = ["5551234567", "15551234567"];
/// The largest integers of 32 and 64 bits, with and without a sign, and what JavaScript makes of the last. A database
/// stores them in place of every number that is too large for its column (`MySQL`'s handling of what is out of range).
const LIMITS: [&str; 8] = [
    "2147483647",
    "2147483648",
    "4294967295",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "9223372036854776000",
    "18446744073709551615",
];
/// "ANONYMOUS" on the keys of a phone, which networks send for a caller who hides the number (Twilio).
const HIDDEN_CALLERS: [&str; 3] = ["+266696687", "266696687", "+7378742833"];
/// Characters for hidden or missing digits.
const MASKS: [char; 9] = ['x', 'X', '*', '#', '_', '•', '?', '●', '█'];
/// Fewer may be an extension or an operator's blank: `0xx85`.
const MIN_MASKS: usize = 4;

/// Whether digits are hidden, or were never filled in: `(XX) XXXXX-XXXX`, `***.982.247-**`. Nobody is found by the rest.
pub(super) fn is_masked(text: &str) -> bool {
    // Most numbers have none.
    if !text.bytes().any(|byte| matches!(byte, b'x' | b'X' | b'*' | b'#' | b'_' | b'?' | 0xe2)) {
        return false;
    }
    let is_part =
        |c| MASKS.contains(&c) || c.is_ascii_digit() || matches!(c, ' ' | '-' | '.' | '/' | '(' | ')' | '+');
    // An operator's blank is `xx`, too.
    text.chars().all(is_part)
        && masks(text) >= MIN_MASKS
        && without_blanks(text).is_none_or(|text| masks(&text) >= MIN_MASKS)
}

/// How many characters hide digits. Marks around a number that make it bold or italic hide none: `**85 98812-4471**`.
fn masks(text: &str) -> usize {
    let is_outside = |c: Option<char>| c.is_none_or(|c| matches!(c, ' ' | '/'));
    let (mut count, mut opening) = (0, None);
    let (mut before, mut rest) = (None, text);
    while let Some(c) = rest.chars().next() {
        let after = rest.trim_start_matches(c);
        let length = rest.len() - after.len();
        if MASKS.contains(&c) {
            let next = after.chars().next();
            let is_mark = matches!(c, '*' | '_');
            let opens =
                is_outside(before) && next.is_some_and(|c| c.is_ascii_digit() || matches!(c, '(' | '+'));
            let closes = is_outside(next) && before.is_some_and(|c| c.is_ascii_digit() || c == ')');
            match opening {
                Some(opened) if closes && opened == (c, length) => {
                    count -= length;
                    opening = None;
                }
                _ => {
                    count += length / c.len_utf8();
                    opening = (is_mark && opens).then_some((c, length)).or(opening);
                }
            }
        }
        (before, rest) = (Some(c), after);
    }
    count
}

/// Whether the text is what a spreadsheet shows for a reference to an empty cell.
pub(super) fn is_empty_cell(text: &str) -> bool {
    matches!(text, "0" | "0.0" | "0,0" | "0.00" | "0,00")
}

/// Whether the digits are the largest that a program can store.
pub(super) fn is_limit(text: &str) -> bool {
    LIMITS.contains(&text.strip_prefix('-').unwrap_or(text))
}

/// Whether the digits were typed to get past a form: one digit repeated, or digits in sequence. A country code alone
/// was there before anybody typed.
pub(super) fn is_typed(text: &str) -> bool {
    let text = text::plain(text);
    !text.contains(char::is_alphabetic) && (is_nobodys(&text) || is_in_sequence(&text))
}

/// Whether a number only looks typed: its digits are in sequence, but it is somebody's mobile number, such as Japan's
/// `090-1234-5678`. `number` is how the text was understood.
#[must_use]
pub fn is_mobile_in_sequence(text: &str, number: &Phone) -> bool {
    let is_mobile = || number.national_mobile().is_some_and(|national| !ALL_DIGITS.contains(&&*national));
    !is_nobodys(&text::plain(text)) && is_mobile()
}

/// What is typed in every country.
fn is_nobodys(text: &str) -> bool {
    let digits = digits(text);
    let count = digits.clone().count();
    let end = digits.clone().skip(count.saturating_sub(SUBSCRIBER_DIGITS));
    let is_code_alone = text.starts_with('+') && count <= LONGEST_CODE;
    is_code_alone
        || is_limit(text)
        || EXAMPLES.contains(&text.trim_start_matches('+'))
        || count > 0 && has_steps(digits, 0)
        || (SUBSCRIBER_DIGITS..=LONGEST).contains(&count) && has_steps(end, 0)
}

/// Whether all digits are in sequence, or as many of them as a number has after its area code.
fn is_in_sequence(text: &str) -> bool {
    let digits: Vec<u8> = digits(text).take(LONGEST + 1).collect();
    let is_run = |digits: &[u8], step| has_steps(digits.iter().copied(), step);
    digits.len() >= MIN_SEQUENCE && (is_run(&digits, 1) || is_run(&digits, 9))
        || digits.len() <= LONGEST && digits.windows(SUBSCRIBER_DIGITS).any(|digits| is_run(digits, 1))
}

fn digits(text: &str) -> impl Iterator<Item = u8> + Clone {
    text.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0')
}

/// Whether each digit is the one before it and this, modulo 10.
fn has_steps(digits: impl Iterator<Item = u8> + Clone, step: u8) -> bool {
    digits.clone().zip(digits.skip(1)).all(|(one, next)| (one + step) % 10 == next)
}

/// Whether a postal code consists of zeros.
pub(super) fn is_zero_code(text: &str) -> bool {
    let zeros = text.bytes().filter(|byte| *byte == b'0').count();
    zeros >= MIN_REPEATED && text.bytes().all(|byte| matches!(byte, b'0' | b'-' | b'.' | b' '))
}

/// Whether a document is one digit repeated. With the separators of a document it has wrong check digits.
pub(super) fn is_one_digit(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next().filter(u8::is_ascii_digit);
    text.len() >= MIN_REPEATED && first.is_some_and(|first| bytes.all(|byte| byte == first))
}

/// Whether nobody has the number: it is one of North America's numbers for fiction, or consists of one digit once it
/// is complete (`85 9999-9999` gets a ninth nine). `number` is how the text was understood.
///
/// In Brazil, and where the number is not valid, its groups decide: "(555) 123-4567" would be a landline of
/// area 55, but nobody there writes it so. A valid number of another country is real: Colombia's mobiles are
/// written "300 555 1234".
#[must_use]
pub fn is_invented(text: &str, number: Option<&Phone>) -> bool {
    // Most are too short for their country. Without the plus one is a number of Portugal and of Poland.
    if HIDDEN_CALLERS.contains(&text) && number.is_none_or(|number| number.strength() == Strength::Weak) {
        return true;
    }
    let e164 = number.map(Phone::as_str);
    if number
        .is_some_and(|number| is_typed(number.as_str()) && !is_mobile_in_sequence(number.as_str(), number))
    {
        return true;
    }
    if let Some(national) = e164.and_then(|number| number.strip_prefix("+1")) {
        let (area, exchange, line) = (national.get(..3), national.get(3..6), national.get(6..));
        let is_toll_free = area.is_some_and(|area| TOLL_FREE.contains(&area));
        let is_reserved = !is_toll_free || line.is_some_and(|line| line.starts_with("01"));
        return area == Some(FICTION) || exchange == Some(FICTION) && is_reserved;
    }
    let is_brazilian = e164.is_some_and(|number| number.starts_with("+55"));
    let is_real_elsewhere = !is_brazilian && number.is_some_and(|it| it.strength() == Strength::Strong);
    !is_real_elsewhere && is_grouped_as_fiction(text)
}

/// `555-0143`, `(202) 555-0143`, `1-202-555-0143`, `(555) 123-4567`.
fn is_grouped_as_fiction(text: &str) -> bool {
    // The rest is for every phone; few have these digits.
    if !text.contains(FICTION) || text.contains(char::is_alphabetic) {
        return false;
    }
    let groups = text.split(|c: char| !c.is_ascii_digit()).filter(|group| !group.is_empty());
    let groups: Vec<&str> = groups.collect();
    let is_short = |group: &&str| group.len() <= 3;
    match groups.as_slice() {
        [FICTION, exchange, line] | ["1", FICTION, exchange, line] if exchange.len() == 3 => line.len() == 4,
        [before @ .., FICTION, line] => line.len() == 4 && before.len() <= 2 && before.iter().all(is_short),
        _ => false,
    }
}
