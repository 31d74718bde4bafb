//! Masks identity documents in requests to receivers and in their answers.
//!
//! A request does not say which of its values is a document. So the documents that its contact has or had are looked
//! for in any notation. Also masked are values of a member `identity`, and anything that looks like a document and
//! has valid check digits.

use std::borrow::Cow;

use serde_json::Value;

use crate::domain::value::{
    identity::{Recognized, masked, recognize},
    phone::Region,
};

/// The shortest document that is looked for within other texts. A shorter one would match by chance.
const MIN_WITHIN: usize = 6;

/// The lengths of documents that are written with their separators: `123-45-6789`, `529.982.247-25`, `12.ABC.345/01DE-35`.
const LAID_OUT: [usize; 3] = [11, 14, 18];

/// Documents by their letters and digits.
#[derive(Clone, Debug, Default)]
pub(super) struct Documents(Vec<Vec<u8>>);

impl Documents {
    /// The known documents of the people whom a text may name.
    pub(super) fn new(known: &[String]) -> Self {
        let mut documents = Self::default();
        for document in known {
            documents.add(document);
        }
        documents
    }

    fn add(&mut self, document: &str) {
        let compact: Vec<u8> =
            document.bytes().filter(|byte| is_part(*byte)).map(|byte| byte.to_ascii_uppercase()).collect();
        if compact.len() >= MIN_WITHIN && !self.0.contains(&compact) {
            self.0.push(compact);
        }
    }

