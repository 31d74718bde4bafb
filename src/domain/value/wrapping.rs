//! Takes off what spreadsheets, chats and documents put around a value.

use std::borrow::Cow;

use crate::domain::value::{phone::Region, text};

/// What a text is to be: it decides what may stand around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An email address.
    Email,
    /// A phone number.
    Phone(Region),
    /// A document, a postal code or the number of a house.
    Digits,
    /// A date.
    Date,
    /// Anything else.
    Text,
}

/// A value without what stood around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unwrapped<'a> {
    /// The value; the text itself if nothing stood around it.
    Bare(Cow<'a, str>),
    /// A link whose label and target are two different values.
    Differs,
}

/// Takes off what stands around a cleaned text. The result has to be cleaned once more.
#[must_use]
pub fn unwrap(_kind: Kind, text: &str) -> Unwrapped<'_> {
    Unwrapped::Bare(Cow::Borrowed(text))
}

/// Reads the text of an identifier as an argument of an event is read, up to its parser.
#[must_use]
pub fn clean_key(kind: Kind, text: &str) -> Unwrapped<'static> {
    match unwrap(kind, &text::clean(text)) {
        Unwrapped::Bare(bare) => Unwrapped::Bare(Cow::Owned(text::clean(&bare).into_owned())),
        Unwrapped::Differs => Unwrapped::Differs,
    }
}
