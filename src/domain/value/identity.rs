//! Identity documents: which ones are recognized, and how they are shown. A document is never a key.
//!
//! Sources: Receita Federal for CPF (two check digits, modulo 11) and CNPJ, with letters in its first
//! twelve places since July 2026 (Instrução Normativa 2.229 of 2024: a character counts as its ASCII code
//! less 48); the Social Security Administration for SSN (randomized since 2011, and what it never
//! assigns). Which other document a number may be is not guessed.

use crate::domain::value::{
    phone::Region,
    text::{self, after_prefix},
};

/// What a text is, in the document's canonical writing.
#[derive(Clone, PartialEq, Eq)]
pub enum Recognized {
    /// Brazil's number of a person, `529.982.247-25`.
    Cpf(String),
    /// Brazil's number of a firm, `12.ABC.345/01DE-35`.
    Cnpj(String),
    /// The social security number of the United States, `123-45-6789`.
    Ssn(String),
    /// Another document, or a number that no one can check: stays as given.
    Other,
    /// Written as CPF or CNPJ, and not one.
    BadCheckDigits,
}

/// Recognizes a document. Digits alone are a Brazilian document in Brazil only, and a social security
/// number in the United States only: elsewhere the same digits are another country's document, and one
/// of a hundred of these would pass for a CPF.
#[must_use]
pub fn recognize(text: &str, region: Region) -> Recognized {
    let text = text::plain(text);
    let (named, text) = named(&text);
    let Some(digits) = compact(text) else { return Recognized::Other };
    let is_cpf = digits.len() == 11 && digits.bytes().all(|byte| byte.is_ascii_digit());
    let is_cnpj = digits.len() == 14 && digits.bytes().skip(12).all(|byte| byte.is_ascii_digit());
    let formatted = |shape: &str| has_shape(text, shape);
    let in_brazil = region.code() == "BR";
    if is_cpf && (in_brazil || formatted(CPF) || named == Some("cpf")) {
        return match (
            has_cpf_digits(&digits),
            formatted(CPF) || named == Some("cpf") || is_one_digit(&digits),
        ) {
            (true, _) => Recognized::Cpf(laid_out(&digits, CPF)),
            (false, true) => Recognized::BadCheckDigits,
            (false, false) => Recognized::Other,
        };
    }
    if is_cnpj && (in_brazil || formatted(CNPJ) || named == Some("cnpj")) {
        return match (
            has_cnpj_digits(&digits),
            formatted(CNPJ) || named == Some("cnpj") || is_one_digit(&digits),
        ) {
            (true, _) => Recognized::Cnpj(laid_out(&digits, CNPJ)),
            (false, true) => Recognized::BadCheckDigits,
            (false, false) => Recognized::Other,
        };
    }
    let may_be_ssn = formatted(SSN) || named == Some("ssn") || region.code() == "US";
    if may_be_ssn && is_ssn(&digits) {
        return Recognized::Ssn(laid_out(&digits, SSN));
    }
    Recognized::Other
}

/// The stored identity if it is a valid CPF in its canonical writing: two of them are two people.
#[must_use]
pub fn as_cpf(stored: &str) -> Option<&str> {
    if !has_shape(stored, CPF) {
        return None;
    }
    compact(stored).filter(|digits| has_cpf_digits(digits)).map(|_digits| stored)
}

/// A document for people who need not know it: its last three characters, none of a short one.
#[must_use]
pub fn masked(text: &str) -> String {
    let length = text.chars().count();
    if length <= 6 {
        return "***".to_owned();
    }
    let end: String = text.chars().skip(length - 3).collect();
    format!("***{end}")
}

/// Canonical writings; `#` is a place, everything else is written as it stands.
const CPF: &str = "###.###.###-##";
const CNPJ: &str = "##.###.###/####-##";
const SSN: &str = "###-##-####";

