//! Phone numbers as identifiers: E.164, with extensions as in RFC 3966. `phone::written` reads the forms
//! used on paper, in links and in chats; `phone::region` knows the region of each company.
//!
//! A number has one canonical text, whatever region it was read in. People still write numbers from before
//! two numbering plans changed, and both spellings mean the same person:
//!
//! - Brazil put a 9 before the eight digits of every mobile number (Anatel, resolution 553 of 2010,
//!   complete since November 2016): eight digits that begin with 6, 8 or 9 get it. Landlines (2 to 5)
//!   and trunking numbers (7) never had it.
//! - Mexico dropped the 1 between 52 and a mobile number in August 2019 (IFT, numbering plan of 2018).

pub(in crate::domain) mod brazil;
mod region;
#[cfg(test)]
pub(in crate::domain) mod rows;
pub(in crate::domain) mod written;

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumberFormat, PhoneNumberType};

use crate::domain::value::{damaged, label, relatives::is_anothers, text};
pub use region::{Region, Regions, UnknownRegion};
use written::Written;

/// In bytes: room for a chat link with a message. Longer texts are not parsed.
const MAX_TEXT: usize = 512;

/// Digits of the shortest number with its country code that is read as one without its `+`, as in Denmark or Singapore.
const MIN_WITH_COUNTRY: usize = 10;

/// Between a number and its extension (RFC 3966, 3).
const EXTENSION: &str = ";ext=";

/// A canonical phone number, such as `+5585999990001` or `+558533334444;ext=12`. Personal data.
///
/// Compares by its text alone.
#[derive(Clone)]
pub struct Phone {
    text: Box<str>,
    /// `None` for a number from the database, whose strength is not known yet.
    strength: Option<Strength>,
}

/// Whether a number proves that two contacts are one person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// A valid number of its plan: finds its contact, and merges it with the contact of an email.
    Strong,
    /// A number with an extension, or of possible length with an unknown prefix: finds the contact with
    /// exactly this text, and merges nothing.
    Weak,
}

