//! Strips what people, links and chat apps write around and between the digits of a number. Nothing here
//! knows numbering plans.

use std::borrow::Cow;

use crate::domain::value::{
    check_digits::has_cpf_digits,
    damaged,
    text::{after_prefix, folded, percent_decoded},
};

/// Schemes before a number; `sms:` is RFC 5724, `tel:` is RFC 3966.
const SCHEMES: [&str; 10] =
    ["tel:", "callto:", "sms:", "smsto:", "mms:", "whatsapp:", "facetime:", "wa:", "phone:", "fone:"];
/// Links to a chat with the number in the path.
const PATHS: [&str; 5] = ["wa.me/", "api.whatsapp.com/phone/", "t.me/+", "t.me/", "signal.me/#p/"];
/// Links to a chat with the number in the query, as `phone=`.
const QUERIES: [&str; 3] = ["api.whatsapp.com/send", "web.whatsapp.com/send", "whatsapp.com/send"];
/// Chat apps append these to a person's number. Groups end in `@g.us`, and ids before `@lid` are not phone
/// numbers.
const CHATS: [&str; 2] = ["@c.us", "@s.whatsapp.net"];
/// Labels of an extension, folded. A label comes before its own prefixes.
const EXTENSIONS: [&str; 15] = [
    "ext=",
    "extension",
    "extensao",
    "extn",
    "ext",
    "ramal",
    "rml",
    "ram",
    "r",
    "anexo",
    "interno",
    "int",
    "durchwahl",
    "x",
    "#",
];
/// In digits: libphonenumber's limit after an ambiguous label.
const MAX_EXTENSION: usize = 9;
/// Between two numbers, in lower case. So is a comma that is not decimal.
const SEPARATORS: [&str; 11] = ["/", ", ", ";", "|", " ou ", " or ", " o ", " e ", " y ", " and ", " & "];
/// Of numbers in one value.
const MAX_PARTS: usize = 3;
/// In digits: a shorter part may be an extension, or the last digits of another line of a company.
const MIN_DIGITS: usize = 7;
/// Of a number (E.164, 6.1).
const MAX_DIGITS: usize = 15;

/// Of a company that has them in a row.
const MAX_LINES: u16 = 9;

/// A number with its separators stripped.
pub(super) struct Written {
    /// ASCII digits, at least one.
    pub(super) number: String,
    /// Whether it certainly begins with a country code.
    pub(super) international: bool,
    /// ASCII digits.
    pub(super) extension: Option<String>,
}

/// `None` unless exactly one number remains.
pub(super) fn read(text: &str) -> Option<Written> {
    // A scheme with an authority, `tel://`, whose name was taken for a label.
    let mut text = text.trim_start_matches('/');
    while let Some(rest) = SCHEMES.iter().find_map(|scheme| after_prefix(text, scheme)) {
        text = rest.trim_start().trim_start_matches('/');
    }
    let text = without_query(text).unwrap_or(text);
    if let Some(number) = in_context(text) {
        return read(&number);
    }
    if let Some(user) = after_prefix(text, "sip:").or_else(|| after_prefix(text, "sips:")) {
        // A telephone subscriber (RFC 3261, 19.1.6). Other users have names or numbers of their own company.
        let number = user.split(['@', ';']).next().filter(|number| number.starts_with('+'))?;
        return bare(number);
    }
    if let Some(number) = linked(text) {
        let number = percent_decoded(number)?;
        return Some(Written { international: true, ..bare(&number)? });
    }
    if let Some((id, _)) = text.split_once('@') {
        CHATS.iter().find(|end| text.get(id.len()..).is_some_and(|found| found.eq_ignore_ascii_case(end)))?;
        // A WhatsApp id may name an agent after a dot and a device after a colon.
        return Some(Written { international: true, ..bare(id.split(['.', ':']).next()?)? });
    }
    match text.find(|c: char| c.is_alphabetic() && !is_punctuation(c) || c == '#' || c == ';') {
        None => bare(text),
        Some(start) => {
            let (number, label) = text.split_at_checked(start)?;
            let number = number.trim_end_matches([' ', ',', '(', '[', '-', '.']);
            Some(Written { extension: Some(extension(label)?), ..bare(number)? })
        }
    }
}

