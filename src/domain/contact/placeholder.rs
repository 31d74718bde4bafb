//! Recognizes placeholders: what language models, forms, programs and template engines write in place of a missing
//! value. A placeholder neither changes nor finds a contact.
//!
//! Only a whole value is a placeholder, so no real name or company is lost. The words come from the settings;
//! everything else is recognized by its form.

mod asked;
mod beside;
mod examples;
mod made_up;
mod printed;
mod residue;
mod sentences;
mod spelling;
mod spreadsheet;
mod words;

use std::borrow::Cow;

use self::words::Words;
pub use self::{
    made_up::{is_invented, is_mobile_in_sequence},
    words::is_doubtful,
};
use crate::domain::{
    contact::field::Field,
    value::{
        birthday,
        lookup::WordSet,
        text::{self, folded},
    },
};

/// Around a number in links to a chat and in its ids. Without a number they are not a value.
const LINKS: [&str; 10] = [
    "https://",
    "http://",
    "api.whatsapp.com/send/?phone=",
    "api.whatsapp.com/send?phone=",
    "wa.me/",
    "@s.whatsapp.net",
    "@c.us",
    "whatsapp:",
    "tel:",
    "sms:",
];
/// In digits: fewer are not a phone number, but a country or area code.
const MIN_DIGITS: usize = 7;

/// Placeholder words and addresses. Case, accents, the space between words, and brackets, quotes and punctuation
/// around them do not matter, except where noted. Several words are a placeholder if each of them is one.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceholderLists {
    /// Placeholders in every field.
    pub anywhere: Vec<String>,
    /// Placeholders in every field, unless a field of proper names has the word spelled as a name, "Nada".
    pub unless_a_name: Vec<String>,
    /// Placeholders in identifiers, documents, dates and numbers, and as a country unless they are its code.
    pub keys_only: Vec<String>,
    /// Addresses that no person has: `a@b`, `a@*` at every domain, `*@b` for every mailbox.
    pub emails: Vec<String>,
}

/// Why a text counts as no value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// Words that say so, in any language.
    Word,
    /// Punctuation only, or hidden characters.
    Filler,
    /// The name of the parameter.
    OwnName,
    /// A template, expression, format or formula that was never evaluated.
    Expression,
    /// What a spreadsheet shows instead of a result.
    SpreadsheetError,
    /// An address from examples.
    Example,
    /// Digits that nobody has as a number.
    MadeUp,
    /// The date with which a program begins to count.
    ZeroDate,
}

impl Why {
    /// The reason in words. Does not contain the value.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Word => "a word for no value",
            Self::Filler => "only punctuation or hidden characters",
            Self::OwnName => "the name of its own parameter",
            Self::Expression => "a template or expression that was never filled in",
            Self::SpreadsheetError => "an error of a spreadsheet",
            Self::Example => "an address from examples",
            Self::MadeUp => "made-up digits",
            Self::ZeroDate => "the date that a program writes for none",
        }
    }
}

/// [`PlaceholderLists`], ready for lookups.
#[derive(Debug)]
pub struct Placeholders {
    words: Words,
    addresses: WordSet<Box<str>>,
    /// What comes before the `@` of addresses at every domain.
    mailboxes: WordSet<Box<str>>,
    domains: WordSet<Box<str>>,
}

impl Placeholders {
    /// A word in two lists has the wider reach.
    #[must_use]
    pub fn new(lists: &PlaceholderLists) -> Self {
        let words = Words::new(&lists.anywhere, &lists.unless_a_name, &lists.keys_only);
        let none = WordSet::default;
        let mut placeholders = Self { words, addresses: none(), mailboxes: none(), domains: none() };
        for email in &lists.emails {
            let email = folded(email.trim());
            match (email.strip_suffix("@*"), email.strip_prefix("*@")) {
                (Some(mailbox), _) => placeholders.mailboxes.insert(joined(mailbox).into()),
                (None, Some(domain)) => placeholders.domains.insert(domain.into()),
                (None, None) => placeholders.addresses.insert(email.into()),
            };
        }
        placeholders
    }

