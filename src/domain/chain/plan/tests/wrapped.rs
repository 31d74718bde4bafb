//! Values of every field in what stands around them.

use super::*;
use crate::domain::{
    contact::placeholder::Why,
    value::{phone::rows::SPELLINGS, wrapping::rows},
};

#[test]
fn every_field_is_unwrapped() {
    let update = update(json!({
        "name": "*Nome:* \u{200b}Jose\u{301} Lovelace",
        "identity": "'529.982.247-25",
        "phone": "[(0xx85) 9999-0001](tel:+5585999990001)",
        "email": "<mailto:ada@analytical.example|Ada>",
        "company": "\"Analytical &amp; Filhos\"",
        "position": "<p>Countess</p>",
        "birthday": "Sun May 20 1990 00:00:00 GMT-0300 (Horário Padrão de Brasília)",
        "zipCode": "=\"60175055\"",
        "country": "“Brasil”",
        "state": "UF: CE",
        "city": "Fortaleza\u{200b}",
        "district": "_Meireles_",
        "street": "Avenida&nbsp;Beira Mar",
        "number": "1578.0",
        "complement": "`ap. 12`",
    }))
    .unwrap();
    let expected = [
        ("name", "José Lovelace"),
        ("identity", "529.982.247-25"),
        ("phone", "+5585999990001"),
        ("email", "ada@analytical.example"),
        ("company", "Analytical & Filhos"),
        ("position", "Countess"),
        ("birthday", "1990-05-20"),
        ("zipCode", "60175-055"),
        ("country", "BR"),
        ("state", "CE"),
        ("city", "Fortaleza"),
        ("district", "Meireles"),
        ("street", "Avenida Beira Mar"),
        ("number", "1578"),
        ("complement", "ap. 12"),
    ];
    assert_eq!((values(&update), rejected(&update)), (expected.to_vec(), Vec::new()));
}

/// What is removed must not look like a placeholder before.
#[test]
fn every_spelling_of_a_key_is_read() {
    let numbers = SPELLINGS.iter().filter(|(text, _)| !text.contains(char::is_alphabetic));
    let bold = numbers.clone().map(|(text, _)| format!("**{text}**"));
    let twice = numbers.map(|(text, _)| format!("{text} / {text}"));
    let plain = SPELLINGS.iter().chain(rows::PHONES).map(|(text, _)| (*text).to_owned());
    let is_read = |text: &String| {
        let update = update(json!({ "phone": text }));
        update.is_ok_and(|update| values(&update) == [("phone", "+5585999990001")])
    };
    let unread: Vec<String> = plain.chain(bold).chain(twice).filter(|text| !is_read(text)).collect();
    assert!(unread.is_empty(), "{unread:?}");
    for (text, source) in rows::EMAILS {
        let update = update(json!({ "email": text })).unwrap();
        assert_eq!(values(&update), [("email", "ada@x.example")], "{text} ({source})");
    }
}

#[test]
fn names_of_other_fields_stay() {
    for (field, text) in [
        ("company", "Nome: Ana"),
        ("name", "Empresa: Analytical"),
        ("city", "Estado: CE"),
        ("complement", "Rua: das Flores"),
        ("number", "CEP: 60175-055"),
    ] {
        let update = update(json!({ "email": "ada@x.example", field: text })).unwrap();
        assert!(values(&update).contains(&(field, text)), "{field}: {text}");
    }
}

