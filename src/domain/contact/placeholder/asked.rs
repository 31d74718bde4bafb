//! Recognizes what a form asks for where its answer should be: the field's own name, `Nome e sobrenome`, `Digite seu nome`.

use strum::VariantArray as _;

use super::spelling::is_titled;
use crate::domain::{
    contact::field::Field,
    value::{label, lookup::WordMap},
};

/// What a form says before the name of a field.
const VERBS: &str = "digite insira informe preencha escreva coloque ingrese ingresa escriba escribe introduzca indique enter type \
    insert write eingeben entrez saisissez inserisci scrivi vul";
/// Whose value it asks for.
const WHOSE: &str = "seu sua tu su your votre ihr ihre tuo tua uw";
/// The same, and articles, after a verb.
const BETWEEN: &str =
    "o a os as el la the il le il de do da del seu sua tu su your votre ihr ihre tuo tua uw";
/// After the name of a field.
const AFTER: &str = "aqui aquí here ici hier qui";
/// Between two names of a field.
const AND: &str = "e y and et und ed en";

/// The names of fields that a form may ask for in two parts.
const PARTS: &str = "nome|sobrenome|primeiro nome|nombre|nombres|apellido|apellidos|name|first name|last name|given name|family name|surname|\
    vorname|nachname|prenom|nom|cognome";

/// The words with which such a text can begin, besides the names of the fields.
pub(super) fn starts() -> impl Iterator<Item = &'static str> {
    VERBS.split(' ').chain(WHOSE.split(' '))
}

/// Whether a folded text asks for the value. `text` is how it was written, and `is_label` knows the field's own names.
pub(super) fn asks(field: Field, text: &str, spelled: &str, is_label: impl Fn(&str) -> bool) -> bool {
    let spelled = without_last(spelled, AFTER).unwrap_or(spelled);
    if is_label(spelled) || field == Field::Name && is_both_parts(spelled) {
        return true;
    }
    let Some((first, rest)) = spelled.split_once(' ') else { return false };
    if is_in(WHOSE, first) {
        return is_label(rest);
    }
    if !is_in(VERBS, first) {
        return false;
    }
    let name = rest.split_once(' ').filter(|(word, _)| is_in(BETWEEN, word)).map(|(_, name)| name);
    // "Type Company" may be a firm.
    name.is_some_and(&is_label) || is_label(rest) && !(field.is_proper_name() && is_titled(text))
}

/// `nome sobrenome`, `first name last name`.
fn is_both_parts(spelled: &str) -> bool {
    let is_part = |name: &str| PARTS.split('|').any(|part| part == name);
    let ends = spelled.match_indices(' ').map(|(at, _)| at);
    ends.filter_map(|at| spelled.split_at_checked(at)).any(|(one, other)| {
        let other = other.trim_start();
        let other =
            other.split_once(' ').filter(|(word, _)| is_in(AND, word)).map_or(other, |(_, other)| other);
        one != other && is_part(one) && is_part(other)
    })
}

fn without_last<'a>(spelled: &'a str, list: &str) -> Option<&'a str> {
    spelled.rsplit_once(' ').filter(|(_, last)| is_in(list, last)).map(|(rest, _)| rest)
}

fn is_in(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

pub(super) const fn bit(field: Field) -> u32 {
    1 << field as u32
}

/// The names of all fields, folded, with one bit for each field that has the name.
pub(super) fn labels() -> WordMap<Box<str>, u32> {
    let mut labels: WordMap<Box<str>, u32> = WordMap::default();
    let more = [(Field::Identity, label::DOCUMENTS), (Field::Street, label::STREET_KINDS)];
    let lists =
        Field::VARIANTS.iter().flat_map(|field| field.labels().iter().map(move |list| (*field, *list)));
    for (field, list) in lists.chain(more) {
        // A district may be called "Colônia", and a town "Villé".
        for name in list.split('|').filter(|name| !["colonia", "ville"].contains(name)) {
            *labels.entry(name.into()).or_default() |= bit(field);
        }
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{contact::placeholder::Why, samples::placeholders};

    #[test]
    fn what_a_form_asks_for_is_no_value() {
        let placeholders = placeholders();
        for (field, text, source) in [
            (Field::Name, "Nome Sobrenome", "forms"),
            (Field::Name, "nome e sobrenome", "forms"),
            (Field::Name, "Nombre Apellido", "forms in Spanish: Spanish"),
            (Field::Name, "First Name Last Name", "forms"),
            (Field::Name, "first_name last_name", "as above: names of columns"),
            (
                Field::Name,
                "FirstName LastName",
                "https://support.google.com/google-ads/answer/9423234: a test lead",
            ),
            (Field::Name, "firstname lastname", "as above: in lower case"),
            (Field::Name, "First Last", "forms"),
            (Field::Name, "Vorname Nachname", "forms in German"),
            (Field::Name, "Prénom Nom", "forms in French"),
            (Field::Name, "username", "forms"),
            (Field::Name, "Seu Nome Completo", "forms"),
            (Field::Name, "Digite seu nome", "forms"),
            (Field::Name, "Insira seu nome aqui", "forms"),
            (Field::Name, "Enter your name", "forms"),
            (Field::Name, "Ingrese su nombre", "forms in Spanish"),
            (Field::Name, "Escriba su nombre", "forms in Spanish"),
            (Field::Name, "enter name", "forms"),
            (Field::Name, "Entrez votre nom", "forms in French"),
            (Field::Company, "Nome da sua empresa", "forms"),
            (Field::Company, "Digite o nome da empresa", "forms"),
            (Field::City, "Your City", "forms"),
            (Field::City, "Sua cidade", "forms"),
            (Field::Position, "Informe seu cargo", "forms"),
            (Field::Email, "Digite seu e-mail", "forms"),
            (Field::Phone, "Digite seu telefone", "forms"),
            (Field::Phone, "número do cliente", "LLM habit"),
            (Field::Phone, "customer phone", "LLM habit"),
            (Field::Phone, "phoneNumber", "LLM habit: camel case"),
            (Field::Name, "Lorem ipsum dolor", "https://www.lipsum.com"),
        ] {
            let why = placeholders.why(field, text, "parameter");
            assert_eq!(why, Some(Why::Word), "{field} {text} ({source})");
        }
        for (field, text, reason) in [
            (Field::Company, "Type Company", "a firm"),
            (Field::Company, "Enter Company", "a firm"),
            (Field::Name, "Su Min", "a name in Korea"),
            (Field::Name, "Tu Nguyen", "a name in Vietnam"),
            (Field::Name, "Nome Silva", "a given name"),
            (Field::Company, "Digite Informática", "a firm"),
            (Field::Company, "Su Casa Imóveis", "a firm"),
            (Field::Street, "Rua Sua Vida", "a street"),
        ] {
            assert_eq!(placeholders.why(field, text, "parameter"), None, "{field} {text} ({reason})");
        }
    }
}
