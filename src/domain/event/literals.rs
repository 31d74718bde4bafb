//! Numbers that JSON does not allow but programs write anyway.

/// The text with `null` for each `NaN` and `Infinity` outside of strings. `None` without any.
///
/// Python's `json.dumps` writes them by default, for an empty cell of pandas, too; C's `printf` writes `nan`
/// and `inf`. JSON has no such numbers (RFC 8259, 6), and JavaScript writes `null` for them.
#[must_use]
pub fn without_nan(text: &str) -> Option<String> {
    let bytes = text.as_bytes();
    let mut out = String::new();
    let (mut copied, mut at, mut inside) = (0, 0, false);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if inside => at += 2,
            b'"' => {
                inside = !inside;
                at += 1;
            }
            byte if !inside && is_of_word(*byte) => {
                let rest = bytes.get(at..).unwrap_or_default();
                let end = at + rest.iter().take_while(|byte| is_of_word(**byte)).count();
                if text.get(at..end).is_some_and(is_no_number) {
                    out.push_str(text.get(copied..at)?);
                    out.push_str("null");
                    copied = end;
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    if copied == 0 {
        return None;
    }
    out.push_str(text.get(copied..)?);
    Some(out)
}

const fn is_of_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

fn is_no_number(word: &str) -> bool {
    let word = word.strip_prefix('-').unwrap_or(word);
    ["nan", "infinity", "inf"].iter().any(|name| word.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::samples::matching;

    #[test]
    fn numbers_that_json_does_not_have_become_null() {
        for (text, expected, source) in [
            (
                r#"{"a": NaN}"#,
                Some(r#"{"a": null}"#),
                "https://github.com/langwatch/langwatch/issues/1558: Python",
            ),
            (
                r#"{"a": [Infinity, -Infinity]}"#,
                Some(r#"{"a": [null, null]}"#),
                "https://github.com/Illumina/Cyrius/issues/42: Python",
            ),
            (
                r#"{"a":nan,"b":-nan,"c":inf,"d":-inf}"#,
                Some(r#"{"a":null,"b":null,"c":null,"d":null}"#),
                "C: printf's %f",
            ),
            ("NaN", Some("null"), "https://github.com/Arize-ai/openinference/issues/210"),
            ("[\"é\",NaN]", Some("[\"é\",null]"), "as above: after a letter of two bytes"),
            (r#"{"a": "NaN"}"#, None, "RFC 8259, 7: in a text it is a text"),
            (
                r#"{"a": "\"NaN", "b": NaN}"#,
                Some(r#"{"a": "\"NaN", "b": null}"#),
                "as above: and outside of one",
            ),
            (
                r#"{"a": "\\", "b": NaN, "c": "\\\"NaN"}"#,
                Some(r#"{"a": "\\", "b": null, "c": "\\\"NaN"}"#),
                "as above: between texts with escapes",
            ),
            (
                r#"{"a": NaNs, "b": 1NaN, "c": None, "d": Info, "e": --inf, "f": +inf}"#,
                None,
                "Python: other names",
            ),
            (r#"{"a": 1.5e+3, "b": true, "c": null}"#, None, "RFC 8259, 6: numbers"),
            ("", None, "as above: nothing"),
            ("\"", None, "as above: cut"),
            ("\"\\", None, "as above: cut"),
        ] {
            assert_eq!(without_nan(text).as_deref(), expected, "{text} ({source})");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_can_be_searched(text in matching("[NaInf\"\\\\{}:,é -]{0,30}")) {
            let found = without_nan(&text);
            proptest::prop_assert!(found.is_none_or(|found| without_nan(&found).is_none()));
        }
    }
}
