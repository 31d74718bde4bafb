//! Email addresses as keys.

use std::fmt;

use idna::{
    AsciiDenyList,
    uts46::{DnsLength, Hyphens, Uts46},
};

use super::text;

/// Longest part before the `@`, in bytes (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL: usize = 64;
/// Longest address, in bytes (RFC 5321, 4.5.3.1.3, less the angle brackets).
const MAX_ADDRESS: usize = 254;
/// Longest text that is looked at, in bytes: an address, a display name, a link.
const MAX_TEXT: usize = 1024;

/// A canonical email address: trimmed, lower case, domain in ASCII. Personal data.
///
/// Only [`Email::parse`] makes one from outside text.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(Box<str>);

impl Email {
    /// Reads an address, also as a `mailto:` link or in angle brackets after a display name.
    ///
    /// The part before the `@` is a dot-atom (RFC 5322, 3.2.3) in ASCII. Quoted parts and those of
    /// RFC 6531 are refused: they have several spellings, so one person would have several keys.
    /// Dots and `+tags` stay: what they mean is up to each provider.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let text = text::without_invisible(text);
        let (local, domain) = address(&text).split_once('@')?;
        if local.len() > MAX_LOCAL || !is_dot_atom(local) {
            return None;
        }
        let domain = domain.strip_suffix('.').unwrap_or(domain);
        // UTS 46 lower-cases; a second `@` and everything else that no host name has is denied.
        let domain = Uts46::new()
            .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::Check, DnsLength::Verify)
            .ok()?;
        // An address of a person is in a domain, never in a top-level one or at an IP address.
        let (_, top) = domain.rsplit_once('.')?;
        if top.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let email = format!("{}@{domain}", local.to_ascii_lowercase());
        (email.len() <= MAX_ADDRESS).then(|| Self(email.into()))
    }

    /// An address that [`Email::parse`] made, read back from the database.
    #[must_use]
    pub fn from_stored(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The address as text. Personal data.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(redacted)")
    }
}

/// Takes off a display name, angle brackets and what a link has around an address.
fn address(text: &str) -> &str {
    let text = match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((_display_name, inner)) => inner.trim(),
        None => text,
    };
    match text.split_at_checked("mailto:".len()) {
        Some((scheme, rest)) if scheme.eq_ignore_ascii_case("mailto:") => {
            rest.split_once('?').map_or(rest, |(address, _query)| address).trim_start()
        }
        _ => text,
    }
}

fn is_dot_atom(local: &str) -> bool {
    let is_atext = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn canonical(text: &str) -> Option<String> {
        Email::parse(text).map(|email| email.as_str().to_owned())
    }

    #[test]
    fn accepts() {
        for (text, expected) in [
            ("ada@analytical.example", "ada@analytical.example"),
            ("  Ada.Lovelace+Sales@Analytical.EXAMPLE\n", "ada.lovelace+sales@analytical.example"),
            ("<ada@analytical.example>", "ada@analytical.example"),
            ("Ada Lovelace < ada@analytical.example >", "ada@analytical.example"),
            ("mailto:ada@analytical.example?subject=hi", "ada@analytical.example"),
            ("MAILTO:ada@analytical.example", "ada@analytical.example"),
            ("ada\u{200b}@analytical\u{feff}.example", "ada@analytical.example"),
            ("ada@analytical.example.", "ada@analytical.example"),
            ("ada@São-Paulo.example", "ada@xn--so-paulo-rza.example"),
            ("ada@bücher.example", "ada@xn--bcher-kva.example"),
            ("ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example"),
            ("o'neil_{x}@a.b-c.example", "o'neil_{x}@a.b-c.example"),
        ] {
            assert_eq!(canonical(text).unwrap_or_default(), expected, "{text}");
        }
    }

    #[test]
    fn refuses() {
        let long_local = format!("{}@a.example", "a".repeat(65));
        let long_label = format!("a@{}.example", "a".repeat(64));
        let long_address = format!("{}@{}example", "a".repeat(64), "abcdefghi.".repeat(19));
        for text in [
            "",
            "@",
            "ada",
            "ada@",
            "@analytical.example",
            "ada@@analytical.example",
            "ada@b@analytical.example",
            "ada@localhost",
            "ada@127.0.0.1",
            "ada@[127.0.0.1]",
            ".ada@analytical.example",
            "ada.@analytical.example",
            "a..a@analytical.example",
            "ada lovelace@analytical.example",
            "\"ada\"@analytical.example",
            "joão@analytical.example",
            "ada@analytical..example",
            "ada@-analytical.example",
            "ada@analytical_.example",
            "ada@analytical.example, bob@analytical.example",
            "ada@analytical.example/x",
            long_local.as_str(),
            long_label.as_str(),
            long_address.as_str(),
        ] {
            assert_eq!(canonical(text), None, "{text}");
        }
    }

    #[test]
    fn limits_are_inclusive() {
        assert!(canonical(&format!("{}@a.example", "a".repeat(64))).is_some());
        let longest = format!("{}@{}.example", "a".repeat(64), "abcdefghi.".repeat(18) + "a");
        assert_eq!(longest.len(), MAX_ADDRESS);
        assert!(canonical(&longest).is_some());
        assert!(canonical(&longest.replacen(".example", "b.example", 1)).is_none());
    }

    proptest! {
        #[test]
        fn never_panics_and_is_stable(text in "\\PC{0,40}|[a-z.<@>: +-]{0,10}@[a-zA-Zé.-]{0,12}") {
            if let Some(email) = Email::parse(&text) {
                prop_assert_eq!(Email::parse(email.as_str()), Some(email));
            }
        }
    }
}