/// Takes off the document's own name before the number: `CPF: 529…`.
fn named(text: &str) -> (Option<&'static str>, &str) {
    let found = ["cpf", "cnpj", "ssn"].into_iter().find_map(|name| {
        let rest = after_prefix(text, name)?;
        let number = rest.trim_start_matches([' ', ':', '.', 'n', '\u{ba}', '\u{b0}', '#', '-']);
        (number.len() < rest.len()).then_some((Some(name), number))
    });
    found.unwrap_or((None, text))
}

/// Letters and digits without what is written between them; None where that is something else.
fn compact(text: &str) -> Option<String> {
    let mut compact = String::with_capacity(14);
    for c in text.chars() {
        match c {
            '.' | '-' | '/' | ' ' | '\u{2010}'..='\u{2015}' => {}
            _ if c.is_ascii_alphanumeric() && compact.len() < 14 => compact.push(c.to_ascii_uppercase()),
            _ => return None,
        }
    }
    Some(compact)
}

fn has_shape(text: &str, shape: &str) -> bool {
    let fits = |(c, place): (u8, u8)| if place == b'#' { c.is_ascii_alphanumeric() } else { c == place };
    text.len() == shape.len() && text.bytes().zip(shape.bytes()).all(fits)
}

fn laid_out(digits: &str, shape: &str) -> String {
    let mut digits = digits.chars();
    shape.chars().filter_map(|place| if place == '#' { digits.next() } else { Some(place) }).collect()
}

fn is_one_digit(digits: &str) -> bool {
    digits.bytes().zip(digits.bytes().skip(1)).all(|(one, next)| one == next)
}

fn has_cpf_digits(digits: &str) -> bool {
    // The weights fall from 10 to 2, for the second digit from 11.
    let weights = |from: u32| (2..=from).rev();
    digits.bytes().all(|byte| byte.is_ascii_digit()) && !is_one_digit(digits) && checks(digits, 9, weights)
}

fn has_cnpj_digits(digits: &str) -> bool {
    // The weights rise from right to left, from 2 to 9 and again.
    let weights = |from: u32| (0..from - 1).rev().map(|place| 2 + place % 8);
    !is_one_digit(digits) && checks(digits, 12, weights)
}

/// Whether both check digits after the first `length` characters are right. `weights` is given one more than
/// the number of characters that it has to weigh.
fn checks<I: Iterator<Item = u32>>(digits: &str, length: usize, weights: impl Fn(u32) -> I) -> bool {
    let value = |byte: u8| u32::from(byte.wrapping_sub(b'0'));
    [length, length + 1].into_iter().all(|length| {
        let weights = weights(u32::try_from(length + 1).unwrap_or(u32::MAX));
        let sum: u32 =
            digits.bytes().take(length).zip(weights).map(|(byte, weight)| value(byte) * weight).sum();
        let expected = if sum % 11 < 2 { 0 } else { 11 - sum % 11 };
        digits.as_bytes().get(length).copied().map(value) == Some(expected)
    })
}

