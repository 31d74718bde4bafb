//! Values in a vCard (RFC 6350), which is what chats send as a contact. Its lines stand on one line when they come here.

use super::label;

/// What begins a card.
const BEGIN: &str = "BEGIN:VCARD";

/// The properties that end the one before them, besides those whose names begin with `X-`.
const PROPERTIES: [&str; 27] = [
    "ADR",
    "ANNIVERSARY",
    "BDAY",
    "CATEGORIES",
    "EMAIL",
    "END",
    "FN",
    "GENDER",
    "IMPP",
    "KEY",
    "LABEL",
    "LANG",
    "LOGO",
    "N",
    "NICKNAME",
    "NOTE",
    "ORG",
    "PHOTO",
    "PRODID",
    "REV",
    "ROLE",
    "SOURCE",
    "TEL",
    "TITLE",
    "UID",
    "URL",
    "VERSION",
];

/// The property of a field that has these names, and the component of it that is the value.
const FIELDS: [(&str, &str, usize); 11] = [
    (label::EMAIL, "EMAIL", 0),
    (label::PHONE, "TEL", 0),
    (label::NAME, "FN", 0),
    (label::COMPANY, "ORG", 0),
    (label::POSITION, "TITLE", 0),
    (label::DATE, "BDAY", 0),
    (label::STREET, "ADR", 2),
    (label::CITY, "ADR", 3),
    (label::STATE, "ADR", 4),
    (label::ZIP_CODE, "ADR", 5),
    (label::COUNTRY, "ADR", 6),
];

/// The value that a card has for a field with these names; several ones separated by semicolons, and nothing if it has none.
/// Also that of a single line of a card. `None` if the text is neither.
pub(super) fn value(names: &[&str], text: &str) -> Option<String> {
    if !text.contains(':') || !text.starts_with(|c: char| c.is_ascii_uppercase() || c == 'i') {
        return None;
    }
    let field = FIELDS.iter().find(|(list, ..)| names.contains(list));
    if !text.starts_with(BEGIN) {
        let (_, property, component) = field?;
        let (name, is_marked, value) = line(text)?;
        // A name alone is a label in capitals.
        return (is_marked && name == *property).then(|| plain(value, *component));
    }
    let text = text.replace("\\r", " ").replace("\\n", " ");
    let lines = lines(&text);
    let Some((_, property, component)) = field else { return Some(String::new()) };
    let mut values: Vec<String> = Vec::new();
    for (_, value) in lines.iter().filter(|(name, _)| name == property) {
        let value = plain(value, *component);
        if !value.is_empty() && !values.contains(&value) {
            values.push(value);
        }
    }
    if values.is_empty() && *property == "FN" {
        // Family name, given name.
        let name = lines.iter().find(|(name, _)| *name == "N").map(|(_, value)| value)?;
        return Some(format!("{} {}", plain(name, 1), plain(name, 0)).trim().to_owned());
    }
    Some(values.join("; "))
}

/// The names of the properties and their values.
fn lines(text: &str) -> Vec<(&str, &str)> {
    let starts = text.match_indices(' ').map(|(at, _)| at + 1);
    let starts: Vec<usize> = starts.filter(|at| text.get(*at..).and_then(line).is_some()).collect();
    let ends = starts.iter().skip(1).copied().chain([text.len()]);
    let lines = starts.iter().zip(ends).filter_map(|(start, end)| line(text.get(*start..end)?));
    lines.map(|(name, _, value)| (name, value.trim())).collect()
}

/// The name of the property that the text begins with, whether it has a group or parameters, and the text after its colon:
/// `item1.TEL;type=CELL;waid=5585999990001:+55 85 99999-0001`.
fn line(text: &str) -> Option<(&str, bool, &str)> {
    let (head, value) = text.split_once(':')?;
    let (full, parameters) = head.split_once(';').unwrap_or((head, ""));
    let name = full.strip_prefix("item").and_then(|rest| rest.split_once('.')).map_or(full, |(_, name)| name);
    let is_known = PROPERTIES.contains(&name) || name.starts_with("X-");
    let is_marked = head.len() > name.len() && (parameters.is_empty() || parameters.contains('='));
    (is_known && !head.contains(' ')).then_some((name, is_marked, value))
}

