//! Removes what spreadsheets, chats, documents and people put around a value. It says nothing about the value. Where
//! a link's label and target are two values, nothing is chosen.

mod around;
mod card;
mod links;
mod literals;
mod markup;
pub(in crate::domain) mod members;
mod quotes;
#[cfg(test)]
pub(in crate::domain) mod rows;
pub(in crate::domain) mod spoken;

use std::borrow::Cow;

use crate::domain::value::{
    email::Email,
    entities, label, mojibake,
    phone::{Phone, Region},
    relatives::is_anothers,
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

/// What a text is meant to be, which decides how it may be wrapped.
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

/// An unwrapped value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unwrapped<'a> {
    /// The value; the text itself if it was not wrapped.
    Bare(Cow<'a, str>),
    /// A link whose label and target are two different values.
    Differs,
}

/// Unwraps a cleaned text. The result is cleaned, too.
#[must_use]
pub fn unwrap(kind: Kind, text: &str) -> Unwrapped<'_> {
    unwrap_named(kind, kind.names(), text)
}

/// Like [`unwrap`], for a value that has these names only: lists of `label`.
pub(in crate::domain) fn unwrap_named<'a>(kind: Kind, names: &[&str], text: &'a str) -> Unwrapped<'a> {
    if text.len() > MAX_TEXT {
        return Unwrapped::Bare(Cow::Borrowed(text));
    }
    peeled(text, |text| if kind.is_plain(text) { None } else { peel(kind, names, text) })
}

/// Takes off one layer after the other.
fn peeled<'a>(text: &'a str, peel: impl for<'t> Fn(&'t str) -> Option<Layer<'t>>) -> Unwrapped<'a> {
    let mut bare = Cow::Borrowed(text);
    for _ in 0..=MAX_LAYERS {
        match peel(&bare) {
            None => return Unwrapped::Bare(bare),
            Some(Layer::Around(inner)) => bare = Cow::Owned(cleaned(inner)),
            Some(Layer::Differs) => return Unwrapped::Differs,
        }
    }
    Unwrapped::Bare(Cow::Borrowed(text))
}

/// What was escaped may be broken, too: `Jos&Atilde;&#169;`.
fn cleaned(text: Cow<'_, str>) -> String {
    // References come decomposed.
    let text = mojibake::decoded(&text::nfc(&text)).map_or(text, Cow::Owned);
    match text::clean(&text) {
        Cow::Borrowed(clean) if clean.len() == text.len() => {}
        clean => return clean.into_owned(),
    }
    text.into_owned()
}

/// Reads the text of an identifier as an argument of an event is read, up to its parser.
#[must_use]
pub fn clean_key(kind: Kind, text: &str) -> Unwrapped<'static> {
    match unwrap(kind, &text::clean(text)) {
        Unwrapped::Bare(bare) => Unwrapped::Bare(Cow::Owned(bare.into_owned())),
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

    /// Whether the text is certainly not wrapped, which is far cheaper to see than to look for each layer.
    fn is_plain(self, text: &str) -> bool {
        let is_plain = |byte: u8| match byte {
            b'0'..=b'9' | b'+' | b'-' | b'.' | b'/' => true,
            b'a'..=b'z' | b'A'..=b'Z' | b'@' | b'#' | b'?' => matches!(self, Self::Email | Self::Text),
            b' ' | b',' | b'(' | b')' => self != Self::Email,
            // Latin letters with an accent; quotes and signs begin with other bytes.
            0x80..=0xbf | 0xc3 | b'!' => self == Self::Text,
            _ => false,
        };
        let may_begin = || {
            text.starts_with("- ") || matches!(self, Self::Text | Self::Phone(_)) && around::may_begin(text)
        };
        text.bytes().all(is_plain) && !text.ends_with(')') && !may_begin()
    }
}

/// What the outermost layer of a text is.
enum Layer<'a> {
    /// Something around this text.
    Around(Cow<'a, str>),
    /// A link whose label and target are two different values.
    Differs,
}

