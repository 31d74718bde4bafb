//! Reads files that people pass to commands, in the encodings that common programs write.

use std::{
    fs,
    io::{self, Read as _},
    path::Path,
};

use crate::domain::event::without_mark;

/// Whether the file is standard input.
pub(super) fn is_standard_input(file: &Path) -> bool {
    file.as_os_str() == "-"
}

/// The text in a file, or in standard input if it is `-`: UTF-8 with or without a byte order mark, or UTF-16 with one.
pub(super) fn read(file: &Path) -> io::Result<String> {
    let bytes = if is_standard_input(file) {
        let mut bytes = Vec::new();
        io::stdin().read_to_end(&mut bytes)?;
        bytes
    } else {
        fs::read(file)?
    };
    decode(&bytes).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "it is neither UTF-8 nor UTF-16"))
}

/// Whether a text that begins with these bytes can only be UTF-16. UTF-8 has neither byte anywhere.
pub(super) fn begins_like_utf16(bytes: &[u8]) -> bool {
    matches!(bytes, [0xFE | 0xFF, ..])
}

/// The text without its byte order mark. `None` if the bytes are not a text. Windows PowerShell's `>` writes UTF-16
/// (jqlang/jq #2351, jotaen/klog #217).
pub(super) fn decode(bytes: &[u8]) -> Option<String> {
    match bytes {
        [0xFF, 0xFE, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xFE, 0xFF, rest @ ..] => utf16(rest, u16::from_be_bytes),
        _ => std::str::from_utf8(without_mark(bytes)).map(str::to_owned).ok(),
    }
}

/// The text as UTF-8, if it is UTF-16 with a byte order mark; anything else as it is. A unit that is half of a
/// character, and a last byte that is half of a unit, become a byte that no UTF-8 has, so that only their line is
/// broken.
pub(super) fn to_utf8(bytes: Vec<u8>) -> Vec<u8> {
    let (rest, is_little) = match bytes.as_slice() {
        [0xFF, 0xFE, rest @ ..] => (rest, true),
        [0xFE, 0xFF, rest @ ..] => (rest, false),
        _ => return bytes,
    };
    let (units, half) = rest.as_chunks::<2>();
    let unit = |unit: &[u8; 2]| if is_little { u16::from_le_bytes(*unit) } else { u16::from_be_bytes(*unit) };
    let mut out = Vec::with_capacity(bytes.len());
    for character in char::decode_utf16(units.iter().map(unit)) {
        match character {
            Ok(character) => out.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(_) => out.push(0xFF),
        }
    }
    out.extend(half.iter().map(|_| 0xFF));
    out
}

fn utf16(bytes: &[u8], unit: fn([u8; 2]) -> u16) -> Option<String> {
    let (units, []) = bytes.as_chunks::<2>() else { return None };
    String::from_utf16(&units.iter().copied().map(unit).collect::<Vec<_>>()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_read_in_every_encoding_that_has_a_mark() {
        let little: Vec<u8> = "\u{feff}José 😀\r\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let big: Vec<u8> = "\u{feff}José 😀\r\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
        for (bytes, expected) in [
            ("José 😀\r\n".as_bytes(), Some("José 😀\r\n")),
            ("\u{feff}José 😀\r\n".as_bytes(), Some("José 😀\r\n")),
            // Only the first one is a mark.
            ("\u{feff}\u{feff}x".as_bytes(), Some("\u{feff}x")),
            (&little, Some("José 😀\r\n")),
            (&big, Some("José 😀\r\n")),
            (b"", Some("")),
            (b"\xef\xbb\xbf", Some("")),
            (b"\xff\xfe", Some("")),
            (b"\xff\xfea", None),
            (b"\xff\xfe\x00\xd8", None),
            (b"\xff", None),
            // Latin-1
            (b"Jos\xe9", None),
        ] {
            assert_eq!(decode(bytes).as_deref(), expected, "{bytes:?}");
            assert_eq!(begins_like_utf16(bytes), bytes.first().is_some_and(|first| *first >= 0xFE));
            if let Some(text) = expected.filter(|_| begins_like_utf16(bytes)) {
                assert_eq!(to_utf8(bytes.to_vec()), text.as_bytes());
            }
        }
    }

    #[test]
    fn broken_utf16_breaks_only_its_line() {
        for (bytes, expected) in [
            // Cut in the middle of a unit, and of a character
            (b"\xff\xfea\0\n\0b\0c".as_slice(), b"a\nb\xff".as_slice()),
            (b"\xfe\xff\0a\0\n\0b\0", b"a\nb\xff"),
            (b"\xff\xfea\0\n\0\x3d\xd8", b"a\n\xff"),
            (b"\xff\xfea\0\x3d\xd8b\0\n\0c\0", b"a\xffb\nc"),
            (b"\xff\xfe\x3d\xd8\x00\xde", "😀".as_bytes()),
            // Not UTF-16
            (b"\xffa\nb", b"\xffa\nb"),
            (b"", b""),
        ] {
            assert_eq!(to_utf8(bytes.to_vec()), expected, "{bytes:?}");
        }
    }
}
