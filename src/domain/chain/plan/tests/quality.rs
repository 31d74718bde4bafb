//! Values that are understood, stored as given or rejected, and which of them are identifiers.

use super::*;
use crate::domain::contact::{Identifier, placeholder::Why, quality::is_verified};

fn update_in(region: &str, arguments: Value) -> Result<ContactUpdate, Fault> {
    let acme = CompanyId::new("acme").unwrap();
    let by_company = [(acme, Region::new(region).unwrap())];
    let rules = Rules { regions: Regions::new(Region::new("DE").unwrap(), by_company).into(), ..rules() };
    let plan = run(&crm_event(arguments), &rules)?;
    match plan.steps.into_iter().next().unwrap().work {
        Work::UpsertContact(update) => Ok(update),
        Work::Webhook(_) => panic!("a CRM step"),
    }
}

fn keys(update: &ContactUpdate) -> Vec<String> {
    update.identifiers().map(|identifier| identifier.value().to_owned()).collect()
}

#[test]
fn each_field_reads_its_own_kind_of_value() {
    for (region, field, given, stored, reason) in [
        ("BR", "birthday", "20/05/1990", "1990-05-20", None),
        ("US", "birthday", "05/06/1990", "1990-05-06", None),
        ("BR", "birthday", "20/05/90", "20/05/90", Some("unverified")),
        ("BR", "birthday", "35", "35", Some("unverified")),
        ("BR", "birthday", "2026-11-23", "2026-11-23", Some("unverified")),
        ("BR", "country", "Estados Unidos", "US", None),
        ("BR", "country", "Congo", "Congo", Some("unverified")),
        ("BR", "zipCode", "60175055", "60175-055", None),
        ("US", "zipCode", "123456789", "12345-6789", None),
        ("BR", "zipCode", "1310100", "1310100", None),
        ("BR", "identity", "52998224725", "529.982.247-25", None),
        ("BR", "identity", "12abc34501de35", "12.ABC.345/01DE-35", None),
        ("US", "identity", "123456789", "123-45-6789", None),
        ("BR", "identity", "123456789", "123456789", None),
        ("BR", "identity", "52998224726", "52998224726", None),
        ("BR", "identity", "529.982.247-26", "", Some("wrong_check_digits")),
        ("BR", "phone", "85 3333-4444 ramal 12", "+558533334444;ext=12", None),
        ("MX", "phone", "55 1234 5678", "+525512345678", None),
        ("BR", "phone", "call me", "", Some("not_a_phone_number")),
        ("BR", "name", "Nada", "Nada", None),
        ("BR", "company", "Test Ltd", "Test Ltd", None),
        ("BR", "company", "sem empresa", "", None),
    ] {
        let update = update_in(region, json!({ field: given, "email": "a@b.example" })).unwrap();
        let value = update.values.get(field.parse().unwrap()).map_or("", String::as_str);
        assert_eq!(value, stored, "{field} {given}");
        let expected: Vec<_> = reason.map(|reason| (field, reason)).into_iter().collect();
        assert_eq!(rejected(&update), expected, "{field} {given}");
        let time = update.stamp.time;
        let verified = update.values.iter().all(|(field, value)| is_verified(field, value, time));
        assert_eq!(!verified, reason == Some("unverified"), "{field} {given}");
    }
}

#[test]
fn postal_code_follows_the_country_of_the_update() {
    for (arguments, expected) in [
        (json!({"zipCode": "k1a0b1", "country": "Canadá"}), "K1A 0B1"),
        (json!({"zipCode": "k1a0b1"}), "k1a0b1"),
        (json!({"zipCode": "60175055", "country": "Neverland"}), "60175-055"),
        (json!({"zipCode": "60175055", "country": "US"}), "60175055"),
        (json!({"zipCode": 60_175_055}), "60175-055"),
    ] {
        let update = update_in("BR", arguments.clone()).unwrap();
        assert_eq!(update.values.get(Field::ZipCode).unwrap(), expected, "{arguments}");
    }
}

#[test]
fn weak_phone_identifies_only_without_another_identifier() {
    let weak = "+558533334444;ext=12";
    for (arguments, expected) in [
        (json!({"phone": weak}), vec![weak]),
        (json!({"phone": weak, "email": "n/a"}), vec![weak]),
        (json!({"phone": weak, "email": "no address"}), vec![weak]),
        (json!({"phone": weak, "email": "a@b.example"}), vec!["a@b.example"]),
        (json!({"phone": "(20) 99999-0001"}), vec!["+5520999990001"]),
        (json!({"phone": "(20) 99999-0001", "email": "a@b.example"}), vec!["a@b.example"]),
        (json!({"phone": "85 99999-0001", "email": "a@b.example"}), vec!["+5585999990001", "a@b.example"]),
    ] {
        let update = update_in("BR", arguments.clone()).unwrap();
        assert_eq!(keys(&update), expected, "{arguments}");
        assert!(update.values.get(Field::Phone).is_some(), "{arguments}");
    }
}

#[test]
fn bad_values_do_not_reject_the_event() {
    let mut arguments = json!({"email": "a@b.example"});
    for field in Field::VARIANTS.iter().filter(|field| **field != Field::Email) {
        for bad in [
            json!({"a": 1}),
            json!([["a"]]),
            json!("\u{200b}"),
            json!("x".repeat(5_000)),
            json!("529.982.247-26"),
        ] {
            arguments[field.name()] = bad;
            let update = update_in("BR", arguments.clone()).unwrap();
            assert!(update.identifiers().any(|key| matches!(key, Identifier::Email(_))), "{field}");
        }
    }
}

#[test]
fn empty_objects_and_lists_are_no_value() {
    for nothing in [json!({}), json!([]), json!([{}]), json!([[]]), json!([{}, ""])] {
        for field in Field::VARIANTS {
            let update = update(json!({ field.name(): nothing })).unwrap();
            assert!(update.values.is_empty() && update.rejected.is_empty(), "{field}: {nothing}");
        }
    }
}

/// What is typed to get past a form is not told from a real number by its digits alone, but by its country's plan.
#[test]
fn mobile_numbers_in_sequence_are_stored() {
    let read = |region, text| {
        let found = read_key(Field::Phone, text, Region::new(region).unwrap(), &rules());
        found.map(|found| found.value().to_owned())
    };
    for (region, text, expected) in [
        ("JP", "090-1234-5678", "+819012345678"),
        ("JP", "０９０−１２３４−５６７８", "+819012345678"),
        ("BR", "+7 912 345-67-89", "+79123456789"),
        ("DE", "Tel.: 0151 23456789", "+4915123456789"),
        ("CL", "9 8765 4321", "+56987654321"),
    ] {
        assert_eq!(read(region, text).as_deref(), Ok(expected), "{text} {region}");
    }
    let made_up = Err(NoKey::NoValue(Some(Why::MadeUp)));
    for (region, text) in
        [("BR", "987654321"), ("IN", "9876543210"), ("US", "+1 (234) 567-8900"), ("BR", "(85) 12345-6789")]
    {
        assert_eq!(read(region, text), made_up, "{text} {region}");
    }
}
