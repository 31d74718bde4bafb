//! What people write around an address, a number or a name without any mark for it: the owner of an address, a number beside an
//! address, the words of a sentence.

use super::spoken;
use crate::domain::value::{
    email::Email,
    label,
    phone::{Phone, Region, Strength},
    text::{folded, folded_latin},
};

/// Between an address and what is beside it.
const BETWEEN: [char; 14] = [' ', ',', ';', '/', '|', '-', '–', '(', ')', '[', ']', '<', '>', ':'];
/// What a sentence says before an address, folded. No denial, no other person and no thing that has an address of its own.
const SENTENCE: &str = "meu minha mi my o a el the e eh es is it s this esse este aqui ai esta segue anota anote pode pode ser mandar manda \
    mande enviar envia envie escrever para por pra favor you can reach me at on write send to i m here sim claro yes sure ok email mail \
    e-mail correo contato contacto melhor best puedes escribirme a en en en";
/// Words of such a sentence.
const MAX_WORDS: usize = 10;
/// Digits of a number beside an address.
const DIGITS: std::ops::RangeInclusive<usize> = 8..=13;
/// What introduces somebody's name, folded.
const INTRODUCTIONS: [&str; 13] = [
    "meu nome e ",
    "o meu nome e ",
    "me chamo ",
    "eu me chamo ",
    "my name is ",
    "my name's ",
    "me llamo ",
    "mi nombre es ",
    "je m'appelle ",
    "mein name ist ",
    "ich heiße ",
    "ich heisse ",
    "mi chiamo ",
];
/// Words of a name.
const MAX_NAMES: usize = 6;

/// The one address in a text that otherwise has the name of its owner, a number, or the words of a sentence.
pub(super) fn address<'a>(names: &[&str], text: &'a str) -> Option<&'a str> {
    let Some(at) = text.find('@') else { return after_name(names, text) };
    let start = text.get(..at)?.rfind([' ', '(', '[', '<', '/', ',', ';', '|']).map_or(0, |at| at + 1);
    let end =
        text.get(at..)?.find([' ', ')', ']', '>', '/', ',', ';', '|']).map_or(text.len(), |end| at + end);
    let (before, found, after) = (text.get(..start)?, text.get(start..end)?, text.get(end..)?);
    let found = found.trim_end_matches(['.', ',', ';']);
    if before.contains("](") || after.contains('@') || Email::parse(found).is_none() {
        return None;
    }
    let (before, after) = (before.trim_matches(BETWEEN), after.trim_matches(BETWEEN));
    let is_alone = match (before, after) {
        ("", "") => false,
        (before, "") => label::is_owner(before, found) || is_sentence(before) || is_number(before),
        ("", after) => is_number(after),
        _ => false,
    };
    is_alone.then_some(found)
}

/// An address of which somebody said the signs, after the name of an address: `meu email é ana arroba x ponto com`.
fn after_name<'a>(names: &[&str], text: &'a str) -> Option<&'a str> {
    let mut ends = text.match_indices(' ').map(|(at, _)| at).take_while(|at| *at <= label::MAX_NAME);
    ends.find_map(|at| {
        let (before, after) = text.split_at_checked(at)?;
        let after = after.trim_start();
        (label::is_name(names, before) && spoken::address(after).is_some()).then_some(after)
    })
}

/// The number beside an address.
pub(super) fn number(text: &str) -> Option<&str> {
    let at = text.find('@')?;
    let start = text.get(..at)?.rfind(' ').map_or(0, |at| at + 1);
    let end = text.get(at..)?.find(' ').map_or(text.len(), |end| at + end);
    let address = text.get(start..end)?.trim_matches(BETWEEN);
    let (before, after) =
        (text.get(..start)?.trim_end_matches(['-', ' ', ',', ';', '/', '|']), text.get(end..)?);
    let after = after.trim_start_matches(['-', ' ', ',', ';', '/', '|']);
    Email::parse(address)?;
    match (before, after) {
        (number, "") | ("", number) if is_number(number) => Some(number),
        _ => None,
    }
}

/// The phone number after its number in a list: `1. 85 98812-4471`. The whole text may be one number, too, but nobody writes a full
/// stop and a space after the code of a country that has one digit.
pub(super) fn numbered(text: &str, region: Region) -> Option<&str> {
    let rest = label::without_numbering(text)?;
    let phone = Phone::parse(rest, region)?;
    let has_one_digit = text.as_bytes().get(1).is_some_and(|byte| !byte.is_ascii_digit());
    let is_certain = has_one_digit && phone.strength() == Strength::Strong;
    (is_certain || Phone::parse(text, region).is_none()).then_some(rest)
}

/// Whether a name may have something before it. Nearly all names have nothing.
pub(super) fn may_begin(text: &str) -> bool {
    match text.bytes().next() {
        Some(b'1'..=b'9') => label::without_numbering(text).is_some(),
        Some(b'm' | b'M' | b'o' | b'O' | b'e' | b'E' | b'j' | b'J' | b'i' | b'I') => {
            introduced(text).is_some()
        }
        _ => false,
    }
}

