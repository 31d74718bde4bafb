//! Identity documents: how they are recognized and masked. A document is never an identifier.
//!
//! Sources: Receita Federal for CPF (two check digits, modulo 11) and CNPJ, whose first twelve characters
//! may be letters since July 2026 (Instrução Normativa 2.229 of 2024: a character counts as its ASCII code
//! minus 48); the Social Security Administration for SSN (randomized since 2011; some numbers are never
//! assigned). A number that could be another document is left alone.

use crate::domain::value::{
    check_digits::{has_cnpj_digits, has_cpf_digits, is_one_digit},
    hyphens::with_hyphens,
    phone::Region,
    text::{self, after_prefix},
};

/// The document that a text is, in its canonical form.
#[derive(Clone, PartialEq, Eq)]
pub enum Recognized {
    /// A person's tax number in Brazil, `529.982.247-25`.
    Cpf(String),
    /// A company's tax number in Brazil, `12.ABC.345/01DE-35`.
    Cnpj(String),
    /// A social security number of the United States, `123-45-6789`.
    Ssn(String),
    /// Another document, or a number without check digits. Stored as given.
    Other,
    /// Written as a CPF or CNPJ, with wrong check digits.
    BadCheckDigits,
}

/// Recognizes a document.
///
/// Digits alone are a Brazilian document only in Brazil, and a social security number only in the United
/// States. Elsewhere they are another country's document, and one in a hundred would pass as a CPF.
#[must_use]
pub fn recognize(text: &str, region: Region) -> Recognized {
    let text = with_hyphens(text::plain(text));
    let (label, text) = labeled(&text);
    let Some(digits) = compact(text) else { return Recognized::Other };
    let is_marked = |name: &str, shape: &str| label == Some(name) || has_shape(text, shape);
    let brazilian =
        |name: &str, shape: &str, is_valid: fn(&str) -> bool, document: fn(String) -> Recognized| {
            match is_marked(name, shape) {
                false if region.code() != "BR" => None,
                _ if is_valid(&digits) => Some(document(laid_out(&digits, shape))),
                is_marked if is_marked || is_one_digit(&digits) => Some(Recognized::BadCheckDigits),
                _ => Some(Recognized::Other),
            }
        };
    let ends_in_digits = |from| digits.bytes().skip(from).all(|byte| byte.is_ascii_digit());
    let found = match digits.len() {
        11 if ends_in_digits(0) => brazilian("cpf", CPF, has_cpf_digits, Recognized::Cpf),
        14 if ends_in_digits(12) => brazilian("cnpj", CNPJ, has_cnpj_digits, Recognized::Cnpj),
        _ if (is_marked("ssn", SSN) || region.code() == "US") && is_ssn(&digits) => {
            Some(Recognized::Ssn(laid_out(&digits, SSN)))
        }
        _ => None,
    };
    found.unwrap_or(Recognized::Other)
}

/// A Brazilian document that was a number, which has no zeros at its start (`1234567890`, a cell of a spreadsheet), with one or
/// two of them again if its check digits are right then. `None` for any other number.
#[must_use]
pub fn with_lost_zeros(digits: &str, region: Region) -> Option<String> {
    let (length, is_valid): (usize, fn(&str) -> bool) = match digits.len() {
        9 | 10 => (11, has_cpf_digits),
        12 | 13 => (14, has_cnpj_digits),
        _ => return None,
    };
    let whole = format!("{digits:0>length$}");
    (region.code() == "BR" && is_valid(&whole)).then_some(whole)
}

/// The stored identity if it is a valid CPF in canonical form. Two different CPFs mean two people.
#[must_use]
pub fn as_cpf(stored: &str) -> Option<&str> {
    if !has_shape(stored, CPF) {
        return None;
    }
    compact(stored).filter(|digits| has_cpf_digits(digits)).map(|_digits| stored)
}

/// Hides all but the last three characters; a document of six or fewer is hidden entirely.
#[must_use]
pub fn masked(text: &str) -> String {
    let length = text.chars().count();
    if length <= 6 {
        return "***".to_owned();
    }
    let end: String = text.chars().skip(length - 3).collect();
    format!("***{end}")
}

/// Canonical forms: `#` is a digit or letter, everything else is literal.
const CPF: &str = "###.###.###-##";
const CNPJ: &str = "##.###.###/####-##";
const SSN: &str = "###-##-####";

