//! Recognizes placeholders: values that language models and forms write in place of an unknown one.
//! A placeholder neither changes nor finds a contact.
//!
//! Only a whole value can be a placeholder, so that no real name or company is lost. The words come from
//! the settings; template residue and made-up numbers are recognized by their form.

use std::collections::{HashMap, HashSet};

use crate::domain::{
    contact::field::Field,
    value::text::{self, folded},
};

/// Placeholder words. Case, accents, the space between words, and brackets and full stops around them do
/// not matter, except where noted.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceholderLists {
    /// Placeholders in every field.
    pub anywhere: Vec<String>,
    /// Placeholders in every field, unless a free-text field has the word spelled as a name, "Nada".
    pub unless_a_name: Vec<String>,
    /// Placeholders in identifiers, documents, dates and numbers, and as a country unless in capitals.
    pub keys_only: Vec<String>,
    /// Addresses from examples, which no person has.
    pub emails: Vec<String>,
}

/// [`PlaceholderLists`], folded for lookups.
#[derive(Debug)]
pub struct Placeholders {
    words: HashMap<Box<str>, Reach>,
    emails: HashSet<Box<str>>,
    /// Bytes of the longest word.
    longest: usize,
}

/// The fields in which a word is a placeholder.
#[derive(Clone, Copy, Debug)]
enum Reach {
    Anywhere,
    UnlessAName,
    KeysOnly,
}

impl Placeholders {
    /// A word in two lists has the wider reach.
    #[must_use]
    pub fn new(lists: &PlaceholderLists) -> Self {
        let mut words = HashMap::new();
        for (list, reach) in [
            (&lists.keys_only, Reach::KeysOnly),
            (&lists.unless_a_name, Reach::UnlessAName),
            (&lists.anywhere, Reach::Anywhere),
        ] {
            words.extend(list.iter().map(|word| (spelled(bare(word.trim())).into_boxed_str(), reach)));
        }
        let longest = words.keys().map(|word| word.len()).max().unwrap_or(0);
        let emails = lists.emails.iter().map(|email| folded(email.trim()).into_boxed_str()).collect();
        Self { words, emails, longest }
    }

    /// Whether `text`, without surrounding space, is a placeholder in `field`. `parameter` is the name of the
    /// parameter that fills the field.
    #[must_use]
    pub fn cover(&self, field: Field, text: &str, parameter: &str) -> bool {
        text == parameter
            || text.chars().all(is_filler)
            || is_residue(field, text, parameter)
            || self.is_word(field, text)
            || match field {
                Field::Email => self.emails.contains(&*folded(&text::plain(text))),
                Field::Phone => is_made_up(text),
                _ => false,
            }
    }

    fn is_word(&self, field: Field, text: &str) -> bool {
        // Folding shrinks a letter to no less than a quarter of its bytes.
        if text.len() > 4 * self.longest + 16 {
            return false;
        }
        let bare = bare(text);
        match self.words.get(&*spelled(bare)) {
            None => false,
            Some(Reach::Anywhere) => true,
            Some(Reach::UnlessAName) => !is_free_text(field) || !is_written_as_a_name(bare),
            Some(Reach::KeysOnly) if field == Field::Country => !bare.chars().all(char::is_uppercase),
            Some(Reach::KeysOnly) => !is_free_text(field),
        }
    }
}

/// Strips brackets, quotes and the end of a sentence.
fn bare(text: &str) -> &str {
    text.trim_start_matches(['<', '(', '[', '"', '*']).trim_end_matches(['>', ')', ']', '"', '*', '.', '!'])
}

/// Folded, with one space between words and none around a slash: `Não_Informado`, `N / A`.
fn spelled(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len());
    if text.is_ascii() {
        text.chars().for_each(|c| spell(&mut spelled, c.to_ascii_lowercase()));
    } else {
        folded(text).chars().for_each(|c| spell(&mut spelled, c));
    }
    spelled
}

