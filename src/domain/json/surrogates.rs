//! Halves of surrogate pairs: JavaScript writes them when it cuts a text in the middle of an emoji (ECMA-262, 25.5.2.3).

/// The code of the escape with which the text begins, such as `\ud83d`.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_number = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_number { u16::from_str_radix(digits, 16).ok() } else { None }
}

/// The JSON text with `\ufffd`, the replacement character, for each escaped half of a surrogate pair without its other
/// half. All other characters stay where they are. `None` without any.
pub(in crate::domain) fn paired(text: &str) -> Option<String> {
    if !text.contains("\\ud") && !text.contains("\\uD") {
        return None;
    }
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    let mut found = false;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let is_pair = || unit(escape.get(6..)?).filter(|low| (0xdc00..0xe000).contains(low));
        let (length, is_half) = match unit(escape) {
            Some(0xd800..0xdc00) if is_pair().is_some() => (12, false),
            Some(0xd800..0xe000) => (6, true),
            Some(_) => (6, false),
            // A backslash and what it escapes.
            None => (1 + escape.chars().nth(1).map_or(0, char::len_utf8), false),
        };
        let (escape, after) = escape.split_at_checked(length)?;
        out.push_str(if is_half { "\\ufffd" } else { escape });
        found |= is_half;
        rest = after;
    }
    out.push_str(rest);
    found.then_some(out)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::domain::samples::matching;

    #[test]
    fn halves_become_the_replacement_character() {
        for (text, expected) in [
            (r#""Ana \ud83d""#, Some(r#""Ana \ufffd""#)),
            (r#""\ude00 \uD83D\uDE00 \uD83D""#, Some(r#""\ufffd \uD83D\uDE00 \ufffd""#)),
            (r#""\ud83d\ud83d\ude00""#, Some(r#""\ufffd\ud83d\ude00""#)),
            (r#""\ud83d\u0041\ud83dé""#, Some(r#""\ufffd\u0041\ufffdé""#)),
            (r#"{"\ud83d": "\\ud83d"}"#, Some(r#"{"\ufffd": "\\ud83d"}"#)),
            // An escaped backslash before a word.
            (r#""\\ud83d""#, None),
            (r#""\\\ud83d""#, Some(r#""\\\ufffd""#)),
            (r#""\ud83d\ude00""#, None),
            (r#""\u00e9""#, None),
            (r#""ud83d""#, None),
            // No JSON.
            (r"\ud83", None),
            (r"\ud83é", None),
            (r"\ud83d\", Some(r"\ufffd\")),
            (r"\", None),
            ("", None),
        ] {
            assert_eq!(paired(text).as_deref(), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn every_text_with_escapes_can_be_read(
            text in matching(r"(\\\\|\\n|\\u[0-9a-fA-F]{4}|\\ud[89a-f]{3}|[a-zé]){0,12}"),
        ) {
            let text = format!("\"{text}\"");
            let read = serde_json::from_str::<Value>(&text);
            let paired = paired(&text);
            proptest::prop_assert_eq!(read.is_ok(), paired.is_none(), "{}", text);
            proptest::prop_assert!(paired.is_none_or(|text| serde_json::from_str::<Value>(&text).is_ok()));
        }
    }
}
