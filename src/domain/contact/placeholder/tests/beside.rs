//! Values beside which a part was missing.

use super::*;

#[test]
fn words_for_nothing_beside_a_value_are_taken_off() {
    for (field, text, expected, source) in [
        (Field::Name, "Ana undefined", "Ana", "JavaScript: `${first} ${last}`"),
        (Field::Name, "undefined Souza", "Souza", "JavaScript: `${first} ${last}`"),
        (Field::Name, "Ana Undefined", "Ana", "as above, capitalized by a CRM"),
        (Field::Name, "Ana null", "Ana", "JavaScript, Java"),
        (Field::Name, "null Souza", "Souza", "JavaScript, Java"),
        (Field::Name, "Ana undefined Souza", "Ana Souza", "JavaScript: a middle name"),
        (Field::Name, "Ana undefined undefined", "Ana", "JavaScript: two parts"),
        (Field::Name, "Ana NaN", "Ana", "pandas"),
        (Field::Name, "Ana [object Object]", "Ana", "JavaScript: an object"),
        (Field::Name, "Ana #REF!", "Ana", "spreadsheets: the cell of the last name"),
        (Field::Name, "#N/A Souza", "Souza", "spreadsheets: the cell of the first name"),
        (Field::Name, "Ana <nil>", "Ana", "Go's fmt"),
        (Field::Name, "Ana %!s(<nil>)", "Ana", "Go's fmt"),
        (Field::Name, "Ana (undefined)", "Ana", "JavaScript: a remark"),
        (Field::Name, "Ana (não informado)", "Ana", "Portuguese: a remark"),
        (Field::Name, "Ana [sobrenome]", "Ana", "forms: the blank of the last name"),
        (Field::Name, "Ana <last name>", "Ana", "forms: the blank of the last name"),
        (Field::Name, "Ana - sobrenome não informado", "Ana", "Portuguese: a remark"),
        (Field::Name, "Ana Não Informado", "Ana", "Portuguese: a last name that is missing"),
        (Field::Name, "Ana not provided", "Ana", "English: a last name that is missing"),
        (Field::Name, "Ana N/A", "Ana", "English: a last name that is missing"),
        (Field::Street, "Av. Brasil, não informado", "Av. Brasil", "Portuguese: a number that is missing"),
        (Field::Position, "Gerente (a confirmar)", "Gerente", "Portuguese: a remark"),
        (Field::Street, "Av. Brasil, undefined, Centro", "Av. Brasil, Centro", "JavaScript: an address"),
        (Field::Street, "Av. Brasil, null", "Av. Brasil", "JavaScript: an address"),
        (Field::Position, "CTO - undefined", "CTO", "JavaScript: a title and a level"),
        (Field::Street, "Rua 12, undefined", "Rua 12", "JavaScript: a street that has a number for its name"),
        (Field::City, "Fortaleza/undefined", "Fortaleza", "JavaScript: a city and its state"),
        (Field::Email, "ada@x.example, undefined", "ada@x.example", "JavaScript: two inputs"),
        (Field::Email, "undefined, ada@x.example", "ada@x.example", "JavaScript: two inputs"),
        (Field::Email, "ada@x.example / null", "ada@x.example", "as above: a list of two"),
        (Field::Email, "ada@x.example/null", "ada@x.example", "as above: a list of two without spaces"),
        (Field::Email, "None ada@x.example", "ada@x.example", "Python: a name and an address"),
        (Field::Email, "_ada_@x.example null", "_ada_@x.example", "JavaScript: the mailbox stays whole"),
        (Field::Email, "null - ada@x.example", "ada@x.example", "JavaScript: two inputs"),
        (Field::Email, "ada@x.example, não informado", "ada@x.example", "Portuguese: the second is missing"),
        (Field::Email, "ada@x.example; user@example.com", "ada@x.example", "as above: an example"),
        (Field::Email, "ada@x.example ou sem email", "ada@x.example", "Portuguese: or none"),
        (Field::Phone, "85988124471 / null", "85988124471", "as above: a list of two"),
        (Field::Phone, "85988124471, undefined", "85988124471", "as above: a list of two"),
        (Field::Phone, "null / 85988124471", "85988124471", "as above: a list of two"),
        (Field::Phone, "85988124471 / N/A", "85988124471", "as above: a slash in it"),
        (Field::Phone, "85988124471 ou sem telefone", "85988124471", "Portuguese: or none"),
        (Field::Phone, "85988124471, -", "85988124471", "as above: a list of two"),
        (Field::Name, "['Ana Souza', 'N/A']", "Ana Souza", "Python: a list"),
        (Field::Name, "('Ana Souza', 'N/A')", "Ana Souza", "Python: a tuple"),
        (Field::Name, "['Ana Souza', None]", "Ana Souza", "Python: a list"),
        (Field::Phone, "[\"5585988124471\", null]", "5585988124471", "as above: an array as text"),
        (Field::ZipCode, "60175-055 undefined", "60175-055", "JavaScript: a code and a city"),
        (Field::Birthday, "1990-05-20 null", "1990-05-20", "JavaScript: a date and a time"),
        (Field::Number, "120, undefined", "120", "JavaScript: a number and a complement"),
    ] {
        let rest = DEFAULTS.without_beside(field, text);
        assert_eq!(rest.as_deref(), Some(expected), "{field} {text} ({source})");
    }
}

