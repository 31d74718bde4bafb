//! Brazil's prefix for long distance as it is printed: a zero, then a blank for the code of any operator
//! (Anatel, resolution 86 of 1998): `(0xx85) 3344-5567`, or the word for an area code (discagem direta a distância):
//! `(DDD 85) 3344-5567`.

use std::ops::Range;

use crate::domain::value::text::after_prefix;

/// What stands for the operator's code, or before the area code.
const BLANKS: [&str; 5] = ["xx", "**", "__", "operadora", "ddd"];

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

fn after_separators(text: &str) -> &str {
    text.trim_start_matches(['(', ')', '[', ']', ' ', '-', '.'])
}
