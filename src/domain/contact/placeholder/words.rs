//! Words and phrases that say "no value", in any case, accents and punctuation.

use super::{
    asked::{self, asks, bit, labels},
    examples, sentences,
    spelling::{bare, is_initials, is_like_a_name, is_titled, spelled},
};
use crate::domain::{
    contact::field::Field,
    value::{
        country, label,
        lookup::{WordMap, WordSet},
        text::{folded, folded_latin},
    },
};

/// Placeholders that are also names, folded: the default list `unless_a_name`.
///
/// Not taken from the settings: contacts are rebuilt from events of years ago, and what won then must win again.
pub(super) const DOUBTFUL: [&str; 37] = [
    "null",
    "none",
    "nil",
    "nan",
    "nada",
    "nothing",
    "na",
    "no",
    "nao",
    "sem",
    "sin",
    "string",
    "blank",
    "keine",
    "aucun",
    "aucune",
    "nessuno",
    "nessuna",
    "yok",
    "brak",
    "khong co",
    "n.d",
    "n.i",
    "guest",
    "array",
    "select",
    "choose",
    "escolha",
    "john doe",
    "jane doe",
    "max mustermann",
    "erika mustermann",
    "false",
    "geen",
    "later",
    "skip",
    "error",
];
/// In bytes, with accents.
const LONGEST_DOUBTFUL: usize = 16;

/// Words in one phrase; a longer phrase is found as a whole value only.
const MAX_PHRASE: usize = 8;

/// In bytes, of a word that may be written twice without a space.
const MIN_DOUBLED: usize = 4;

/// In bytes, of a phrase without its spaces that is a placeholder by itself. A shorter one may be a name: "Nose".
const MIN_JOINED: usize = 7;

/// In bytes; phrases that begin with a longer word are looked up at once.
const LONGEST_START: usize = 24;

/// Between two phrases: "null and null".
const CONNECTIVES: [&str; 6] = ["e", "y", "and", "or", "ou", "o"];

/// Deny what follows, which may be the field's own name: "sem cargo".
const DENIALS: [&str; 20] = [
    "sem",
    "sin",
    "no",
    "nao",
    "without",
    "nao tem",
    "no tiene",
    "nao possui",
    "nao ha",
    "no hay",
    "nenhum",
    "nenhuma",
    "ninguno",
    "ninguna",
    "kein",
    "keine",
    "senza",
    "sans",
    "aucun",
    "aucune",
];

/// Typed into a form to get past it. Twice, it is not an address: `asd@asd.com`.
const TYPED: [&str; 24] = [
    "a", "aa", "aaa", "abc", "asd", "asdf", "qwe", "qwerty", "x", "xx", "123", "1234", "dummy", "fake",
    "temp", "foo", "admin", "invalid", "noreply", "xyz", "none", "null", "lead", "teste",
];

/// Placeholders at the end of others, "not provided yet"; alone and capitalized they are names.
const TAILS: [&str; 4] = ["yet", "ainda", "todavia", "aun"];

/// Vietnamese, but without their accents surnames of Hokkien speakers.
const WITH_ACCENTS: [&str; 2] = ["chua co", "khong ro"];

/// Whether a stored value may be a placeholder or a name: "None" in a field of proper names. Such a value yields to
/// any other.
#[must_use]
pub fn is_doubtful(field: Field, value: &str) -> bool {
    field.is_proper_name()
        && value.len() <= LONGEST_DOUBTFUL
        && (is_titled(value) || is_initials(value))
        && DOUBTFUL.contains(&folded(value).trim_end_matches('.'))
}

/// The fields in which a phrase is a placeholder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reach {
    Anywhere,
    UnlessAName,
    KeysOnly,
}

/// The phrases of the settings, folded for lookups.
#[derive(Debug)]
pub(super) struct Words {
    phrases: WordMap<Box<str>, Reach>,
    /// Phrases of several words without their spaces: "naoinformado".
    joined: WordSet<Box<str>>,
    /// The names of the fields, with one bit for each field that has the name.
    labels: WordMap<Box<str>, u32>,
    /// The first words of all of these: most values begin with none of them.
    starts: WordSet<Box<str>>,
    /// Bytes of the longest phrase.
    longest: usize,
}

/// A text that may be a phrase.
pub(super) struct Candidate<'t> {
    text: &'t str,
    /// Without brackets, quotes and punctuation around it.
    bare: &'t str,
    /// Folded.
    spelled: String,
}