    /// Whether `text` is a placeholder; see [`Self::why`].
    #[must_use]
    pub fn cover(&self, field: Field, text: &str, parameter: &str) -> bool {
        self.why(field, text, parameter).is_some()
    }

    /// Why `text`, without surrounding space, is a placeholder in `field`. `None` if it is a value. `parameter` is
    /// the name of the parameter that fills the field.
    #[must_use]
    pub fn why(&self, field: Field, text: &str, parameter: &str) -> Option<Why> {
        if text == parameter {
            return Some(Why::OwnName);
        }
        if text.chars().all(is_filler) {
            return Some(Why::Filler);
        }
        let candidate = self.words.candidate(text);
        let covers = candidate.as_ref().is_some_and(|candidate| self.words.cover(field, candidate));
        // pandas' date that is not there; Nat is a name.
        if text == "NaT" || covers {
            return Some(Why::Word);
        }
        if spreadsheet::is_spreadsheet_error(text) {
            return Some(Why::SpreadsheetError);
        }
        if residue::is_expression(field, text, parameter) {
            return Some(Why::Expression);
        }
        // After the templates, which have names in braces.
        if candidate.is_some_and(|candidate| self.words.name(field, &candidate)) {
            return Some(Why::Word);
        }
        self.why_of_kind(field, text, parameter)
    }

    /// What only one kind of value has.
    fn why_of_kind(&self, field: Field, text: &str, parameter: &str) -> Option<Why> {
        if field.is_proper_name() && text.contains('*') && hides_letters(text) {
            return Some(Why::Filler);
        }
        // Houses have the number 0, and apartments do.
        if text.starts_with('0')
            && !matches!(field, Field::Number | Field::Complement | Field::Birthday)
            && made_up::is_empty_cell(text)
        {
            return Some(Why::MadeUp);
        }
        let has_digits = matches!(field, Field::Phone | Field::Identity | Field::ZipCode | Field::Birthday);
        // A form's word for an area code is not filled in either.
        if let Some(rest) = text.strip_prefix("+55 ").unwrap_or(text).strip_prefix("(DDD)")
            && field == Field::Phone
            && (made_up::is_masked(rest.trim()) || made_up::is_typed(rest))
        {
            return Some(Why::Filler);
        }
        if has_digits && made_up::is_masked(text) {
            return Some(Why::Filler);
        }
        match field {
            Field::Email => {
                let mailbox = text.rsplit_once('@').map_or("", |(mailbox, _)| mailbox);
                if residue::is_expression(field, mailbox, parameter) {
                    return Some(Why::Expression);
                }
                // `${name} <${email}>` without an email.
                let inner = text.strip_suffix('>').and_then(|text| text.rsplit_once('<'));
                let says_nothing = |inner: &str| {
                    inner.is_empty()
                        || self.words.candidate(inner).is_some_and(|words| self.words.cover(field, &words))
                };
                if inner.is_some_and(|(_, inner)| says_nothing(inner.trim())) {
                    return Some(Why::Word);
                }
                // Somebody hid the rest, which is the same for many people. `**ada@x.example**` is bold.
                let own = mailbox.rsplit([' ', '<', ':', '[', '(']).next().unwrap_or_default();
                let is_hidden = own.len() > 1 && own.bytes().all(|byte| byte == b'*');
                if is_hidden || hides_the_rest(own.trim_start_matches('*')) {
                    return Some(Why::Filler);
                }
                let is_folded = |byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'@' | b'.' | b'-' | b'_');
                let folded = if text.bytes().all(is_folded) {
                    Cow::Borrowed(text)
                } else {
                    Cow::Owned(folded(&text::plain(text)))
                };
                self.is_example(&folded).then_some(Why::Example)
            }
            Field::Phone if self.has_a_word_for_digits(text) => Some(Why::Word),
            Field::Phone => made_up::is_typed(text).then_some(Why::MadeUp),
            Field::Identity => {
                (made_up::is_one_digit(text) || made_up::is_limit(text)).then_some(Why::MadeUp)
            }
            Field::ZipCode => made_up::is_zero_code(text).then_some(Why::MadeUp),
            Field::Birthday => birthday::is_zero(text).then_some(Why::ZeroDate),
            Field::City => beside::is_state_alone(text).then_some(Why::Word),
            _ => None,
        }
    }

    /// Whether a canonical address is one from examples, from the settings or reserved for examples and tests.
    fn is_example(&self, address: &str) -> bool {
        let Some((mailbox, domain)) = address.rsplit_once('@') else { return false };
        let joined = joined(mailbox);
        examples::is_reserved(domain)
            || examples::is_generic(mailbox, domain)
            || self.words.is_joined(&joined)
            || self.domains.contains(domain)
            || self.mailboxes.contains(&*joined)
            || self.addresses.contains(address)
            || self.words.fill(mailbox, domain)
    }

    /// Whether the digits of a phone are words for nothing, apart from a country or area code: `+55 undefined`.
    fn has_a_word_for_digits(&self, text: &str) -> bool {
        let text = text::plain(text);
        let digits = || text.bytes().filter(u8::is_ascii_digit).count();
        if !text.contains(char::is_alphabetic) || digits() >= MIN_DIGITS {
            return false;
        }
        let number = LINKS.iter().fold(text.to_ascii_lowercase(), |text, link| text.replace(link, " "));
        let words: String = number.chars().map(|c| if c.is_alphabetic() { c } else { ' ' }).collect();
        let words: Vec<&str> = words.split_whitespace().collect();
        let joined = words.join(" ");
        words.is_empty() && digits() == 0
            || self.words.candidate(&joined).is_some_and(|words| self.words.cover(Field::Phone, &words))
    }
}

