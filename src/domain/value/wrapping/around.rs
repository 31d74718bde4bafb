//! What people write around an address, a number or a name without any mark for it: the owner of an address, a number beside an
//! address, the words of a sentence.

use super::spoken;
use crate::domain::value::{email::Email, label, text::folded};

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
/// What introduces somebody's name, in lower case.
const INTRODUCTIONS: [&str; 12] = [
    "meu nome é ",
    "meu nome e ",
    "o meu nome é ",
    "me chamo ",
    "eu me chamo ",
    "my name is ",
    "my name's ",
    "me llamo ",
    "mi nombre es ",
    "je m'appelle ",
    "mein name ist ",
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
    let mut ends = text.match_indices(' ').map(|(at, _)| at);
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

/// Whether a name may have something before it. Nearly all names have nothing.
pub(super) fn may_begin(text: &str) -> bool {
    match text.bytes().next() {
        Some(b'1'..=b'9') => label::without_numbering(text).is_some(),
        Some(b'm' | b'M' | b'o' | b'O' | b'e' | b'E' | b'j' | b'J') => introduced(text).is_some(),
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
        let (start, name) = text.split_at_checked(words.len())?;
        start.eq_ignore_ascii_case(words).then_some(name)
    })
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
        email::Email,
        phone::Region,
        wrapping::{Kind, Unwrapped, unwrap, unwrap_named},
    };

    #[test]
    fn what_is_around_an_address_is_taken_off() {
        for (text, expected, source) in [
            ("Ana Souza (ana@firma.io)", "ana@firma.io", "signatures"),
            ("Ana Souza [ana@firma.io]", "ana@firma.io", "signatures"),
            ("Ana Souza - ana@firma.io", "ana@firma.io", "signatures"),
            ("Ana Souza ana@firma.io", "ana@firma.io", "signatures"),
            ("Ana, ana@firma.io", "ana@firma.io", "signatures"),
            ("Ana Souza / ana@firma.io", "ana@firma.io", "signatures"),
            ("ana@firma.io / 85 98812-4471", "ana@firma.io", "signatures: a number beside it"),
            ("ana@firma.io - 85 98812-4471", "ana@firma.io", "signatures: a number beside it"),
            ("85 98812-4471 / ana@firma.io", "ana@firma.io", "signatures: a number beside it"),
            ("pode ser ana@firma.io", "ana@firma.io", "Portuguese: in a chat"),
            ("pode mandar para ana@firma.io", "ana@firma.io", "Portuguese: in a chat"),
            ("anota aí: ana@firma.io", "ana@firma.io", "Portuguese: in a chat"),
            ("it's ana@firma.io", "ana@firma.io", "English: in a chat"),
            ("you can reach me at ana@firma.io", "ana@firma.io", "English: in a chat"),
            ("meu e-mail é o ana@firma.io", "ana@firma.io", "Portuguese: in a chat"),
            ("meu email é ana arroba gmail ponto com", "ana@gmail.com", "Portuguese: dictated"),
            ("ana@gmail ponto com", "ana@gmail.com", "Portuguese: dictated, with the sign"),
            ("ana@gmail dot com", "ana@gmail.com", "English: dictated, with the sign"),
            ("ana guion bajo souza arroba gmail punto com", "ana_souza@gmail.com", "Spanish: dictated"),
            ("邮箱：ana@firma.io", "ana@firma.io", "https://dict.revised.moe.edu.tw"),
            ("メール: ana@firma.io", "ana@firma.io", "https://dictionary.goo.ne.jp"),
            ("이메일: ana@firma.io", "ana@firma.io", "https://stdict.korean.go.kr"),
            ("SMTP:ana@firma.io", "ana@firma.io", "Outlook: the address of an account"),
            ("Para: ana@firma.io", "ana@firma.io", "Outlook: the head of a mail"),
        ] {
            assert_eq!(unwrap(Kind::Email, text), Unwrapped::Bare(expected.into()), "{text} ({source})");
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
    fn halves_of_pairs_and_links_are_taken_off_an_address() {
        for (text, expected, source) in [
            ("\"ada@analytical.example", "ada@analytical.example", "CSV: one of two quotes"),
            ("ada@analytical.example\"", "ada@analytical.example", "CSV: the other one"),
            ("ada@analytical.example'", "ada@analytical.example", "SQL: one of two quotes"),
            ("(ada@analytical.example", "ada@analytical.example", "signatures: one of two brackets"),
            ("ada@analytical.example)", "ada@analytical.example", "signatures: the other one"),
            ("ada@analytical.example}", "ada@analytical.example", "JSON: the end of an object"),
            ("<ada@analytical.example", "ada@analytical.example", "RFC 5322, 3.4: cut"),
            ("http://ada@analytical.example", "ada@analytical.example", "Excel: a link"),
            (
                "ada@analytical.example?subject=oi",
                "ada@analytical.example",
                "RFC 6068, 6.1: without its scheme",
            ),
            ("ada @analytical . example", "ada@analytical.example", "signatures: spaces around its signs"),
        ] {
            let email = Email::parse(text);
            assert_eq!(email.as_ref().map(Email::as_str), Some(expected), "{text} ({source})");
        }
    }

    #[test]
    fn what_is_around_a_number_is_taken_off() {
        let kind = Kind::Phone(Region::new("BR").unwrap());
        for (text, expected, source) in [
            ("p:+5585988124471", "+5585988124471", "https://www.facebook.com/business/help: exported leads"),
            ("1. 85 98812-4471", "85 98812-4471", "Markdown: an item of a list"),
            ("1) 85 98812-4471", "85 98812-4471", "Markdown: an item of a list"),
            ("Nº: 85 98812-4471", "85 98812-4471", "Portuguese"),
            ("whatsapp business: 85 98812-4471", "85 98812-4471", "WhatsApp"),
            ("85 98812-4471 (confirmado)", "85 98812-4471", "Portuguese: a remark"),
            ("85 98812-4471 (principal)", "85 98812-4471", "Portuguese: a remark"),
            ("85 98812-4471 (só mensagem)", "85 98812-4471", "Portuguese: a remark"),
            ("85 98812-4471 obrigado", "85 98812-4471", "Portuguese: a remark"),
            ("ana@firma.io / 85 98812-4471", "85 98812-4471", "signatures: an address beside it"),
            ("85 98812-4471 - ana@firma.io", "85 98812-4471", "signatures: an address beside it"),
        ] {
            assert_eq!(unwrap(kind, text), Unwrapped::Bare(expected.into()), "{text} ({source})");
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
        ] {
            assert_eq!(unwrap(text), expected, "{text} ({source})");
        }
        for text in ["Me Chamo", "Elena Souza", "1. fc", "Mi Chiamo è", "Juan 2. Perez"] {
            assert_eq!(unwrap(text), text, "{text}");
        }
    }
}
