//! Values that say "I have no value": what language models and form fillers write instead of
//! leaving a field out. They write nothing to a contact and find none.
//!
//! Only whole values count, never parts of one, so that no real name or firm is lost. The words are a
//! setting; what template engines leave and made-up numbers are known by their form.

use std::collections::{HashMap, HashSet};

use crate::domain::{
    contact::field::Field,
    value::text::{self, folded},
};

/// The words that are placeholders. Case, accents, the space between words, and brackets and full stops
/// around them do not matter, except where it is said.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlaceholderLists {
    /// In every field.
    pub anywhere: Vec<String>,
    /// In every field, but not where the value is written as a name, "Nada", in a field of free text.
    pub unless_a_name: Vec<String>,
    /// In keys, documents, dates and numbers only, and in small letters as a country.
    pub keys_only: Vec<String>,
    /// Addresses that stand in examples, never in a mailbox.
    pub emails: Vec<String>,
}

/// The placeholders of a deployment.
#[derive(Debug)]
pub struct Placeholders {
    words: HashMap<Box<str>, Reach>,
    emails: HashSet<Box<str>>,
    /// Longest word, in bytes.
    longest: usize,
}

/// Where a word is a placeholder.
#[derive(Clone, Copy, Debug)]
enum Reach {
    Anywhere,
    UnlessAName,
    KeysOnly,
}

impl Placeholders {
    /// Of a word in two lists the wider list counts.
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

    /// Whether `text`, already cleaned of surrounding space, stands for no value in `field`.
    /// `parameter` is the parameter that the field takes its value from.
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
        // Folding makes a letter at most one byte out of three or four.
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

/// Without the brackets and the end of the sentence around it.
fn bare(text: &str) -> &str {
    text.trim_start_matches(['<', '(', '[', '"', '*']).trim_end_matches(['>', ')', ']', '"', '*', '.', '!'])
}

/// Folded, with one space for what parts words and none around a slash: `Não_Informado`, `N / A`.
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

/// Signs that are no value by themselves: "-", "...", "??", "—".
const fn is_filler(c: char) -> bool {
    matches!(c, '-' | '_' | '.' | '?' | '*' | '/' | '\\' | '+' | '~' | ' ' | '\u{2010}'..='\u{2015}' | '…')
}

/// Words that are in brackets only where something was to be filled in.
const TEMPLATE_WORDS: [&str; 22] = [
    "name", "nome", "nombre", "email", "mail", "correo", "phone", "telefone", "telefono", "celular",
    "company", "empresa", "your", "seu", "sua", "su", "insert", "inserir", "insertar", "customer", "cliente",
    "user",
];

/// What a template engine or a form leaves where it found no value: `$name`, `${name}`, `{{ name }}`,
/// `{name}`, `%name%`, `<name>`, and `[name]` where its words are those of a form.
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

/// Fields in which any word may be a name.
const fn is_free_text(field: Field) -> bool {
    !matches!(
        field,
        Field::Phone | Field::Email | Field::Identity | Field::Birthday | Field::ZipCode | Field::Number
    )
}

/// "Nada": a capital first, then small letters.
fn is_written_as_a_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(char::is_uppercase) && letters.all(char::is_lowercase)
}

/// Fewest digits that count up or down on purpose, and most that a person types of one digit or in a row
/// after a real area code. "98765-4321" counts down, and is somebody's number in every area.
const FEWEST: usize = 6;
const SUBSCRIBER: usize = 9;

/// Digits typed to get past a form: one digit over and over, or digits in a row.
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
    let end =
        digits.split_at_checked(digits.len().saturating_sub(SUBSCRIBER)).map_or(&*digits, |(_, end)| end);
    let is_whole = digits.len() >= FEWEST;
    !digits.is_empty() && steps(&digits, 0)
        || is_whole && (steps(&digits, 1) || steps(&digits, 9))
        || end.len() == SUBSCRIBER && (steps(end, 0) || steps(end, 1))
}

#[cfg(test)]
mod tests;
