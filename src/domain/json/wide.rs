//! Numbers beyond 64 bits. JSON has them, and `serde_json` reads them as doubles, which have fewer digits: those of a whole
//! number, such as the serial of a SIM card, are kept beside it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{BadJson, Defect, Sizes, doubles, members, object, object_of, paired, without_nul};

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

/// Parses a strict JSON object with any numbers that a double can hold.
pub(in crate::domain) fn with_doubles(text: &str) -> Result<(Map<String, Value>, Digits), BadJson> {
    match object(text) {
        Err(bad) if bad.defect == Defect::WideNumber => {}
        parsed => return parsed.map(|object| (object, Digits::new())),
    }
    let object = object_of(text, Sizes::Any)?;
    let paired = paired(text);
    let members = members(paired.as_deref().unwrap_or(text)).unwrap_or_default();
    let whole = members.into_iter().filter(|(_, value)| is_whole(value.get()));
    Ok((object, whole.map(|(key, value)| (without_nul(key), value.get().to_owned())).collect()))
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
fn is_whole(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number && value.parse::<u64>().is_err() && value.parse::<i64>().is_err()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_any_size_are_doubles_and_whole_ones_keep_their_digits() {
        for (json, expected, digits) in [
            ("89551234567890123456", 89_551_234_567_890_123_456.0, Some("89551234567890123456")),
            ("18446744073709551616", TWO_POW_64, Some("18446744073709551616")),
            ("-9223372036854775809", MINUS_TWO_POW_63, Some("-9223372036854775809")),
            ("1e20", 1e20, None),
            ("1.5e300", 1.5e300, None),
            ("-1e19", -1e19, None),
            ("18446744073709551615", 18_446_744_073_709_551_615.0, None),
            ("-9223372036854775808", MINUS_TWO_POW_63, None),
            ("5", 5.0, None),
        ] {
            let (object, found) = with_doubles(&format!(r#"{{"x": "\ud800", "a\u0000": {json}}}"#)).unwrap();
            assert_eq!(object["a"].as_f64(), Some(expected), "{json}");
            assert_eq!(found.get("a").map(String::as_str), digits, "{json}");
        }
        let (object, found) = with_doubles(r#"{"a": [89551234567890123456], "b": 1e20}"#).unwrap();
        assert!(object["a"][0].is_f64() && found.is_empty());
        assert_eq!(with_doubles(r#"{"a": [1e400]}"#).unwrap_err().defect, Defect::WideNumber);
        assert_eq!(with_doubles(r#"{"a": 1e20, "a": 1}"#).unwrap_err().defect, Defect::DuplicateKey);
    }

    #[test]
    fn wide_numbers_are_found_in_their_order() {
        let text = r#"{"1e20": ["99999999999999999999", 1e20, 18446744073709551615], "a": -9223372036854775809, "b": 1E400}"#;
        assert_eq!(written(text), [("1e20", false), ("-9223372036854775809", true), ("1E400", false)]);
        assert_eq!(written("-"), []);
    }
}
