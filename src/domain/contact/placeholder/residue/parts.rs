//! Expressions that are one part of a value: `Ana {sobrenome}`, `+{ddi}{ddd}{numero}`. They spoil the rest, because nobody knows
//! what is missing.

use super::{is_in, names_a_blank};
use crate::domain::contact::field::Field;

/// Parts of a name, as variables call them.
const PARTS: &str = "first last middle given family primeiro ultimo primer";
/// In letters: a shorter one is a decoration.
const MIN_IDENTIFIER: usize = 3;

/// Whether one part of the text is an expression in single marks.
pub(super) fn spoils(field: Field, text: &str, parameter: &str) -> bool {
    if !text.contains(['{', '%', '$', '[', '<']) {
        return false;
    }
    if field.is_free_text() {
        let mut words = text.split([' ', ',', ';', '/', '-']).filter(|word| !word.is_empty());
        let first = words.next().filter(|_| text.contains(' '));
        return first.is_some_and(|first| {
            // `<nome> Ana </nome>` is an element.
            let begins = !text.contains("</") && begins(field, first, parameter);
            begins || is_part(field, first, parameter) || words.any(|word| is_part(field, word, parameter))
        });
    }
    let longest = if field == Field::Email { MIN_IDENTIFIER } else { 2 };
    has_braces(text, longest) || field == Field::Phone && text.contains("%s")
}

/// `{sobrenome}`, `%LASTNAME%`, `$last_name`, `%s`. `{reprise} Records` and `$mart Ltda` are firms.
fn is_part(field: Field, word: &str, parameter: &str) -> bool {
    if let Some(name) = within(word, '{', '}') {
        return is_blank(field, name, parameter);
    }
    if let Some(name) = within(word, '%', '%') {
        let is_letter = |c: char| c.is_alphanumeric() || c == '_';
        return name.len() >= MIN_IDENTIFIER && name.chars().all(is_letter);
    }
    match word.strip_prefix('$') {
        Some(name) => is_blank(field, name, parameter) || is_in(PARTS, &name.to_lowercase()),
        None => matches!(word, "%s" | "%d" | "%v" | "%@"),
    }
}

/// `[nome] Silva`. At the end it is taken off: `Ana [sobrenome]`.
fn begins(field: Field, word: &str, parameter: &str) -> bool {
    let name = within(word, '[', ']').or_else(|| within(word, '<', '>'));
    name.is_some_and(|name| is_blank(field, name, parameter))
}

/// Whether a name within marks is a blank's, the field's own, or one that only programs write: `primeiro_nome`.
fn is_blank(field: Field, name: &str, parameter: &str) -> bool {
    let is_identifier = name.starts_with(char::is_alphabetic)
        && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '.'));
    // `reStart` and `eSales` are firms.
    let names_part = |word: &str| is_in(PARTS, &word.to_lowercase()) || names_a_blank(field, word, parameter);
    let is_programs = || name.contains('_') || humps(name).any(names_part);
    let is_own = || {
        let name = name.to_lowercase();
        let is_street = field == Field::Street && matches!(&*name, "rua" | "calle" | "avenida");
        is_street || field.labels().iter().any(|list| list.split('|').any(|label| label == name))
    };
    is_identifier && (is_programs() || names_a_blank(field, name, parameter) || is_own())
}

/// The words of `camelCase`. None if there is only one.
fn humps(name: &str) -> impl Iterator<Item = &str> {
    let starts = name.char_indices().zip(name.chars().skip(1));
    let mut ends: Vec<usize> = starts
        .filter(|((_, one), next)| one.is_lowercase() && next.is_uppercase())
        .map(|((at, one), _)| at + one.len_utf8())
        .collect();
    let is_one = ends.is_empty();
    ends.push(name.len());
    let mut start = 0;
    ends.into_iter()
        .filter(move |_| !is_one)
        .filter_map(move |end| name.get(std::mem::replace(&mut start, end)..end))
}

/// Whether a word is in braces: no number, document or date has one.
fn has_braces(text: &str, shortest: usize) -> bool {
    text.split('{').skip(1).any(|rest| {
        rest.split_once('}').is_some_and(|(name, _)| {
            name.chars().count() >= shortest
                && name.chars().all(|c| c.is_alphabetic() || matches!(c, '_' | '.' | '-'))
        })
    })
}

