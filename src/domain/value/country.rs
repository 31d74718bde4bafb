//! Reads country names and codes as ISO 3166-1 alpha-2. The names are in `country::table`.

mod table;

use std::sync::LazyLock;

use crate::domain::value::{
    lookup::WordMap,
    text::{folded, plain},
};
use table::COUNTRIES;

/// In bytes; a longer text is not a country.
const MAX_TEXT: usize = 128;

/// The regional indicator A. Two regional indicators are the flag of the country with these letters (Unicode
/// 6.0).
const FLAG_A: u32 = 0x1f1e6;

/// The alpha-2 code of a country, from its alpha-2 or alpha-3 code, its name in Portuguese, Spanish or
/// English, or its flag. Case, accents and punctuation do not matter. `None` if the country is unknown.
#[must_use]
pub fn code(text: &str) -> Option<&'static str> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let text = plain(text);
    BY_NAME.get(&*key(&text)).or_else(|| BY_NAME.get(&*flag(&text)?)).copied().or_else(|| twice(&text))
}

/// The country that a form's list names twice: `BR - Brasil`, `Brasil (BR)`.
fn twice(text: &str) -> Option<&'static str> {
    let (one, other) = text.split_once(" - ").or_else(|| text.split_once('('))?;
    let (one, other) = (key(one), key(other));
    let country = BY_NAME.get(&one).filter(|country| one != other && BY_NAME.get(&other) == Some(country));
    country.copied()
}

/// Whether a stored value is the alpha-2 code of a country.
#[must_use]
pub fn is_code(stored: &str) -> bool {
    COUNTRIES.binary_search_by_key(&stored, |(alpha2, ..)| alpha2).is_ok()
}

static BY_NAME: LazyLock<WordMap<String, &'static str>> = LazyLock::new(|| {
    let mut by_name = WordMap::default();
    for (alpha2, alpha3, names) in COUNTRIES {
        for name in [alpha2, alpha3].into_iter().chain(names.split('|')) {
            by_name.insert(key(name), alpha2);
        }
    }
    by_name
});

/// The letters and digits of a name, folded.
fn key(text: &str) -> String {
    let mut key = folded(text);
    key.retain(char::is_alphanumeric);
    key
}

fn flag(text: &str) -> Option<String> {
    let letters = text.chars().map(|c| (c as u32).checked_sub(FLAG_A).filter(|letter| *letter < 26));
    letters.map(|letter| char::from_digit(letter? + 10, 36)).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use proptest::prelude::*;

    use super::*;
    use crate::domain::samples::matching;

    #[test]
    fn every_name_and_code_belongs_to_one_country() {
        let alpha2: HashSet<_> = COUNTRIES.iter().map(|(alpha2, ..)| alpha2).collect();
        let alpha3: HashSet<_> = COUNTRIES.iter().map(|(_, alpha3, _)| alpha3).collect();
        assert_eq!((alpha2.len(), alpha3.len()), (249, 249));
        assert!(COUNTRIES.is_sorted_by_key(|(alpha2, ..)| alpha2));
        let mut seen: HashMap<String, &str> = HashMap::new();
        for (alpha2, alpha3, names) in COUNTRIES {
            assert!(alpha2.len() == 2 && alpha3.len() == 3 && is_code(alpha2), "{alpha2}");
            for name in [alpha2, alpha3].into_iter().chain(names.split('|')) {
                let other = seen.insert(key(name), alpha2);
                assert!(other.is_none_or(|other| other == alpha2), "{name} is {alpha2} and {other:?}");
                assert_eq!(code(name), Some(alpha2), "{name}");
            }
        }
    }

    #[test]
    fn every_phone_region_is_a_country() {
        // An independent list of the standard: regions with phone numbers.
        let phones = rlibphonenumber::PHONE_NUMBER_UTIL.get_supported_regions();
        let unassigned = ["AC", "TA", "XK"];
        let codes: Vec<String> = phones.map(|region| region.as_region_str().to_string()).collect();
        assert!(codes.len() > 240);
        for code in codes {
            assert!(is_code(&code) || unassigned.contains(&&*code), "{code}");
        }
    }

    #[test]
    fn codes_names_and_flags_are_recognized() {
        for (text, expected, source) in [
            ("BR", "BR", "ISO 3166-1 alpha-2"),
            ("br", "BR", "ISO 3166-1 alpha-2"),
            ("bra", "BR", "ISO 3166-1 alpha-3"),
            ("Brasil", "BR", "Portuguese, Spanish"),
            ("BRAZIL", "BR", "English"),
            ("🇧🇷", "BR", "Unicode: regional indicators"),
            ("EUA", "US", "Portuguese"),
            ("E.U.A.", "US", "Portuguese"),
            ("EE.UU.", "US", "Spanish"),
            ("Estados Unidos", "US", "Portuguese, Spanish"),
            ("U.S.", "US", "English"),
            ("usa", "US", "ISO 3166-1 alpha-3"),
            ("the United States of America", "US", "English"),
            ("UK", "GB", "ISO 3166-1: exceptionally reserved"),
            ("England", "GB", "ISO 3166-2: a part of the United Kingdom"),
            ("Inglaterra", "GB", "Portuguese, Spanish"),
            ("Escócia", "GB", "Portuguese"),
            ("Holanda", "NL", "Portuguese, Spanish"),
            ("Alemanha", "DE", "Portuguese"),
            ("ALEMANIA", "DE", "Spanish"),
            ("Coreia do Sul", "KR", "Portuguese"),
            ("mexico", "MX", "as above: without its accent"),
            ("Cote d’Ivoire", "CI", "as above: with a typographic apostrophe"),
            ("Sa\u{303}o Tome\u{301} e Príncipe", "ST", "Unicode: decomposed"),
            ("ＪＡＰＡＮ", "JP", "Unicode: full-width forms"),
            ("\u{200f}España\u{200f}", "ES", "web pages"),
            ("NA", "NA", "ISO 3166-1 alpha-2: Namibia"),
            ("NO", "NO", "ISO 3166-1 alpha-2: Norway"),
            ("BR - Brasil", "BR", "forms: a list with codes"),
            ("Brasil (BR)", "BR", "forms: a list with codes"),
            ("Deutschland - DE", "DE", "forms: a list with codes"),
        ] {
            assert_eq!(code(text), Some(expected), "{text} ({source})");
        }
    }

    #[test]
    fn ambiguous_and_unknown_names_are_rejected() {
        for (text, reason) in [
            ("", "nothing"),
            ("XX", "ISO 3166-1: user-assigned"),
            ("Congo", "two countries"),
            ("Coreia", "two countries"),
            ("Virgin Islands", "two territories"),
            ("America", "a continent"),
            ("Brasil ou Portugal", "two countries"),
            ("BR - Portugal", "two countries"),
            ("NA - NA", "a word for nothing twice"),
            ("Neverland", "J. M. Barrie"),
            ("🇽🇽", "Unicode: no such flag"),
            ("076", "ISO 3166-1 numeric: not read"),
        ] {
            assert_eq!(code(text), None, "{text} ({reason})");
        }
        assert!(!is_code("br") && !is_code("Brasil") && !is_code(""));
    }

    proptest! {
        #[test]
        fn codes_are_recognized_again(text in matching("\\PC{0,20}|[A-Za-z]{2,3}")) {
            if let Some(found) = code(&text) {
                prop_assert_eq!(code(found), Some(found));
                prop_assert!(is_code(found));
            }
        }
    }
}