impl Phone {
    /// Parses a number as people, links and chat apps write it. Without `+` it is a number of `region` or,
    /// if it is not valid there, a valid international number that lost its `+`.
    ///
    /// `None` if the length is impossible, if the area code is missing (in the next town the number is
    /// somebody else's), if it is written as a Brazilian document, or if there are letters other than an extension's: a second number or a sentence
    /// does not identify one person.
    #[must_use]
    pub fn parse(text: &str, region: Region) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let text = text::plain(text);
        // One half of a pair of quotes, too.
        let text = text.trim_end_matches([',', ';', ' ', '"', '\'', '`']).trim_start_matches(['"', '`']);
        let text = text.strip_suffix(['L', 'n']).filter(|it| is_integer(it)).unwrap_or(text);
        let text = damaged::repair(text).filter(|text| !damaged::is_fraction(text))?;
        let is_company_in_brazil = region.code() == "BR";
        if written::lacks_a_digit(&text)
            || written::lacks_an_area(&text, is_company_in_brazil)
            || written::is_document(&text, is_company_in_brazil)
        {
            return None;
        }
        let text = written::without_doubled_code(&text).unwrap_or(&text);
        let unprefixed = brazil::without_blank(text, is_company_in_brazil);
        let text = unprefixed.as_deref().unwrap_or(text);
        if is_with_another(text, "/", region) {
            return None;
        }
        let Written { number, international, extension } = written::read(text)?;
        let mut phone = if international {
            // `+00 55`: the prefix for calls abroad after the sign that stands for it. No country code is 0.
            let number = number.strip_prefix("00").unwrap_or(&number);
            canonical(&format!("+{number}"), None).or_else(|| without_doubled_code(number))?
        } else {
            let national = canonical(without_old_prefix(&number, region), Some(region));
            let is_alone = || !is_with_another(text, "", region);
            // Most of the world dials 00 for +, so it counts in every region.
            let abroad = || {
                let abroad = number.strip_prefix("00");
                // A shorter one is a local number: `98812-4471` is not Iran's.
                let is_long = number.len() >= MIN_WITH_COUNTRY;
                let number = abroad.or_else(|| (is_long && is_alone()).then_some(&*number))?;
                canonical(&format!("+{number}"), None).filter(Self::is_strong)
            };
            match national {
                Some(phone) if phone.is_strong() => phone,
                national => {
                    let doubled = || if is_alone() { without_doubled_code(&number) } else { None };
                    abroad().or(national).or_else(doubled)?
                }
            }
        };
        if let Some(extension) = extension {
            phone.text = format!("{}{EXTENSION}{extension}", phone.text).into();
            phone.strength = Some(Strength::Weak);
        }
        Some(phone)
    }

    /// Parses one or more numbers of which exactly one is strong and the person's own. `true` if another one was not: it is
    /// left out.
    ///
    /// `None` if two are strong, because nobody knows which of them is the person's, or if something else than a
    /// number is beside it: it may be an extension.
    #[must_use]
    pub fn parse_one_of(text: &str, region: Region) -> Option<(Self, bool)> {
        if let Some(phone) = Self::parse(text, region) {
            return Some((phone, false));
        }
        if text.len() > MAX_TEXT {
            return None;
        }
        let text = text::plain(text).to_lowercase();
        if let Some(phone) = written::joined_parts(&text).and_then(|joined| Self::parse(&joined, region)) {
            return Some((phone, false)).filter(|(phone, _)| phone.is_strong());
        }
        if let Some(phone) = written::before_next_line(&text).and_then(|first| Self::parse(first, region)) {
            return Some((phone, true)).filter(|(phone, _)| phone.is_strong());
        }
        let (mut found, mut left_out) = (None, false);
        for part in written::parts(&text)? {
            if is_anothers(part) {
                left_out = true;
                continue;
            }
            let number = label::without(&[label::PHONE], part)
                .or_else(|| label::without_before_digits(&[label::PHONE], part))
                .or_else(|| label::without_after_digits(&[label::PHONE], part))
                .unwrap_or(part);
            match Self::parse(number, region) {
                Some(phone) if phone.is_strong() => {
                    if found.replace(phone.clone()).is_some_and(|other| other != phone) {
                        return None;
                    }
                }
                None if !written::is_like_a_number(number) => return None,
                _ => left_out = true,
            }
        }
        found.map(|phone| (phone, left_out))
    }

    /// Wraps a canonical number from the database.
    #[must_use]
    pub fn from_stored(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), strength: None }
    }

    /// The canonical number. Personal data.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Parses a number from the database on each call.
    #[must_use]
    pub fn strength(&self) -> Strength {
        let known = self.strength.or_else(|| canonical(&self.text, None)?.strength);
        known.filter(|_| !self.text.contains(EXTENSION)).unwrap_or(Strength::Weak)
    }

    /// The national number if its plan knows it as a mobile one. In North America no plan says so. Parses the number on
    /// each call.
    #[must_use]
    pub(in crate::domain) fn national_mobile(&self) -> Option<String> {
        let is_in_north_america = self.text.starts_with("+1");
        let parsed =
            PHONE_NUMBER_UTIL.parse(&self.text, None).ok().filter(|_| !self.text.contains(EXTENSION))?;
        let is_mobile = match parsed.get_type() {
            PhoneNumberType::Mobile => true,
            PhoneNumberType::FixedLineOrMobile => !is_in_north_america,
            _ => false,
        };
        is_mobile.then(|| parsed.get_national_significant_number())
    }

    fn is_strong(&self) -> bool {
        self.strength() == Strength::Strong
    }
}

/// Whether a last group of digits comes after a whole number of the region and `between`: another line of a company, or an
/// extension. With its digits it would be somebody else's number, often in another country: `(11) 3044-5566/67`.
fn is_with_another(text: &str, between: &str, region: Region) -> bool {
    let first = written::before_last_group(text, between).and_then(|first| Phone::parse(first, region));
    first.is_some_and(|first| first.is_strong())
}

