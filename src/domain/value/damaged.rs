//! Numbers that a spreadsheet or a program has written as floating-point numbers: `85988124471.0`,
//! `5.585988124471E+12`. Nothing here knows what the number is.

use std::borrow::Cow;

/// In digits. A shorter number before the point may be a group of a longer one: `98812.44`.
const MIN_WHOLE: usize = 8;
/// Zeros after the point: one in programs, two where a spreadsheet shows cents. Three may be the end of a postal
/// code, four that of a phone number.
const MAX_ZEROS: usize = 2;
/// In digits, of a number that a spreadsheet shows with an exponent, so that only its first digits are read again.
const MIN_CUT: usize = 10;
/// Zeros at the end of such a number. Few numbers end so by themselves, and a few digits are shared by a whole area.
const MIN_CUT_ZEROS: usize = 5;

/// Whole digits again, or the text unchanged if it is not a float; `None` if digits were lost. A sign stays.
pub(in crate::domain) fn repair(text: &str) -> Option<Cow<'_, str>> {
    if let Some(whole) = without_groups(text) {
        return (!is_cut(&whole)).then_some(Cow::Owned(whole));
    }
    let Some(float) = Float::read(text) else { return Some(Cow::Borrowed(text)) };
    match float.power {
        None if float.fraction.len() > MAX_ZEROS || float.fraction.bytes().any(|byte| byte != b'0') => {
            Some(Cow::Borrowed(text))
        }
        None if is_cut(float.whole) => None,
        None => Some(Cow::Owned(format!("{}{}", float.sign, float.whole))),
        Some(power) => {
            // What the mantissa lacks was cut off: a spreadsheet shows no more than six digits of a long number.
            let (kept, lost) = float.fraction.split_at_checked(power)?;
            let is_whole = lost.bytes().all(|byte| byte == b'0');
            let whole = format!("{}{}{kept}", float.sign, float.whole);
            (is_whole && !is_cut(&whole)).then_some(Cow::Owned(whole))
        }
    }
}

/// The digits of a number that a spreadsheet shows in groups of three: `5,585,988,124,471`, `5.585.988.124.471,00`. Groups
/// between points or blanks without a fraction stay: people write them, too.
fn without_groups(text: &str) -> Option<String> {
    let (sign, number) = text.split_at_checked(usize::from(text.starts_with('+')))?;
    let first = number.get(..digits(number)).filter(|first| (1..=3).contains(&first.len()))?;
    let mark = number.get(first.len()..)?.chars().next().filter(|mark| ",.' \u{a0}".contains(*mark))?;
    let (groups, fraction) = match number.rsplit_once(['.', ',']) {
        Some((groups, fraction)) if (1..=MAX_ZEROS).contains(&fraction.len()) => (groups, fraction),
        _ => (number, ""),
    };
    let is_marked = mark == ',' || mark == '\'' || !fraction.is_empty();
    let is_group = |group: &str| group.len() == 3 && digits(group) == 3;
    let mut rest = groups.split(mark).skip(1).peekable();
    let is_grouped = is_marked && rest.peek().is_some() && rest.all(is_group);
    let whole: String = groups.chars().filter(char::is_ascii_digit).collect();
    let is_long = whole.len() >= MIN_WHOLE && fraction.bytes().all(|byte| byte == b'0');
    (is_grouped && is_long).then(|| format!("{sign}{whole}"))
}

/// Removes commas and apostrophes before groups of three digits from any text; `None` if there are none. For searches: it
/// joins the numbers of lists, too.
pub(in crate::domain) fn without_marks_of_groups(text: &str) -> Option<String> {
    let is_digit = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    let is_mark = |at: usize| {
        let (before, after) = text.as_bytes().split_at_checked(at).unwrap_or_default();
        is_digit(before.last()) && (1..=3).all(|place| is_digit(after.get(place))) && !is_digit(after.get(4))
    };
    let marks: Vec<usize> =
        text.match_indices([',', '\'']).map(|(at, _)| at).filter(|at| is_mark(*at)).collect();
    let is_kept = |(at, c): (usize, char)| marks.binary_search(&at).is_err().then_some(c);
    (!marks.is_empty()).then(|| text.char_indices().filter_map(is_kept).collect())
}

