//! How a word is written: as a name, in brackets, with accents.

use crate::domain::value::text::folded;

/// In bytes, of letters that stand for words.
const MAX_INITIALS: usize = 3;

/// A capital followed by lower case, "Nada", also with a hyphen: "Ha-na", "Jean-Luc".
fn is_written_as_a_name(text: &str) -> bool {
    text.starts_with(char::is_uppercase)
        && text.split('-').all(|part| {
            let mut letters = part.chars();
            letters.next().is_some_and(char::is_alphabetic) && letters.all(char::is_lowercase)
        })
}

/// Capitals with full stops, "N.D.".
pub(super) fn is_initials(text: &str) -> bool {
    let is_initial = |part: &str| {
        part.strip_suffix('.')
            .is_some_and(|letter| letter.chars().all(char::is_uppercase) && letter.chars().count() == 1)
    };
    !text.is_empty() && text.split_inclusive('.').all(is_initial)
}

/// Whether each word begins with a capital: "Sin City".
pub(super) fn is_titled(text: &str) -> bool {
    text.split_whitespace().all(is_written_as_a_name)
}

/// Whether each word begins with a capital, also before a full stop or a comma: "A. Ask". One word alone may be in capitals, and
/// so may a short one beside others: "Follow AI".
pub(super) fn is_like_a_name(text: &str) -> bool {
    let is_one = || text.starts_with(char::is_uppercase) && text.chars().all(char::is_alphanumeric);
    let is_short = |word: &str| word.len() <= MAX_INITIALS && word.chars().all(char::is_uppercase);
    let is_name = |word: &str| {
        let word = word.trim_end_matches(['.', ',']);
        is_written_as_a_name(word) || is_short(word) && text.contains(char::is_lowercase)
    };
    is_one() || text.split_whitespace().all(is_name)
}

/// Strips brackets, quotes, dashes and the end of a sentence.
pub(super) fn bare(text: &str) -> &str {
    let is_around = |c: char| {
        matches!(
            c,
            '"' | '\'' | '`' | '*' | '_' | '-' | '“' | '”' | '‘' | '’' | '«' | '»' | '\u{2010}'..='\u{2015}'
        ) || c.is_whitespace()
    };
    text.trim_start_matches(|c: char| is_around(c) || matches!(c, '<' | '(' | '[' | '{')).trim_end_matches(
        |c: char| {
            is_around(c) || matches!(c, '>' | ')' | ']' | '}' | '.' | '!' | '?' | ',' | ';' | ':' | '…')
        },
    )
}

/// Folded, with one space between words and none around a slash: `Não_Informado`, `N / A`.
pub(super) fn spelled(text: &str) -> String {
    let mut spelled = String::with_capacity(text.len());
    if text.is_ascii() {
        text.chars().for_each(|c| spell(&mut spelled, c.to_ascii_lowercase()));
    } else {
        folded(text).chars().for_each(|c| spell(&mut spelled, c));
    }
    spelled
}

fn spell(spelled: &mut String, c: char) {
    match c {
        '_' | '-' | ' ' | '\u{a0}' if spelled.ends_with([' ', '/']) => {}
        '_' | '-' | ' ' | '\u{a0}' => spelled.push(' '),
        '/' => {
            spelled.truncate(spelled.trim_end().len());
            spelled.push('/');
        }
        // What models and word processors write: `didn’t`.
        '’' | '‘' | '´' | '`' => spelled.push('\''),
        _ => spelled.push(c),
    }
}