/// Whether this is an integer as Python 2 and JavaScript print one before its sign: `5585988124471L`.
fn is_integer(text: &str) -> bool {
    text.len() >= MIN_WITH_COUNTRY && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The number if its length is possible; strong if its plan knows it.
fn canonical(number: &str, region: Option<Region>) -> Option<Phone> {
    match brazil::recognized(number, region.is_some_and(|region| region.code() == "BR")) {
        Some(e164) => Some(Phone { text: e164.into(), strength: Some(Strength::Strong) }),
        None => planned(number, region),
    }
}

/// The same by libphonenumber's plans.
fn planned(number: &str, region: Option<Region>) -> Option<Phone> {
    let parsed = PHONE_NUMBER_UTIL.parse(number, region.map(|region| region.plan)).ok()?;
    let e164 = parsed.format_as(PhoneNumberFormat::E164);
    if parsed.is_valid() {
        return Some(Phone { text: e164.into(), strength: Some(Strength::Strong) });
    }
    if let Some(renumbered) = renumbered(&e164) {
        return canonical(&renumbered, None);
    }
    let is_possible = matches!(parsed.is_possible_with_reason(), Ok(NumberLengthType::IsPossible));
    // Brazil has short company numbers, so a number without an area code has a possible length.
    let has_area = e164.strip_prefix("+55").is_none_or(|national| national.len() >= 10);
    // `+54 0…` is read as a number with its national prefix, which is stripped: read again, it would be another number.
    let is_stable = || {
        let again = PHONE_NUMBER_UTIL.parse(&e164, None);
        again.is_ok_and(|again| again.format_as(PhoneNumberFormat::E164) == e164)
    };
    (is_possible && has_area && is_stable())
        .then(|| Phone { text: e164.into(), strength: Some(Strength::Weak) })
}

/// The number whose country code is there twice, as when a form puts it before a number that has it already. Nothing else
/// can be meant: with both codes no plan has room for it.
fn without_doubled_code(number: &str) -> Option<Phone> {
    (1..=3).find_map(|length| {
        let (code, rest) = number.split_at_checked(length)?;
        let is_doubled = written::is_calling_code(code) && rest.starts_with(code);
        let phone = if is_doubled { canonical(&format!("+{rest}"), None) } else { None };
        phone.filter(Phone::is_strong)
    })
}

/// Strips the prefixes that Mexico dialed before ten digits until August 2019: 01 for long distance, 044 and
/// 045 for mobiles. No Mexican number begins with 0.
fn without_old_prefix(number: &str, region: Region) -> &str {
    let prefixes = if region.code() == "MX" { ["01", "044", "045"].as_slice() } else { &[] };
    let stripped = prefixes.iter().find_map(|prefix| number.strip_prefix(prefix));
    stripped.filter(|rest| rest.len() == 10).unwrap_or(number)
}

/// The new form of a number whose plan changed.
fn renumbered(e164: &str) -> Option<String> {
    if let Some(national) = e164.strip_prefix("+55") {
        let (area, subscriber) = national.split_at_checked(2)?;
        let is_mobile = subscriber.len() == 8 && subscriber.starts_with(['6', '8', '9']);
        // No Brazilian area code contains a zero; 0300, 0500, 0800 and 0900 numbers look like one.
        return (is_mobile && !area.contains('0')).then(|| format!("+55{area}9{subscriber}"));
    }
    // With what was dialed before it until 2019, too.
    let national = e164.strip_prefix("+52")?;
    let national = ["1", "01", "044", "045"].iter().find_map(|prefix| national.strip_prefix(prefix))?;
    (national.len() == 10).then(|| format!("+52{national}"))
}

impl PartialEq for Phone {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Phone {}

impl Hash for Phone {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl Ord for Phone {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl PartialOrd for Phone {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Debug for Phone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Phone(redacted)")
    }
}

#[cfg(test)]
mod tests;