/// The number before the text that a link puts into a message: `+55…?body=oi`, on iOS also `+55…&body=oi`.
fn without_query(text: &str) -> Option<&str> {
    let (number, query) = text.find(['?', '&']).and_then(|at| text.split_at_checked(at))?;
    let is_number = number.chars().all(|c| c.is_ascii_digit() || c == '+' || is_punctuation(c));
    let is_named = query
        .get(1..)?
        .split_once('=')
        .is_some_and(|(name, _)| !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic()));
    (is_number && is_named).then_some(number)
}

/// A local number with the country and area code for which it is local (RFC 3966, 5.1.5).
fn in_context(text: &str) -> Option<String> {
    let (number, context) = text.split_once(";phone-context=")?;
    let (context, parameters) =
        context.find(';').and_then(|at| context.split_at_checked(at)).unwrap_or((context, ""));
    let is_code = context.starts_with('+') && !number.starts_with('+');
    Some(format!("{}{number}{parameters}", if is_code { context } else { "" }))
}

/// The local numbers of any text with their codes, each on its line; `None` if there is none. For searches.
pub(in crate::domain) fn numbers_in_context(text: &str) -> Option<String> {
    let is_of_number = |c: char| c.is_ascii_digit() || c == '+' || is_punctuation(c);
    let numbers = text.match_indices(";phone-context=").filter_map(|(at, parameter)| {
        let (before, after) = (text.get(..at)?, text.get(at + parameter.len()..)?);
        let start = before.trim_end_matches(is_of_number).len();
        let end = after.find(|c| !is_of_number(c)).unwrap_or(after.len());
        Some(format!("{}{}\n", after.get(..end)?.trim_end(), before.get(start..)?.trim_start()))
    });
    Some(numbers.collect::<String>()).filter(|numbers| !numbers.is_empty())
}

/// The number from the second plus sign on, if the country's code was put before a number that has it: `+55 +55 85 …`.
pub(super) fn without_doubled_code(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(['(', ' ']).strip_prefix('+')?;
    let at = rest.find('+')?;
    let (code, number) = rest.split_at_checked(at)?;
    let code = code.trim_matches(|c: char| is_punctuation(c));
    (is_calling_code(code) && number.trim_start_matches('+').starts_with(code)).then_some(number)
}

/// Whether digits are the code of a country (ITU-T E.164, annex D): none begins like another one.
pub(super) fn is_calling_code(digits: &str) -> bool {
    let is_of_two = |start: &[u8]| {
        matches!(
            start,
            [b'2', b'0' | b'7']
                | [b'3', b'0'..=b'4' | b'6' | b'9']
                | [b'4', b'0' | b'1' | b'3'..=b'9']
                | [b'5', b'1'..=b'8']
                | [b'6', b'0'..=b'6']
                | [b'8', b'1' | b'2' | b'4' | b'6']
                | [b'9', b'0'..=b'5' | b'8']
        )
    };
    match digits.as_bytes() {
        [b'1' | b'7'] => true,
        [_, _] => is_of_two(digits.as_bytes()),
        [first @ b'2'..=b'9', second, third] => {
            *first != b'7' && third.is_ascii_digit() && !is_of_two(&[*first, *second])
        }
        _ => false,
    }
}

/// The numbers of a text in lower case; `None` unless there are at least two and at most [`MAX_PARTS`].
pub(super) fn parts(text: &str) -> Option<Vec<&str>> {
    let mut parts = vec![text];
    for separator in SEPARATORS {
        parts = parts.into_iter().flat_map(|part| part.split(separator)).collect();
    }
    // The decimal comma of a float separates nothing: `5585999990001,00`.
    let is_float = |part: &str| !matches!(damaged::repair(part.trim()), Some(Cow::Borrowed(_)));
    let parts = parts.into_iter().flat_map(|part| {
        let separators = if is_float(part) { [].as_slice() } else { &[','] };
        part.split(separators)
    });
    let parts: Vec<&str> = parts.map(str::trim).filter(|part| !part.is_empty()).collect();
    (2..=MAX_PARTS).contains(&parts.len()).then_some(parts)
}