/// A mailbox without what people put between its words: `nao.tem`, `nao-tem` and `naotem` say the same.
fn joined(mailbox: &str) -> Cow<'_, str> {
    if mailbox.contains(['.', '_', '-']) {
        Cow::Owned(mailbox.replace(['.', '_', '-'], ""))
    } else {
        Cow::Borrowed(mailbox)
    }
}

/// Whether a mailbox is shown by its first letters only: `a***`, `ad…`.
fn hides_the_rest(mailbox: &str) -> bool {
    let may_hide = |byte| matches!(byte, b'*' | b'.' | 0xe2);
    mailbox.bytes().any(may_hide)
        && (mailbox.contains("**") || mailbox.contains(['•', '…']) || mailbox.contains("..."))
}

/// Whether somebody hid letters of a word: `A*** S***`. Asterisks before words and after them make them bold:
/// `**Ana Souza**` (`CommonMark`, 6.2).
fn hides_letters(text: &str) -> bool {
    let mut opened = None;
    let (mut before, mut rest) = (None, text);
    while let Some(at) = rest.find("**") {
        let (plain, marked) = rest.split_at(at);
        before = plain.chars().next_back().or(before);
        let after = marked.trim_start_matches('*');
        let length = marked.len() - after.len();
        if before.is_some_and(char::is_alphanumeric) {
            let is_at_end = !after.starts_with(char::is_alphanumeric);
            if !(is_at_end && opened.take() == Some(length)) {
                return true;
            }
        } else {
            // Punctuation may come before the end: `**Ana!**`.
            opened = if opened == Some(length) { None } else { Some(length) };
        }
        (before, rest) = (Some('*'), after);
    }
    false
}

/// Characters that alone are not a value: "-", "...", "??", "—", "{}", "''".
const fn is_filler(c: char) -> bool {
    c.is_ascii_punctuation()
        || matches!(c, ' ' | '\u{2010}'..='\u{2015}' | '…' | '·' | '•' | '¿' | '¡' | '“' | '”')
        // Blocks and squares, which hide what was there.
        || matches!(c, '\u{2580}'..='\u{259f}' | '■' | '□' | '▪' | '●')
}

#[cfg(test)]
mod tests;