fn within(word: &str, open: char, close: char) -> Option<&str> {
    word.strip_prefix(open)?.strip_suffix(close)
}

#[cfg(test)]
mod tests {
    use crate::domain::{
        contact::{field::Field, placeholder::Why},
        samples::placeholders,
    };

    #[test]
    fn part_that_is_an_expression_spoils_the_rest() {
        let placeholders = placeholders();
        for (field, text, source) in [
            (Field::Name, "Ana {sobrenome}", "Python's format: Python"),
            (Field::Name, "Ana {last_name}", "Python"),
            (Field::Name, "{nome} Silva", "Python"),
            (Field::Name, "{primeiro_nome} Souza", "Python"),
            (Field::Name, "{firstName} Souza", "JavaScript: without its dollar"),
            (Field::Name, "Ana {lastName}", "JavaScript: without its dollar"),
            (Field::Company, "{companyName} Ltda", "JavaScript: without its dollar"),
            (Field::Name, "[nome] Silva", "forms"),
            (Field::Name, "$first Souza", "PHP"),
            (Field::Name, "Ana $sobrenome", "PHP"),
            (Field::Name, "%FNAME% Souza", "Windows variables"),
            (Field::Name, "Ana %LASTNAME%", "Windows variables"),
            (Field::Name, "Ana %s", "C"),
            (Field::Name, "Hi {name}", "Python"),
            (Field::Company, "{empresa} Ltda", "Python"),
            (Field::Street, "Rua {rua}", "Python"),
            (Field::City, "{cidade} - CE", "Python"),
            (Field::Phone, "({ddd}) {numero}", "Python"),
            (Field::Phone, "+{ddi}{ddd}{numero}", "Python"),
            (Field::Phone, "+55%s", "C"),
            (Field::Email, "{nome}.{sobrenome}@firma.io", "Python"),
            (Field::Name, "triggerBody()?['name']", "Power Automate: pasted without its sign"),
            (Field::Name, "body('Parse_JSON')?['name']", "Power Automate: pasted without its sign"),
            (Field::Name, "outputs('Compose')", "Power Automate: pasted without its sign"),
            (
                Field::Name,
                "{$lead->name}",
                "https://smarty-php.github.io/smarty/stable/designers/language-variables/",
            ),
            (Field::Name, "{name!r}", "Python: a conversion"),
            (Field::Name, "@@NAME@@", "forms: a blank of a template"),
            (Field::Name, "-FNAME-", "forms: a blank of a template"),
            (Field::Name, "[invalid syntax]", "n8n: an expression that cannot be read"),
            (
                Field::Name,
                "<test lead: dummy data for full_name>",
                "https://developers.facebook.com/docs/marketing-api/guides/lead-ads/testing-troubleshooting",
            ),
            (
                Field::Phone,
                "<test lead: dummy data for phone_number>",
                "https://developers.facebook.com/docs/marketing-api/guides/lead-ads/testing-troubleshooting",
            ),
        ] {
            let why = placeholders.why(field, text, "parameter");
            assert_eq!(why, Some(Why::Expression), "{field} {text} ({source})");
        }
    }

    #[test]
    fn firms_with_marks_stay() {
        let placeholders = placeholders();
        for (field, text) in [
            (Field::Company, "{reprise} Records"),
            (Field::Company, "A {B}"),
            (Field::Company, "$mart Ltda"),
            (Field::Company, "100% Vegano"),
            (Field::Company, "50% OFF Outlet"),
            (Field::Company, "R$ 100 Store"),
            (Field::Company, "Bar [oito]"),
            (Field::Company, "{reStart} Academia"),
            (Field::Company, "[eSales] Brasil"),
            (Field::Company, "<devHouse> Ltda"),
            (Field::Name, "-Ana-"),
            (Field::Name, "A$AP Rocky"),
            (Field::Email, "o'neil_{x}@a.b-c.example"),
            (Field::Phone, "{85 98812-4471}"),
            (Field::Identity, "{AB123456}"),
            (Field::Name, "<nome> Ana </nome>"),
        ] {
            assert_eq!(placeholders.why(field, text, "parameter"), None, "{field} {text}");
        }
    }
}
