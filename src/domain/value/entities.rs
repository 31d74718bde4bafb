//! Character references of HTML (HTML, 13.5): `&amp;`, `&#39;`, `&eacute;`. Only those that text in Portuguese,
//! Spanish or English needs, and only with their semicolon: without it, `&copy` may be the end of a query.

/// In bytes, between `&` and `;`.
const MAX_REFERENCE: usize = 10;

const NAMED: [(&str, &str); 36] = [
    ("amp", "&"),
    ("lt", "<"),
    ("gt", ">"),
    ("quot", "\""),
    ("apos", "'"),
    ("nbsp", " "),
    ("ensp", " "),
    ("emsp", " "),
    ("thinsp", " "),
    ("shy", ""),
    ("zwnj", "\u{200c}"),
    ("zwj", "\u{200d}"),
    ("lrm", ""),
    ("rlm", ""),
    ("ndash", "–"),
    ("mdash", "—"),
    ("lsquo", "‘"),
    ("rsquo", "’"),
    ("ldquo", "“"),
    ("rdquo", "”"),
    ("laquo", "«"),
    ("raquo", "»"),
    ("hellip", "…"),
    ("middot", "·"),
    ("bull", "•"),
    ("ordf", "ª"),
    ("ordm", "º"),
    ("deg", "°"),
    ("reg", "®"),
    ("trade", "™"),
    ("szlig", "ß"),
    ("aelig", "æ"),
    ("AElig", "Æ"),
    ("oslash", "ø"),
    ("Oslash", "Ø"),
    ("commat", "@"),
];

/// Names of letters with an accent: the letter, then this.
const ACCENTS: [(&str, char); 7] = [
    ("acute", '\u{301}'),
    ("grave", '\u{300}'),
    ("circ", '\u{302}'),
    ("tilde", '\u{303}'),
    ("uml", '\u{308}'),
    ("ring", '\u{30a}'),
    ("cedil", '\u{327}'),
];

/// Decodes each reference once. `None` if there is none. Letters and their accents come decomposed.
pub(in crate::domain) fn decoded(text: &str) -> Option<String> {
    let (start, mut rest) = text.split_once('&')?;
    let mut decoded = start.to_owned();
    let mut found = false;
    loop {
        match reference(rest) {
            Some((referred, after)) => {
                found = true;
                decoded.push_str(&referred);
                rest = after;
            }
            None => decoded.push('&'),
        }
        let Some((before, after)) = rest.split_once('&') else { break };
        decoded.push_str(before);
        rest = after;
    }
    decoded.push_str(rest);
    found.then_some(decoded)
}

/// The character that the reference at the start of the text means, and the text after it.
fn reference(text: &str) -> Option<(String, &str)> {
    let end = text.bytes().take(MAX_REFERENCE + 1).position(|byte| byte == b';')?;
    let (name, after) = (text.get(..end)?, text.get(end + 1..)?);
    if let Some(number) = name.strip_prefix('#') {
        let code = match number.strip_prefix(['x', 'X']) {
            Some(hexadecimal) => number_in(hexadecimal, 16),
            None => number_in(number, 10),
        }?;
        let c = char::from_u32(code).filter(|c| *c != '\0')?;
        return Some((c.to_string(), after));
    }
    let named = NAMED.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
    Some((named.or_else(|| accented(name))?, after))
}

fn number_in(text: &str, radix: u32) -> Option<u32> {
    let starts_with_digit = text.starts_with(|c: char| c.is_ascii_hexdigit());
    u32::from_str_radix(text, radix).ok().filter(|_| starts_with_digit)
}

fn accented(name: &str) -> Option<String> {
    let (letter, accent) = name.split_at_checked(1)?;
    let (_, accent) = ACCENTS.iter().find(|(known, _)| *known == accent)?;
    letter.starts_with(|c: char| c.is_ascii_alphabetic()).then(|| format!("{letter}{accent}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_decoded_once() {
        for (text, expected) in [
            ("Johnson &amp; Johnson", Some("Johnson & Johnson")),
            ("O&#39;Neil &#x26; Filhos", Some("O'Neil & Filhos")),
            ("ada&#64;x.example", Some("ada@x.example")),
            ("&lt;ada&commat;x.example&gt;", Some("<ada@x.example>")),
            ("S&atilde;o Jos&eacute;", Some("Sa\u{303}o Jose\u{301}")),
            ("A&ccedil;ai &Ntilde;andu", Some("Ac\u{327}ai N\u{303}andu")),
            ("85&nbsp;99999&#8209;0001", Some("85 99999\u{2011}0001")),
            ("&amp;lt;", Some("&lt;")),
            ("R&D; &copy=1 &; &#; &#x; &#0; &#xd800; &#99999999; &unknown; &", None),
            ("a & b &quot;", Some("a & b \"")),
            ("&#+39;", None),
            ("", None),
        ] {
            assert_eq!(decoded(text).as_deref(), expected, "{text}");
        }
    }
}