impl Words {
    /// A phrase in two lists has the wider reach.
    pub(super) fn new(anywhere: &[String], unless_a_name: &[String], keys_only: &[String]) -> Self {
        let mut phrases: WordMap<Box<str>, Reach> = WordMap::default();
        for (list, reach) in
            [(keys_only, Reach::KeysOnly), (unless_a_name, Reach::UnlessAName), (anywhere, Reach::Anywhere)]
        {
            phrases.extend(list.iter().map(|phrase| (spelled(bare(phrase)).into_boxed_str(), reach)));
        }
        phrases.remove("");
        let several = phrases.iter().filter(|(phrase, reach)| {
            **reach == Reach::Anywhere
                && phrase.contains(' ')
                && !WITH_ACCENTS.contains(&&***phrase)
                && phrase.chars().all(|c| c.is_alphanumeric() || c == ' ')
        });
        let joined = several.map(|(phrase, _)| phrase.replace(' ', "").into_boxed_str()).collect();
        let labels = labels();
        let denials = DENIALS.iter().copied();
        let all = phrases.keys().chain(labels.keys()).map(|phrase| &**phrase).chain(denials);
        let mut starts: WordSet<Box<str>> = all.map(|phrase| first_word(phrase).into()).collect();
        starts.extend(sentences::starts().chain(asked::starts()).map(Box::from));
        let longest = phrases.keys().chain(labels.keys()).map(|phrase| phrase.len()).max().unwrap_or(0);
        Self { phrases, joined, labels, starts, longest }
    }