impl Layer<'_> {
    fn into_owned(self) -> Layer<'static> {
        match self {
            Self::Around(text) => Layer::Around(Cow::Owned(text.into_owned())),
            Self::Differs => Layer::Differs,
        }
    }
}

fn peel<'a>(kind: Kind, names: &[&str], text: &'a str) -> Option<Layer<'a>> {
    let plain = (card::value(names, text).or_else(|| entities::decoded(text)).map(Cow::Owned))
        .or_else(|| members::member(names, text))
        .or_else(|| markup::without_escaped_breaks(text).map(Cow::Borrowed))
        .or_else(|| markup::without_escapes(text).map(Cow::Owned))
        .or_else(|| without_percents(kind, text).map(Cow::Owned))
        .or_else(|| markup::without_cdata(text).map(Cow::Borrowed));
    if plain.is_some() {
        return plain.map(Layer::Around);
    }
    let untagged = match kind {
        Kind::Text => markup::without_tags(text).map(Cow::Owned),
        _ => markup::without_tags_around(text).map(Cow::Borrowed),
    };
    if untagged.is_some() {
        return untagged.map(Layer::Around);
    }
    if let Some(layer) = linked(kind, names, text) {
        return Some(layer);
    }
    if kind == Kind::Email
        && let Some(address) = links::mailto(text).or_else(|| spoken::address(text))
    {
        return Some(Layer::Around(address.into()));
    }
    let printed = literals::without_literal(text)
        .or_else(|| if kind == Kind::Date { literals::date_numbers(text) } else { None })
        .or_else(|| markup::without_elements(text));
    if printed.is_some() {
        return printed.map(|text| Layer::Around(text.into()));
    }
    let is_free_text = kind == Kind::Text;
    let around = markup::without_emphasis(text, is_free_text)
        .map(Cow::Borrowed)
        .or_else(|| quotes::without_quotes(text))
        .or_else(|| in_brackets(kind, names, text).map(Cow::Borrowed))
        .or_else(|| quotes::without_apostrophe(text, is_free_text).map(Cow::Borrowed))
        .or_else(|| unlabeled(kind, names, text).map(Cow::Borrowed));
    around.map(Layer::Around)
}

/// The text in brackets. They may be a part of free text, unless its name is within them: `(Nome: Ana)`.
fn in_brackets<'a>(kind: Kind, names: &[&str], text: &'a str) -> Option<&'a str> {
    let inner = quotes::without_brackets(text)?;
    if kind != Kind::Text {
        return Some(inner);
    }
    let is_value = |value: &&str| !text.starts_with('{') || members::is_whole(value);
    label::without(names, inner.trim()).filter(is_value)
}

/// Resolves a link or a formula.
fn linked<'a>(kind: Kind, names: &[&str], text: &'a str) -> Option<Layer<'a>> {
    match quotes::formula(text) {
        Some(Formula::Text(text)) => return Some(Layer::Around(text.into())),
        Some(Formula::Link(target, label)) => {
            return Some(resolved(kind, names, Link::new(&target, &label)).into_owned());
        }
        None => {}
    }
    if let Some(number) = text.strip_prefix('=').filter(|_| kind != Kind::Text) {
        return Some(Layer::Around(number.into()));
    }
    // The end of a sentence or list around the link.
    let end = if kind.is_identifier() { [',', ';', '.', ' '].as_slice() } else { &[] };
    links::parse(text.trim_end_matches(end)).map(|link| resolved(kind, names, link))
}

