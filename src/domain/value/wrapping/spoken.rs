//! Addresses of which somebody said or hid the signs: `ana arroba x ponto com`, `ana [at] x [dot] com`. Every word between
//! the signs is a part of the address, so nothing is guessed.

use std::ops::RangeInclusive;

use crate::domain::value::{email::Email, text::folded};

/// In bytes: the longest address, with words for its signs.
const MAX_TEXT: usize = 512;

/// What stands for a sign in Portuguese, Spanish, English, German, French, Italian and Dutch, folded.
const SIGNS: [(&str, char); 24] = [
    ("arroba", '@'),
    ("at", '@'),
    ("arobase", '@'),
    ("chiocciola", '@'),
    ("apenstaartje", '@'),
    ("klammeraffe", '@'),
    ("ponto", '.'),
    ("punto", '.'),
    ("dot", '.'),
    ("punkt", '.'),
    ("point", '.'),
    ("punt", '.'),
    ("underline", '_'),
    ("underscore", '_'),
    ("sublinhado", '_'),
    ("traco", '-'),
    ("hifen", '-'),
    ("guion", '-'),
    ("hyphen", '-'),
    ("dash", '-'),
    ("bindestrich", '-'),
    ("trattino", '-'),
    ("tiret", '-'),
    ("streepje", '-'),
];
/// In bytes, of such a word before it is folded.
const LENGTHS: RangeInclusive<usize> = 2..=16;
/// Around such a word on web pages.
const BRACKETS: [char; 6] = ['(', ')', '[', ']', '{', '}'];

/// The address with its signs.
pub(super) fn address(text: &str) -> Option<String> {
    if text.len() > MAX_TEXT || !text.contains(' ') && !text.contains(BRACKETS) {
        return None;
    }
    // Dictation writes the sign, but not the dots: `ana@x ponto com`.
    if let Some((_, domain)) = text.split_once('@') {
        let is_said = !domain.contains('@') && has_sign(text) && may_go_on(domain);
        return is_said.then(|| address(&text.replace('@', " arroba ")))?;
    }
    if let Some(shorter) = with_underscores(text) {
        return address(&shorter);
    }
    let mut address = String::with_capacity(text.len());
    let (mut is_after_word, mut at, mut has_dot) = (false, None, false);
    let tokens = text.split(is_between);
    for token in tokens.filter(|token| !token.is_empty()) {
        let word = folded(token);
        let sign = sign(&word);
        // Two words beside each other are a sentence, and so are two signs.
        if sign.is_some() != is_after_word {
            return None;
        }
        is_after_word = sign.is_none();
        match sign {
            Some('@') if at.is_some() => return None,
            Some('@') => at = Some(word),
            Some('.') => has_dot |= at.is_some(),
            _ => {}
        }
        match sign {
            Some(sign) => address.push(sign),
            None => address.push_str(token),
        }
    }
    // `Ada at x.example` works there.
    let is_said = has_dot || text.contains(BRACKETS) || at? != "at";
    (is_said && is_after_word && !is_sentence(&address) && Email::parse(&address).is_some())
        .then_some(address)
}

/// Whether any word but one for `@` stands for a sign.
fn has_sign(text: &str) -> bool {
    let mut words = text.split(is_between).filter(|word| LENGTHS.contains(&word.len()));
    words.any(|word| sign(&folded(word)).is_some_and(|sign| sign != '@'))
}

/// Whether what follows a written sign may have dots that were said. If it has one, only a country can come after it: dictation
/// also says the end of a sentence, `ana@x.com ponto final`.
fn may_go_on(domain: &str) -> bool {
    let mut words = domain.split_whitespace();
    if !words.next().is_some_and(|first| first.contains('.')) {
        return true;
    }
    let rest: Vec<&str> = words.collect();
    match rest.as_slice() {
        [] => true,
        [dot, country] => {
            let is_country = country.len() == 2 && country.bytes().all(|byte| byte.is_ascii_alphabetic());
            is_country && sign(&folded(dot)) == Some('.')
        }
        _ => false,
    }
}

/// Whether the end is no top-level domain, but more of what somebody said: a full stop (`ponto final`), or words after a dash.
fn is_sentence(address: &str) -> bool {
    let end = address.trim_end_matches(|c: char| !c.is_alphanumeric()).rsplit('.').next().unwrap_or_default();
    end.eq_ignore_ascii_case("final") || !end.chars().all(char::is_alphabetic)
}

/// The text with one word for what has two in Spanish. `None` if it has none.
fn with_underscores(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let words = ["guion bajo", "guión bajo"].into_iter().find(|words| lower.contains(words))?;
    let (mut shorter, mut end) = (String::with_capacity(text.len()), 0);
    for (at, found) in lower.match_indices(words) {
        shorter.extend([text.get(end..at)?, "underscore"]);
        end = at + found.len();
    }
    shorter.push_str(text.get(end..)?);
    Some(with_underscores(&shorter).unwrap_or(shorter))
}

