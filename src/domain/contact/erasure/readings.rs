//! Decodes bytes of an unknown format into the texts that they may represent. Nothing here knows the search terms.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::domain::value::{
    damaged, entities, hyphens,
    phone::{brazil, written},
    text,
    wrapping::spoken,
};

/// Layers of encoding, such as JSON within JSON within a URL.
const MAX_DEPTH: usize = 3;
/// In bytes; a shorter word is not decoded as base64.
const MIN_BASE64: usize = 12;

/// The bytes as text, and every decoding of that text, each without invisible characters.
pub(super) fn of(bytes: &[u8]) -> Vec<String> {
    let mut readings = vec![visible(&String::from_utf8_lossy(bytes))];
    let mut from = 0;
    for _ in 0..MAX_DEPTH {
        let end = readings.len();
        for index in from..end {
            let decoded: Vec<String> = readings.get(index).map(|text| decoded(text)).unwrap_or_default();
            for text in decoded {
                if !readings.contains(&text) {
                    readings.push(text);
                }
            }
        }
        from = end;
    }
    readings
}

/// Also removes NUL characters (UTF-16 read byte by byte has one in every other position), and composes letters:
/// an address with a decomposed domain is stored in ASCII.
fn visible(text: &str) -> String {
    let visible: String = text.chars().filter(|c| *c != '\0' && !text::is_invisible(*c)).collect();
    match text::nfc(&visible) {
        Cow::Owned(composed) => composed,
        Cow::Borrowed(_) => visible,
    }
}

fn decoded(text: &str) -> Vec<String> {
    let mut decoded = Vec::new();
    if text.contains('\\') {
        decoded.push(visible(&unescaped(text)));
    }
    if text.contains('%') {
        decoded.push(visible(&percent_decoded(text)));
    }
    decoded.extend(entities::decoded(text).map(|text| visible(&text)));
    decoded.extend(brazil::without_blanks(text));
    decoded.extend(damaged::without_marks_of_groups(text));
    decoded.extend(written::numbers_in_context(text));
    decoded.extend(spoken::with_signs(text));
    decoded.extend(hyphens::with_hyphens_of_hosts(text));
    if text.contains(" @") || text.contains("@ ") {
        decoded.push(text.split('@').map(str::trim).collect::<Vec<_>>().join("@"));
    }
    let words = base64_decoded(text);
    if !words.is_empty() {
        decoded.push(visible(&words));
    }
    decoded
}

/// Decodes the escapes of JSON strings (RFC 8259, 7). Anything else stays as it is.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut parts = text.split('\\');
    plain.extend(parts.next());
    let mut literal = false;
    for part in parts {
        // After an escaped backslash the next part is plain.
        if std::mem::take(&mut literal) {
            plain.push_str(part);
            continue;
        }
        let mut rest = part.chars();
        match rest.next() {
            None => {
                plain.push('\\');
                literal = true;
            }
            Some('u') => match part.get(1..5).and_then(|digits| u32::from_str_radix(digits, 16).ok()) {
                Some(code) => {
                    // Half a surrogate pair is never part of a phone, email or document.
                    plain.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                    plain.push_str(part.get(5..).unwrap_or_default());
                }
                None => plain.push_str(part),
            },
            Some('n' | 'r' | 't' | 'b' | 'f') => {
                plain.push(' ');
                plain.push_str(rest.as_str());
            }
            Some(_) => plain.push_str(part),
        }
    }
    plain
}

/// Decodes forms and URLs; `+` is a space.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        let encoded = after.get(..2).filter(|_| *byte == b'%').and_then(|digits| {
            let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
            u8::from_str_radix(digits, 16).ok()
        });
        if let Some(encoded) = encoded {
            bytes.push(encoded);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(if *byte == b'+' { b' ' } else { *byte });
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The texts that base64 words decode to, one per line. AMQP headers that are not text are stored as base64.
fn base64_decoded(text: &str) -> String {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let words = text.split(|c| !is_base64(c)).filter(|word| word.len() >= MIN_BASE64 && word.len() % 4 == 0);
    let texts = words.filter_map(|word| STANDARD.decode(word).ok()).map(|bytes| {
        // Nearly valid UTF-8 is text, random bytes are not.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let broken = text.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count();
        if broken * 4 > text.chars().count() { String::new() } else { text }
    });
    texts.filter(|text| !text.is_empty()).collect::<Vec<_>>().join("\n")
}
