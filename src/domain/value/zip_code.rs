//! Formats postal codes by country. A code that does not match its country's pattern is stored as given.
//! Sources: the Universal Postal Union's addressing sheets and Unicode CLDR's postal code patterns.

use crate::domain::value::{
    hyphens::with_hyphens,
    text::{after_prefix, plain},
};

/// In bytes; a longer text is not a postal code.
const MAX_TEXT: usize = 48;

/// By country: `9` is a digit, `A` a letter, `*` either, everything else is literal.
const PATTERNS: [(&str, &[&str]); 61] = [
    ("AR", &["9999", "A9999AAA"]),
    ("AT", &["9999"]),
    ("AU", &["9999"]),
    ("BE", &["9999"]),
    ("BG", &["9999"]),
    ("BR", &["99999-999"]),
    ("CA", &["A9A 9A9"]),
    ("CH", &["9999"]),
    ("CL", &["9999999"]),
    ("CN", &["999999"]),
    ("CO", &["999999"]),
    ("CR", &["99999"]),
    ("CU", &["99999"]),
    ("CY", &["9999"]),
    ("CZ", &["999 99"]),
    ("DE", &["99999"]),
    ("DK", &["9999"]),
    ("DO", &["99999"]),
    ("EC", &["999999"]),
    ("EE", &["99999"]),
    ("ES", &["99999"]),
    ("FI", &["99999"]),
    ("FR", &["99999"]),
    ("GR", &["999 99"]),
    ("GT", &["99999"]),
    ("HN", &["99999"]),
    ("HR", &["99999"]),
    ("HU", &["9999"]),
    ("ID", &["99999"]),
    ("IE", &["A99 ****", "A9A ****"]),
    ("IL", &["9999999"]),
    ("IN", &["999999"]),
    ("IT", &["99999"]),
    ("JP", &["999-9999"]),
    ("KR", &["99999"]),
    ("LU", &["9999"]),
    ("MA", &["99999"]),
    ("MX", &["99999"]),
    ("MY", &["99999"]),
    ("NI", &["99999"]),
    ("NL", &["9999 AA"]),
    ("NO", &["9999"]),
    ("NZ", &["9999"]),
    ("PE", &["99999"]),
    ("PH", &["9999"]),
    ("PL", &["99-999"]),
    ("PR", &["99999", "99999-9999"]),
    ("PT", &["9999-999", "9999"]),
    ("RO", &["999999"]),
    ("RS", &["99999"]),
    ("RU", &["999999"]),
    ("SE", &["999 99"]),
    ("SG", &["999999"]),
    ("SI", &["9999"]),
    ("SK", &["999 99"]),
    ("TH", &["99999"]),
    ("TR", &["99999"]),
    ("UA", &["99999"]),
    ("US", &["99999", "99999-9999"]),
    ("UY", &["99999"]),
    ("ZA", &["9999"]),
];

/// Formats the code as its country (ISO 3166-1 alpha-2) does; `None` if it matches no pattern.
///
/// A code that lost a zero in a spreadsheet matches none: the missing digit could be anywhere.
#[must_use]
pub fn tidy(text: &str, country: &str) -> Option<String> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let text = with_hyphens(plain(text));
    // Japan's postal mark.
    let text = text.trim_start_matches(['〒', ' ']);
    let text = ["cep", "zip", "cp"].iter().find_map(|name| after_name(text, name)).unwrap_or(text);
    let mut code = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' ' | '-' | '.' | '\u{a0}' => {}
            _ if c.is_ascii_alphanumeric() => code.push(c.to_ascii_uppercase()),
            _ => return None,
        }
    }
    if country == "GB" {
        return british(&code);
    }
    let (_, patterns) = PATTERNS.get(PATTERNS.binary_search_by_key(&country, |(known, _)| known).ok()?)?;
    patterns.iter().find_map(|pattern| laid_out(&code, pattern))
}

/// Strips the word for a postal code: `CEP: 60175-055`.
fn after_name<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let rest = after_prefix(text, name)?;
    let code = rest.trim_start_matches([' ', ':', '.']);
    (code.len() < rest.len()).then_some(code)
}

fn laid_out(code: &str, pattern: &str) -> Option<String> {
    let mut code = code.chars();
    let fill = |mark| match mark {
        '9' => code.next().filter(char::is_ascii_digit),
        'A' => code.next().filter(char::is_ascii_alphabetic),
        '*' => code.next(),
        _ => Some(mark),
    };
    let laid_out = pattern.chars().map(fill).collect::<Option<String>>()?;
    code.next().is_none().then_some(laid_out)
}

