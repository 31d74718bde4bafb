//! Values of which an object has each part apart: `{"firstName":"Ana","lastName":"Souza"}`, `{"ddd":"85","numero":"999990001"}`.

use std::borrow::Cow;

use crate::domain::value::{label, text::folded};

/// The names of the two parts of a name that an object may have apart.
const FIRST_NAMES: &str = "first name|given name|primeiro nome|nome|nombre|nombres|vorname|prenom|name";
const LAST_NAMES: &str = "last name|family name|surname|sobrenome|apellido|apellidos|nachname|nom|cognome";
/// The names of the three parts of a phone number that an object may have apart.
const COUNTRY_CODES: &str =
    "country code|ddi|dial code|calling code|codigo do pais|codigo de pais|codigo pais";
const AREA_CODES: &str = "ddd|area code|codigo de area";
const LOCAL_NUMBERS: &str = "numero|number|telefone|telefono|phone|celular|phone number";
/// One of them is in each name of a code, in lower case.
const OF_CODES: [&str; 7] = ["ddi", "ddd", "country", "dial", "calling", "area", "digo"];
/// In letters; a longer name is not the name of a part.
const MAX_NAME: usize = 24;

/// Whether a member has one of these names, lists of `label`, or that of a first part of such a value.
pub(super) fn is_named(names: &[&str], name: &str) -> bool {
    let first_parts = [(label::NAME, FIRST_NAMES), (label::PHONE, COUNTRY_CODES), (label::PHONE, AREA_CODES)];
    label::is_name(names, &in_words(name))
        || first_parts.iter().any(|(list, parts)| names.contains(list) && is_part(parts, name))
}

fn is_part(list: &str, name: &str) -> bool {
    is_listed(list, &key(name))
}

fn is_listed(list: &str, key: &str) -> bool {
    list.split('|').any(|part| part == key)
}

fn key(name: &str) -> String {
    folded(&in_words(name)).replace('_', " ")
}

/// The parts of a value, joined: `{"firstName":"Ana","lastName":"Souza"}`. `None` if they are several values.
pub(super) fn joined(names: &[&str], members: &[(&str, &str)]) -> Option<String> {
    let part = |list: &str| {
        let mut found = members.iter().filter(|(name, _)| is_part(list, name));
        found.next().map(|(_, value)| *value).filter(|_| found.next().is_none())
    };
    // Another one may be the whole value.
    let count = members.iter().filter(|(name, _)| is_named(names, name)).count();
    if names.contains(&label::PHONE) {
        let (country, area, number) = (part(COUNTRY_CODES), part(AREA_CODES), part(LOCAL_NUMBERS)?);
        let has_all = count == 1 + usize::from(country.is_some()) + usize::from(area.is_some());
        let codes = (country.unwrap_or_default(), area.unwrap_or_default());
        return has_all.then(|| with_codes(codes, number))?;
    }
    let (first, last) = (part(FIRST_NAMES)?, part(LAST_NAMES)?);
    (names.contains(&label::NAME) && count == 2).then(|| match () {
        () if first.ends_with(last) => first.to_owned(),
        () if first.is_empty() => last.to_owned(),
        () => format!("{first} {last}"),
    })
}

/// A number with the codes of its country and its area, of which each may be empty. Without its plus the country's code would be
/// an area. `None` if the country is given by its letters.
fn with_codes((country, area): (&str, &str), number: &str) -> Option<String> {
    let country = country.trim_start_matches(['+', '0']);
    if !country.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(match (country, area) {
        _ if number.is_empty() => String::new(),
        ("", "") => number.to_owned(),
        ("", area) => format!("{area} {number}"),
        (country, "") => format!("+{country} {number}"),
        (country, area) => format!("+{country} {} {number}", area.trim_start_matches('0')),
    })
}

/// The numbers of any text that has their codes in other members, each on its line; `None` if there is none. For searches: it
/// takes no notice of where an object ends.
pub(in crate::domain) fn numbers_of_members(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    if !OF_CODES.iter().any(|word| lower.contains(word)) {
        return None;
    }
    let found: Vec<(&str, &str)> =
        text.match_indices([':', '=']).filter_map(|(at, _)| named_digits(text, at)).collect();
    let mut numbers = String::new();
    for (at, (_, number)) in found.iter().enumerate().filter(|(_, (list, _))| *list == LOCAL_NUMBERS) {
        let near = found.get(at.saturating_sub(2)..found.len().min(at + 3)).unwrap_or_default();
        let codes = |of: &'static str| {
            let codes = near.iter().filter(move |(list, _)| *list == of).map(|(_, code)| *code);
            codes.chain([""])
        };
        let pairs =
            codes(COUNTRY_CODES).flat_map(|country| codes(AREA_CODES).map(move |area| (country, area)));
        for number in pairs.filter(|pair| *pair != ("", "")).filter_map(|pair| with_codes(pair, number)) {
            numbers.extend([number.as_str(), "\n"]);
        }
    }
    Some(numbers).filter(|numbers| !numbers.is_empty())
}

/// The list that has the name before this colon or equals sign, and the digits after it.
fn named_digits(text: &str, at: usize) -> Option<(&'static str, &str)> {
    let is_mark = |c: char| matches!(c, '"' | '\'' | '\\' | ' ');
    let before = text.get(..at)?.trim_end_matches(is_mark);
    let is_of_name = |c: char| c.is_alphanumeric() || matches!(c, '_' | ' ');
    let length: usize =
        before.chars().rev().take(MAX_NAME).take_while(|c| is_of_name(*c)).map(char::len_utf8).sum();
    let name = Some(before.get(before.len() - length..)?.trim_start()).filter(|name| !name.is_empty())?;
    let key = key(name);
    let list = [COUNTRY_CODES, AREA_CODES, LOCAL_NUMBERS].into_iter().find(|list| is_listed(list, &key))?;
    let after = text.get(at + 1..)?;
    let value = after.trim_start_matches(|c| is_mark(c) || matches!(c, '>' | '=' | 'u' | 'b'));
    let end = value.find(|c: char| !(c.is_ascii_digit() || " +-.()".contains(c))).unwrap_or(value.len());
    let value = value.get(..end)?.trim();
    value.contains(|c: char| c.is_ascii_digit()).then_some((list, value))
}

/// The name in words: `fullName` is `full name`.
fn in_words(name: &str) -> Cow<'_, str> {
    let is_joined = name.bytes().zip(name.bytes().skip(1));
    if !is_joined.clone().any(|(one, next)| one.is_ascii_lowercase() && next.is_ascii_uppercase()) {
        return Cow::Borrowed(name);
    }
    let mut words = String::with_capacity(name.len() + 4);
    for c in name.chars() {
        if c.is_ascii_uppercase() && words.ends_with(|before: char| before.is_lowercase()) {
            words.push(' ');
        }
        words.push(c);
    }
    Cow::Owned(words)
}
