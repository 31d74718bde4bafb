//! Brazil's numbering plan as far as it can be seen from the digits, and its prefix for long distance as it is printed: a zero, then a blank for the code of any operator
//! (Anatel, resolution 86 of 1998): `(0xx85) 3344-5567`, or the word for an area code (discagem direta a distância):
//! `(DDD 85) 3344-5567`.

use std::ops::Range;

use crate::domain::value::text::after_prefix;

/// Printed in place of the operator's code, or before the area code.
const BLANKS: [&str; 5] = ["xx", "**", "__", "operadora", "ddd"];

/// Digits of an area code and a mobile number.
const LONGEST_NATIONAL: usize = 11;

/// The number with its country code instead of the zero and the blank. Only a company in Brazil writes them
/// without the country code.
pub(super) fn without_blank(text: &str, is_company_in_brazil: bool) -> Option<String> {
    let rest = text.trim_start_matches(['(', '[', ' ']);
    let abroad = rest.trim_start_matches('+').strip_prefix("55").map(after_separators);
    let rest = abroad.unwrap_or(rest);
    let rest = rest.strip_prefix(['0', 'o', 'O']).map_or(rest, after_separators);
    let number = after_separators(BLANKS.iter().find_map(|blank| after_prefix(rest, blank))?);
    let has_area = number.bytes().take_while(u8::is_ascii_digit).count() >= 2;
    (has_area && (abroad.is_some() || is_company_in_brazil)).then(|| format!("+55 {number}"))
}

/// Removes such blanks from any text; `None` if there is none. The zeros stay: they are prefixes of numbers.
pub(in crate::domain) fn without_blanks(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let places = |blank: &&'static str| {
        lower.match_indices(*blank).map(|(at, blank)| at..at + blank.len()).collect::<Vec<_>>()
    };
    let is_blank = |place: &Range<usize>| {
        let before = lower.get(..place.start).unwrap_or_default();
        let after = after_separators(lower.get(place.end..).unwrap_or_default());
        let is_prefix = before.trim_end_matches([' ', '-', '.', '(']).ends_with(['0', 'o']);
        (is_prefix || before.ends_with('(')) && after.starts_with(|c: char| c.is_ascii_digit())
    };
    let mut found: Vec<Range<usize>> = BLANKS.iter().flat_map(places).filter(is_blank).collect();
    found.sort_unstable_by_key(|place| place.start);
    let mut without = String::with_capacity(text.len());
    let mut end = 0;
    for place in &found {
        without.push_str(text.get(end..place.start).unwrap_or_default());
        end = place.end.max(end);
    }
    without.push_str(text.get(end..).unwrap_or_default());
    (!found.is_empty()).then_some(without)
}

/// The E.164 form of what is certainly a valid mobile number or landline of Brazil, or was one. `None` says nothing about the number: the
/// whole plan is libphonenumber's, which takes ten times as long. Digits without a `+` are Brazilian only in a company of
/// Brazil.
pub(super) fn recognized(number: &str, is_company_in_brazil: bool) -> Option<String> {
    let national = match number.strip_prefix("+55") {
        Some(national) => national,
        None if !is_company_in_brazil => return None,
        None if number.len() > LONGEST_NATIONAL => number.strip_prefix("55")?,
        None => number,
    };
    let (area, subscriber) = national.as_bytes().split_at_checked(2)?;
    // Anatel, resolution 749 of 2022: the codes of the areas.
    let is_area = match area {
        [b'1' | b'4' | b'6' | b'8' | b'9', second] => matches!(second, b'1'..=b'9'),
        [b'2', second] => matches!(second, b'1' | b'2' | b'4' | b'7' | b'8'),
        [b'3', second] => matches!(second, b'1'..=b'5' | b'7' | b'8'),
        [b'5', second] => matches!(second, b'1' | b'3'..=b'5'),
        [b'7', second] => matches!(second, b'1' | b'3'..=b'5' | b'7' | b'9'),
        _ => false,
    };
    let is_subscriber = match subscriber {
        [b'9', rest @ ..] if rest.len() == 8 => true,
        // The last are mobile numbers from before the ninth digit.
        [b'2'..=b'6' | b'8' | b'9', rest @ ..] => rest.len() == 7,
        _ => false,
    };
    if !is_area || !is_subscriber || !subscriber.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let is_old = matches!(subscriber, [b'6' | b'8' | b'9', rest @ ..] if rest.len() == 7);
    let (area, subscriber) = national.split_at_checked(2)?;
    Some(format!("+55{area}{}{subscriber}", if is_old { "9" } else { "" }))
}

fn after_separators(text: &str) -> &str {
    text.trim_start_matches(['(', ')', '[', ']', ' ', '-', '.'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::value::phone::{Region, Strength, planned};

    /// All that the plan decides by: area, first digits and length.
    #[test]
    fn recognized_numbers_are_what_the_whole_plan_says() {
        let brazil = Some(Region::new("BR").unwrap());
        let mut count = 0;
        for (area, start) in (0..100).flat_map(|area| (0..100).map(move |start| (area, start))) {
            for end in ["1234", "12345", "123456", "1234567", "12345678"] {
                for (prefix, region) in [("+55", None), ("", brazil), ("55", brazil)] {
                    let number = format!("{prefix}{area:02}{start:02}{end}");
                    let Some(found) = recognized(&number, region.is_some()) else { continue };
                    let whole = planned(&number, region).expect(&number);
                    assert_eq!((whole.as_str(), whole.strength()), (&*found, Strength::Strong), "{number}");
                    count += 1;
                }
            }
        }
        // 67 areas: ten starts of mobile numbers, thirty of those from before the ninth digit, and forty of landlines.
        // After `55` ten or eleven digits in all are a number of area 55.
        assert_eq!(count, 67 * (10 + 30 + 40) * 3 + (70 + 10) * 100);
        assert_eq!(recognized("85999990001", false), None);
        assert_eq!(recognized("+5585999990o01", false), None);
    }
}