/// The name after what introduces it, or after its number in a list: `Meu nome é Ana Souza`, `1. Ana Souza`.
pub(super) fn name(text: &str) -> Option<&str> {
    let name = label::without_numbering(text).or_else(|| introduced(text))?.trim_end_matches(['.', '!', ' ']);
    let is_name = name.starts_with(char::is_uppercase) && name.split(' ').count() <= MAX_NAMES;
    (is_name && name.chars().all(|c| c.is_alphabetic() || matches!(c, ' ' | '\'' | '’' | '-' | '.')))
        .then_some(name)
}

fn introduced(text: &str) -> Option<&str> {
    INTRODUCTIONS.iter().find_map(|words| {
        let mut rest = text.chars();
        words.chars().all(|c| rest.next().and_then(folded_or_apostrophe) == Some(c)).then_some(rest.as_str())
    })
}

/// Phones write a typographic apostrophe.
fn folded_or_apostrophe(c: char) -> Option<char> {
    if matches!(c, '’' | '‘' | '´') { Some('\'') } else { folded_latin(c) }
}

fn is_sentence(text: &str) -> bool {
    let text = folded(text);
    let mut count = 0;
    text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).all(|word| {
        count += 1;
        SENTENCE.split_whitespace().any(|known| known == word)
    }) && (1..=MAX_WORDS).contains(&count)
}

/// Whether the text is one phone number by its look.
fn is_number(text: &str) -> bool {
    let is_part = |c: char| c.is_ascii_digit() || matches!(c, ' ' | '+' | '-' | '.' | '(' | ')');
    DIGITS.contains(&text.bytes().filter(u8::is_ascii_digit).count()) && text.chars().all(is_part)
}

/// Whether the word is a link to a chat, or a person's id in one.
pub(super) fn is_chat(word: &str) -> bool {
    word.contains("://") || word.contains("wa.me/") || word.contains('@')
}

/// The address before a comment (RFC 5322, 3.2.2): `ada@x.example (Ada)`.
pub(super) fn without_comment(text: &str) -> Option<&str> {
    let (address, comment) = text.strip_suffix(')')?.rsplit_once('(')?;
    let is_one = address.contains('@') && !comment.contains('@');
    is_one.then(|| address.trim_end())
}

#[cfg(test)]
mod tests {
    use crate::domain::value::{
        phone::Region,
        wrapping::{Kind, Unwrapped, rows, unwrap, unwrap_named},
    };

    #[test]
    fn what_is_around_an_address_is_taken_off() {
        for (text, expected, source) in rows::ADDRESSES {
            assert_eq!(unwrap(Kind::Email, text), Unwrapped::Bare((*expected).into()), "{text} ({source})");
        }
        for text in [
            "errado ana@firma.io",
            "não é ana@firma.io",
            "Bia Lima - ana@firma.io",
            "Ana Souza - ana@firma.io, bia@firma.io",
            "Pedido 85988124471 ana@firma.io",
        ] {
            assert_eq!(unwrap(Kind::Email, text), Unwrapped::Bare(text.into()), "{text}");
        }
    }

    #[test]
    fn what_is_around_a_number_is_taken_off() {
        let kind = Kind::Phone(Region::new("BR").unwrap());
        for (text, expected, source) in rows::NUMBERS {
            assert_eq!(unwrap(kind, text), Unwrapped::Bare((*expected).into()), "{text} ({source})");
        }
        for text in ["1. 98812-4471", "1) 98812-4471"] {
            assert_eq!(unwrap(kind, text), Unwrapped::Bare(text.into()), "{text}");
        }
    }

    #[test]
    fn introductions_are_taken_off_a_name() {
        let unwrap = |text: &str| match unwrap_named(Kind::Text, &[crate::domain::value::label::NAME], text) {
            Unwrapped::Bare(bare) => bare.into_owned(),
            Unwrapped::Differs => String::new(),
        };
        for (text, expected, source) in [
            ("Meu nome é Ana Souza", "Ana Souza", "Portuguese: in a chat"),
            ("Me chamo Ana Souza", "Ana Souza", "Portuguese: in a chat"),
            ("My name is Ana Souza.", "Ana Souza", "English: in a chat"),
            ("Me llamo Ana Souza", "Ana Souza", "Spanish: in a chat"),
            ("1. Ana Souza", "Ana Souza", "Markdown: an item of a list"),
            ("MEU NOME É ANA SOUZA", "ANA SOUZA", "Portuguese: in capitals"),
            ("My name’s Ana Souza", "Ana Souza", "English: a typographic apostrophe"),
            ("Je m’appelle Ana Souza", "Ana Souza", "French: a typographic apostrophe"),
            ("Je m'appelle Ana Souza", "Ana Souza", "French: in a chat"),
            ("Ich heiße Ana Souza", "Ana Souza", "German: in a chat"),
            ("ich heisse Ana Souza", "Ana Souza", "German: in Switzerland"),
        ] {
            assert_eq!(unwrap(text), expected, "{text} ({source})");
        }
        for text in ["Me Chamo", "Elena Souza", "1. fc", "Mi Chiamo è", "Juan 2. Perez"] {
            assert_eq!(unwrap(text), text, "{text}");
        }
    }
}