#[test]
fn words_for_nothing_between_parts_are_taken_off() {
    for (field, text, expected, source) in [
        (Field::Name, "Ana null Souza", "Ana Souza", "JavaScript: `${first} ${middle} ${last}`"),
        (Field::Name, "Ana NaN Souza", "Ana Souza", "pandas: a middle name"),
        (Field::Name, "Ana N/A Souza", "Ana Souza", "as above: as a word"),
        (Field::City, "undefined, SP", "", "JavaScript: `${city}, ${state}`"),
        (Field::City, "undefined/SP", "", "JavaScript: `${city}/${state}`"),
        (Field::City, "null - SP", "", "Java: a city and its state"),
        (Field::City, "N/A - SP", "", "English: a city and its state"),
        (Field::City, "Fortaleza, undefined", "Fortaleza", "JavaScript: no state"),
        (Field::Position, "Gerente at undefined", "Gerente", "JavaScript: `${position} at ${company}`"),
        (Field::Position, "Gerente na null", "Gerente", "Java: `${position} na ${company}`"),
        (Field::Position, "CTO @ undefined", "CTO", "JavaScript: `${position} @ ${company}`"),
        (Field::Name, "Company: N/A", "", "English: another field's name"),
        (Field::Name, "Exception: null", "", "Java: an error without a message"),
        (Field::Name, "Contact: null", "", "Java: a name of the field"),
        (Field::Name, "Tim: null", "Tim", "Java: a person, whose name is also an operator's"),
        (Field::Name, "Ana: null", "Ana", "Java: a person"),
    ] {
        let rest = DEFAULTS.without_beside(field, text);
        assert_eq!(rest.as_deref(), Some(expected), "{field} {text} ({source})");
    }
}

#[test]
fn state_without_its_city_is_no_city() {
    for (text, source) in [
        (", SP", "JavaScript: `${city}, ${state}`, without a city"),
        ("/SP", "JavaScript: `${city}/${state}`, without a city"),
        ("- SP", "as above: a hyphen"),
        ("– SP", "as above: a dash"),
    ] {
        assert_eq!(DEFAULTS.why(Field::City, text, "parameter"), Some(Why::Word), "{text} ({source})");
    }
    for (field, text) in
        [(Field::City, "SP"), (Field::City, "- Sé"), (Field::State, "- SP"), (Field::City, "É")]
    {
        assert_eq!(DEFAULTS.why(field, text, "parameter"), None, "{field} {text}");
    }
}

#[test]
fn words_around_a_key_are_taken_off_without_settings() {
    for (text, expected) in [
        ("ada@x.example / null", Some("ada@x.example")),
        ("undefined, 85 98812-4471", Some("85 98812-4471")),
        ("ada@x.example", None),
        ("null", None),
    ] {
        assert_eq!(Placeholders::without_words_around(text), expected, "{text}");
    }
}

#[test]
fn street_without_a_name_is_no_value() {
    for (text, source) in [
        ("Rua undefined, 12", "JavaScript: `Rua ${name}, ${number}`"),
        ("R. undefined - 12", "JavaScript"),
        ("Rua undefined, undefined - undefined, 60175-055", "JavaScript: all but the postal code"),
        ("Av. null, 1578", "Java"),
        ("AVENIDA NaN 1578", "pandas"),
        ("Calle <nil> 12", "Go's fmt"),
        ("12 undefined Street", "JavaScript, in English"),
        ("undefined, 12", "JavaScript: no kind"),
        ("null 12", "Java: no kind"),
    ] {
        assert_eq!(DEFAULTS.without_beside(Field::Street, text).as_deref(), Some(""), "{text} ({source})");
    }
    for (text, reason) in [
        ("Rua 12", "a street that has a number for its name"),
        ("Calle 12, 5", "a street that has a number for its name"),
        ("Rua Null, 12", "a surname"),
        ("Rua None, 12", "a place"),
        ("Rua das Flores, 12", "a street"),
    ] {
        assert_eq!(DEFAULTS.without_beside(Field::Street, text), None, "{text} ({reason})");
    }
}

