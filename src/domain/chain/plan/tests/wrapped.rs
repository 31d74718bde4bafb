//! Values of every field in what stands around them.

use super::*;

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
        ("phone", "85 99999-0001 / 3333-4444", "one_of_two"),
        ("phone", "85 3344-5567; 00000-0000", "one_of_two"),
        ("phone", "85 99999-0001 / 85 98888-0001", "not_a_phone_number"),
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
