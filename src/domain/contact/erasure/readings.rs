//! Decodes bytes of an unknown format into the texts that they may represent. Nothing here knows the search terms.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::domain::value::{
    damaged, entities, hyphens, mojibake,
    phone::{brazil, written},
    text,
    wrapping::{members, spoken},
};

/// Layers of encoding, such as JSON within JSON within a URL.
const MAX_DEPTH: usize = 3;
/// In bytes; a shorter word is not decoded as base64.
const MIN_BASE64: usize = 12;

/// The bytes as text, and every decoding of that text, each without invisible characters.
pub(super) fn of(bytes: &[u8]) -> Vec<String> {
    let mut readings = Vec::new();
    for text in texts(bytes) {
        add(&mut readings, &text);
    }
    let mut from = 0;
    for _ in 0..MAX_DEPTH {
        let end = readings.len();
        for index in from..end {
            let decoded: Vec<String> = readings.get(index).map(|text| decoded(text)).unwrap_or_default();
            for text in decoded {
                add(&mut readings, &text);
            }
        }
        from = end;
    }
    readings
}

/// The bytes as UTF-8, and as Latin-1 where they are something else.
fn texts(bytes: &[u8]) -> Vec<String> {
    let mut texts = vec![String::from_utf8_lossy(bytes).into_owned()];
    if matches!(texts.as_slice(), [text] if text.contains(char::REPLACEMENT_CHARACTER)) {
        let mut latin = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            latin.push_str(chunk.valid());
            latin.extend(chunk.invalid().iter().copied().map(char::from));
        }
        texts.push(latin);
    }
    texts
}

/// Adds the text, also as it was before a program read its bytes as Latin-1: some of these characters are invisible.
fn add(readings: &mut Vec<String>, text: &str) {
    for text in [Some(visible(text)), mended(text).map(|mended| visible(&mended))].into_iter().flatten() {
        if !readings.contains(&text) {
            readings.push(text);
        }
    }
}

/// The text with each run of other than ASCII letters [decoded](mojibake::decoded) that is UTF-8 within. `None` without any.
fn mended(text: &str) -> Option<String> {
    let (mut out, mut rest) = (String::new(), text);
    let mut found = false;
    while let Some(start) = rest.find(|c: char| !c.is_ascii()) {
        let (before, run) = rest.split_at(start);
        let (run, after) = run.split_at(run.find(|c: char| c.is_ascii()).unwrap_or(run.len()));
        let mended = mojibake::decoded(run);
        found |= mended.is_some();
        out.push_str(before);
        out.push_str(mended.as_deref().unwrap_or(run));
        rest = after;
    }
    out.push_str(rest);
    found.then_some(out)
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
        decoded.push(unescaped(text));
    }
    if text.contains('%') {
        decoded.extend(texts(&percent_decoded(text)));
    }
    if let Some(bytes) = printable_decoded(text) {
        decoded.extend(texts(&bytes));
    }
    decoded.extend(narrow(text));
    decoded.extend(entities::decoded(text));
    decoded.extend(brazil::without_blanks(text));
    decoded.extend(damaged::without_marks_of_groups(text));
    decoded.extend(written::numbers_in_context(text));
    decoded.extend(written::numbers_in_columns(text));
    decoded.extend(members::numbers_of_members(text));
    decoded.extend(spoken::with_signs(text));
    decoded.extend(hyphens::with_hyphens_of_hosts(text));
    if text.contains('@') && [" @", "@ ", " ."].iter().any(|blank| text.contains(blank)) {
        let joined = text.split('@').map(str::trim).collect::<Vec<_>>().join("@");
        decoded.push(joined.replace(" . ", ".").replace(" .", "."));
    }
    decoded.extend(base64_decoded(text));
    decoded
}

/// The text with full-width letters, dots and hyphens as an address has them. `None` if that changes nothing.
fn narrow(text: &str) -> Option<String> {
    if text.is_ascii() {
        return None;
    }
    let narrow = |c: char| match c {
        // UTS 46 reads these as dots.
        '\u{3002}' | '\u{ff61}' => '.',
        '\u{2010}'..='\u{2013}' | '\u{2212}' => '-',
        c => text::narrow(c),
    };
    let narrowed: String = text.chars().map(narrow).collect();
    (narrowed != text).then_some(narrowed)
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
fn percent_decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        if let Some(encoded) = hexadecimal(after).filter(|_| *byte == b'%') {
            bytes.push(encoded);
            rest = after.get(2..).unwrap_or_default();
        } else {
            bytes.push(if *byte == b'+' { b' ' } else { *byte });
            rest = after;
        }
    }
    bytes
}

/// The byte whose two hexadecimal digits come first.
fn hexadecimal(bytes: &[u8]) -> Option<u8> {
    let digits = std::str::from_utf8(bytes.get(..2)?).ok().filter(|digits| !digits.starts_with('+'))?;
    u8::from_str_radix(digits, 16).ok()
}

/// Decodes quoted-printable (RFC 2045, 6.7), the encoding of emails: `=40`, and `=` before a line break. `None` without any.
fn printable_decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut parts = text.as_bytes().split(|byte| *byte == b'=');
    bytes.extend_from_slice(parts.next().unwrap_or_default());
    let mut found = false;
    for part in parts {
        let is_encoded = hexadecimal(part);
        let after_break = part.strip_prefix(b"\r\n").or_else(|| part.strip_prefix(b"\n"));
        found |= is_encoded.is_some() || after_break.is_some();
        match (is_encoded, after_break) {
            (Some(byte), _) => {
                bytes.push(byte);
                bytes.extend_from_slice(part.get(2..).unwrap_or_default());
            }
            (None, Some(rest)) => bytes.extend_from_slice(rest),
            (None, None) => {
                bytes.push(b'=');
                bytes.extend_from_slice(part);
            }
        }
    }
    found.then_some(bytes)
}

/// The texts that base64 words decode to, one per line. AMQP headers that are not text are stored as base64.
fn base64_decoded(text: &str) -> Vec<String> {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || matches!(c, '+' | '/' | '=');
    let words = text.split(|c| !is_base64(c)).filter(|word| word.len() >= MIN_BASE64 && word.len() % 4 == 0);
    let mut decoded = [String::new(), String::new()];
    for bytes in words.filter_map(|word| STANDARD.decode(word).ok()) {
        let mut texts = texts(&bytes);
        // Nearly valid UTF-8 is text, random bytes are not.
        let Some(text) = texts.first() else { continue };
        let broken = text.chars().filter(|c| *c == char::REPLACEMENT_CHARACTER).count();
        if text.is_empty() || broken * 4 > text.chars().count() {
            continue;
        }
        let other = texts.pop().unwrap_or_default();
        for (all, text) in decoded.iter_mut().zip([texts.pop().as_deref().unwrap_or(&other), &other]) {
            all.extend([text, "\n"]);
        }
    }
    decoded.into_iter().filter(|text| !text.is_empty()).collect()
}
