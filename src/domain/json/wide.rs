//! Numbers beyond 64 bits. JSON has them, and `serde_json` reads them as doubles, which have fewer digits: those of a whole
//! number, such as the serial of a SIM card, are kept beside it.

use std::collections::BTreeMap;

use super::doubles;

/// Two to the power of 64, the first whole number above `u64`.
const TWO_POW_64: f64 = 18_446_744_073_709_551_616.0;
/// Minus two to the power of 63. The integers just below it round to it.
const MINUS_TWO_POW_63: f64 = -9_223_372_036_854_775_808.0;

/// The members of an object that are whole numbers beyond 64 bits, as they were written. The object itself has them rounded.
pub type Digits = BTreeMap<String, String>;

/// Whether it may have been a whole number beyond 64 bits, rounded.
pub(in crate::domain) fn is_wide(value: f64) -> bool {
    value >= TWO_POW_64 || value <= MINUS_TWO_POW_63
}

/// The numbers of a JSON text that are read as a wide double, as they are written and in their order. Second, whether it is
/// a whole number without an exponent.
pub(in crate::domain) fn written(text: &str) -> Vec<(&str, bool)> {
    let mut found = Vec::new();
    let mut rest = text;
    while let Some((_, token, after)) = doubles::next_token(rest) {
        let fits = token.parse::<u64>().is_ok() || token.parse::<i64>().is_ok();
        if !fits && token.parse().is_ok_and(is_wide) {
            found.push((token, is_whole(token)));
        }
        rest = after;
    }
    found
}

/// Whether a JSON value is a whole number beyond 64 bits, written without an exponent.
pub(in crate::domain) fn is_whole(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number && value.parse::<u64>().is_err() && value.parse::<i64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_numbers_are_found_in_their_order() {
        let text = r#"{"1e20": ["99999999999999999999", 1e20, 18446744073709551615], "a": -9223372036854775809, "b": 1E400}"#;
        assert_eq!(written(text), [("1e20", false), ("-9223372036854775809", true), ("1E400", false)]);
        assert_eq!(written("-"), []);
    }
}
