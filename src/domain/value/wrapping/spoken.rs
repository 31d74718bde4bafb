//! Addresses of which somebody said or hid the signs: `ana arroba x ponto com`, `ana [at] x [dot] com`. Every word between
//! the signs is a part of the address, so nothing is guessed.

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
/// Around such a word on web pages.
const BRACKETS: [char; 6] = ['(', ')', '[', ']', '{', '}'];

/// The address with its signs.
pub(super) fn address(text: &str) -> Option<String> {
    if text.len() > MAX_TEXT || !text.contains(' ') && !text.contains(BRACKETS) {
        return None;
    }
    // Dictation writes the sign, but not the dots: `ana@x ponto com`.
    if text.contains('@') {
        let has_word = || text.split(' ').any(|word| sign(&folded(word)).is_some_and(|sign| sign != '@'));
        return (text.matches('@').count() == 1 && has_word())
            .then(|| address(&text.replace('@', " arroba ")))?;
    }
    if let Some(shorter) = ["guion bajo", "guión bajo"].iter().find(|words| text.contains(**words)) {
        return address(&text.replace(shorter, "underscore"));
    }
    let mut address = String::with_capacity(text.len());
    let (mut is_after_word, mut at, mut has_dot) = (false, None, false);
    let tokens = text.split(|c: char| c.is_whitespace() || BRACKETS.contains(&c));
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
    (is_said && is_after_word && Email::parse(&address).is_some()).then_some(address)
}

/// The text with signs for the words that stand for them, wherever they are. `None` if none stands for the sign of an
/// address. It is for searches: it joins sentences, too.
pub(in crate::domain) fn with_signs(text: &str) -> Option<String> {
    let lower = text.to_ascii_lowercase();
    let has = |word: &str| lower.contains(word);
    let is_said = SIGNS.iter().any(|(name, sign)| *sign == '@' && *name != "at" && has(name))
        || ["(at)", "[at]", "{at}"].iter().any(|word| has(word))
        || has(" at ") && (has(" dot ") || has(" punkt "));
    if !is_said {
        return None;
    }
    let is_between = |c: char| c.is_whitespace() || BRACKETS.contains(&c);
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
            "ana",
            "(at)",
            "",
        ] {
            assert_eq!(address(text), None, "{text}");
        }
        assert_eq!(address(&format!("ana arroba x{} com", " ponto x".repeat(100))), None, "long");
    }
}