#[test]
fn people_places_and_links_with_such_words_stay() {
    for (field, text, reason) in [
        (Field::Name, "Jennifer Null", "observed: a person"),
        (Field::Name, "Ana None", "a surname"),
        (Field::Name, "Ana None Souza", "a surname"),
        (Field::Name, "Ana Null Souza", "a surname"),
        (Field::City, "None, TO", "a town in Piedmont"),
        (Field::City, "Natal, RN", "a city and its state"),
        (Field::Name, "Nan Goldin", "a person"),
        (Field::Name, "Nada Surf", "a band"),
        (Field::Name, "Anundefined", "no whole word"),
        (Field::Company, "Undefined Labs", "a company"),
        (Field::Company, "null Object GmbH", "begins with the word, and is no name"),
        (Field::Company, "undefined-behavior", "a word of two parts"),
        (Field::Company, "undefined labs", "a company"),
        (Field::Company, "dev/null", "a company"),
        (Field::Company, "not-null", "a company"),
        (Field::Email, "nan_lee@x.example", "a given name and a surname"),
        (Field::Email, "nan-li@x.example", "a given name and a surname"),
        (Field::Email, "Nil_Kumar@x.example", "a given name and a surname"),
        (Field::Email, "null_pointer@x.example", "a mailbox"),
        (Field::Email, "ada@nan-goldin.example", "a domain"),
        (Field::Email, "ada@x-null", "a domain"),
        (Field::Identity, "NIL-12345", "a document"),
        (Field::ZipCode, "NIL-1234", "a code"),
        (Field::Company, "Loja #1 Sul", "no error"),
        (Field::Name, "undefined", "nothing beside it"),
        (Field::Name, "undefined undefined", "nothing beside them"),
        (Field::Phone, "85 3344-5567; 00000-0000", "a second number: reported"),
        (Field::Phone, "https://wa.me/5585999990001?text=test", "a link"),
        (Field::Phone, "https://api.whatsapp.com/phone/?phone=5585999990001", "a link with a form's word"),
        (Field::Email, "ada@x.example; bob@x.example", "two addresses"),
        (Field::Email, "Ada Lovelace <ada@x.example>", "RFC 5322, 3.4"),
        (Field::Identity, "529.982.247-25", "a document"),
        (Field::Number, "s/n", "without number: an address in Brazil"),
        (Field::Name, "", "nothing"),
        (Field::Name, "['Ana', 'Bia', 'N/A']", "a list of two"),
        (Field::Name, "['Ana Souza', não informado]", "no list: not all items are in quotes"),
        (Field::Name, "(Ana Souza, N/A)", "in parentheses"),
        (Field::Name, "['Ana Souza', 'N/A", "cut"),
        (Field::Name, "<value>Ana Souza</value>", "an element is around it"),
    ] {
        assert_eq!(DEFAULTS.without_beside(field, text), None, "{field} {text} ({reason})");
    }
    assert_eq!(DEFAULTS.without_beside(Field::Name, &"undefined ".repeat(100_000)), None, "long");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// What remains is a part of the text, and shorter.
    #[test]
    fn nothing_is_added(
        words in prop::collection::vec(
            prop::sample::select(vec![
                "undefined", "null", "Null", "NaN", "<nil>", "#REF!", "[object Object]", "N/A", "Ana", "Souza",
                "ada@x.example", "85988124471", "sem email", "(", ")", "é",
            ]),
            0..6,
        ),
        between in prop::sample::select(vec![" ", ", ", "; ", " / ", "/", "-", ""]),
        field in prop::sample::select(Field::VARIANTS),
    ) {
        let text = words.join(between);
        if let Some(rest) = DEFAULTS.without_beside(field, &text) {
            let is_value = rest.contains(char::is_alphanumeric) || rest.is_empty() && field == Field::Street;
            prop_assert!(rest.len() < text.len() && is_value, "{} {}", text, rest);
        }
    }
}
