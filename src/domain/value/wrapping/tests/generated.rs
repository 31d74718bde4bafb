//! Generated texts: what is unwrapped stays so, and the quick way agrees with the long one.

use proptest::prelude::*;

use super::*;
use crate::domain::samples::matching;

/// Pieces of all wrappings, and values.
const PIECES: [&str; 38] = [
    "<",
    ">",
    "<a href=\"",
    "\">",
    "</a>",
    "<b>",
    "</b>",
    "<br>",
    "mailto:",
    "tel:",
    "https://",
    "|",
    "[",
    "](",
    ")",
    "]",
    "=",
    "\"",
    "\"\"",
    "'",
    "“",
    "”",
    "*",
    "_",
    "~",
    "\\",
    "&amp;",
    "&lt;",
    "&#39;",
    "&#8203;",
    "Tel.: ",
    "Nome: ",
    "e-mail: ",
    "=HYPERLINK(",
    ";",
    " ",
    "\u{200b}",
    "x",
];
const VALUES: [&str; 4] = ["ada@x.example", "bob@x.example", "85999990001", "Ana"];

/// Chosen by number, which is many times cheaper than by a regular expression.
fn texts() -> impl Strategy<Value = String> {
    let all: Vec<&str> = PIECES.into_iter().chain(VALUES).collect();
    let pieces = prop::collection::vec(0..all.len(), 1..=9);
    let pieces =
        pieces.prop_map(move |chosen| chosen.into_iter().map(|index| all[index]).collect::<String>());
    prop_oneof![pieces, prop::collection::vec(any::<char>(), 0..=24).prop_map(String::from_iter)]
}

fn kinds() -> impl Strategy<Value = Kind> {
    prop::sample::select(vec![Kind::Email, Kind::Phone(region()), Kind::Digits, Kind::Date, Kind::Text])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn unwrapped_texts_stay_the_same(kind in kinds(), text in texts()) {
        if let Some(once) = bare(kind, &text) {
            prop_assert!(once.len() <= text::clean(&text).len(), "{}", once);
            // The same text gives the same result.
            if once != text {
                prop_assert_eq!(bare(kind, &once), Some(once.clone()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// A plain text is not looked through.
    #[test]
    fn quick_way_finds_what_the_long_one_finds(
        kind in kinds(),
        text in prop_oneof![texts(), matching("[0-9+./ ,()a-zA-Z@#!?*'éã-]{0,16}")],
    ) {
        let text = text::clean(&text);
        let long = peeled(&text, |text| peel(kind, kind.names(), text));
        prop_assert_eq!(unwrap(kind, &text), long);
    }
}

/// A mailbox of two to ten characters, the same for the same number.
fn mailbox(number: usize) -> String {
    const CHARACTERS: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789._+-";
    // Knuth's 64-bit linear congruential generator.
    let mut state = number as u64;
    let mut below = |end: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % end
    };
    let mut mailbox = String::from(char::from(CHARACTERS[below(26)]));
    for _ in 0..below(9) {
        let c = char::from(CHARACTERS[below(CHARACTERS.len())]);
        if !(c == '.' && mailbox.ends_with('.')) {
            mailbox.push(c);
        }
    }
    mailbox.push(char::from(CHARACTERS[below(36)]));
    mailbox
}

/// All ways to put up to four different wrappings around an address, which are 3,610, each around several addresses.
#[test]
fn any_wrapping_of_an_address_gives_the_address() {
    const ADDRESSES: usize = 6;
    let mut count = 0;
    let mut chosen: Vec<Vec<usize>> = vec![Vec::new()];
    while let Some(layers) = chosen.pop() {
        for _ in 0..ADDRESSES {
            let address = format!("{}@x.example", mailbox(count));
            let wrap =
                |text: String, layer: &usize| WRAPPINGS[*layer].replace('§', &text).replace('¤', &address);
            let text = layers.iter().fold(address.clone(), wrap);
            let found = bare(Kind::Email, &text);
            // A canonical address is read as itself; others are still to be parsed.
            let is_bare = found.as_ref() == Some(&address);
            let email = || found.as_deref().and_then(Email::parse);
            assert!(is_bare || email().is_some_and(|email| email.as_str() == address), "{text}: {found:?}");
            count += 1;
        }
        if layers.len() < 4 {
            let rest = (0..WRAPPINGS.len()).filter(|layer| !layers.contains(layer));
            chosen.extend(rest.map(|layer| [layers.as_slice(), &[layer]].concat()));
        }
    }
    assert_eq!(count, 3_610 * ADDRESSES);
}

/// `§` is what is wrapped, `¤` the address itself.
const WRAPPINGS: [&str; 9] =
    ["\"§\"", "'§'", "“§”", "<b>§</b>", "*§*", "e-mail: §", "[§](mailto:¤)", "<a href=mailto:¤>§</a>", "`§`"];
