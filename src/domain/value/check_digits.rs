//! The check digits of Brazilian documents: Receita Federal's rules for CPF and CNPJ, modulo 11. In a CNPJ a letter counts as
//! its ASCII code minus 48 (Instrução Normativa 2.229 of 2024).

/// Whether the digits without separators are a valid CPF.
pub(super) fn has_cpf_digits(digits: &str) -> bool {
    // The weights fall from 10 to 2; for the second digit they start at 11.
    let weights = |from: u32| (2..=from).rev();
    digits.len() == 11
        && digits.bytes().all(|byte| byte.is_ascii_digit())
        && !is_one_digit(digits)
        && checks(digits, 9, weights)
}

/// Whether the characters without separators are a valid CNPJ.
pub(super) fn has_cnpj_digits(digits: &str) -> bool {
    // From right to left the weights rise from 2 to 9 and start over.
    let weights = |from: u32| (0..from - 1).rev().map(|index| 2 + index % 8);
    !is_one_digit(digits) && checks(digits, 12, weights)
}

/// Whether a document is one character repeated, which no valid document is.
pub(super) fn is_one_digit(digits: &str) -> bool {
    digits.bytes().zip(digits.bytes().skip(1)).all(|(one, next)| one == next)
}

/// Whether both check digits after the first `length` characters are right. `weights` takes the number of
/// characters to weigh, plus one.
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
