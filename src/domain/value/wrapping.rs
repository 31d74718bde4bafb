//! Takes off what spreadsheets, chats and documents put around a value.

use std::borrow::Cow;

use crate::domain::value::phone::Region;

/// What a text is to be: it decides what may stand around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::domain) enum Kind {
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
pub(in crate::domain) enum Unwrapped<'a> {
    /// The value; the text itself if nothing stood around it.
    Bare(Cow<'a, str>),
    /// A link whose label and target are two different values.
    Differs,
}

/// Takes off what stands around a cleaned text.
pub(in crate::domain) const fn unwrap(_kind: Kind, text: &str) -> Unwrapped<'_> {
    Unwrapped::Bare(Cow::Borrowed(text))
}