/// Two to four characters, a space, a digit and two letters (BS 7666; Royal Mail).
fn british(code: &str) -> Option<String> {
    let (outward, inward) = code.split_at_checked(code.len().checked_sub(3)?)?;
    let inward = laid_out(inward, "9AA")?;
    ["A9", "A99", "AA9", "AA99", "A9A", "AA9A"]
        .iter()
        .find_map(|pattern| laid_out(outward, pattern))
        .map(|outward| format!("{outward} {inward}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::samples::matching;

    #[test]
    fn codes_are_formatted_as_their_country_does() {
        for (text, country, expected, source) in [
            ("60175-055", "BR", "60175-055", "postal services: Correios"),
            ("60175055", "BR", "60175-055", "postal services: Correios"),
            ("60.175-055", "BR", "60175-055", "as above: with a point"),
            ("CEP: 60175 055", "BR", "60175-055", "LLM habit"),
            ("６０１７５－０５５", "BR", "60175-055", "Unicode: full-width forms"),
            ("６０１７５−０５５", "BR", "60175-055", "as above: a minus sign"),
            ("60175\u{2011}055", "BR", "60175-055", "as above: a hyphen that does not break"),
            ("60175\u{200b}-055", "BR", "60175-055", "web pages"),
            ("12345", "US", "12345", "postal services: USPS"),
            ("123456789", "US", "12345-6789", "postal services: USPS: ZIP+4"),
            ("12345-6789", "US", "12345-6789", "postal services: USPS: ZIP+4"),
            ("k1a0b1", "CA", "K1A 0B1", "postal services: Canada Post"),
            ("K1A-0B1", "CA", "K1A 0B1", "postal services: Canada Post"),
            ("sw1a1aa", "GB", "SW1A 1AA", "postal services: Royal Mail"),
            ("M1 1AE", "GB", "M1 1AE", "postal services: Royal Mail"),
            ("1000205", "PT", "1000-205", "postal services: CTT"),
            ("1000", "PT", "1000", "postal services: CTT, before 1998"),
            ("06600", "MX", "06600", "postal services: Correos de México"),
            ("C1425CLA", "AR", "C1425CLA", "postal services: Correo Argentino"),
            ("1425", "AR", "1425", "postal services: Correo Argentino, before 1998"),
            ("1012ab", "NL", "1012 AB", "postal services: PostNL"),
            ("00950", "PL", "00-950", "postal services: Poczta Polska"),
            ("1000001", "JP", "100-0001", "postal services: Japan Post"),
            ("１００−０００１", "JP", "100-0001", "Unicode: full-width forms, and a minus sign"),
            ("１００ー０００１", "JP", "100-0001", "libphonenumber: Japanese writing"),
            ("〒100-0001", "JP", "100-0001", "postal services: Japan Post's mark"),
            ("〒 １００－０００１", "JP", "100-0001", "as above: full-width forms"),
            ("D02 af30", "IE", "D02 AF30", "postal services: Eircode"),
            ("D6WXH92", "IE", "D6W XH92", "postal services: Eircode"),
            ("11455", "SE", "114 55", "postal services: PostNord"),
        ] {
            assert_eq!(tidy(text, country).as_deref(), Some(expected), "{text} {country} ({source})");
        }
    }

    #[test]
    fn codes_of_other_countries_and_incomplete_codes_are_rejected() {
        for (text, country, reason) in [
            ("1310100", "BR", "a lost zero: 01310-100, or a digit is missing"),
            ("6600", "MX", "a lost zero"),
            ("1234", "US", "a lost zero"),
            ("60175-055", "US", "another country's"),
            ("K1A 0B1", "US", "another country's"),
            ("SW1A 1A", "GB", "incomplete"),
            ("1AA", "GB", "the inward half alone"),
            ("60175-055, Fortaleza", "BR", "more than a code"),
            ("60175055", "ZZ", "no such country"),
            ("60175055", "AO", "has no postal codes"),
            ("", "BR", "nothing"),
        ] {
            assert_eq!(tidy(text, country), None, "{text} {country} ({reason})");
        }
    }

    #[test]
    fn the_table_is_sorted_for_the_binary_search() {
        assert!(PATTERNS.is_sorted_by_key(|(country, _)| country));
        assert!(PATTERNS.iter().all(|(country, _)| crate::domain::value::country::is_code(country)));
    }

    proptest! {
        #[test]
        fn formatted_codes_stay_the_same(text in matching("\\PC{0,12}|[0-9A-Z -]{4,10}"), index in 0..PATTERNS.len()) {
            for country in [PATTERNS[index].0, "GB"] {
                if let Some(tidied) = tidy(&text, country) {
                    prop_assert_eq!(tidy(&tidied, country), Some(tidied.clone()));
                }
            }
        }
    }
}
