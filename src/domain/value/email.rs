//! Email addresses as identifiers.

mod domain;

use std::{borrow::Cow, fmt};

use crate::domain::value::text;

/// The part before the `@`, in bytes (RFC 5321, 4.5.3.1.1).
const MAX_LOCAL: usize = 64;
/// In bytes (RFC 5321, 4.5.3.1.3, minus the angle brackets).
const MAX_ADDRESS: usize = 254;
/// In bytes: room for an address with a display name or a link around it. Longer texts are not parsed.
const MAX_TEXT: usize = 1024;

/// Ends the sentence or list around an address, never the address itself.
const PUNCTUATION: [char; 7] = ['.', ',', ';', ':', '!', '?', ' '];
/// Bullets, quoting marks, and what is left of emphasis, links and tables: no mailbox begins and no domain ends so.
const MARKS: [char; 16] = ['-', '*', '/', '|', '>', '#', '•', '·', '–', '—', '▪', '●', '◦', '‣', '→', '➡'];
/// A blank in a URL (RFC 3986, 2.1). No mailbox begins and no domain ends so.
const ENCODED_BLANK: &str = "%20";
/// Between two addresses.
const SEPARATORS: [char; 5] = [',', ';', '/', '|', ' '];
/// Of addresses in one text.
const MAX_PARTS: usize = 3;
/// Opening and closing pairs around an address.
const QUOTES: [(char, char); 7] =
    [('"', '"'), ('\'', '\''), ('`', '`'), ('(', ')'), ('[', ']'), ('“', '”'), ('‘', '’')];

/// A canonical email address: trimmed, lower case, domain in ASCII. Personal data.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Email(Box<str>);

impl Email {
    /// Parses an address, also as a `mailto:` link (RFC 6068), in quotes, in full-width letters, or in angle
    /// brackets after a display name. `None` for a list: it does not identify one person.
    ///
    /// The part before the `@` must be a dot-atom (RFC 5322, 3.2.3) in ASCII. Quoted and non-ASCII (RFC 6531)
    /// local parts have several spellings, so one person would have several identifiers. Dots and `+tags`
    /// stay, because each provider treats them differently.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > MAX_TEXT {
            return None;
        }
        let text = text::plain(text);
        let address = address(&text)?;
        let (local, domain) = address.split_once('@')?;
        // RFC 5322, 3.4.1: there may be blanks around the sign.
        let (local, domain) = (local.trim_end(), domain.trim_start());
        if local.len() > MAX_LOCAL || !is_dot_atom(local) || begins_encoded(local) {
            return None;
        }
        let domain = domain::tidied(domain);
        let domain = domain::to_ascii(&domain)?;
        // A person's address is neither in a top-level domain nor at an IP address.
        let (_, top) = domain.rsplit_once('.')?;
        if top.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let email = format!("{}@{domain}", local.to_ascii_lowercase());
        (email.len() <= MAX_ADDRESS).then(|| Self(email.into()))
    }

    /// Parses one address that may be there twice: `ada@x.example; ADA@x.example`. `None` if there are two.
    #[must_use]
    pub fn parse_repeated(text: &str) -> Option<Self> {
        if let Some(email) = Self::parse(text) {
            return Some(email);
        }
        if text.len() > MAX_TEXT {
            return None;
        }
        let mut found = None;
        let parts = text.split(SEPARATORS).filter(|part| !part.is_empty());
        for (index, part) in parts.enumerate() {
            let email = Self::parse(part).filter(|_| index < MAX_PARTS)?;
            if found.get_or_insert_with(|| email.clone()) != &email {
                return None;
            }
        }
        found
    }

    /// Wraps a canonical address from the database.
    #[must_use]
    pub fn from_stored(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The canonical address. Personal data.
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

/// Strips a display name, brackets, quotes, a `mailto:` link, and the punctuation at the end of a sentence.
fn address(text: &str) -> Option<Cow<'_, str>> {
    let text = without_marks(text.trim_end_matches(is_after));
    let text = match text.strip_suffix('>').and_then(|text| text.rsplit_once('<')) {
        Some((name, inner)) => {
            let inner = inner.trim();
            let name = name.trim().trim_matches(['"', '\'']);
            // Mail programs repeat the address as its name; another address there is a second person.
            if name.contains(['@', '>']) && !name.eq_ignore_ascii_case(inner) {
                return None;
            }
            inner
        }
        None => QUOTES
            .iter()
            .find_map(|(open, close)| text.strip_prefix(*open)?.strip_suffix(*close))
            .map_or_else(|| without_halves(text), str::trim),
    };
    // Programs take every text for a link.
    let site = ["http://", "https://"].iter().find_map(|scheme| text::after_prefix(text, scheme));
    let text = site.filter(|site| site.contains('@') && !site.contains('/')).unwrap_or(text);
    let Some(link) = text::after_prefix(text, "mailto:") else {
        return Some(Cow::Borrowed(without_marks(text.trim_end_matches(is_after))));
    };
    let link = without_marks(link);
    let address = link.split_once('?').map_or(link, |(address, _query)| address);
    // RFC 6068, 2: a link percent-encodes the characters that it cannot contain.
    let decoded = text::percent_decoded(address)?;
    Some(Cow::Owned(without_marks(decoded.trim_end_matches(is_after)).to_owned()))
}

