//! Phone numbers as keys: E.164.

use std::fmt;

use rlibphonenumber::{PHONE_NUMBER_UTIL, PhoneNumberFormat};

use super::text;

/// Longest text that can be a phone number, in bytes; more is not looked at.
const MAX_TEXT: usize = 128;

/// A canonical phone number, E.164 (ITU-T E.164), such as `+5585999990001`. Personal data.
///
/// Only [`Phone::parse`] makes one from outside text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Phone(Box<str>);

impl Phone {
    /// Reads a valid number as people, `tel:` links and chat apps write it. Without `+` it is a
    /// number of `region`, or, where it is none, an international one that lost its `+`.
    ///
    /// Text with letters is refused: a second number, an extension or a sentence around a number
    /// would otherwise make a key that the person does not own alone.
    #[must_use]
    pub fn parse(text: &str, region: Region) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let text = text::without_invisible(text);
        let Written { number, international } = written(&text)?;
        if international {
            return valid(&format!("+{number}"), None);
        }
        // 00 stands for + in most of the world, whatever the region itself dials.
        let without_prefix = number.strip_prefix("00").unwrap_or(number);
        valid(number, Some(region)).or_else(|| valid(&format!("+{without_prefix}"), None))
    }

    /// A number that [`Phone::parse`] made, read back from the database.
    #[must_use]
    pub fn from_stored(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The number as text. Personal data.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phone(redacted)")
    }
}

struct Written<'a> {
    /// Without leading `+`.
    number: &'a str,
    international: bool,
}

/// Takes off what links and chats put around a number. None where what is left has letters.
fn written(text: &str) -> Option<Written<'_>> {
    let text = ["tel:", "whatsapp:"].into_iter().fold(text, strip_prefix).trim_start();
    let (text, is_chat_id) = match ["@c.us", "@s.whatsapp.net"].iter().find_map(|end| text.strip_suffix(end))
    {
        // A WhatsApp id may name a device after a colon; its digits are always international.
        Some(id) => (id.split_once(':').map_or(id, |(number, _device)| number), true),
        None => (text, false),
    };
    let number = text.trim_start_matches(['+', '\u{ff0b}']);
    if number.contains(|c: char| !c.is_numeric() && !is_punctuation(c)) {
        return None;
    }
    Some(Written { number, international: is_chat_id || number.len() < text.len() })
}

fn strip_prefix<'a>(text: &'a str, prefix: &str) -> &'a str {
    match text.split_at_checked(prefix.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(prefix) => rest,
        _ => text,
    }
}

/// What is written between the digits of one number. Not `,` and `;`: they part two numbers.
fn is_punctuation(c: char) -> bool {
    c.is_whitespace()
        || matches!(c, '-' | '.' | '/' | '(' | ')' | '[' | ']' | '~' | '\u{2010}'..='\u{2015}' | '\u{2212}'
            | '\u{30fc}' | '\u{ff08}' | '\u{ff09}' | '\u{ff0d}'..='\u{ff0f}')
}

/// The number in E.164 where the numbering plan of its region knows it.
fn valid(number: &str, region: Option<Region>) -> Option<Phone> {
    let number = PHONE_NUMBER_UTIL.parse(number, region.map(|region| region.0)).ok()?;
    if !number.is_valid() {
        return None;
    }
    Some(Phone(number.format_as(PhoneNumberFormat::E164).into()))
}

/// A region with a phone numbering plan (ISO 3166-1 alpha-2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(try_from = "String")]
pub struct Region(rlibphonenumber::Region);

/// The text is no ISO 3166-1 alpha-2 code, or the region has no numbering plan of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be the two-letter code (ISO 3166-1) of a region that has phone numbers, such as BR")]
pub struct UnknownRegion;

impl Region {
    /// The region with this two-letter code, in any case.
    #[must_use]
    pub fn new(code: &str) -> Option<Self> {
        if code.len() != 2 {
            return None;
        }
        let region = rlibphonenumber::Region::from_code(code).ok()?;
        PHONE_NUMBER_UTIL.get_country_code_for_region(region).map(|_calling_code| Self(region))
    }
}

impl TryFrom<String> for Region {
    type Error = UnknownRegion;

    fn try_from(code: String) -> Result<Self, UnknownRegion> {
        Self::new(&code).ok_or(UnknownRegion)
    }
}

impl fmt::Display for Region {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.as_region_str())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn e164(text: &str, region: &str) -> Option<String> {
        Phone::parse(text, Region::new(region).unwrap()).map(|phone| phone.as_str().to_owned())
    }

    #[test]
    fn spellings_of_one_number() {
        for text in [
            "+5585999990001",
            "+55 (85) 99999-0001",
            "(85) 99999-0001",
            "085 99999 0001",
            "85999990001",
            "5585999990001",
            "005585999990001",
            "tel:+55-85-99999-0001",
            "TEL: 85 99999.0001",
            "whatsapp:+5585999990001",
            "5585999990001@c.us",
            "5585999990001:12@s.whatsapp.net",
            "+５５８５９９９９９０００１",
            "＋５５ ８５ ９９９９９ー０００１",
            "\u{202a}+55\u{a0}85\u{200b}99999\u{2011}0001\u{202c}",
            "++5585999990001",
        ] {
            assert_eq!(e164(text, "BR").as_deref(), Some("+5585999990001"), "{text}");
        }
    }

    #[test]
    fn the_region_decides_without_plus_only() {
        assert_eq!(e164("020 7946 0018", "GB").as_deref(), Some("+442079460018"));
        assert_eq!(e164("+44 20 7946 0018", "BR").as_deref(), Some("+442079460018"));
        assert_eq!(e164("442079460018", "BR").as_deref(), Some("+442079460018"));
        assert_eq!(e164("030/901820", "DE").as_deref(), Some("+4930901820"));
        // A plus is never read with the region's own prefixes.
        assert_eq!(e164("+85999990001", "BR"), None);
    }

    #[test]
    fn refuses() {
        for text in [
            "",
            "+",
            "12",
            "abc",
            "190",
            "+999999999999",
            "11111111111111111111",
            "(85) 99999-0001 ext. 5",
            "1-800-FLOWERS",
            "my number is 85999990001",
            "85999990001; 85988880001",
            "85999990001, 85988880001",
            "85999990001 / 85988880001",
            "ada@analytical.example",
            "120363041234567890@g.us",
            "@c.us",
        ] {
            assert_eq!(e164(text, "BR"), None, "{text}");
        }
        assert_eq!(e164(&"9".repeat(100_000), "BR"), None);
    }

    #[test]
    fn regions() {
        assert_eq!(Region::new("br"), Region::new("BR"));
        assert_eq!(Region::new("BR").unwrap().to_string(), "BR");
        for code in ["", "B", "BRA", "ZZ", "001", "76", "é"] {
            assert_eq!(Region::new(code), None, "{code}");
        }
    }

    proptest! {
        #[test]
        fn never_panics_and_is_stable(text in "\\PC{0,40}|[+0-9 ()./@:-]{0,40}") {
            let region = Region::new("BR").unwrap();
            if let Some(phone) = Phone::parse(&text, region) {
                prop_assert_eq!(Phone::parse(phone.as_str(), region), Some(phone));
            }
        }
    }
}