#[test]
fn what_cannot_be_read_for_certain_is_reported() {
    for (field, text, expected) in [
        ("email", "[ada@x.example](mailto:bob@x.example)", "link_differs"),
        ("phone", "[85 99999-0001](tel:+5585999990002)", "link_differs"),
        ("company", "[firma.example](https://other.example)", "link_differs"),
        ("identity", "5,29982E+10", "damaged_number"),
        ("zipCode", "6.02E+07", "damaged_number"),
        ("phone", "5,58599E+12", "not_a_phone_number"),
        ("phone", "5585990000000,00 / 5585990000000,00", "not_a_phone_number"),
        ("phone", "5585999990001,00 / 5585999990002,00", "not_a_phone_number"),
        ("phone", "5585990000000,0 / 85 99999-0001", "one_of_two"),
        ("phone", "5,58599E+12; 85 99999-0001", "one_of_two"),
        ("phone", "85 99999-0001 / 3333-4444", "one_of_two"),
        ("phone", "85 3344-5567; 00000-0000", "one_of_two"),
        ("phone", "85 99999-0001 / 85 98888-0001", "not_a_phone_number"),
        ("phone", "119.876.541-02", "not_a_phone_number"),
        ("phone", "CPF: 119.876.541-02", "not_a_phone_number"),
        ("phone", "RG: 85988124471", "not_a_phone_number"),
        ("phone", "Pedido: 85988124471", "not_a_phone_number"),
        ("phone", "número errado: 85 98812-4471", "not_a_phone_number"),
        ("phone", "não é: 85 98812-4471", "not_a_phone_number"),
        ("phone", "do not call: 85 98812-4471", "not_a_phone_number"),
        ("phone", "Irma: 85 98812-4471", "not_a_phone_number"),
        ("phone", "119.876.541-02 / 85 98812-4471", "one_of_two"),
        ("email", "email errado: ana@x.example", "not_an_email_address"),
        ("email", "não usar: ana@x.example", "not_an_email_address"),
        ("phone", "Mãe: 85 99999-0001", "of_another_person"),
        ("phone", "<p>M&atilde;e: 85 99999-0001</p>", "of_another_person"),
        ("phone", "Telefone: esposa 85 99999-0001", "of_another_person"),
        ("phone", "Tel. (recado): 85 99999-0001", "of_another_person"),
        ("phone", "85 99999-0001 / mãe: 85 3344-5567", "one_of_two"),
        ("phone", "recado: 85 3344-5567; 85 99999-0001", "one_of_two"),
        ("phone", "pai: 85 3344-5567; mãe: 85 99999-0001", "not_a_phone_number"),
        ("email", "Esposa: ana@x.example", "of_another_person"),
        ("email", "<p>ana@x.example (mãe)</p>", "of_another_person"),
        ("email", "Mãe <ana@x.example>", "of_another_person"),
    ] {
        let mut arguments = json!({ field: text });
        let other = if field == "email" { ("phone", "11 98765-4322") } else { ("email", "ada@x.example") };
        arguments[other.0] = json!(other.1);
        let update = update(arguments).unwrap();
        assert_eq!(rejected(&update), [(field, expected)], "{field}: {text}");
        assert_eq!(
            update.values.get(field.parse().unwrap()).is_some(),
            expected == "one_of_two",
            "{field}: {text}"
        );
    }
}

/// Each of these was once stored with a part of what is around it, or without a part of itself.
#[test]
fn what_programs_print_is_taken_off_whole_or_stays() {
    for (field, text, expected, source) in [
        ("name", "['Ana Souza', 'N/A']", Some("Ana Souza"), "Python: a list"),
        ("name", "('Ana Souza', 'N/A')", Some("Ana Souza"), "Python: a tuple"),
        ("name", "['Ana Souza', None]", Some("Ana Souza"), "Python: a list"),
        ("name", "['N/A', None]", None, "Python: a list"),
        ("name", "<value>Ana Souza</value>", Some("Ana Souza"), "XML, 3.1: an element"),
        ("name", "<string>Ana Souza</string>", Some("Ana Souza"), "XML, 3.1: an element"),
        ("name", "<name xsi:type=\"x\">Ana Souza</name>", Some("Ana Souza"), "XML, 3.1: an attribute"),
        ("name", "<value></value>", None, "XML, 3.1: an element"),
        ("name", "\"name\": \"Ana Souza\",", Some("Ana Souza"), "RFC 8259, 4: a line of an object"),
        ("name", "{\"nome\":\"Ana Souza\",\"email\":\"x\"}", Some("Ana Souza"), "RFC 8259, 4"),
        ("name", "{\"nome\":\"Jos\\u00e9\"}", Some("José"), "RFC 8259, 7"),
        ("name", "{\"email\":\"x\"}", Some("{\"email\":\"x\"}"), "RFC 8259, 4: another member"),
        ("name", "{'name': None}", None, "Python: a dictionary"),
        ("name", "Lead(name=None)", None, "Python: a dataclass"),
        ("name", "Liquid error: undefined variable name", None, "Liquid: strict variables"),
        ("name", "TypeError: Cannot read properties of undefined (reading 'name')", None, "JavaScript"),
        ("name", "undefined is not an object", None, "JavaScript"),
        ("name", "Optional.empty", None, "Java: Optional.toString"),
        ("name", "Optional[Ana Souza]", Some("Ana Souza"), "Java: Optional.toString"),
        ("name", "Optional[null]", None, "Java: Optional.toString"),
        (
            "name",
            "Some(Ana Souza)",
            Some("Ana Souza"),
            "https://www.scala-lang.org/api/current/scala/Some.html",
        ),
        ("name", "Some(None)", None, "as above: nothing"),
        ("name", "NULL::text", None, "PostgreSQL: a cast"),
        ("name", "Jos&Atilde;&#169;", Some("José"), "HTML, 13.5: of a text in a wrong encoding"),
        ("name", "Ð®Ð»Ð¸Ñ\u{8f}\n", Some("Юлия"), "Windows: a byte that is a control character"),
        ("phone", "NumberLong(\"5585988124471\")", Some("+5585988124471"), "https://www.mongodb.com/docs/"),
        ("phone", "[\"5585988124471\", null]", Some("+5585988124471"), "RFC 8259, 5: an array as text"),
        ("phone", "np.int64(85988124471)", Some("+5585988124471"), "https://numpy.org/neps/"),
        ("phone", "{\"phone\":\"85 98812-4471\",\"name\":\"Ana\"}", Some("+5585988124471"), "RFC 8259, 4"),
        ("phone", "{'phone': None}", None, "Python: a dictionary"),
    ] {
        let update = update(json!({ "email": "ada@x.example", field: text })).unwrap();
        let stored = values(&update).into_iter().find(|(name, _)| *name == field).map(|(_, value)| value);
        assert_eq!((stored, rejected(&update)), (expected, Vec::new()), "{field} {text} ({source})");
    }
    for (email, source) in [
        ("NumberLong(\"ada@x.example\")", "https://www.mongodb.com/docs/"),
        ("[\"ada@x.example\", null]", "RFC 8259, 5: an array as text"),
        ("['ada@x.example', None]", "Python: a list"),
        ("Some(ada@x.example)", "https://www.scala-lang.org/api/current/scala/Some.html"),
        ("Optional[ada@x.example]", "Java: Optional.toString"),
        ("<value>ada@x.example</value>", "XML, 3.1: an element"),
        ("{\"name\":\"Ada\",\"email\":\"ada@x.example\"}", "RFC 8259, 4: an object as text"),
    ] {
        let update = update(json!({ "email": email }));
        let update = update.unwrap_or_else(|fault| panic!("{email}: {fault:?}"));
        assert_eq!(values(&update), [("email", "ada@x.example")], "{email} ({source})");
    }
    let update = update(json!({ "email": "ada@x.example", "name": ["Ð®Ð»Ð¸Ñ\u{8f}", "N/A"] })).unwrap();
    assert_eq!(values(&update), [("name", "Юлия"), ("email", "ada@x.example")], "an item of a list");
}

