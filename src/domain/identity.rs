//! Identification documents.

/// The digits of a valid CPF.
#[must_use]
pub fn as_cpf(text: &str) -> Option<String> {
    let digits: Vec<u32> = text.chars().filter_map(|c| c.to_digit(10)).collect();
    let check = |upto: usize, first: u32| {
        let sum: u32 = digits.iter().take(upto).zip((2..=first).rev()).map(|(d, w)| d * w).sum();
        (sum * 10 % 11) % 10
    };
    let valid =
        digits.len() == 11 && digits.get(9) == Some(&check(9, 10)) && digits.get(10) == Some(&check(10, 11));
    valid.then(|| digits.iter().map(ToString::to_string).collect())
}
