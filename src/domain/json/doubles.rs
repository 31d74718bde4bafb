//! Numbers that no double can hold.

use std::borrow::Cow;

/// The greatest number that a double can hold.
const GREATEST: &str = "1.7976931348623157e308";

/// The JSON text with the greatest double for numbers that no double can hold, such as `9.99E6144`, the limit of a decimal
/// type.
#[must_use]
pub fn within_doubles(text: &str) -> Cow<'_, str> {
    let (mut out, mut rest) = (String::new(), text);
    let mut found = false;
    while let Some((before, token, after)) = next_token(rest) {
        let is_beyond = token.parse().is_ok_and(f64::is_infinite);
        found |= is_beyond;
        out.push_str(before);
        match token.strip_prefix('-') {
            Some(_) if is_beyond => out.extend(["-", GREATEST]),
            None if is_beyond => out.push_str(GREATEST),
            _ => out.push_str(token),
        }
        rest = after;
    }
    if !found {
        return Cow::Borrowed(text);
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The next string or number of a JSON text, with its quotes, and what is before and after it.
pub(super) fn next_token(text: &str) -> Option<(&str, &str, &str)> {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, '+' | '-' | '.' | 'e' | 'E');
    let (before, token) = text.split_at(text.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit())?);
    let number_end = || token.find(|c| !is_part(c)).unwrap_or(token.len());
    let (token, after) =
        token.split_at(if token.starts_with('"') { end_of_text(token) } else { number_end() });
    Some((before, token, after))
}

/// Where the JSON string ends with which `text` begins.
fn end_of_text(text: &str) -> usize {
    let mut is_escaped = false;
    let mut ends = |byte: u8| {
        let ends = byte == b'"' && !is_escaped;
        is_escaped = byte == b'\\' && !is_escaped;
        ends
    };
    let end = text.bytes().enumerate().skip(1).find(|(_, byte)| ends(*byte));
    end.map_or(text.len(), |(index, _)| index + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_no_double_can_hold_become_the_greatest_one() {
        let greatest = "1.7976931348623157e308";
        for (text, expected) in [
            ("1e400", greatest.to_owned()),
            (r#"{"a": [-9.99E+6144,2]}"#, format!(r#"{{"a": [-{greatest},2]}}"#)),
            (r#""1e400""#, r#""1e400""#.to_owned()),
            (r#"{"\\\"1e400": 1e-400, "é": 1e400}"#, format!(r#"{{"\\\"1e400": 1e-400, "é": {greatest}}}"#)),
            ("[1, 1.7976931348623157e308, -5]", "[1, 1.7976931348623157e308, -5]".to_owned()),
            // No JSON.
            ("-", "-".to_owned()),
            ("\"1e400", "\"1e400".to_owned()),
            ("", String::new()),
        ] {
            assert_eq!(within_doubles(text), expected, "{text}");
        }
        assert_eq!(within_doubles(&"9".repeat(400)), greatest);
        assert!(matches!(within_doubles("[1]"), Cow::Borrowed("[1]")));
    }
}
