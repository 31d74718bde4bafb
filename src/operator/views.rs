//! What operators see, as JSON: the same on every surface, limited by their role.

pub mod contacts;
pub mod dead_letters;
pub mod deliveries;
pub mod endpoints;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::Value;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// How much a caller may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// No personal data: values are hidden, and bodies, headers and answers left out.
    Masked,
    /// Everything but secrets and identity documents.
    Full,
}

/// Shown in place of a hidden value.
pub const HIDDEN: &str = "***";

/// RFC 3339 in UTC, truncated to seconds.
#[must_use]
pub fn moment(time: OffsetDateTime) -> String {
    time.replace_nanosecond(0).unwrap_or(time).format(&Rfc3339).unwrap_or_default()
}

/// A JSON member for bytes: `name` with the text if they are UTF-8, otherwise `nameBase64`.
#[must_use]
pub fn bytes(name: &str, bytes: &[u8]) -> (String, Value) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (name.to_owned(), text.into()),
        Err(_) => (format!("{name}Base64"), STANDARD.encode(bytes).into()),
    }
}
