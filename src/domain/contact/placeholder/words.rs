//! Words and phrases that say "no value", in whatever case, accents and punctuation.

use std::collections::{HashMap, HashSet};

use crate::domain::{
    contact::field::Field,
    value::{country, text::folded},
};

/// Placeholders that are also names, folded: the default list `unless_a_name`.
///
/// Not taken from the settings: contacts are rebuilt from events of years ago, and what won then must win again.
pub(super) const DOUBTFUL: [&str; 12] =
    ["null", "none", "nil", "nan", "nada", "nothing", "na", "no", "nao", "sem", "sin", "string"];
/// In bytes, with accents.
const LONGEST_DOUBTFUL: usize = 16;

/// Words in one phrase; a longer phrase is found as a whole value only.
const MAX_PHRASE: usize = 8;

/// In bytes, of a word that may be written twice without a space.
const MIN_DOUBLED: usize = 4;

/// Stand between two phrases: "null and null".
const CONNECTIVES: [&str; 6] = ["e", "y", "and", "or", "ou", "o"];

/// Whether a stored value may be a placeholder or a name: "None" in a field of proper names, and the code NA
/// (Namibia) as a country. Such a value gives way to any other.
#[must_use]
pub fn is_doubtful(field: Field, value: &str) -> bool {
    if field == Field::Country {
        return value == "NA";
    }
    field.is_proper_name()
        && value.len() <= LONGEST_DOUBTFUL
        && is_written_as_a_name(value)
        && DOUBTFUL.contains(&&*folded(value))
}

/// The fields in which a phrase is a placeholder.
#[derive(Clone, Copy, Debug)]
enum Reach {
    Anywhere,
    UnlessAName,
    KeysOnly,
}

/// The phrases of the settings, folded for lookups.
#[derive(Debug)]
pub(super) struct Words {
    phrases: HashMap<Box<str>, Reach>,
    /// The first words of all phrases: most values begin with none of them.
    starts: HashSet<Box<str>>,
    /// Bytes of the longest phrase.
    longest: usize,
}

impl Words {
    /// A phrase in two lists has the wider reach.
    pub(super) fn new(anywhere: &[String], unless_a_name: &[String], keys_only: &[String]) -> Self {
        let mut phrases: HashMap<Box<str>, Reach> = HashMap::new();
        for (list, reach) in
            [(keys_only, Reach::KeysOnly), (unless_a_name, Reach::UnlessAName), (anywhere, Reach::Anywhere)]
        {
            phrases.extend(list.iter().map(|phrase| (spelled(bare(phrase)).into_boxed_str(), reach)));
        }
        phrases.remove("");
        let starts = phrases.keys().map(|phrase| first_word(phrase).into()).collect();
        let longest = phrases.keys().map(|phrase| phrase.len()).max().unwrap_or(0);
        Self { phrases, starts, longest }
    }

    /// Whether the text is such a phrase, or several of them.
    pub(super) fn cover(&self, field: Field, text: &str) -> bool {
        // Folding shrinks a letter to no less than a quarter of its bytes.
        if text.len() > 4 * self.longest + 16 {
            return false;
        }
        let bare = bare(text);
        let spelled = spelled(bare);
        if !self.starts.contains(first_word(&spelled)) {
            return self.is_doubled(field, &spelled);
        }
        match self.phrases.get(&*spelled) {
            Some(Reach::Anywhere) => true,
            Some(Reach::UnlessAName | Reach::KeysOnly) if field == Field::Country => !is_country(text),
            // Nobody writes a name in brackets, or with a full stop.
            Some(Reach::UnlessAName) => {
                !(field.is_proper_name() && text == bare && is_written_as_a_name(text))
            }
            Some(Reach::KeysOnly) => !field.is_free_text(),
            None => self.are_phrases(field, &spelled),
        }
    }

    /// Whether both parts of an address are the same placeholder: `null@null.com`.
    pub(super) fn fill(&self, local: &str, domain: &str) -> bool {
        domain.split('.').next() == Some(local) && self.phrases.contains_key(&*spelled(local))
    }

    /// Whether the text is phrases one after the other: "null null", "n/a n/a".
    fn are_phrases(&self, field: Field, spelled: &str) -> bool {
        let mut rest = spelled;
        while !rest.is_empty() {
            let end = self.phrase_at_start(field, rest).or_else(|| {
                let word = first_word(rest);
                (rest.len() < spelled.len() && CONNECTIVES.contains(&word)).then_some(word.len())
            });
            let Some((_, after)) = end.and_then(|end| rest.split_at_checked(end)) else { return false };
            rest = after.trim_start_matches(is_separator);
        }
        true
    }

    /// The length of the longest phrase that the text begins with.
    fn phrase_at_start(&self, field: Field, text: &str) -> Option<usize> {
        let ends = text.match_indices(is_separator).map(|(end, _)| end).chain([text.len()]);
        let is_phrase = |end: &usize| text.get(..*end).is_some_and(|phrase| self.is_part(field, phrase));
        ends.take(MAX_PHRASE).filter(is_phrase).last()
    }

    /// Whether two values were joined without a space, "undefinedundefined". "Nana" is a name.
    fn is_doubled(&self, field: Field, spelled: &str) -> bool {
        let halves = spelled.split_at_checked(spelled.len() / 2);
        halves
            .is_some_and(|(one, other)| one == other && one.len() >= MIN_DOUBLED && self.is_part(field, one))
    }

    /// Whether a phrase is a placeholder beside others, where no word is a name.
    fn is_part(&self, field: Field, phrase: &str) -> bool {
        match self.phrases.get(phrase) {
            Some(Reach::Anywhere | Reach::UnlessAName) => true,
            Some(Reach::KeysOnly) => !field.is_free_text(),
            None => false,
        }
    }
}

fn first_word(spelled: &str) -> &str {
    spelled.split(is_separator).next().unwrap_or_default()
}

fn is_separator(c: char) -> bool {
    !c.is_alphanumeric()
}

/// The alpha-2 or alpha-3 code of a country, in capitals.
fn is_country(text: &str) -> bool {
    text.chars().all(char::is_uppercase) && country::code(text).is_some()
}

/// A capital followed by lower case, "Nada".
fn is_written_as_a_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(char::is_uppercase) && letters.all(char::is_lowercase)
}

/// Strips brackets, quotes, dashes and the end of a sentence.
fn bare(text: &str) -> &str {
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
fn spelled(text: &str) -> String {
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
        _ => spelled.push(c),
    }
}
