//! Takes off what spreadsheets, chats, documents and people put around a value. What it takes off says nothing
//! about the value; where a link's label and target are two values, it does not choose.

mod links;
mod markup;
mod quotes;
#[cfg(test)]
pub(in crate::domain) mod rows;

use std::borrow::Cow;

use crate::domain::value::{
    email::Email,
    entities, label,
    phone::{Phone, Region},
    text::{self, after_prefix},
};
use links::Link;
use quotes::Formula;

/// In bytes; a longer text is not a value in something.
const MAX_TEXT: usize = 4096;
/// A text with more layers is left alone.
const MAX_LAYERS: usize = 8;
/// Digits that all spellings of a phone number share.
const TAIL_DIGITS: usize = 7;

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
pub fn unwrap(kind: Kind, text: &str) -> Unwrapped<'_> {
    unwrap_named(kind, kind.names(), text)
}

/// Like [`unwrap`], for a value that has these names only: lists of `label`.
pub(in crate::domain) fn unwrap_named<'a>(kind: Kind, names: &[&str], text: &'a str) -> Unwrapped<'a> {
    if text.len() > MAX_TEXT || kind.is_plain(text) {
        return Unwrapped::Bare(Cow::Borrowed(text));
    }
    let mut bare = Cow::Borrowed(text);
    for _ in 0..=MAX_LAYERS {
        match peel(kind, names, &bare) {
            None => return Unwrapped::Bare(bare),
            Some(Layer::Around(inner)) => bare = Cow::Owned(text::clean(&inner).into_owned()),
            Some(Layer::Differs) => return Unwrapped::Differs,
        }
    }
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

impl Kind {
    const fn names(self) -> &'static [&'static str] {
        match self {
            Self::Email => &[label::EMAIL],
            Self::Phone(_) => &[label::PHONE],
            Self::Digits => &[label::IDENTITY, label::ZIP_CODE, label::NUMBER],
            Self::Date => &[label::DATE],
            Self::Text => &[
                label::NAME,
                label::COMPANY,
                label::POSITION,
                label::COUNTRY,
                label::STATE,
                label::CITY,
                label::DISTRICT,
                label::STREET,
                label::COMPLEMENT,
            ],
        }
    }

    const fn is_identifier(self) -> bool {
        matches!(self, Self::Email | Self::Phone(_))
    }

    /// Whether the text certainly has nothing around it.
    fn is_plain(self, text: &str) -> bool {
        let is_plain = |byte: u8| match byte {
            b'0'..=b'9' | b'+' | b'-' | b'.' | b'/' => true,
            b'a'..=b'z' | b'A'..=b'Z' | b'@' | b'#' | b'%' | b'!' | b'?' => {
                matches!(self, Self::Email | Self::Text)
            }
            b' ' | b',' | b'(' | b')' => self != Self::Email,
            // Latin letters with an accent; quotes and signs begin with other bytes.
            0x80..=0xbf | 0xc3 => self == Self::Text,
            _ => false,
        };
        text.bytes().all(is_plain) && !text.ends_with(')')
    }
}

/// What the outermost layer of a text is.
enum Layer {
    /// Something around this text.
    Around(String),
    /// A link whose label and target are two different values.
    Differs,
}

fn peel(kind: Kind, names: &[&str], text: &str) -> Option<Layer> {
    if let Some(plain) = entities::decoded(text).or_else(|| markup::without_escapes(text)) {
        return Some(Layer::Around(plain));
    }
    let untagged = match kind {
        Kind::Text => markup::without_tags(text),
        _ => markup::without_tags_around(text).map(str::to_owned),
    };
    if untagged.is_some() {
        return untagged.map(Layer::Around);
    }
    if let Some(layer) = linked(kind, names, text) {
        return Some(layer);
    }
    let is_free_text = kind == Kind::Text;
    let around = markup::without_emphasis(text, is_free_text)
        .map(str::to_owned)
        .or_else(|| quotes::without_quotes(text).map(Cow::into_owned))
        .or_else(|| quotes::without_brackets(text).filter(|_| !is_free_text).map(str::to_owned))
        .or_else(|| quotes::without_apostrophe(text, is_free_text).map(str::to_owned))
        .or_else(|| unlabeled(kind, names, text).map(str::to_owned));
    around.map(Layer::Around)
}

/// Resolves a link or a formula.
fn linked(kind: Kind, names: &[&str], text: &str) -> Option<Layer> {
    match quotes::formula(text) {
        Some(Formula::Text(text)) => return Some(Layer::Around(text)),
        Some(Formula::Link(target, label)) => return Some(resolved(kind, names, Link::new(&target, &label))),
        None => {}
    }
    if let Some(number) = text.strip_prefix('=').filter(|_| kind != Kind::Text) {
        return Some(Layer::Around(number.to_owned()));
    }
    // The end of a sentence or list around the link.
    let end = if kind.is_identifier() { [',', ';', '.', ' '].as_slice() } else { &[] };
    links::parse(text.trim_end_matches(end)).map(|link| resolved(kind, names, link))
}