/// Whether a float's whole digits are those that remained of a longer number: `5585990000000` was `5.58599E+12`.
pub(in crate::domain) fn is_cut(whole: &str) -> bool {
    let zeros = whole.bytes().rev().take_while(|byte| *byte == b'0').count();
    zeros >= MIN_CUT_ZEROS && digits(whole.trim_start_matches('+')) >= MIN_CUT
}

/// Whether the text is a number with a fraction of one or two digits, which no notation of phone numbers has.
pub(in crate::domain) fn is_fraction(text: &str) -> bool {
    Float::read(text).is_some_and(|float| {
        float.power.is_none() && float.whole.len() >= MIN_WHOLE && float.fraction.len() <= MAX_ZEROS
    })
}

/// A number with a decimal point or comma, or with an exponent.
struct Float<'a> {
    /// A plus sign or nothing.
    sign: &'a str,
    /// ASCII digits, at least one; exactly one before a power.
    whole: &'a str,
    /// ASCII digits.
    fraction: &'a str,
    power: Option<usize>,
}

impl<'a> Float<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (sign, number) = text.split_at_checked(usize::from(text.starts_with('+')))?;
        let (whole, rest) = number.split_at_checked(digits(number))?;
        if whole.is_empty() {
            return None;
        }
        let (fraction, rest) = match rest.strip_prefix(['.', ',']) {
            Some(rest) => rest.split_at_checked(digits(rest)).filter(|(fraction, _)| !fraction.is_empty())?,
            None => ("", rest),
        };
        if rest.is_empty() {
            return (!fraction.is_empty()).then_some(Self { sign, whole, fraction, power: None });
        }
        let power = rest.strip_prefix(['e', 'E'])?;
        // Without fraction and sign it may be a code of digits and a letter: `1E10`.
        let power = match power.strip_prefix('+') {
            Some(power) => power,
            None if fraction.is_empty() => return None,
            None => power,
        };
        let is_power = (1..=2).contains(&power.len()) && digits(power) == power.len() && whole.len() == 1;
        is_power.then(|| power.parse().ok())?.map(|power| Self { sign, whole, fraction, power: Some(power) })
    }
}

