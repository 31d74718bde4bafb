//! Phone numbers as keys: E.164, with an extension as RFC 3966 writes it. How a number looks on
//! paper, in links and in chats is `phone::written`; which region a company is in, `phone::region`.
//!
//! One number has one canonical text, whatever region it was read in. Two numbering plans changed
//! under the numbers that people still write, and both spellings mean one person:
//!
//! - Brazil put a 9 before the eight digits of every mobile number (Anatel, resolution 553 of 2010,
//!   complete since November 2016): eight digits that begin with 6, 8 or 9 get it. Landlines (2 to 5)
//!   and trunking numbers (7) never had it.
//! - Mexico dropped the 1 between 52 and a mobile number in August 2019 (IFT, numbering plan of 2018).

mod region;
mod written;

use std::{
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
};

use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, PhoneNumberFormat};

use crate::domain::value::text;
pub use region::{Region, Regions, UnknownRegion};
use written::Written;

/// Longest text that can be a phone number, in bytes: a chat link with a message is longer than a
/// number. More is not looked at.
const MAX_TEXT: usize = 512;

/// What stands between a number and its extension (RFC 3966, 3).
const EXTENSION: &str = ";ext=";

/// A canonical phone number, such as `+5585999990001` or `+558533334444;ext=12`. Personal data.
///
/// Only [`Phone::parse`] makes one from outside text. Two are equal when their texts are.
#[derive(Clone)]
pub struct Phone {
    text: Box<str>,
    /// None where it has not been asked for yet.
    strength: Option<Strength>,
}

/// What a number may do as a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Strength {
    /// One line of a valid numbering plan: finds its contact, and joins it with that of an email.
    Strong,
    /// A number with an extension, or one whose length fits and whose beginning no plan knows: finds the
    /// contact of exactly this text, and joins nothing.
    Weak,
}

impl Phone {
    /// Reads a number as people, links and chat apps write it. Without `+` it is a number of `region`,
    /// or, where it is no valid one, a valid international one that lost its `+`.
    ///
    /// None where no plan has numbers of this length, where only the area code is missing (the same
    /// number is somebody else's in the next town), and where there are letters other than an
    /// extension's: a second number or a sentence would make a key that the person does not own alone.
    #[must_use]
    pub fn parse(text: &str, region: Region) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let Written { number, international, extension } = written::read(&text::plain(text))?;
        let mut phone = if international {
            canonical(&format!("+{number}"), None)?
        } else {
            let national = canonical(without_old_prefix(&number, region), Some(region));
            // 00 stands for + in most of the world, whatever the region itself dials.
            let abroad = || {
                let number = number.strip_prefix("00").unwrap_or(&number);
                canonical(&format!("+{number}"), None).filter(Self::is_strong)
            };
            match national {
                Some(phone) if phone.is_strong() => phone,
                national => abroad().or(national)?,
            }
        };
        if let Some(extension) = extension {
            phone.text = format!("{}{EXTENSION}{extension}", phone.text).into();
            phone.strength = Some(Strength::Weak);
        }
        Some(phone)
    }

    /// A number that [`Phone::parse`] made, read back from the database.
    #[must_use]
    pub fn from_stored(text: impl Into<Box<str>>) -> Self {
        Self { text: text.into(), strength: None }
    }

    /// The number as text. Personal data.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// What the number may do as a key. Costs a parse where it came from the database.
    #[must_use]
    pub fn strength(&self) -> Strength {
        let known = self.strength.or_else(|| canonical(&self.text, None)?.strength);
        known.filter(|_| !self.text.contains(EXTENSION)).unwrap_or(Strength::Weak)
    }

    fn is_strong(&self) -> bool {
        self.strength() == Strength::Strong
    }
}

/// The number where its length is right: strong where its plan knows it.
fn canonical(number: &str, region: Option<Region>) -> Option<Phone> {
    let parsed = PHONE_NUMBER_UTIL.parse(number, region.map(|region| region.plan)).ok()?;
    let e164 = parsed.format_as(PhoneNumberFormat::E164);
    if parsed.is_valid() {
        return Some(Phone { text: e164.into(), strength: Some(Strength::Strong) });
    }
    if let Some(renumbered) = renumbered(&e164) {
        return canonical(&renumbered, None);
    }
    let is_possible = matches!(parsed.is_possible_with_reason(), Ok(NumberLengthType::IsPossible));
    // Brazil has short numbers of companies, so that a number without its area code is a possible one.
    let has_area = e164.strip_prefix("+55").is_none_or(|national| national.len() >= 10);
    (is_possible && has_area).then(|| Phone { text: e164.into(), strength: Some(Strength::Weak) })
}

/// Without what was dialed before ten digits in Mexico until August 2019: 01 for a landline elsewhere,
/// 044 and 045 for a mobile. No Mexican number begins with 0.
fn without_old_prefix(number: &str, region: Region) -> &str {
    let prefixes = if region.code() == "MX" { ["01", "044", "045"].as_slice() } else { &[] };
    let stripped = prefixes.iter().find_map(|prefix| number.strip_prefix(prefix));
    stripped.filter(|rest| rest.len() == 10).unwrap_or(number)
}

/// What a number that is no longer valid became when its plan changed.
fn renumbered(e164: &str) -> Option<String> {
    if let Some(national) = e164.strip_prefix("+55") {
        let (area, subscriber) = national.split_at_checked(2)?;
        let is_mobile = subscriber.len() == 8 && subscriber.starts_with(['6', '8', '9']);
        // No Brazilian area code has a zero; 0300, 0500, 0800 and 0900 numbers begin alike.
        return (is_mobile && !area.contains('0')).then(|| format!("+55{area}9{subscriber}"));
    }
    let national = e164.strip_prefix("+521").filter(|national| national.len() == 10)?;
    Some(format!("+52{national}"))
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