fn spell(spelled: &mut String, c: char) {
    match c {
        '_' | '-' | ' ' | '\u{a0}' if spelled.ends_with([' ', '/']) => {}
        '_' | '-' | ' ' | '\u{a0}' => spelled.push(' '),
        '/' => {
            spelled.truncate(spelled.trim_end().len());
            spelled.push('/');
        }
        _ => spelled.push(c),
    }
}

/// Characters that alone are not a value: "-", "...", "??", "—".
const fn is_filler(c: char) -> bool {
    matches!(c, '-' | '_' | '.' | '?' | '*' | '/' | '\\' | '+' | '~' | ' ' | '\u{2010}'..='\u{2015}' | '…')
}

/// Words that mark a bracketed text as a form's blank.
const TEMPLATE_WORDS: [&str; 22] = [
    "name", "nome", "nombre", "email", "mail", "correo", "phone", "telefone", "telefono", "celular",
    "company", "empresa", "your", "seu", "sua", "su", "insert", "inserir", "insertar", "customer", "cliente",
    "user",
];

/// Whether a template engine or form left the text in place of a value: `$name`, `${name}`, `{{ name }}`,
/// `{name}`, `%name%`, `<name>`, and `[name]` if its words are those of a form.
fn is_residue(field: Field, text: &str, parameter: &str) -> bool {
    let within = |open, close| text.strip_prefix(open).and_then(|text| text.strip_suffix(close));
    let dollar = || text.strip_prefix('$').filter(|name| !name.starts_with(|c: char| c.is_ascii_digit()));
    let marked = within("{{", "}}")
        .or_else(|| within("${", "}"))
        .or_else(|| within("{", "}"))
        .or_else(|| within("<", ">"))
        .or_else(|| within("%", "%"))
        .or_else(dollar);
    if let Some(name) = marked {
        return name.chars().all(|c| c.is_alphanumeric() || " _-.[]{}%/".contains(c));
    }
    let Some(name) = within("[", "]") else { return false };
    let name = folded(name);
    let mut words = name.split(|c: char| !c.is_alphanumeric());
    !is_free_text(field)
        || name == folded(parameter)
        || words.any(|word| TEMPLATE_WORDS.contains(&word) || word == field.name())
}

/// Fields in which any word can be a name.
const fn is_free_text(field: Field) -> bool {
    !matches!(
        field,
        Field::Phone | Field::Email | Field::Identity | Field::Birthday | Field::ZipCode | Field::Number
    )
}

/// A capital followed by lower case, "Nada".
fn is_written_as_a_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(char::is_uppercase) && letters.all(char::is_lowercase)
}

/// Fewer digits in sequence can be a real number.
const MIN_SEQUENCE: usize = 6;
/// Digits of a Brazilian mobile number after its area code. "98765-4321" is a real number in every area, so
/// only repeated and ascending digits count there.
const SUBSCRIBER_DIGITS: usize = 9;

/// Whether the digits were typed to get past a form: one digit repeated, or digits in sequence.
fn is_made_up(text: &str) -> bool {
    let text = text::plain(text);
    if text.contains(char::is_alphabetic) {
        return false;
    }
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_digit).map(|digit| digit - b'0').collect();
    let steps = |digits: &[u8], step: u8| {
        let mut pairs = digits.iter().zip(digits.iter().skip(1));
        pairs.all(|(one, next)| (one + step) % 10 == *next)
    };
    let end = digits
        .split_at_checked(digits.len().saturating_sub(SUBSCRIBER_DIGITS))
        .map_or(&*digits, |(_, end)| end);
    let is_long = digits.len() >= MIN_SEQUENCE;
    !digits.is_empty() && steps(&digits, 0)
        || is_long && (steps(&digits, 1) || steps(&digits, 9))
        || end.len() == SUBSCRIBER_DIGITS && (steps(end, 0) || steps(end, 1))
}

#[cfg(test)]
mod tests;