/// The number of ASCII digits at the start.
fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::samples::matching;

    #[test]
    fn floats_become_whole_numbers() {
        for (text, expected, source) in [
            ("85988124471.0", "85988124471", "pandas: a column with an empty cell becomes floats"),
            ("85988124471.00", "85988124471", "spreadsheets: format with two decimals"),
            ("85988124471,0", "85988124471", "CLDR pt: the decimal comma"),
            ("+5585988124471.0", "+5585988124471", "as above: a plus put before a float"),
            ("5.585988124471E+12", "5585988124471", "spreadsheets: scientific format with all digits"),
            ("5,585988124471E+12", "5585988124471", "CLDR pt: the decimal comma"),
            ("5.585988124471e12", "5585988124471", "Java's Double.toString"),
            ("5.585988124471e+12", "5585988124471", "C's %g, Python's repr from 1e16 on"),
            ("5.5859881244710E+12", "5585988124471", "as above: one zero after the number"),
            ("8.5988124471E10", "85988124471", "Java's Double.toString"),
            ("5.2998224725E+10", "52998224725", "as above: a CPF"),
            ("52998224725.0", "52998224725", "as above: a CPF, by pandas"),
            ("60175055.0", "60175055", "as above: a postal code, by pandas"),
            ("120.0", "120", "as above: the number of a house, by pandas"),
            ("60100000.0", "60100000", "as above: a postal code ends in zeros"),
            ("85988120000.0", "85988120000", "as above: four zeros at the end of a number"),
            ("5,585,988,124,471", "5585988124471", "CLDR en: a spreadsheet's thousands"),
            ("+5,585,988,124,471", "+5585988124471", "as above: a plus put before it"),
            ("85,988,124,471.00", "85988124471", "as above: with two decimals"),
            ("5.585.988.124.471,00", "5585988124471", "CLDR pt: a spreadsheet's thousands and decimals"),
            ("5'585'988'124'471", "5585988124471", "CLDR de-CH: a spreadsheet's thousands"),
            ("52,998,224,725", "52998224725", "CLDR en: a CPF"),
        ] {
            assert_eq!(repair(text).as_deref(), Some(expected), "{text} ({source})");
        }
    }

    #[test]
    fn floats_that_lost_digits_are_refused() {
        for text in ["5,58599E+12", "5.58599E+12", "8.6E+10", "1E+11", "5.6e12", "+5.58599E+12", "1.25E+1"] {
            assert_eq!(repair(text), None, "{text}");
        }
        for (text, source) in [
            ("5585990000000.0", "pandas, of a cell that shows 5,58599E+12"),
            ("+5585990000000.00", "as above: with a plus and cents"),
            ("85988100000,0", "as above: without the country code"),
            ("5.585990000000E+12", "Java, of the same cell"),
            ("5,585,990,000,000", "CLDR en: the same with its thousands"),
        ] {
            assert_eq!(repair(text), None, "{text} ({source})");
        }
    }

    #[test]
    fn other_texts_stay() {
        for text in [
            "",
            "+",
            "85988124471",
            "+5585988124471",
            "85.98812.4471",
            "98812.4471",
            "60175.000",
            "5585990000000",
            "60.175-055",
            "529.982.247-25",
            "1E10",
            "12E34",
            "12.5E10",
            "2E",
            "5.585988124471E+123",
            "5.58E",
            "5.E+12",
            ".0",
            "0.5",
            "85988124471.5",
            "12 B",
            "3.1415",
            "ada@x.example",
            "5.585988124471E+12 ou 8",
            "5.585.988.124.471",
            "5,585,98",
            "5,585,988,12",
            "123,456",
            "5,585.988,124",
            "85,98812,4471",
            "-85988124471.0",
        ] {
            assert_eq!(repair(text), Some(Cow::Borrowed(text)), "{text}");
        }
    }

    #[test]
    fn marks_of_groups_are_removed_from_any_text() {
        for (text, expected) in [
            ("tel 5,585,988,124,471!", Some("tel 5585988124471!")),
            ("5'585'988'124'471", Some("5585988124471")),
            ("1,23 e 1,2345 e O'123", None),
            ("", None),
        ] {
            assert_eq!(without_marks_of_groups(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn fractions_are_told_from_groups() {
        assert!(is_fraction("85988124471.5") && is_fraction("5585988124471,25"));
        for text in ["85988124471", "98812.44", "8598812.4471", "85988124471.000", "859.88124471"] {
            assert!(!is_fraction(text), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn whole_numbers_survive_as_floats(number in 10_000_000_u64..999_999_999_999_999) {
            let digits = number.to_string();
            prop_assume!(!is_cut(&digits));
            let (first, rest) = digits.split_at(1);
            let power = rest.len();
            for float in [format!("{number}.0"), format!("{first}.{rest}E+{power}"), format!("{first},{rest}e{power}")] {
                let repaired = repair(&float);
                prop_assert_eq!(repaired.as_deref(), Some(&*digits), "{}", float);
            }
        }

        #[test]
        fn repaired_texts_stay_the_same(text in matching("\\PC{0,12}|[+]?[0-9]{1,14}[.,]?[0-9]{0,14}([eE][+]?[0-9]{0,3})?")) {
            if let Some(repaired) = repair(&text) {
                prop_assert_eq!(repair(&repaired), Some(Cow::Borrowed(&*repaired)));
            }
        }
    }
}
