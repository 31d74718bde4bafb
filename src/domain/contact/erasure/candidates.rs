//! The reverse of the search for a person: finds all identifiers in some bytes. Erased people are known only by
//! hashes, so their identifiers cannot be searched for.

use std::collections::BTreeSet;

use super::{domain_at, is_before_underscore, numbers, readings, starts_after};
use crate::domain::{
    contact::Identifier,
    value::{
        email::Email,
        phone::{Phone, Region},
    },
};

/// In bytes: the largest message that is decoded, with its headers.
const MAX_SEARCHED: usize = 1024 * 1024 + 128 * 1024;

/// Places in all readings that may be an identifier. Each costs some microseconds.
const MAX_PLACES: usize = 2_000;

/// The part before the `@`, in bytes.
const MAX_LOCAL: usize = 64;

/// Every phone and email with which [`super::Person::is_mentioned`] finds its person in `bytes`, and possibly more. Reads
/// national phone numbers in `region`. `None` if the bytes are too large or contain too many.
#[must_use]
pub fn candidates(bytes: &[u8], region: Region) -> Option<BTreeSet<Identifier>> {
    if bytes.len() > MAX_SEARCHED {
        return None;
    }
    let mut search = Search { region, found: BTreeSet::new(), places: 0 };
    readings::of(bytes).iter().all(|text| search.emails(text) && search.phones(text)).then_some(search.found)
}

struct Search {
    region: Region,
    found: BTreeSet<Identifier>,
    places: usize,
}

impl Search {
    /// `false` if that was one too many.
    fn count(&mut self) -> bool {
        self.places += 1;
        self.places <= MAX_PLACES
    }

    fn emails(&mut self, text: &str) -> bool {
        text.match_indices('@').all(|(at, _)| {
            let (before, after) = (text.get(..at), text.get(at + 1..));
            self.count() && before.zip(after).is_none_or(|(before, after)| self.emails_around(before, after))
        })
    }

    /// Text that may be a part of an address can also be before it: `to=ada@…`.
    fn emails_around(&mut self, before: &str, after: &str) -> bool {
        let Some(domain) = domain_at(after) else { return true };
        let is_before_underscore = is_before_underscore(after);
        for (start, c) in before.char_indices().rev().take(MAX_LOCAL) {
            if !is_local(c) {
                break;
            }
            let (rest, local) = before.split_at(start);
            if !starts_after(rest, is_before_underscore) {
                continue;
            }
            if !self.count() {
                return false;
            }
            let email = format!("{}@{domain}", local.to_ascii_lowercase());
            self.found.insert(Identifier::Email(Email::from_stored(email)));
        }
        true
    }

    fn phones(&mut self, text: &str) -> bool {
        !numbers::any(text, |digits, plus| {
            if digits.len() < numbers::TAIL_DIGITS {
                return false;
            }
            let phone: Option<Phone> = numbers::phone(digits, plus, self.region);
            self.found.extend(phone.map(Identifier::Phone));
            !self.count()
        })
    }
}

/// Whether the part before the `@` can contain this character (RFC 5322, 3.2.3).
fn is_local(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~.".contains(c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{super::Person, *};
    use crate::domain::samples::matching;

    fn region() -> Region {
        Region::new("BR").unwrap()
    }

    fn keys() -> Vec<Identifier> {
        let phones = ["+5585999990001", "+442079460018", "+14155550123"];
        let emails = ["ada@analytical.example", "o'neil@xn--bcher-kva.example", "a=b/c@x.example"];
        let phones = phones.into_iter().map(|phone| Identifier::Phone(Phone::from_stored(phone)));
        phones.chain(emails.into_iter().map(|email| Identifier::Email(Email::from_stored(email)))).collect()
    }

    /// The search for a person and its reverse agree.
    fn check(bytes: &[u8]) {
        let candidates = candidates(bytes, region()).unwrap();
        for key in keys() {
            let is_mentioned = Person::new(region(), [key.clone()], []).is_mentioned(bytes);
            assert!(!is_mentioned || candidates.contains(&key), "{}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn identifiers_are_found_in_every_notation() {
        for (text, expected) in [
            (r#"{"email": "ada\u0040analytical.example"}"#, "ada@analytical.example"),
            ("to=ADA@Analytical.Example&x=1", "ada@analytical.example"),
            ("https://h.example/?email=ada%40analytical.example", "ada@analytical.example"),
            ("YWRhQGFuYWx5dGljYWwuZXhhbXBsZQ==", "ada@analytical.example"),
            ("'O'NEIL@bücher.example'", "o'neil@xn--bcher-kva.example"),
            (r#"{"phone": "(85) 99999-0001"}"#, "+5585999990001"),
            (r#"{"phone": 8.5999990001E10}"#, "+5585999990001"),
            ("5585999990001@c.us", "+5585999990001"),
            ("tel:+44-20-7946-0018", "+442079460018"),
            ("_ada@analytical.example_", "ada@analytical.example"),
            ("ada&#64;analytical.example", "ada@analytical.example"),
            ("5,585999990001E+12", "+5585999990001"),
            ("+55 (0xx85) 9999-0001", "+5585999990001"),
            ("ada＠analytical。example", "ada@analytical.example"),
            ("ada=40analytical.example", "ada@analytical.example"),
            ("o'neil@bÃ¼cher.example", "o'neil@xn--bcher-kva.example"),
        ] {
            let found = candidates(text.as_bytes(), region()).unwrap();
            assert!(found.iter().any(|key| key.value() == expected), "{text}");
            check(text.as_bytes());
        }
        let found = candidates(b"bada@analytical.example +1 85 99999 0001", region()).unwrap();
        assert!(!found.iter().any(|key| ["ada@analytical.example", "+5585999990001"].contains(&key.value())));
    }

    /// Searching takes time in proportion to the limits.
    #[test]
    fn large_bodies_and_floods_are_not_searched_to_the_end() {
        for text in [
            "1234567 ".repeat(100_000),
            "a@".repeat(100_000),
            "!a@x.example ".repeat(100_000),
            "x".repeat(2 << 20),
        ] {
            assert_eq!(candidates(text.as_bytes(), region()), None);
        }
        assert_eq!(candidates(b"", region()), Some(BTreeSet::new()));
    }

    proptest! {
        #[test]
        fn everybody_who_is_mentioned_is_a_candidate(
            before in matching("\\PC{0,12}|[+0-9a-z=@./ ()-]{0,8}"), key in 0..6_usize, after in matching("\\PC{0,12}|[0-9a-z.@ -]{0,8}"),
        ) {
            let text = format!("{before}{}{after}", keys()[key].value());
            check(text.as_bytes());
            check(serde_json::json!({"a": text}).to_string().as_bytes());
        }
    }
}