    /// The text, if it may be such a phrase. `None` for nearly all values.
    pub(super) fn candidate<'t>(&self, text: &'t str) -> Option<Candidate<'t>> {
        let bare = bare(text);
        let may_be_one = (self.may_be_short(text) || bare.len() <= self.longest) && self.may_begin(bare);
        may_be_one.then(|| Candidate { text, bare, spelled: spelled(bare) })
    }

    /// Folding shrinks a letter to no less than a quarter of its bytes.
    const fn may_be_short(&self, text: &str) -> bool {
        text.len() <= 4 * self.longest + 16
    }

    /// Whether the text is such a phrase, or several of them.
    pub(super) fn cover(&self, field: Field, candidate: &Candidate<'_>) -> bool {
        let Candidate { text, bare, ref spelled } = *candidate;
        if !self.may_be_short(text) {
            return false;
        }
        if !self.starts.contains(first_word(spelled)) {
            // `{{customerName}}` is a template.
            let is_template = text.starts_with(['{', '<', '[', '_', '«']);
            return self.is_doubled(field, spelled) || !is_template && self.is_joined(spelled);
        }
        // Sinaloa is abbreviated to "Sin." (INEGI).
        let is_abbreviated = || field == Field::State && text == "Sin.";
        let is_named = || {
            field.is_proper_name()
                && (text == bare && is_titled(text) || is_initials(text) || is_abbreviated())
        };
        match self.phrases.get(&**spelled) {
            Some(Reach::Anywhere) => {
                let lacks_accents = WITH_ACCENTS.contains(&&**spelled) && text.is_ascii();
                !(lacks_accents || TAILS.contains(&&**spelled) && is_named())
            }
            // Namibia's code is what everybody else writes for "not available".
            Some(Reach::UnlessAName | Reach::KeysOnly) if field == Field::Country => {
                text == "NA" || !is_country(text)
            }
            // Nobody writes a name in brackets, or with a full stop, except for initials.
            Some(Reach::UnlessAName) => !is_named(),
            Some(Reach::KeysOnly) if !field.is_free_text() => true,
            Some(Reach::KeysOnly) | None => {
                let is_titled = field.is_proper_name() && is_titled(bare);
                let is_like_a_name = field.is_proper_name() && is_like_a_name(bare);
                self.are_phrases(field, spelled, is_titled)
                    || sentences::says_nothing(field, spelled, is_like_a_name)
            }
        }
    }

    /// Whether the text only asks for the value, as a form does: "Cargo", "Digite seu nome".
    pub(super) fn name(&self, field: Field, candidate: &Candidate<'_>) -> bool {
        candidate.bare.len() <= self.longest
            && asks(field, candidate.text, &candidate.spelled, |name| self.is_label(field, name))
    }

    /// Whether both parts of an address are placeholders, `null@undefined.com`, or one together, `nao@tem.com`.
    pub(super) fn fill(&self, local: &str, domain: &str) -> bool {
        let site = domain.split('.').next().unwrap_or_default();
        let is_word = |part: &str| {
            let is_spelled = !part.contains(['_', '-', '/']) && part.is_ascii();
            let is_phrase = || {
                if is_spelled {
                    self.phrases.contains_key(part)
                } else {
                    self.phrases.contains_key(&*spelled(part))
                }
            };
            self.joined.contains(part) || is_phrase()
        };
        let is_phrase = || {
            self.starts.contains(first_word(local)) && self.phrases.contains_key(&*format!("{local} {site}"))
        };
        let is_typed = || TYPED.contains(&site) || examples::is_mailbox(site) || is_one_character(site);
        is_word(site) && is_word(local) || local == site && is_typed() || is_phrase()
    }

    /// Whether the text is a phrase of several words without its spaces.
    pub(super) fn is_joined(&self, folded: &str) -> bool {
        folded.len() >= MIN_JOINED && self.joined.contains(folded)
    }

    /// `false` if the text certainly begins with no phrase. Cheaper than spelling it.
    fn may_begin(&self, bare: &str) -> bool {
        let mut start = [0; LONGEST_START];
        let mut end = 0;
        let mut rest = bare.chars();
        let is_alone = loop {
            match rest.next() {
                None => break true,
                Some(c) if c.is_ascii() && !c.is_alphanumeric() => break false,
                // Folding may remove it.
                Some(c) if !c.is_alphanumeric() => return true,
                Some(c) => match folded_latin(c).zip(start.get_mut(end..)) {
                    Some((c, room)) if room.len() >= c.len_utf8() => end += c.encode_utf8(room).len(),
                    _ => return true,
                },
            }
        };
        // Something after the word may belong to it once it is folded.
        if !is_alone && !rest.as_str().chars().all(|c| folded_latin(c).is_some()) {
            return true;
        }
        let Some(word) = start.get(..end).and_then(|word| std::str::from_utf8(word).ok()) else {
            return true;
        };
        self.starts.contains(word)
            || is_alone && end >= MIN_JOINED && (self.joined.contains(word) || is_twice(word))
    }

    /// Whether the text is phrases one after the other: "null null", "n/a n/a". The field's own name may be among them
    /// where one certainly says that there is nothing: "sem cargo", "cargo não informado".
    fn are_phrases(&self, field: Field, spelled: &str, is_titled: bool) -> bool {
        // "Sin City" is a name, "sin city" is not; "Unknown City" and "Keine Firma" say so in any case.
        let is_denial = |word: &str| {
            let is_name = ["sem", "sin", "no", "nao", "sans"].contains(&word);
            DENIALS.contains(&word) && !(is_titled && is_name)
        };
        let mut rest = spelled;
        let (mut has_phrase, mut has_label, mut has_certain, mut denied) = (false, false, false, false);
        while !rest.is_empty() {
            let length = if let Some(length) = self.phrase_at_start(field, rest) {
                let phrase = rest.get(..length).unwrap_or_default();
                has_phrase = true;
                let is_tail = is_titled && TAILS.contains(&phrase);
                has_certain |= !is_tail && self.phrases.get(phrase) == Some(&Reach::Anywhere);
                denied = is_denial(phrase);
                length
            } else if let Some(length) = longest_at_start(rest, |name| self.is_label_in_phrase(field, name)) {
                has_label = true;
                has_certain |= denied;
                denied = false;
                length
            } else {
                let word = first_word(rest);
                denied = is_denial(word);
                let is_between = rest.len() < spelled.len() && CONNECTIVES.contains(&word) && {
                    let after = rest.get(word.len()..).unwrap_or_default().trim_start_matches(is_separator);
                    self.phrase_at_start(field, after).is_some()
                };
                if !denied && !is_between {
                    return false;
                }
                word.len()
            };
            rest = rest.get(length..).unwrap_or_default().trim_start_matches(is_separator);
        }
        if has_label { has_certain } else { has_phrase }
    }

    /// The length of the longest phrase that the text begins with.
    fn phrase_at_start(&self, field: Field, text: &str) -> Option<usize> {
        longest_at_start(text, |phrase| self.is_part(field, phrase))
    }

    /// Whether two values were joined without a space, "undefinedundefined". "Nana" is a name.
    fn is_doubled(&self, field: Field, spelled: &str) -> bool {
        let half = spelled.get(..spelled.len() / 2).unwrap_or_default();
        half.len() >= MIN_DOUBLED && is_twice(spelled) && self.is_part(field, half)
    }

    /// Whether a phrase is a placeholder beside others, where no word is a name.
    fn is_part(&self, field: Field, phrase: &str) -> bool {
        match self.phrases.get(phrase) {
            Some(Reach::Anywhere | Reach::UnlessAName) => true,
            Some(Reach::KeysOnly) => !field.is_free_text(),
            None => false,
        }
    }

    /// "Sem número" is what an address without a number says, and streets are called "Calle sin nombre".
    fn is_label_in_phrase(&self, field: Field, name: &str) -> bool {
        let is_own = field == Field::Number
            || field == Field::Street && label::STREET_KINDS.split('|').any(|kind| kind == name);
        !is_own && self.is_label(field, name)
    }

    fn is_label(&self, field: Field, name: &str) -> bool {
        self.labels.get(name).is_some_and(|fields| fields & bit(field) != 0)
    }
}

/// `a`, `1`, `aaaa`.
fn is_one_character(text: &str) -> bool {
    text.bytes().zip(text.bytes().skip(1)).all(|(one, next)| one == next)
}

fn is_twice(text: &str) -> bool {
    text.split_at_checked(text.len() / 2).is_some_and(|(one, other)| one == other)
}

/// The length of the longest run of words at the start for which this holds.
fn longest_at_start(text: &str, holds: impl Fn(&str) -> bool) -> Option<usize> {
    let ends = text.match_indices(is_separator).map(|(end, _)| end).chain([text.len()]);
    ends.take(MAX_PHRASE).filter(|end| text.get(..*end).is_some_and(&holds)).last()
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

#[cfg(test)]
mod tests;
