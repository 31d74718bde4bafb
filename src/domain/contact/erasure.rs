//! Whether bytes that belong to nobody (a message that failed, a webhook without a contact) speak of
//! a person who is being erased. How such bytes are read is in `readings`, how a number is found in
//! them in `numbers`.
//!
//! Only keys count: phones, emails and identity documents. Names do not, for two people share them.
//! Who the person is and what is removed is not decided here.

mod numbers;
mod readings;

use std::fmt;

use crate::domain::{
    contact::Identifier,
    value::{
        email::Email,
        phone::{Phone, Region},
    },
};

/// Fewest letters and digits of a document that are looked for; a shorter one is found everywhere.
const MIN_CODE: usize = 7;

/// What a person is recognized by. Personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    phones: Vec<Phone>,
    emails: Vec<Email>,
    /// Letters in upper case and digits only, no shorter than [`MIN_CODE`], at least one digit.
    codes: Vec<String>,
    region: Region,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Person(redacted)")
    }
}

impl Person {
    /// The person with these keys and these documents, and numbers that are no keys. National phone
    /// numbers are read in `region`. Documents of fewer than 7 letters and digits are left out.
    #[must_use]
    pub fn new<'a>(
        region: Region,
        keys: impl IntoIterator<Item = Identifier>,
        documents: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut person = Self { phones: Vec::new(), emails: Vec::new(), codes: Vec::new(), region };
        for key in keys {
            match key {
                // One that is looked up but cannot be read as a number is a document like any other.
                Identifier::Phone(phone) if Phone::parse(phone.as_str(), region).as_ref() != Some(&phone) => {
                    person.codes.extend(code(phone.as_str()));
                }
                Identifier::Phone(phone) => person.phones.push(phone),
                Identifier::Email(email) => person.emails.push(email),
            }
        }
        person.codes.extend(documents.into_iter().filter_map(code));
        person.phones.sort_unstable();
        person.phones.dedup();
        person.emails.sort_unstable();
        person.emails.dedup();
        person.codes.sort_unstable();
        person.codes.dedup();
        person
    }

    /// Whether `bytes`, of whatever format, hold one of the keys as a whole, however it is written:
    /// escaped, percent-encoded, in base64, with other punctuation, national or international.
    #[must_use]
    pub fn is_mentioned(&self, bytes: &[u8]) -> bool {
        readings::of(bytes).iter().any(|text| {
            self.has_email(text) || numbers::mentions(text, &self.numbers()) || self.has_code(text)
        })
    }

    fn numbers(&self) -> numbers::Sought<'_> {
        numbers::Sought { phones: &self.phones, codes: &self.codes, region: self.region }
    }

    fn has_email(&self, text: &str) -> bool {
        !self.emails.is_empty()
            && text.match_indices('@').any(|(at, _)| {
                let (before, after) = (text.get(..at), text.get(at + 1..));
                before.zip(after).is_some_and(|(before, after)| self.is_email_around(before, after))
            })
    }

    /// Whether the `@` between these texts is that of one of the emails. What stands before it may be
    /// glued to other text (`to=ada@…`), but not to what would make it another address (`bada@…`).
    fn is_email_around(&self, before: &str, after: &str) -> bool {
        let end =
            after.find(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '.'))).unwrap_or(after.len());
        let domain = after.get(..end).unwrap_or_default().trim_end_matches(['.', '-']);
        let Some(canonical) = Email::parse(&format!("x@{domain}")) else { return false };
        self.emails.iter().any(|email| {
            let Some((local, domain)) = email.as_str().split_once('@') else { return false };
            let start = before.len().checked_sub(local.len());
            let Some((rest, found)) = start.and_then(|start| before.split_at_checked(start)) else {
                return false;
            };
            let glued = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-');
            canonical.as_str().strip_prefix("x@") == Some(domain)
                && found.eq_ignore_ascii_case(local)
                && !rest.ends_with(glued)
        })
    }

    /// Whether one of the documents that have letters is there, whatever parts its groups.
    fn has_code(&self, text: &str) -> bool {
        let mut lettered = self.codes.iter().filter(|code| !is_number(code)).peekable();
        if lettered.peek().is_none() {
            return false;
        }
        let words = words(text);
        lettered.any(|code| (0..words.len()).any(|from| words.get(from..).is_some_and(|w| begin(w, code))))
    }
}

/// Whether all letters and digits of `code` are those of the first of these words.
fn begin(words: &[(bool, &str)], code: &str) -> bool {
    let mut rest = code;
    for (index, (joined, word)) in words.iter().enumerate() {
        let Some((start, after)) = rest.split_at_checked(word.len()) else { return false };
        if (index > 0 && !joined) || !start.eq_ignore_ascii_case(word) {
            return false;
        }
        if after.is_empty() {
            return true;
        }
        rest = after;
    }
    false
}

/// The runs of ASCII letters and digits, and whether each is joined to the one before by what may
/// stand within a document's number.
fn words(text: &str) -> Vec<(bool, &str)> {
    let mut words = Vec::new();
    let mut gap = usize::MAX;
    for part in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let word = part.trim_end_matches(|c: char| !c.is_ascii_alphanumeric());
        if !word.is_empty() {
            words.push((gap <= 2, word));
            gap = 0;
        }
        match part.chars().next_back().filter(|c| !c.is_ascii_alphanumeric()) {
            Some('.' | '-' | '/' | ' ') => gap = gap.saturating_add(1),
            Some(_) => gap = usize::MAX,
            None => {}
        }
    }
    words
}

fn is_number(code: &str) -> bool {
    code.bytes().all(|byte| byte.is_ascii_digit())
}

fn code(document: &str) -> Option<String> {
    let code: String =
        document.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    (code.len() >= MIN_CODE && code.bytes().any(|byte| byte.is_ascii_digit())).then_some(code)
}

#[cfg(test)]
mod tests;