/// Strips the document's name before the number: `CPF: 529…`.
fn labeled(text: &str) -> (Option<&'static str>, &str) {
    let found = ["cpf", "cnpj", "ssn"].into_iter().find_map(|name| {
        let rest = after_prefix(text, name)?;
        // The ministry that once kept the numbers: `CPF/MF`.
        let rest = after_prefix(rest, "/mf").unwrap_or(rest);
        let number = rest.trim_start_matches([' ', ':', '.', 'n', '\u{ba}', '\u{b0}', '#', '-']);
        (number.len() < rest.len()).then_some((Some(name), number))
    });
    found.unwrap_or((None, text))
}

/// Letters and digits without separators; `None` if any other character is between them.
fn compact(text: &str) -> Option<String> {
    let mut compact = String::with_capacity(14);
    for c in text.chars() {
        match c {
            '.' | '-' | '/' | ' ' => {}
            _ if c.is_ascii_alphanumeric() && compact.len() < 14 => compact.push(c.to_ascii_uppercase()),
            _ => return None,
        }
    }
    Some(compact)
}

fn has_shape(text: &str, shape: &str) -> bool {
    let fits = |(c, mark): (u8, u8)| if mark == b'#' { c.is_ascii_alphanumeric() } else { c == mark };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits)
}

fn laid_out(digits: &str, shape: &str) -> String {
    let mut digits = digits.chars();
    shape.chars().filter_map(|mark| if mark == '#' { digits.next() } else { Some(mark) }).collect()
}

