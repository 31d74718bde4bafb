//! Searches bytes that belong to no contact (a dead letter, a webhook without a CRM step) for a person who is being
//! erased. `readings` decodes the bytes; `numbers` finds numbers in them.
//!
//! Only phones, emails and identity documents count. Names do not, because people share them. Nothing here decides
//! what to remove.

pub mod candidates;
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

/// In letters and digits; a shorter document number would match everywhere.
const MIN_CODE: usize = 7;

/// The phones, emails and documents of a person. Personal data.
#[derive(Clone, PartialEq, Eq)]
pub struct Person {
    phones: Vec<Phone>,
    emails: Vec<Email>,
    /// Documents: upper-case letters and digits, at least [`MIN_CODE`], with at least one digit.
    codes: Vec<String>,
    region: Region,
}

impl fmt::Debug for Person {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Person(redacted)")
    }
}

impl Person {
    /// Reads national phone numbers in `region`. Leaves out documents with fewer than 7 letters and digits,
    /// or without a digit.
    #[must_use]
    pub fn new<'a>(
        region: Region,
        keys: impl IntoIterator<Item = Identifier>,
        documents: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let mut person = Self { phones: Vec::new(), emails: Vec::new(), codes: Vec::new(), region };
        for key in keys {
            match key {
                // An unparsable stored phone is searched for like a document.
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

    /// Whether `bytes`, in any format, contain a phone, email or document as a whole. It may be escaped,
    /// percent-encoded, in base64, differently punctuated, national or international.
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

    /// Whether the `@` between these texts belongs to one of the emails. Other text may come directly before
    /// the address (`to=ada@…`), unless that makes it another address (`bada@…`).
    fn is_email_around(&self, before: &str, after: &str) -> bool {
        let Some(found_domain) = domain_at(after) else { return false };
        let is_before_underscore = is_before_underscore(after);
        self.emails.iter().any(|email| {
            let Some((local, domain)) = email.as_str().split_once('@') else { return false };
            let start = before.len().checked_sub(local.len());
            let Some((rest, found)) = start.and_then(|start| before.split_at_checked(start)) else {
                return false;
            };
            found_domain == domain
                && found.eq_ignore_ascii_case(local)
                && starts_after(rest, is_before_underscore)
        })
    }

    /// Whether the text contains a document with letters, with any separators between its groups.
    fn has_code(&self, text: &str) -> bool {
        let mut lettered = self.codes.iter().filter(|code| !is_number(code)).peekable();
        if lettered.peek().is_none() {
            return false;
        }
        let words = words(text);
        lettered.any(|code| (0..words.len()).any(|from| words.get(from..).is_some_and(|w| spell(w, code))))
    }
}

/// The canonical domain of the address whose `@` this text follows.
fn domain_at(after: &str) -> Option<String> {
    let domain = after.get(..end_of_domain(after)).unwrap_or_default().trim_end_matches(['.', '-']);
    Email::parse(&format!("x@{domain}"))?.as_str().strip_prefix("x@").map(str::to_owned)
}

fn end_of_domain(after: &str) -> usize {
    after.find(|c: char| !(c.is_alphanumeric() || matches!(c, '-' | '.'))).unwrap_or(after.len())
}

/// Whether an address can start after `before`. An underscore on both sides is emphasis: `_ada@x.example_`.
fn starts_after(before: &str, is_before_underscore: bool) -> bool {
    let before = if is_before_underscore { before.trim_end_matches('_') } else { before };
    !before.ends_with(is_glue) || is_list_mark(before)
}

/// Whether the text ends in a dash that begins a line or a value, as before an item of a list: `-ada@x.example`.
fn is_list_mark(before: &str) -> bool {
    let rest = before.trim_end_matches(['-', '*', '/', '|', '>', '#']);
    rest.len() < before.len() && !rest.ends_with(is_glue)
}

/// Whether an underscore follows the domain at the start of this text.
fn is_before_underscore(after: &str) -> bool {
    after.get(end_of_domain(after)..).is_some_and(|rest| rest.starts_with('_'))
}

/// Whether this character directly before an address makes it another address.
fn is_glue(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '.' | '_' | '%' | '+' | '-')
}

/// Whether the first of these words spell `code`.
fn spell(words: &[(bool, &str)], code: &str) -> bool {
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

/// The runs of ASCII letters and digits, and whether only a document's separators join each to the one
/// before.
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
