//! Values that say "I have no value": what language models and form fillers write instead of
//! leaving a field out. They write nothing to a contact.
//!
//! Only whole values count, never parts of one, so that no real name or firm is lost.

use super::field::Field;

/// Placeholders for every field, in any case.
const EVERYWHERE: [&str; 47] = [
    "n/a",
    "n.a.",
    "n.a",
    "#n/a",
    "n/d",
    "n/i",
    "unknown",
    "undefined",
    "[object object]",
    "not provided",
    "not informed",
    "not given",
    "not available",
    "not applicable",
    "not specified",
    "not known",
    "no data",
    "no information",
    "no name",
    "no email",
    "no e-mail",
    "no phone",
    "no company",
    "não informado",
    "não informada",
    "nao informado",
    "nao informada",
    "não disponível",
    "não fornecido",
    "não se aplica",
    "não possui",
    "não tem",
    "sem email",
    "sem e-mail",
    "sem telefone",
    "sem nome",
    "sem empresa",
    "sem informação",
    "desconhecido",
    "no informado",
    "no proporcionado",
    "no disponible",
    "no aplica",
    "no tiene",
    "sin correo",
    "sin teléfono",
    "sin nombre",
];

/// Placeholders that are also names of people, firms and places when written as names are:
/// "Null" and "Nada" stay there, "null" and "NULL" do not.
const UNLESS_A_NAME: [&str; 7] = ["null", "none", "nil", "nan", "nada", "nenhum", "ninguno"];

/// Placeholders for keys, dates and documents only: "NA" is a country, a state and a name.
const NOT_IN_TEXT: [&str; 6] = ["na", "nd", "no", "não", "string", "yyyy-mm-dd"];

/// Addresses that stand in examples, never in a mailbox.
const EMAILS: [&str; 8] = [
    "test@example.com",
    "email@example.com",
    "example@example.com",
    "name@example.com",
    "test@test.com",
    "teste@teste.com",
    "email@email.com",
    "exemplo@exemplo.com",
];

/// Digits that count up, typed to get past a form.
const COUNTING: &str = "01234567890";

/// Whether `text`, already cleaned of surrounding space, stands for no value in `field`.
/// `parameter` is the parameter that the field takes its value from.
#[must_use]
pub fn is_placeholder(field: Field, text: &str, parameter: &str) -> bool {
    is_template(text)
        || text == parameter
        || text.chars().all(is_filler)
        || is_word(field, text)
        || match field {
            Field::Email => EMAILS.iter().any(|email| text.eq_ignore_ascii_case(email)),
            Field::Phone => is_fake_number(text),
            Field::Birthday => text == "0000-00-00",
            _ => false,
        }
}

/// What a template engine leaves where it found no value: `$name`, `${name}`, `{{ name }}`.
fn is_template(text: &str) -> bool {
    let name = text
        .strip_prefix("{{")
        .and_then(|text| text.strip_suffix("}}"))
        .or_else(|| text.strip_prefix("${").and_then(|text| text.strip_suffix('}')))
        .or_else(|| text.strip_prefix('$').filter(|text| !text.starts_with(|c: char| c.is_ascii_digit())));
    name.is_some_and(|name| {
        name.trim().chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.' | '[' | ']'))
    })
}

/// Signs that are no value by themselves: "-", "...", "??", "—".
const fn is_filler(c: char) -> bool {
    matches!(c, '-' | '_' | '.' | '?' | '*' | '/' | '\\' | '+' | '~' | ' ' | '\u{2010}'..='\u{2015}' | '…')
}

