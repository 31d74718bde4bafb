//! Reads files of JSON, whatever program wrote them.

use std::path::{Path, PathBuf};

use anyhow::Context as _;

use super::super::input;
use crate::operator::preview::spelled;

/// A file that the JSON parser refuses.
#[derive(Debug, thiserror::Error)]
#[error("could not parse {} as JSON", name(file))]
struct NotJson {
    file: PathBuf,
    source: serde_json::Error,
}

/// The text in the file, or in standard input when it is `-`.
///
/// # Errors
/// When it cannot be read.
pub(super) fn text(file: &Path) -> anyhow::Result<String> {
    input::read(file).with_context(|| format!("could not read {}", name(file)))
}

/// The JSON text in the file, or in standard input when it is `-`.
///
/// # Errors
/// When it cannot be read, or is not JSON.
pub(super) fn json(file: &Path) -> anyhow::Result<String> {
    spelled(&text(file)?).map_err(|source| NotJson { file: file.to_owned(), source }.into())
}

fn name(file: &Path) -> String {
    if input::is_standard_input(file) { "standard input".to_owned() } else { file.display().to_string() }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use tempfile::NamedTempFile;

    use super::*;

    fn file(bytes: &[u8]) -> NamedTempFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    #[test]
    fn file_that_is_not_json_is_reported_by_line_and_column() {
        let file = file(b"{\n  \"name\": Zaphod\n}");
        let error = crate::telemetry::chain(json(file.path()).unwrap_err().as_ref());
        let expected =
            format!("could not parse {} as JSON: expected value at line 2 column 11", file.path().display());
        assert_eq!(error, expected);
    }

    /// Python writes it for an empty cell.
    #[test]
    fn file_may_have_numbers_that_json_does_not_have() {
        let file = file(br#"{"name": "NaN", "x": NaN}"#);
        assert_eq!(json(file.path()).unwrap(), r#"{"name": "NaN", "x": null}"#);
    }

    #[test]
    fn json_is_read_from_every_kind_of_text_file() {
        let definition = r#"{"name": "José"}"#;
        let utf16 = |unit: fn(u16) -> [u8; 2]| -> Vec<u8> {
            format!("\u{feff}{definition}").encode_utf16().flat_map(unit).collect()
        };
        for bytes in [
            format!("\u{feff}{definition}\r\n").into_bytes(),
            utf16(u16::to_le_bytes),
            utf16(u16::to_be_bytes),
        ] {
            assert_eq!(json(file(&bytes).path()).unwrap().trim_end(), definition);
        }
    }
}