/// Whether the Social Security Administration may have assigned these nine digits.
fn is_ssn(digits: &str) -> bool {
    let (Some(area), Some(group), Some(serial)) = (digits.get(..3), digits.get(3..5), digits.get(5..)) else {
        return false;
    };
    digits.len() == 9
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !(area == "000" || area == "666" || area.starts_with('9') || group == "00" || serial == "0000")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::samples::matching;

    fn shown(text: &str, region: &str) -> String {
        match recognize(text, Region::new(region).unwrap()) {
            Recognized::Cpf(text) => format!("CPF {text}"),
            Recognized::Cnpj(text) => format!("CNPJ {text}"),
            Recognized::Ssn(text) => format!("SSN {text}"),
            Recognized::Other => "other".to_owned(),
            Recognized::BadCheckDigits => "bad".to_owned(),
        }
    }

    #[test]
    fn documents_are_recognized_by_check_digits_format_and_region() {
        for (text, region, expected, source) in [
            ("529.982.247-25", "BR", "CPF 529.982.247-25", "Receita Federal's rule, a common example"),
            ("52998224725", "BR", "CPF 529.982.247-25", "Receita Federal"),
            ("529982247-25", "BR", "CPF 529.982.247-25", "as above: one separator"),
            ("529 982 247 25", "BR", "CPF 529.982.247-25", "as above: blanks"),
            ("CPF/MF nº 529.982.247-25", "BR", "CPF 529.982.247-25", "Receita Federal: as in contracts"),
            ("CPF: 529.982.247-25", "BR", "CPF 529.982.247-25", "LLM habit"),
            ("cpf nº 52998224725", "US", "CPF 529.982.247-25", "LLM habit"),
            ("５２９．９８２．２４７－２５", "BR", "CPF 529.982.247-25", "Unicode: full-width forms"),
            ("５２９．９８２．２４７−２５", "BR", "CPF 529.982.247-25", "as above: a minus sign"),
            ("529.982.247\u{2011}25", "US", "CPF 529.982.247-25", "as above: a hyphen that does not break"),
            ("529.982.247–26", "US", "bad", "as above: a dash, and a wrong digit"),
            ("529.982.247-25", "US", "CPF 529.982.247-25", "as above: no other looks so"),
            ("000.000.001-91", "BR", "CPF 000.000.001-91", "Receita Federal: zeros are digits"),
            ("52998224725", "AR", "other", "Receita Federal: eleven digits are a CUIT there"),
            ("20-12345678-6", "AR", "other", "AFIP: a CUIT"),
            ("529.982.247-26", "BR", "bad", "Receita Federal: wrong second digit"),
            ("529.982.247-15", "US", "bad", "Receita Federal: wrong first digit"),
            ("CPF 52998224726", "BR", "bad", "Receita Federal: labeled as a CPF"),
            ("52998224726", "BR", "other", "Receita Federal: eleven digits may be another document"),
            ("111.111.111-11", "BR", "bad", "Receita Federal: never assigned"),
            ("00000000000", "BR", "bad", "Receita Federal: never assigned"),
            ("12.ABC.345/01DE-35", "BR", "CNPJ 12.ABC.345/01DE-35", "Receita Federal's example of 2024"),
            ("12abc34501de35", "BR", "CNPJ 12.ABC.345/01DE-35", "Receita Federal's example of 2024"),
            ("12.ABC.345/01DE-35", "US", "CNPJ 12.ABC.345/01DE-35", "as above: no other looks so"),
            (
                "11.222.333/0001-81",
                "BR",
                "CNPJ 11.222.333/0001-81",
                "Receita Federal's rule, a common example",
            ),
            ("11222333000181", "BR", "CNPJ 11.222.333/0001-81", "Receita Federal"),
            ("11222333000181", "MX", "other", "Receita Federal: digits alone, elsewhere"),
            ("11.222.333/0001-82", "BR", "bad", "Receita Federal: wrong digit"),
            ("12.ABC.345/01DE-36", "BR", "bad", "Receita Federal: wrong digit"),
            ("00.000.000/0000-00", "BR", "bad", "Receita Federal: never assigned"),
            ("11222333000182", "BR", "other", "Receita Federal: fourteen digits may be another document"),
            ("12.ABC.345/01DE-3X", "BR", "other", "Receita Federal: check digits are digits"),
            ("123-45-6789", "BR", "SSN 123-45-6789", "SSA"),
            ("123456789", "US", "SSN 123-45-6789", "SSA"),
            ("123 45 6789", "US", "SSN 123-45-6789", "SSA"),
            ("123456789", "BR", "other", "Receita Federal: nine digits may be an RG"),
            ("SSN: 123456789", "BR", "SSN 123-45-6789", "LLM habit"),
            ("000-45-6789", "US", "other", "SSA: area 000 is never assigned"),
            ("666-45-6789", "US", "other", "SSA: area 666 is never assigned"),
            ("912-45-6789", "US", "other", "IRS: 900 to 999 are ITINs"),
            ("123-00-6789", "US", "other", "SSA: group 00 is never assigned"),
            ("123-45-0000", "US", "other", "SSA: serial 0000 is never assigned"),
            ("12.345.678-5", "CL", "other", "Registro Civil: a RUT"),
            ("AB123456", "BR", "other", "https://www.icao.int: Doc 9303, a passport"),
            ("MG-12.345.678", "BR", "other", "Portuguese: an RG of Minas Gerais"),
            ("cpf", "BR", "other", "as above: no number"),
            ("", "BR", "other", "as above: nothing"),
        ] {
            assert_eq!(shown(text, region), expected, "{text} {region} ({source})");
        }
    }

    #[test]
    fn only_canonical_cpfs_count_as_stored_cpfs() {
        assert_eq!(as_cpf("529.982.247-25"), Some("529.982.247-25"));
        for other in
            ["529.982.247-26", "52998224725", "111.111.111-11", "11.222.333/0001-81", "", "é29.982.247-2"]
        {
            assert_eq!(as_cpf(other), None, "{other}");
        }
    }

    #[test]
    fn masks_show_at_most_three_characters() {
        for (text, expected) in
            [("529.982.247-25", "***-25"), ("123456", "***"), ("ação-éçã", "***éçã"), ("", "***")]
        {
            assert_eq!(masked(text), expected);
        }
    }

    proptest! {
        #[test]
        fn canonical_forms_are_recognized_again(text in matching("\\PC{0,20}|[0-9]{9,14}|[0-9A-Z]{2}[.][0-9A-Z]{3}[.][0-9A-Z]{3}/[0-9A-Z]{4}-[0-9]{2}")) {
            for region in ["BR", "US", "MX"].map(|code| Region::new(code).unwrap()) {
                if let Recognized::Cpf(canonical) | Recognized::Cnpj(canonical) | Recognized::Ssn(canonical) =
                    recognize(&text, region)
                {
                    let again = recognize(&canonical, Region::new("DE").unwrap());
                    prop_assert!(again == recognize(&text, region));
                }
            }
        }

        #[test]
        fn every_number_has_one_pair_of_check_digits(start in 0_u64..999_999_999_999) {
            let person = start % 1_000_000_000;
            prop_assume!(!is_one_digit(&format!("{person:09}")) && !is_one_digit(&format!("{start:012}")));
            let ends = || (0..100).map(|end| format!("{end:02}"));
            prop_assert_eq!(ends().filter(|end| has_cpf_digits(&format!("{person:09}{end}"))).count(), 1);
            prop_assert_eq!(ends().filter(|end| has_cnpj_digits(&format!("{start:012}{end}"))).count(), 1);
        }
    }
}