/// Nine digits that the Social Security Administration may have assigned.
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
    fn recognizes() {
        for (text, region, expected, source) in [
            ("529.982.247-25", "BR", "CPF 529.982.247-25", "Receita Federal's rule, a common example"),
            ("52998224725", "BR", "CPF 529.982.247-25", "Receita Federal"),
            ("529982247-25", "BR", "CPF 529.982.247-25", "observed"),
            ("529 982 247 25", "BR", "CPF 529.982.247-25", "observed"),
            ("CPF: 529.982.247-25", "BR", "CPF 529.982.247-25", "observed LLM habit"),
            ("cpf nº 52998224725", "US", "CPF 529.982.247-25", "observed LLM habit"),
            ("５２９．９８２．２４７－２５", "BR", "CPF 529.982.247-25", "Unicode: full-width forms"),
            ("529.982.247-25", "US", "CPF 529.982.247-25", "a writing that only CPF has"),
            ("000.000.001-91", "BR", "CPF 000.000.001-91", "Receita Federal: zeros are digits"),
            ("52998224725", "AR", "other", "eleven digits are a CUIT there"),
            ("20-12345678-6", "AR", "other", "AFIP: a CUIT"),
            ("529.982.247-26", "BR", "bad", "Receita Federal: wrong second digit"),
            ("529.982.247-15", "US", "bad", "Receita Federal: wrong first digit"),
            ("CPF 52998224726", "BR", "bad", "said to be a CPF"),
            ("52998224726", "BR", "other", "eleven digits may be another document"),
            ("111.111.111-11", "BR", "bad", "Receita Federal: never assigned"),
            ("00000000000", "BR", "bad", "Receita Federal: never assigned"),
            ("12.ABC.345/01DE-35", "BR", "CNPJ 12.ABC.345/01DE-35", "Receita Federal's example of 2024"),
            ("12abc34501de35", "BR", "CNPJ 12.ABC.345/01DE-35", "Receita Federal's example of 2024"),
            ("12.ABC.345/01DE-35", "US", "CNPJ 12.ABC.345/01DE-35", "a writing that only CNPJ has"),
            (
                "11.222.333/0001-81",
                "BR",
                "CNPJ 11.222.333/0001-81",
                "Receita Federal's rule, a common example",
            ),
            ("11222333000181", "BR", "CNPJ 11.222.333/0001-81", "Receita Federal"),
            ("11222333000181", "MX", "other", "digits alone, elsewhere"),
            ("11.222.333/0001-82", "BR", "bad", "Receita Federal: wrong digit"),
            ("12.ABC.345/01DE-36", "BR", "bad", "Receita Federal: wrong digit"),
            ("00.000.000/0000-00", "BR", "bad", "Receita Federal: never assigned"),
            ("11222333000182", "BR", "other", "fourteen digits may be another document"),
            ("12.ABC.345/01DE-3X", "BR", "other", "check digits are digits"),
            ("123-45-6789", "BR", "SSN 123-45-6789", "SSA"),
            ("123456789", "US", "SSN 123-45-6789", "SSA"),
            ("123 45 6789", "US", "SSN 123-45-6789", "SSA"),
            ("123456789", "BR", "other", "nine digits may be an RG"),
            ("SSN: 123456789", "BR", "SSN 123-45-6789", "observed LLM habit"),
            ("000-45-6789", "US", "other", "SSA: area 000 is never assigned"),
            ("666-45-6789", "US", "other", "SSA: area 666 is never assigned"),
            ("912-45-6789", "US", "other", "IRS: 900 to 999 are ITINs"),
            ("123-00-6789", "US", "other", "SSA: group 00 is never assigned"),
            ("123-45-0000", "US", "other", "SSA: serial 0000 is never assigned"),
            ("12.345.678-5", "CL", "other", "Registro Civil: a RUT"),
            ("AB123456", "BR", "other", "a passport"),
            ("MG-12.345.678", "BR", "other", "an RG"),
            ("cpf", "BR", "other", "no number"),
            ("", "BR", "other", "nothing"),
        ] {
            assert_eq!(shown(text, region), expected, "{text} {region} ({source})");
        }
    }

    #[test]
    fn stored_cpfs_are_known() {
        assert_eq!(as_cpf("529.982.247-25"), Some("529.982.247-25"));
        for other in
            ["529.982.247-26", "52998224725", "111.111.111-11", "11.222.333/0001-81", "", "é29.982.247-2"]
        {
            assert_eq!(as_cpf(other), None, "{other}");
        }
    }

    #[test]
    fn masks_tell_little() {
        for (text, expected) in
            [("529.982.247-25", "***-25"), ("123456", "***"), ("ação-éçã", "***éçã"), ("", "***")]
        {
            assert_eq!(masked(text), expected);
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_is_stable(text in "\\PC{0,20}|[0-9]{9,14}|[0-9A-Z]{2}[.][0-9A-Z]{3}[.][0-9A-Z]{3}/[0-9A-Z]{4}-[0-9]{2}") {
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