/// The value of a link: its label or its target, if they do not contradict each other.
fn resolved<'a>(kind: Kind, names: &[&str], link: Link<'a>) -> Layer<'a> {
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
                // The canonical form is read again fastest.
                (Some(read), Some(_)) => Layer::Around(read.into()),
                (Some(_), None) => Layer::Around(target.into()),
                (None, _) => Layer::Around(shown.into()),
            };
        }
        Kind::Digits => match without_phone_scheme(target) {
            // Programs take documents for phone numbers.
            Some(number) if digits(label).is_empty() => return Layer::Around(number.into()),
            Some(number) => {
                let (label, number) = (digits(label), digits(number));
                label.ends_with(&number) || number.ends_with(&label)
            }
            None => true,
        },
        Kind::Date => true,
        Kind::Text if label.is_empty() => {
            let address = after_prefix(target, "mailto:").or_else(|| without_phone_scheme(target));
            return Layer::Around(address.unwrap_or(target).into());
        }
        Kind::Text => match (Email::parse(label), Email::parse(target)) {
            (Some(label), Some(target)) => label == target,
            _ => host(label).zip(host(target)).is_none_or(|(label, target)| is_same_site(&label, &target)),
        },
    };
    if agrees { Layer::Around(shown.into()) } else { Layer::Differs }
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

    /// Whether a label that is not an identifier contains one other than the target's.
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

/// Takes off the name of the value, the bullet of a list, and the sign of a telephone or an envelope.
fn unlabeled<'a>(kind: Kind, names: &[&str], text: &'a str) -> Option<&'a str> {
    // Without its label it would be the person's own.
    if kind.is_identifier() && is_anothers(text) {
        return None;
    }
    let after_name = label::without(names, text);
    match kind {
        Kind::Email => after_name
            .or_else(|| label::without_before_word(names, text).filter(|word| word.contains('@')))
            .or_else(|| around::without_comment(text))
            .or_else(|| {
                let names = [names, &[label::PHONE]].concat();
                label::without_after_word(&names, text).filter(|word| word.contains('@'))
            })
            .or_else(|| label::without_sign(text))
            .or_else(|| {
                let is_one = |rest: &&str| !rest.starts_with('?') && Email::parse(rest).is_some();
                label::without_words_before(names, text)
                    .or_else(|| label::without_owner_before(text))
                    .filter(is_one)
            })
            .or_else(|| around::address(names, text)),
        Kind::Phone(region) => after_name
            .or_else(|| label::without_before_digits(names, text))
            .or_else(|| label::without_after_digits(names, text))
            .or_else(|| label::without_joined(names, text))
            .or_else(|| label::without_before_word(names, text).filter(|word| around::is_chat(word)))
            .or_else(|| label::without_sign(text))
            .or_else(|| label::without_country(text))
            .or_else(|| {
                label::without_words_before(names, text)
                    .or_else(|| around::number(text))
                    .filter(|rest| Phone::parse(rest, region).is_some())
                    .or_else(|| around::numbered(text, region))
            }),
        Kind::Digits | Kind::Date => after_name.or_else(|| label::without_before_digits(names, text)),
        Kind::Text if names.contains(&label::NAME) && after_name.is_none() => around::name(text),
        Kind::Text => after_name.filter(|rest| !text.starts_with(['"', '\'']) || members::is_whole(rest)),
    }
    .or_else(|| if kind == Kind::Text { None } else { label::without_sign_after(text) })
    .or_else(|| {
        // `> 10` and `- 10` are more than a number in a list.
        let starts = |rest: &&str| kind != Kind::Text || rest.starts_with(char::is_alphabetic);
        label::without_bullet(text).filter(starts)
    })
}

/// Decodes a whole text from a URL (RFC 3986, 2.1): `Jo%C3%A3o%20Silva`, `ada%40x.example`. Other texts have percent signs, too.
fn without_percents(kind: Kind, text: &str) -> Option<String> {
    let is_encoded = match kind {
        Kind::Email => !text.contains('@') && text.contains("%40"),
        Kind::Phone(_) => text.starts_with("%2B") || text.starts_with("%2b") || text.contains("%20"),
        Kind::Digits | Kind::Date => false,
        Kind::Text => {
            text.contains('%') && ["%20", "%C3%", "%c3%"].iter().any(|encoded| text.contains(encoded))
        }
    };
    // A link has its own reading.
    let is_whole = is_encoded && !text.contains([' ', ':', '<', '[']);
    is_whole.then(|| text::percent_decoded(text).map(Cow::into_owned))?
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