/// The text with signs for the words that stand for them, wherever they are. `None` if none stands for the sign of an
/// address. It is for searches: it joins sentences, too.
pub(in crate::domain) fn with_signs(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let has = |word: &str| lower.contains(word);
    let is_said = SIGNS.iter().any(|(name, sign)| *sign == '@' && *name != "at" && has(name))
        || ["(at)", "[at]", "{at}"].iter().any(|word| has(word))
        || has(" at ") && (has(" dot ") || has(" punkt "))
        || text.contains('@') && has_sign(text);
    if !is_said {
        return None;
    }
    let shorter = with_underscores(text);
    let text = shorter.as_deref().unwrap_or(text);
    let mut signed = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((word, after)) = rest.split_at_checked(rest.find(is_between).unwrap_or(rest.len())) {
        if let Some(sign) = sign(&folded(word)) {
            signed.truncate(signed.trim_end_matches(is_between).len());
            signed.push(sign);
            rest = after.trim_start_matches(is_between);
        } else {
            signed.push_str(word);
            let mut characters = after.chars();
            signed.extend(characters.next());
            rest = characters.as_str();
        }
        if rest.is_empty() {
            break;
        }
    }
    Some(signed)
}

fn is_between(c: char) -> bool {
    c.is_whitespace() || BRACKETS.contains(&c)
}

fn sign(folded: &str) -> Option<char> {
    SIGNS.iter().find(|(name, _)| *name == folded).map(|(_, sign)| *sign)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signs_are_put_back() {
        for (text, expected, source) in [
            (
                "ana arroba x ponto com ponto br",
                "ana@x.com.br",
                "https://github.com/saurabhav88/EnviousWispr/pull/2782: dictated in Portuguese",
            ),
            ("ana.souza arroba x.example", "ana.souza@x.example", "as above: with its dots"),
            ("Ana ponto Souza Arroba x ponto example", "Ana.Souza@x.example", "as above: capitals of speech"),
            ("ana underline souza arroba x ponto example", "ana_souza@x.example", "as above: an underscore"),
            ("ana traço souza arroba x ponto example", "ana-souza@x.example", "as above: a hyphen"),
            ("ana arroba x punto example", "ana@x.example", "as above: Spanish"),
            ("marie arobase x point example", "marie@x.example", "as above: French"),
            ("marco chiocciola x punto example", "marco@x.example", "as above: Italian"),
            ("jan apenstaartje x punt example", "jan@x.example", "as above: Dutch"),
            ("thomas at x punkt example", "thomas@x.example", "as above: German"),
            ("ada at x dot example", "ada@x.example", "as above: English"),
            ("ada(at)x.example", "ada@x.example", "https://en.wikipedia.org/wiki/Address_munging"),
            ("ada [at] x [dot] example", "ada@x.example", "as above: brackets and spaces"),
            ("ada {at} x {dot} example", "ada@x.example", "as above: braces"),
            ("ada (arroba) x.example", "ada@x.example", "as above: in Portuguese"),
            ("ada at x dot example.", "ada@x.example.", "as above: the end of a sentence"),
        ] {
            assert_eq!(address(text).as_deref(), Some(expected), "{text} ({source})");
        }
    }

    #[test]
    fn signs_are_found_in_any_text() {
        for (text, expected) in [
            (r#"{"a": "ana arroba x ponto com", "b": 1}"#, Some(r#"{"a": "ana@x.com", "b": 1}"#)),
            ("write to ada [at] x [dot] example!", Some("write to ada@x.example!")),
            ("ada at x dot example", Some("ada@x.example")),
            ("write to ada@x dot example", Some("write to ada@x.example")),
            ("Ada guion bajo L arroba x punto example", Some("Ada_L@x.example")),
            ("ada@x.example wrote", None),
            ("we met at noon", None),
            ("", None),
        ] {
            assert_eq!(with_signs(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn sentences_stay() {
        for text in [
            "ada at x.example",
            "because at one",
            "I work at x dot example",
            "meu email é ana arroba x ponto com",
            "ana souza arroba x ponto com",
            "ana arroba arroba x ponto com",
            "ana arroba bia arroba x ponto com",
            "arroba x ponto com",
            "ana arroba",
            "ana arroba x",
            "ana ponto souza",
            "joão arroba x ponto com",
            "ana@x.com ponto",
            "ana@x.com, ponto de encontro",
            "ana@gmail.com ponto final",
            "ana@gmail.com point final",
            "ana@gmail ponto com ponto final",
            "ana arroba gmail ponto com ponto final",
            "ana@x.com traço trabalho",
            "ana arroba x ponto com traço trabalho",
            "ana@x.com ponto trabalho",
            "ana",
            "(at)",
            "",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
        assert_eq!(address(&format!("ana arroba x{} com", " ponto x".repeat(100))), None, "long");
    }
}
