//! Phone numbers as keys: E.164.

use std::fmt;

/// A canonical phone number, E.164 (ITU-T E.164), such as `+5585999990001`. Personal data.
///
/// Only [`Phone::parse`] makes one.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Phone(Box<str>);

impl Phone {
    /// The number as text. Personal data.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phone(redacted)")
    }
}