/// The first of a company's consecutive lines, of which only the last digits of the next one are written: `3344-5567/5568`,
/// `3344-5567/68`. Other digits may be an extension.
pub(super) fn before_next_line(text: &str) -> Option<&str> {
    let (first, next) = ["/", " a ", " e "].iter().find_map(|between| text.rsplit_once(between))?;
    let (first, next) = (first.trim_end(), next.trim());
    let is_digits = |digits: &str| digits.bytes().all(|byte| byte.is_ascii_digit());
    let last = first.get(first.len().checked_sub(next.len())?..)?;
    if !(2..=4).contains(&next.len()) || !is_digits(next) || !is_digits(last) {
        return None;
    }
    let steps = next.parse::<u16>().ok()?.checked_sub(last.parse().ok()?)?;
    (1..=MAX_LINES).contains(&steps).then_some(first)
}

/// The text before its last group of up to four digits, if `between` is before that group, and if it may be a number itself.
pub(super) fn before_last_group<'a>(text: &'a str, between: &str) -> Option<&'a str> {
    let text = text.trim_end_matches(is_punctuation);
    let rest = text.trim_end_matches(|c: char| c.is_ascii_digit());
    let first = rest.trim_end_matches(is_punctuation);
    let has_group = (1..=4).contains(&(text.len() - rest.len())) && first.len() < rest.len();
    if !has_group || !rest.get(first.len()..)?.contains(between) {
        return None;
    }
    // After a scheme: `tel:11 …`.
    let number = first.trim_start_matches(|c: char| c.is_alphabetic() || c == ':');
    let is_number = number.chars().all(|c| c.is_ascii_digit() || c == '+' || is_punctuation(c));
    let digits = number.bytes().filter(u8::is_ascii_digit).count();
    (is_number && (MIN_DIGITS..=MAX_DIGITS).contains(&digits)).then_some(first)
}

/// One number whose parts are separated like two: `+55, 85, 98812-4471`, `85;98812-4471`.
pub(super) fn joined_parts(text: &str) -> Option<String> {
    if !text.contains([',', ';']) || text.contains(char::is_alphabetic) {
        return None;
    }
    let parts: Vec<&str> = columns(text).collect();
    joined(&parts)
}

/// The numbers of any text of which each part is in a column of its own, each number on its line; `None` if there is none. For
/// searches.
pub(in crate::domain) fn numbers_in_columns(text: &str) -> Option<String> {
    let is_of_row = |c: char| c.is_ascii_digit() || matches!(c, '+' | ',' | ';') || is_punctuation(c);
    let mut numbers = String::new();
    for row in text.split(|c| !is_of_row(c)).filter(|row| row.contains([',', ';'])) {
        let parts: Vec<&str> = columns(row).collect();
        for found in parts.windows(2).chain(parts.windows(3)).filter_map(joined) {
            numbers.extend([found.as_str(), "\n"]);
        }
    }
    Some(numbers).filter(|numbers| !numbers.is_empty())
}

fn columns(text: &str) -> impl Iterator<Item = &str> {
    text.split([',', ';']).map(str::trim).filter(|part| !part.is_empty())
}

/// One number of its parts: one or two codes, and what is dialed in its area. A single digit is no area.
fn joined(parts: &[&str]) -> Option<String> {
    let digits = |part: &str| part.bytes().filter(u8::is_ascii_digit).count();
    let (number, codes) = parts.split_last()?;
    let are_codes = codes.iter().all(|code| (2..=3).contains(&digits(code)) && code.len() <= 5);
    let is_whole = (8..=9).contains(&digits(number));
    ((1..=2).contains(&codes.len()) && are_codes && is_whole).then(|| parts.join(" "))
}

/// Whether only one digit is before a Brazilian mobile number: the number of an item in a list, or an area that lost its other
/// digit. Together they would be a number of another area from before the ninth digit.
pub(super) fn lacks_an_area(text: &str, is_company_in_brazil: bool) -> bool {
    let mut groups = text.split(|c: char| !c.is_ascii_digit()).filter(|group| !group.is_empty());
    let mut first = groups.next().unwrap_or_default();
    if first == "55" {
        first = groups.next().unwrap_or_default();
    } else if !is_company_in_brazil {
        return false;
    }
    let mut rest = groups.flat_map(str::bytes);
    first.len() == 1 && first != "0" && rest.next() == Some(b'9') && rest.count() == 8
}