/// The value of a link: its label or its target, if they do not contradict each other.
fn resolved(kind: Kind, names: &[&str], link: Link<'_>) -> Layer {
    let target = link.target;
    let label = markup::without_tags_around(link.label).unwrap_or(link.label);
    let label = without_marks(label);
    let label = label::without(names, label).map_or(label, without_marks);
    let shown = if label.is_empty() { target } else { label };
    let agrees = match kind {
        Kind::Email | Kind::Phone(_) => {
            return match (kind.read(target), kind.read(label)) {
                (Some(target), Some(label)) if target != label => Layer::Differs,
                (Some(read), None) if kind.mentions_another(label, &read) => Layer::Differs,
                (Some(_), None) => Layer::Around(target.to_owned()),
                (_, _) => Layer::Around(shown.to_owned()),
            };
        }
        Kind::Digits => match without_phone_scheme(target) {
            // Programs take documents for phone numbers.
            Some(number) if digits(label).is_empty() => return Layer::Around(number.to_owned()),
            Some(number) => {
                let (label, number) = (digits(label), digits(number));
                label.ends_with(&number) || number.ends_with(&label)
            }
            None => true,
        },
        Kind::Date => true,
        Kind::Text if label.is_empty() => {
            let address = after_prefix(target, "mailto:").or_else(|| without_phone_scheme(target));
            return Layer::Around(address.unwrap_or(target).to_owned());
        }
        Kind::Text => match (Email::parse(label), Email::parse(target)) {
            (Some(label), Some(target)) => label == target,
            _ => host(label).zip(host(target)).is_none_or(|(label, target)| is_same_site(&label, &target)),
        },
    };
    if agrees { Layer::Around(shown.to_owned()) } else { Layer::Differs }
}

impl Kind {
    /// The canonical identifier that the text is.
    fn read(self, text: &str) -> Option<String> {
        match self {
            Self::Email => Email::parse(text).map(|email| email.as_str().to_owned()),
            Self::Phone(region) => Phone::parse(text, region).map(|phone| phone.as_str().to_owned()),
            Self::Digits | Self::Date | Self::Text => None,
        }
    }

    /// Whether a label that is no identifier contains one other than that of the target.
    fn mentions_another(self, label: &str, target: &str) -> bool {
        match self {
            Self::Email => label.contains('@') && !label.to_lowercase().contains(target),
            Self::Phone(_) => {
                let (label, target) = (digits(label), digits(target));
                let tail = target.get(target.len().saturating_sub(TAIL_DIGITS)..).unwrap_or_default();
                label.len() >= TAIL_DIGITS && !label.contains(tail)
            }
            Self::Digits | Self::Date | Self::Text => false,
        }
    }
}

/// Takes off the name of the value, and the sign of a telephone or an envelope.
fn unlabeled<'a>(kind: Kind, names: &[&str], text: &'a str) -> Option<&'a str> {
    let after_name = label::without(names, text);
    match kind {
        Kind::Email => after_name
            .or_else(|| label::without_before_word(names, text).filter(|word| word.contains('@')))
            .or_else(|| without_comment(text))
            .or_else(|| label::without_sign(text)),
        Kind::Phone(_) => after_name
            .or_else(|| label::without_before_digits(names, text))
            .or_else(|| label::without_after_digits(names, text))
            .or_else(|| label::without_sign(text)),
        Kind::Digits | Kind::Date => after_name.or_else(|| label::without_before_digits(names, text)),
        Kind::Text => after_name,
    }
}

/// The address before a comment (RFC 5322, 3.2.2): `ada@x.example (Ada)`.
fn without_comment(text: &str) -> Option<&str> {
    let (address, comment) = text.strip_suffix(')')?.rsplit_once('(')?;
    let is_one = address.contains('@') && !comment.contains('@');
    is_one.then(|| address.trim_end())
}

fn without_phone_scheme(target: &str) -> Option<&str> {
    ["tel:", "callto:", "sms:"].iter().find_map(|scheme| after_prefix(target, scheme))
}

/// Without quotes and asterisks at both ends. Underscores and tildes stay, because addresses begin with them.
fn without_marks(text: &str) -> &str {
    text.trim_matches(|c: char| c.is_whitespace() || "*\"'`“”".contains(c))
}

fn digits(text: &str) -> String {
    text.chars().filter(char::is_ascii_digit).collect()
}

/// The host name of an address of the web, also without its scheme.
fn host(text: &str) -> Option<String> {
    let rest =
        ["https://", "http://", "//"].iter().find_map(|scheme| after_prefix(text, scheme)).unwrap_or(text);
    let rest = after_prefix(rest, "www.").unwrap_or(rest);
    let host = rest.split(['/', '?', '#', ':']).next()?;
    let (name, top) = host.rsplit_once('.')?;
    let is_host = !name.is_empty()
        && top.len() >= 2
        && top.bytes().all(|byte| byte.is_ascii_alphabetic())
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '.' | '-'));
    is_host.then(|| host.to_lowercase())
}

fn is_same_site(one: &str, other: &str) -> bool {
    let is_below = |host: &str, site: &str| {
        host.strip_suffix(site).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    is_below(one, other) || is_below(other, one)
}

#[cfg(test)]
mod tests;