fn is_word(field: Field, text: &str) -> bool {
    // The longest placeholder is shorter than this.
    if text.len() > 32 {
        return false;
    }
    let inner = text.trim_start_matches(['<', '(', '[']).trim_end_matches(['>', ')', ']', '.', '!']);
    let lower = inner.to_lowercase();
    // "n.a." ends in the full stop that is trimmed off "Unknown."; "(n/a)" has to lose its brackets.
    let whole = if inner.len() < text.len() { text.to_lowercase() } else { String::new() };
    let is_one_of = |words: &[&str]| words.contains(&lower.as_str()) || words.contains(&whole.as_str());
    let in_text = is_text(field);
    is_one_of(&EVERYWHERE)
        || is_one_of(&UNLESS_A_NAME) && (!in_text || !is_written_as_a_name(inner))
        || is_one_of(&NOT_IN_TEXT) && !in_text
}

/// Fields in which any word may be a name.
const fn is_text(field: Field) -> bool {
    !matches!(
        field,
        Field::Phone | Field::Email | Field::Identity | Field::Birthday | Field::ZipCode | Field::Number
    )
}

/// "Nada": a capital first, then small letters.
fn is_written_as_a_name(text: &str) -> bool {
    let mut letters = text.chars();
    letters.next().is_some_and(char::is_uppercase) && letters.all(char::is_lowercase)
}

fn is_fake_number(text: &str) -> bool {
    if text.contains(char::is_alphabetic) {
        return false;
    }
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let mut all = digits.chars();
    let first = all.next();
    first.is_some() && all.all(|digit| Some(digit) == first)
        || digits.len() >= 6 && COUNTING.contains(&digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders() {
        for (field, text) in [
            (Field::Name, "N/A"),
            (Field::Name, "n/a"),
            (Field::Email, "(N/A)"),
            (Field::Name, "-"),
            (Field::City, "..."),
            (Field::Street, "—"),
            (Field::Name, "unknown"),
            (Field::Company, "Unknown"),
            (Field::Name, "null"),
            (Field::Name, "NULL"),
            (Field::Email, "Null"),
            (Field::Company, "none"),
            (Field::Phone, "None"),
            (Field::Company, "undefined"),
            (Field::Name, "Não informado"),
            (Field::Name, "NÃO INFORMADO."),
            (Field::Email, "sem email"),
            (Field::Phone, "not provided"),
            (Field::Phone, "<not provided>"),
            (Field::Phone, "Not Provided."),
            (Field::Phone, "na"),
            (Field::Name, "$customerName"),
            (Field::Name, "${customer.name}"),
            (Field::Name, "{{customerName}}"),
            (Field::Name, "{{ customer_name }}"),
            (Field::Name, "parameter"),
            (Field::Phone, "0000000000"),
            (Field::Phone, "+11 (11) 1111-1111"),
            (Field::Phone, "123456789"),
            (Field::Phone, "1234567890"),
            (Field::Email, "test@example.com"),
            (Field::Email, "Test@Example.com"),
            (Field::Birthday, "0000-00-00"),
        ] {
            assert!(is_placeholder(field, text, "parameter"), "{field} {text}");
        }
    }

    #[test]
    fn values() {
        for (field, text) in [
            (Field::Name, "Null"),
            (Field::Name, "Nada"),
            (Field::Company, "Nada"),
            (Field::Company, "None"),
            (Field::Company, "Test Ltd"),
            (Field::Company, "Null Object GmbH"),
            (Field::Company, "Unknown Worlds"),
            (Field::Company, "Parameter"),
            (Field::Company, "$100 Startup"),
            (Field::Company, "$5"),
            (Field::Name, "Na"),
            (Field::Country, "NA"),
            (Field::Name, "X"),
            (Field::Name, "🙂"),
            (Field::Name, "李"),
            (Field::Number, "s/n"),
            (Field::Number, "0"),
            (Field::Identity, "000.000.001-91"),
            (Field::Phone, "+5585999990001"),
            (Field::Phone, "call me"),
            (Field::Email, "ada@example.com"),
            (Field::Email, "unknown@analytical.example"),
        ] {
            assert!(!is_placeholder(field, text, "parameter"), "{field} {text}");
        }
    }
}