/// Without one half of a pair, whose other half was cut: no domain ends so, and no mailbox begins with a quote or bracket.
fn without_halves(text: &str) -> &str {
    let text = text.trim_end_matches(['"', '\'', '`', ')', ']', '}', ' ']);
    match text.strip_prefix(['"', '(', '[', '<']) {
        Some(rest) if !rest.contains(['"', ')', ']', '>']) => rest.trim_start(),
        _ => text,
    }
}

/// Whether the character can come after an address.
fn is_after(c: char) -> bool {
    PUNCTUATION.contains(&c) || domain::is_sign(c)
}

/// Whether the text begins with an encoded character, as a link that was cut does: `%3Cada@x.example`.
fn begins_encoded(local: &str) -> bool {
    let encoded = local.strip_prefix('%').and_then(|rest| rest.get(..2));
    encoded.is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

fn without_marks(text: &str) -> &str {
    let text = text.trim_start_matches(ENCODED_BLANK).trim_end_matches(ENCODED_BLANK);
    let is_mark = |c: char| c == ' ' || MARKS.contains(&c);
    // `<ada@x.example>` ends in no mark.
    let is_closing = text.contains('<');
    // Only signs: a digit or a letter before the address may be a part of it.
    let start =
        |c: char| is_mark(c) || matches!(c, ',' | ';' | ':') || domain::is_sign(c) && !c.is_alphanumeric();
    text.trim_start_matches(start).trim_end_matches(|c| is_mark(c) && !(c == '>' && is_closing))
}

fn is_dot_atom(local: &str) -> bool {
    let is_atext = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-/=?^_`{|}~".contains(&byte);
    local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atext))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::samples::matching;

    fn canonical(text: &str) -> Option<String> {
        Email::parse(text).map(|email| email.as_str().to_owned())
    }

    #[test]
    fn addresses_are_canonicalized() {
        for (text, expected, source) in [
            ("ada@analytical.example", "ada@analytical.example", "RFC 5322"),
            (
                "  Ada.Lovelace+Sales@Analytical.EXAMPLE\n",
                "ada.lovelace+sales@analytical.example",
                "RFC 5321, 4.1.2: dots",
            ),
            ("<ada@analytical.example>", "ada@analytical.example", "RFC 5322, 3.4: angle-addr"),
            ("Ada Lovelace < ada@analytical.example >", "ada@analytical.example", "RFC 5322, 3.4: name-addr"),
            (
                "ada@analytical.example <ada@analytical.example>",
                "ada@analytical.example",
                "RFC 5322, 3.4: as Gmail copies it",
            ),
            ("Ada <mailto:ada@analytical.example>,", "ada@analytical.example", "Outlook"),
            ("mailto://ada@analytical.example", "ada@analytical.example", "RFC 3986, 3: with an authority"),
            ("mailto:ada@analytical.example?subject=hi", "ada@analytical.example", "RFC 6068"),
            ("MAILTO:ada@analytical.example", "ada@analytical.example", "RFC 3986: schemes in any case"),
            ("mailto:ada%2Bsales%40analytical.example", "ada+sales@analytical.example", "RFC 6068, 2"),
            ("ada\u{200b}@analytical\u{feff}.example", "ada@analytical.example", "web pages"),
            ("\u{202b}ada@analytical.example\u{202c}", "ada@analytical.example", "web pages"),
            (
                "ａｄａ＠ａｎａｌｙｔｉｃａｌ．ｅｘａｍｐｌｅ",
                "ada@analytical.example",
                "Unicode: full-width forms",
            ),
            ("ada﹫analytical。example", "ada@analytical.example", "Unicode: small at, ideographic stop"),
            ("ada@analytical.example.", "ada@analytical.example", "RFC 1034: the root's dot; a sentence"),
            ("ada@analytical.example,", "ada@analytical.example", "LLM habit"),
            ("ada@analytical.example; ", "ada@analytical.example", "Outlook"),
            ("\"ada@analytical.example\"", "ada@analytical.example", "LLM habit"),
            ("`ada@analytical.example`", "ada@analytical.example", "LLM habit"),
            ("(ada@analytical.example)", "ada@analytical.example", "signatures"),
            ("ada@São-Paulo.example", "ada@xn--so-paulo-rza.example", "RFC 5891, UTS 46"),
            ("ada@bücher.example", "ada@xn--bcher-kva.example", "RFC 5891, UTS 46"),
            ("ada@XN--BCHER-KVA.example", "ada@xn--bcher-kva.example", "RFC 5891, UTS 46"),
            ("o'neil_{x}@a.b-c.example", "o'neil_{x}@a.b-c.example", "RFC 5322, 3.2.3: atext"),
            ("ada@col·legi.example", "ada@xn--collegi-xma.example", "RFC 5892, A.3"),
            ("ada@日本ー々.example", "ada@xn--u6j81a038jncb.example", "RFC 5892, 2: letters of Japanese"),
            ("a%40b@c.example", "a%40b@c.example", "RFC 5322, 3.2.3: only links are percent-encoded"),
        ] {
            assert_eq!(canonical(text).unwrap_or_default(), expected, "{text} ({source})");
        }
    }

    #[test]
    fn signs_around_an_address_are_taken_off() {
        for (text, expected, source) in [
            ("ada@analytical.example’", "ada@analytical.example", "word processors: one of two quotes"),
            ("ada@analytical.example”.", "ada@analytical.example", "as above: and the end of a sentence"),
            ("“ada@analytical.example", "ada@analytical.example", "as above: the other one"),
            ("ada@analytical.example »", "ada@analytical.example", "as above: French"),
            ("ada@analytical.example›", "ada@analytical.example", "as above: single"),
            ("ada@analytical.example‚", "ada@analytical.example", "as above: a low quote for a comma"),
            ("ada@analytical.example″", "ada@analytical.example", "as above: a double prime"),
            ("<ada@analytical.example”>", "ada@analytical.example", "as above: within brackets"),
            ("ada@analytical.example、", "ada@analytical.example", "Unicode: an ideographic comma"),
            ("ada@analytical.example،", "ada@analytical.example", "Unicode: an Arabic comma"),
            ("ada@analytical.example।", "ada@analytical.example", "Unicode: a danda"),
            ("ada@analytical.example…", "ada@analytical.example", "Unicode: an ellipsis"),
            ("ada@analytical.example°", "ada@analytical.example", "word processors: a sign after it"),
            ("ada@analytical.example®", "ada@analytical.example", "as above: a trademark"),
            ("ada@analytical.example™", "ada@analytical.example", "as above: a trademark"),
            ("ada@analytical.example€", "ada@analytical.example", "as above: a sign"),
            ("ada@analytical.example†", "ada@analytical.example", "as above: a footnote"),
            ("ada@analytical.example¹", "ada@analytical.example", "as above: a footnote"),
            ("ada@analytical.exampleº", "ada@analytical.example", "as above: a footnote"),
            ("ada@analytical.example¬", "ada@analytical.example", "as above: a sign"),
            ("ada@analytical.example¿", "ada@analytical.example", "as above: a sign"),
            (
                "ada@analytical\u{2011}x.example",
                "ada@analytical-x.example",
                "word processors: a hyphen that does not break",
            ),
            ("ada@analytical\u{2010}x.example", "ada@analytical-x.example", "as above: Unicode's hyphen"),
            ("ada@analytical–x.example", "ada@analytical-x.example", "as above: an en dash"),
            ("ada@analytical−x.example", "ada@analytical-x.example", "as above: a minus sign"),
            ("%20ada@analytical.example", "ada@analytical.example", "RFC 3986, 2.1: a blank"),
            ("ada@analytical.example%20", "ada@analytical.example", "RFC 3986, 2.1: a blank"),
            ("- ada@analytical.example", "ada@analytical.example", "Markdown, email: an item of a list"),
            ("-ada@analytical.example", "ada@analytical.example", "as above: without its space"),
            ("*ada@analytical.example", "ada@analytical.example", "WhatsApp: one of two asterisks"),
            ("ada@analytical.example*", "ada@analytical.example", "WhatsApp: the other one"),
            ("//ada@analytical.example", "ada@analytical.example", "as above: a link without its scheme"),
            ("|ada@analytical.example|", "ada@analytical.example", "Markdown: the cell of a table"),
            ("> ada@analytical.example", "ada@analytical.example", "RFC 3676, 4.5: a quoted line"),
            (">ada@analytical.example", "ada@analytical.example", "as above: a tag that was cut"),
            ("# ada@analytical.example", "ada@analytical.example", "Markdown: a heading"),
            ("• ada@analytical.example", "ada@analytical.example", "word processors: a bullet"),
            ("– Ada <ada@analytical.example>", "ada@analytical.example", "signatures: a dash"),
            ("ada@analytical.example/", "ada@analytical.example", "as above: a link as on the web"),
            ("<-ada@analytical.example>", "ada@analytical.example", "as above: a mark within brackets"),
            ("mailto:*ada@analytical.example", "ada@analytical.example", "as above: a mark within a link"),
            ("mailto:%2Aada@analytical.example", "ada@analytical.example", "RFC 6068, 2: the same encoded"),
            (": ada@analytical.example", "ada@analytical.example", "as above: a label that was cut"),
        ] {
            assert_eq!(canonical(text).unwrap_or_default(), expected, "{text} ({source})");
        }
    }

    #[test]
    fn other_texts_and_lists_are_rejected() {
        let long_local = format!("{}@a.example", "a".repeat(65));
        let long_label = format!("a@{}.example", "a".repeat(64));
        let long_address = format!("{}@{}example", "a".repeat(64), "abcdefghi.".repeat(19));
        for (text, reason) in [
            ("", "nothing"),
            ("@", "nothing"),
            ("ada", "RFC 5322: no domain"),
            ("ada@", "RFC 5322: no domain"),
            ("@analytical.example", "RFC 5322: no local part"),
            ("ada@@analytical.example", "RFC 5322"),
            ("ada@b@analytical.example", "RFC 5322"),
            ("ada@localhost", "RFC 6761: not a domain of people"),
            ("ada@127.0.0.1", "an IP address"),
            ("ada@[127.0.0.1]", "RFC 5321: an address literal"),
            (".ada@analytical.example", "RFC 5322: dot-atom"),
            ("ada.@analytical.example", "RFC 5322: dot-atom"),
            ("a..a@analytical.example", "RFC 5322: dot-atom"),
            ("ada lovelace@analytical.example", "RFC 5322: dot-atom"),
            ("\"ada\"@analytical.example", "RFC 5322: several spellings"),
            ("joão@analytical.example", "RFC 6531: several spellings"),
            ("ada@analytical..example", "RFC 1035"),
            ("ada@-analytical.example", "RFC 1123"),
            ("ada@analytical_.example", "RFC 1123"),
            ("ada@analytical.example, bob@analytical.example", "a list"),
            ("ada@analytical.example;bob@analytical.example", "a list"),
            ("ada@analytical.example bob@analytical.example", "a list"),
            ("Ada <ada@analytical.example>, Bob <bob@analytical.example>", "a list"),
            ("mailto:ada@analytical.example,bob@analytical.example", "RFC 6068: a list"),
            ("mailto:?to=ada@analytical.example", "RFC 6068: no address"),
            ("mailto:%ff@analytical.example", "RFC 6068: not UTF-8"),
            ("ada@analytical.example/x", "a path"),
            ("ada at analytical.example", "a sentence"),
            (long_local.as_str(), "RFC 5321, 4.5.3.1.1"),
            (long_label.as_str(), "RFC 1035, 2.3.4"),
            (long_address.as_str(), "RFC 5321, 4.5.3.1.3"),
        ] {
            assert_eq!(canonical(text), None, "{text} ({reason})");
        }
    }

    #[test]
    fn signs_within_a_domain_are_rejected() {
        for (text, reason) in [
            ("ada@“analytical.example", "a quote within"),
            (
                "ada@analytical™.example",
                "a sign that is not a letter: analyticaltm.example is somebody else's",
            ),
            ("ada@analyticalº.example", "a sign that is not a letter"),
            ("ada@analytical¹.example", "a sign that is not a digit"),
            ("ada@analyticalⁿ.example", "a superscript"),
            ("ada@☃.example", "RFC 5892: a symbol"),
            ("ada@analytical😀.example", "RFC 5892: a symbol"),
            ("ada@analytical—x.example", "a dash between words"),
            ("ada@analytical.example\u{fffd}", "a lost character"),
            ("ada‑x@analytical.example", "RFC 6531: several spellings"),
            ("%3Cada@analytical.example", "a link that was cut"),
        ] {
            assert_eq!(canonical(text), None, "{text} ({reason})");
        }
    }

    #[test]
    fn an_address_may_be_there_twice() {
        for text in
            ["ada@x.example; ADA@x.example", "ada@x.example ada@x.example", "ada@x.example/ada@x.example"]
        {
            let email = Email::parse_repeated(text);
            assert_eq!(email.as_ref().map(Email::as_str), Some("ada@x.example"), "{text}");
        }
        for text in [
            "ada@x.example; bob@x.example",
            "ada@x.example; ada",
            "ada@x.example ou ada@x.example",
            "ada@x.example,ada@x.example,ada@x.example,ada@x.example",
            "",
            ";",
        ] {
            assert_eq!(Email::parse_repeated(text), None, "{text}");
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
        fn canonical_addresses_stay_the_same(text in matching("\\PC{0,40}|[a-z.<@>: +-]{0,10}@[a-zA-Zé.-]{0,12}")) {
            if let Some(email) = Email::parse(&text) {
                prop_assert_eq!(Email::parse(email.as_str()), Some(email));
            }
        }
    }
}
