//! Reads the files that people hand to commands, whatever program wrote them.

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
        }
    }
}