/// An argument that could not be stored is not read.
#[test]
fn long_arguments_are_refused_before_they_are_read() {
    let (long, padded) = ("x ".repeat(3_000), format!("{}Ana", " ".repeat(4_000)));
    let many: Vec<String> = (0..20_000).map(|index| format!("N/A {index}")).collect();
    for (argument, expected) in [
        (json!(long), Some("too_long")),
        (json!(many), Some("too_long")),
        (json!(vec!["N/A"; 100_000]), Some("too_long")),
        (json!(padded), None),
    ] {
        let update = update(json!({"name": argument, "email": "ada@x.example"})).unwrap();
        let rejected: Vec<_> = rejected(&update).into_iter().map(|(_, code)| code).collect();
        assert_eq!(rejected, expected.into_iter().collect::<Vec<_>>());
    }
}

/// A spreadsheet shows `5,58599E+12`, and a program writes all of its digits again. Everybody of the area has these.
#[test]
fn numbers_that_lost_their_last_digits_are_refused() {
    for (field, number, expected) in [
        ("phone", json!(5.58599e12), "not_a_phone_number"),
        ("phone", json!(5_585_990_000_000.0), "not_a_phone_number"),
        ("phone", json!("5585990000000.0"), "not_a_phone_number"),
        ("phone", json!(8.59881e10), "not_a_phone_number"),
        ("identity", json!(5.29982e10), "damaged_number"),
    ] {
        let update = update(json!({ field: number, "email": "ada@x.example" })).unwrap();
        assert_eq!(rejected(&update), [(field, expected)], "{number}");
    }
    let update = update(json!({"phone": 5_585_988_124_471.0, "zipCode": 60_100_000.0})).unwrap();
    assert_eq!(values(&update), [("phone", "+5585988124471"), ("zipCode", "60100-000")]);
}

/// What a search for a contact reads.
#[test]
fn keys_from_elsewhere_are_read_as_arguments_are() {
    let read = |field, text| {
        let found = read_key(field, text, Region::new("BR").unwrap(), &rules());
        found.map(|found| found.value().to_owned())
    };
    for (field, text, expected) in [
        (Field::Email, "ada@x.example / null", "ada@x.example"),
        (Field::Email, "ada@x.example, não informado", "ada@x.example"),
        (Field::Email, "sem e-mail / ada@x.example", "ada@x.example"),
        (Field::Email, "<mailto:ada@x.example|Ada>", "ada@x.example"),
        (Field::Phone, "85 99999-0001; não possui", "+5585999990001"),
        (Field::Phone, "'(0xx85) 99999-0001", "+5585999990001"),
    ] {
        assert_eq!(read(field, text).as_deref(), Ok(expected), "{text}");
    }
    for (field, text, expected) in [
        (Field::Email, "", NoKey::NoValue(None)),
        (Field::Email, "não informado", NoKey::NoValue(Some(Why::Word))),
        (Field::Email, "user@example.com", NoKey::NoValue(Some(Why::Example))),
        (Field::Phone, "{{lead.phone}}", NoKey::NoValue(Some(Why::Expression))),
        (Field::Phone, "(85) 99999-9999", NoKey::NoValue(Some(Why::MadeUp))),
        (Field::Phone, "Mãe: 85 99999-0001", NoKey::Rejected("of_another_person")),
        (Field::Email, "[ada@x.example](mailto:bia@x.example)", NoKey::Rejected("link_differs")),
        (Field::Phone, "ligue", NoKey::Rejected("not_a_phone_number")),
    ] {
        assert_eq!(read(field, text), Err(expected), "{text}");
    }
}