/// Whether somebody lost the last digit of a Brazilian mobile number: `85 98812-447`. Without its groups it would be a number
/// from before the ninth digit, which is somebody else's.
pub(super) fn lacks_a_digit(text: &str) -> bool {
    let digits = |group: &str| group.bytes().filter(u8::is_ascii_digit).count() == group.len();
    let Some((start, last)) = text.rsplit_once('-') else { return false };
    let before = start.rsplit([' ', '-', ')', '.']).next().unwrap_or_default();
    last.len() == 3 && digits(last) && before.len() == 5 && before.starts_with('9') && digits(before)
}

/// Whether the digits are in the groups of a CPF or a CNPJ, which no phone number has: `529.982.247-25`,
/// `11.222.333/0001-81`. Other separators count only in Brazil and with the right check digits.
pub(super) fn is_document(text: &str, is_company_in_brazil: bool) -> bool {
    // Most numbers do not end in a group of two.
    let before_end = text.as_bytes().iter().rev().nth(2);
    if before_end.is_none_or(u8::is_ascii_digit) || !text.starts_with(|c: char| c.is_ascii_digit()) {
        return false;
    }
    let groups: Vec<usize> = text.split(is_punctuation).map(str::len).collect();
    let marks = || text.chars().filter(|c| !c.is_ascii_digit());
    let is_laid_out = |with: &str| marks().map(|c| if is_dash(c) { '-' } else { c }).eq(with.chars());
    let digits = || text.chars().filter(char::is_ascii_digit).collect::<String>();
    match groups.as_slice() {
        [3, 3, 3, 2] if is_company_in_brazil && is_laid_out("..-") => true,
        [3, 3, 3, 2] => (is_company_in_brazil || is_laid_out("..-")) && has_cpf_digits(&digits()),
        [9, 2] => is_company_in_brazil && has_cpf_digits(&digits()),
        [2, 3, 3, 4, 2] => is_laid_out("../-"),
        _ => false,
    }
}

/// Whether the text can be a phone number that lacks something, such as its area code or its last digits.
pub(super) fn is_like_a_number(text: &str) -> bool {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    digits >= MIN_DIGITS && (!text.contains(char::is_alphabetic) || damaged::repair(text).is_none())
}

/// Extracts the number from a link to a chat.
fn linked(text: &str) -> Option<&str> {
    let text = ["https://", "http://", "whatsapp://", "viber://", "//"]
        .iter()
        .find_map(|scheme| after_prefix(text, scheme))
        .unwrap_or(text);
    let text = after_prefix(text, "www.").unwrap_or(text);
    if let Some(path) = PATHS.iter().find_map(|host| after_prefix(text, host)) {
        return path.split(['?', '#', '/']).next();
    }
    if let Some(query) = after_prefix(text, "chat?") {
        return query.split(['&', '#']).find_map(|pair| after_prefix(pair, "number="));
    }
    let query =
        QUERIES.iter().find_map(|host| after_prefix(text, host)).or_else(|| after_prefix(text, "send"))?;
    let query = query.strip_prefix('/').unwrap_or(query).strip_prefix('?')?;
    query.split(['&', '#']).find_map(|pair| after_prefix(pair, "phone="))
}

/// Reads a number that consists of digits and punctuation.
fn bare(text: &str) -> Option<Written> {
    let text = text.trim();
    let body = text.trim_start_matches(['(', '[', ' ']);
    let digits = body.trim_start_matches('+');
    let mut number = String::with_capacity(digits.len());
    for c in digits.chars() {
        if c.is_ascii_digit() {
            number.push(c);
        } else if !is_punctuation(c) {
            return None;
        }
    }
    let international = digits.len() < body.len();
    (!number.is_empty()).then_some(Written { number, international, extension: None })
}

/// The digits after an extension label.
fn extension(label: &str) -> Option<String> {
    let label = folded(label);
    let label = label.trim_start_matches(';');
    let digits = EXTENSIONS.iter().find_map(|word| label.strip_prefix(word))?;
    let digits =
        digits.trim_start_matches(['.', ':', '=', ' ', '#']).trim_end_matches([' ', ')', ']', '.', '#']);
    let fits =
        (1..=MAX_EXTENSION).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| digits.to_owned())
}

fn is_dash(c: char) -> bool {
    matches!(c, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}' | '\u{30fc}')
}

/// Separators between the digits of one number; `,` and `;` separate two numbers.
fn is_punctuation(c: char) -> bool {
    c.is_whitespace() || is_dash(c) || matches!(c, '.' | '/' | '(' | ')' | '[' | ']' | '~')
}