/// A component of a value without its escapes (RFC 6350, 3.4).
fn plain(value: &str, component: usize) -> String {
    const HIDDEN: &str = "\u{0}";
    let hidden = value.replace("\\;", HIDDEN);
    let component = hidden.split(';').nth(component).unwrap_or_default().trim();
    component.replace(HIDDEN, ";").replace("\\,", ",").replace("\\\\", "\\")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CARD: &str = "BEGIN:VCARD VERSION:3.0 N:Souza;Ana Clara;;; FN:Ana Clara Souza ORG:Firma\\, Filhos;Vendas TITLE:Diretora \
        item1.TEL;waid=5585999990001:+55 85 99999-0001 item1.X-ABLabel:Celular EMAIL;TYPE=INTERNET:ana@x.example \
        ADR;TYPE=HOME:;;Rua A\\, 12;Fortaleza;CE;60175-055;Brasil BDAY:1990-05-20 END:VCARD";

    #[test]
    fn fields_are_read_from_a_card() {
        for (names, expected, source) in [
            (label::NAME, "Ana Clara Souza", "RFC 6350, 6.2.1"),
            (
                label::PHONE,
                "+55 85 99999-0001",
                "https://github.com/automagik-dev/omni/issues/330: with waid",
            ),
            (label::EMAIL, "ana@x.example", "RFC 6350, 6.4.2"),
            (label::COMPANY, "Firma, Filhos", "RFC 6350, 6.6.4: the first component"),
            (label::POSITION, "Diretora", "RFC 6350, 6.6.1"),
            (label::DATE, "1990-05-20", "RFC 6350, 6.2.5"),
            (label::STREET, "Rua A, 12", "RFC 6350, 6.3.1"),
            (label::CITY, "Fortaleza", "RFC 6350, 6.3.1"),
            (label::STATE, "CE", "RFC 6350, 6.3.1"),
            (label::ZIP_CODE, "60175-055", "RFC 6350, 6.3.1"),
            (label::COUNTRY, "Brasil", "RFC 6350, 6.3.1"),
            (label::DISTRICT, "", "RFC 6350: a card has no district"),
        ] {
            assert_eq!(value(&[names], CARD).as_deref(), Some(expected), "{source}");
        }
    }

    #[test]
    fn cards_and_their_lines_are_read() {
        for (names, text, expected, source) in [
            (
                label::NAME,
                "BEGIN:VCARD VERSION:3.0 N:;Ana;;; FN:Ana TEL;type=CELL;type=VOICE;waid=8618500946096:+86 185 0094 6096 END:VCARD",
                "Ana",
                "https://github.com/wechaty/puppet-whatsapp/issues/151",
            ),
            (label::NAME, "BEGIN:VCARD N:Souza;Ana;;; END:VCARD", "Ana Souza", "RFC 6350, 6.2.2: without FN"),
            (label::NAME, "BEGIN:VCARD N:;Ana;;; END:VCARD", "Ana", "as above: without a family name"),
            (
                label::NAME,
                "BEGIN:VCARD\\nVERSION:3.0\\nFN:Ana\\nEND:VCARD",
                "Ana",
                "RFC 8259, 7: escaped twice",
            ),
            (label::EMAIL, "BEGIN:VCARD FN:A END:VCARD", "", "RFC 6350: no address"),
            (label::PHONE, "TEL;TYPE=CELL:+55 85 99999-0001", "+55 85 99999-0001", "RFC 6350, 6.4.1: a line"),
            (
                label::PHONE,
                "item1.TEL:+55 85 99999-0001",
                "+55 85 99999-0001",
                "https://github.com/green-api/issues/issues/434",
            ),
            (label::EMAIL, "EMAIL;TYPE=WORK:ana@x.example", "ana@x.example", "RFC 6350, 6.4.2: a line"),
        ] {
            assert_eq!(value(&[names], text).as_deref(), Some(expected), "{text} ({source})");
        }
    }

    #[test]
    fn several_values_of_a_property_are_read_each_once() {
        for (second, expected, source) in [
            ("85 3333-4444", "85 99999-0001; 85 3333-4444", "RFC 6350, 6.4.1: two numbers"),
            ("85 99999-0001", "85 99999-0001", "as above: one number twice"),
        ] {
            let card = format!("BEGIN:VCARD FN:A TEL:85 99999-0001 TEL;type=HOME:{second} END:VCARD");
            assert_eq!(value(&[label::PHONE], &card).as_deref(), Some(expected), "{source}");
        }
    }

    #[test]
    fn other_texts_are_no_cards() {
        for text in
            ["Ana", "FN:Ana", "TEL:85", "EMAIL;TYPE=WORK:a@x.example", "N:A", "NOTE: call", "item", ""]
        {
            assert_eq!(value(&[label::NAME], text), None, "{text}");
        }
    }
}