    /// The bytes without documents. The others stay as they are.
    pub(super) fn hide<'a>(&self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let mut documents = self.clone();
        let short = serde_json::from_slice(bytes).map(|value| documents.collect(&value)).unwrap_or_default();
        // A longer one may begin with a shorter one.
        documents.0.sort_by_key(|document| std::cmp::Reverse(document.len()));
        let (mut hidden, mut taken, mut at) = (Vec::new(), 0, 0);
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let Some(length) = documents.begins(rest).or_else(|| begins_short(rest, &short)) else {
                at += 1;
                continue;
            };
            let (before, found) = (bytes.get(taken..at), rest.get(..length));
            hidden.extend_from_slice(before.unwrap_or_default());
            hidden.extend(masked(&String::from_utf8_lossy(found.unwrap_or_default())).into_bytes());
            at += length;
            taken = at;
        }
        if taken == 0 {
            return Cow::Borrowed(bytes);
        }
        hidden.extend_from_slice(bytes.get(taken..).unwrap_or_default());
        Cow::Owned(hidden)
    }

    /// The same of a text.
    pub(super) fn hide_in(&self, text: &str) -> String {
        String::from_utf8_lossy(&self.hide(text.as_bytes())).into_owned()
    }

    /// Adds what members `identity` have, and returns those that are too short to be looked for within other texts.
    fn collect(&mut self, value: &Value) -> Vec<String> {
        let mut short = Vec::new();
        self.collect_into(value, false, &mut short);
        short
    }

    fn collect_into(&mut self, value: &Value, is_document: bool, short: &mut Vec<String>) {
        match value {
            Value::Object(members) => {
                for (name, value) in members {
                    let is_document = is_document || name.eq_ignore_ascii_case("identity");
                    self.collect_into(value, is_document, short);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect_into(item, is_document, short)),
            Value::String(text) if is_document => {
                self.add(text);
                let is_short = text.bytes().filter(|byte| is_part(*byte)).count() < MIN_WITHIN;
                short.extend(Some(text.clone()).filter(|text| is_short && !text.is_empty()));
            }
            Value::Number(number) if is_document => self.add(&number.to_string()),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// The length of the document that begins here.
    fn begins(&self, text: &[u8]) -> Option<usize> {
        if !text.first().is_some_and(|byte| is_part(*byte)) {
            return None;
        }
        let known = self.0.iter().find_map(|document| length_of(document, text));
        known.or_else(|| LAID_OUT.into_iter().find(|length| is_laid_out(text, *length)))
    }
}

/// The length of a short document in quotes. Without them it would match by chance.
fn begins_short(text: &[u8], short: &[String]) -> Option<usize> {
    let text = text.strip_prefix(b"\"")?;
    short.iter().find_map(|document| {
        let rest = text.strip_prefix(document.as_bytes())?;
        rest.starts_with(b"\"").then_some(document.len() + 2)
    })
}

const fn is_part(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || !byte.is_ascii()
}

/// The length of this document at the beginning of the text, with any separators between its parts.
fn length_of(document: &[u8], text: &[u8]) -> Option<usize> {
    let mut at = 0;
    for (number, part) in document.iter().enumerate() {
        if number > 0 {
            at += separator(text.get(at..)?);
        }
        if !text.get(at)?.eq_ignore_ascii_case(part) {
            return None;
        }
        at += 1;
    }
    Some(at)
}

/// The length of the separator between two parts of a document, including its form in JSON and in URLs.
fn separator(text: &[u8]) -> usize {
    const ENCODED: [&[u8]; 5] = [b"%20", b"%2E", b"%2D", b"%2F", b"\\/"];
    let encoded = ENCODED
        .into_iter()
        .find(|encoded| text.get(..encoded.len()).is_some_and(|text| text.eq_ignore_ascii_case(encoded)));
    match (encoded, text.first()) {
        (Some(encoded), _) => encoded.len(),
        (None, Some(b'.' | b'-' | b'/' | b' ' | b'+')) => 1,
        (None, _) => 0,
    }
}

/// Whether the text begins with a document that has all its separators. With them it is a document in any region.
fn is_laid_out(text: &[u8], length: usize) -> bool {
    let Some(text) = text.get(..length).and_then(|text| std::str::from_utf8(text).ok()) else { return false };
    let Some(region) = Region::new("DE").filter(|_| text.ends_with(|c: char| c.is_ascii_digit())) else {
        return false;
    };
    match recognize(text, region) {
        Recognized::Cpf(found) | Recognized::Cnpj(found) | Recognized::Ssn(found) => {
            found.eq_ignore_ascii_case(text)
        }
        Recognized::Other | Recognized::BadCheckDigits => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hidden(known: &[&str], text: &str) -> String {
        let known: Vec<String> = known.iter().map(|document| (*document).to_owned()).collect();
        Documents::new(&known).hide_in(text)
    }

    #[test]
    fn known_document_is_hidden_in_any_notation() {
        let known = ["529.982.247-25", "12.ABC.345/01DE-35", "AB-998877"];
        for (text, expected) in [
            ("52998224725", "***725"),
            (r#"{"cpf":"529.982.247-25","n":52998224725}"#, r#"{"cpf":"***-25","n":***725}"#),
            ("https://x.example/529.982.247-25?d=12abc34501de35", "https://x.example/***-25?d=***e35"),
            ("d=12.ABC.345%2F01DE-35&e=12.ABC.345\\/01DE-35", "d=***-35&e=***-35"),
            ("529 982 247 25, ab998877.", "*** 25, ***877."),
            ("529%20982%2e247+25", "***+25"),
            ("529.982.247", "529.982.247"),
            ("", ""),
        ] {
            assert_eq!(hidden(&known, text), expected, "{text}");
        }
        assert_eq!(hidden(&["12345"], "12345"), "12345", "it would be found by chance");
        assert_eq!(hidden(&["112233", "11-22-33-44"], "11223344 112233"), "***344 ***");
        assert_eq!(hidden(&["МЮ 123456"], "МЮ123456"), "***456");
    }

    #[test]
    fn unknown_document_is_hidden_where_it_shows_that_it_is_one() {
        for (text, expected) in [
            (
                r#"{"contact":{"identity":"XK-5544332"},"note":"XK5544332"}"#,
                r#"{"contact":{"identity":"***332"},"note":"***332"}"#,
            ),
            (r#"{"identity":{"ids":["XK-5544332",98877665]}}"#, r#"{"identity":{"ids":["***332",***665]}}"#),
            (r#"{"Identity":"123","other":"123","n":1234}"#, r#"{"Identity":***,"other":***,"n":1234}"#),
            ("tax 111.444.777-35 of Ada", "tax ***-35 of Ada"),
            ("CPF 111.444.777-35 of Ada", "CPF ***-35 of Ada"),
            ("tax 111.444.777-36 of Ada", "tax 111.444.777-36 of Ada"),
            ("11144477735", "11144477735"),
            ("2026-11-29 10:00, +55 11 98765-4321", "2026-11-29 10:00, +55 11 98765-4321"),
        ] {
            assert_eq!(hidden(&[], text), expected);
        }
    }

    #[test]
    fn other_bytes_stay_as_they_are() {
        let bytes = b"\xff\x00 52998224725 \xfe";
        let documents = Documents::new(&["529.982.247-25".to_owned()]);
        assert_eq!(documents.hide(bytes).as_ref(), b"\xff\x00 ***725 \xfe");
        assert!(matches!(documents.hide(b"nothing here"), Cow::Borrowed(_)));
    }
}
