//! The domain of an address: the characters that it can have, and its form in ASCII. UTS 46 alone would make other letters of
//! signs (`™`, `º`, `¹`) and encode quotes and dashes, which gives the address of somebody else.

use std::borrow::Cow;

use icu_properties::{
    CodePointMapData, CodePointMapDataBorrowed as PropertyOf, props::GeneralCategory as Category,
};
use idna::{
    AsciiDenyList,
    uts46::{DnsLength, Hyphens, Uts46},
};

use crate::domain::value::hyphens::with_hyphens_of_hosts;

const CATEGORY: PropertyOf<'static, Category> = CodePointMapData::new();

/// The domain before what a link adds, `?subject=…`, and without spaces before its dots.
pub(super) fn tidied(domain: &str) -> Cow<'_, str> {
    let before = domain.split_once('?').filter(|(_, query)| query.contains('='));
    let domain = before.map_or(domain, |(domain, _)| domain);
    if domain.contains(" .") {
        Cow::Owned(domain.replace(" . ", ".").replace(" .", "."))
    } else {
        Cow::Borrowed(domain)
    }
}

/// The domain in ASCII and lower case. `None` if it is not one.
pub(super) fn to_ascii(domain: &str) -> Option<Cow<'_, str>> {
    if domain.is_ascii() {
        return encoded(domain);
    }
    // Stops of East Asian writing (UTS 46, 2.3).
    let domain = domain.replace(['\u{3002}', '\u{ff61}'], ".").to_lowercase();
    let domain = with_hyphens_of_hosts(&domain).unwrap_or(domain);
    // Catalan's dot between two l (RFC 5892, A.3).
    let is_host = domain.replace("l·l", "ll").chars().all(may_be_in_host);
    if is_host { encoded(&domain).map(|domain| Cow::Owned(domain.into_owned())) } else { None }
}

/// UTS 46 lower-cases, and rejects a second `@` and any other character of ASCII that a host name cannot have.
fn encoded(domain: &str) -> Option<Cow<'_, str>> {
    Uts46::new().to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify).ok()
}

/// Whether IDNA 2008 allows the character (RFC 5892, 2): a letter, its accent or a digit. Superscripts are none of these.
fn may_be_in_host(c: char) -> bool {
    match CATEGORY.get(c) {
        _ if c.is_ascii() => true,
        Category::ModifierLetter => {
            !matches!(c, '\u{2b0}'..='\u{2ff}' | '\u{1d00}'..='\u{2fff}' | '\u{a000}'..)
        }
        Category::LowercaseLetter
        | Category::UppercaseLetter
        | Category::TitlecaseLetter
        | Category::OtherLetter
        | Category::NonspacingMark
        | Category::SpacingMark
        | Category::DecimalNumber => !matches!(c, 'ª' | 'º'),
        _ => false,
    }
}

/// Whether the character is outside of ASCII and can be neither in a domain nor in place of a part of one: a quote, a dash, an
/// emoji, the mark of a footnote.
pub(super) fn is_sign(c: char) -> bool {
    let is_kept = |c| {
        // A Roman or circled letter may be meant as a letter, and nobody knows what `\u{fffd}` was.
        c == '\u{fffd}' || char::is_alphabetic(c) && !matches!(c, 'ª' | 'º')
    };
    !c.is_ascii() && !may_be_in_host(c) && !is_kept(c)
}
