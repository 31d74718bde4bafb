//! Digits that nobody has as a number, and numbers that only look so.

use super::*;
use crate::domain::value::phone::{Phone, Region};

#[test]
fn typed_digits_are_placeholders() {
    let placeholders = placeholders();
    for (field, text, source) in [
        (Field::Phone, "0000000000", "typed: one digit"),
        (Field::Phone, "+11 (11) 1111-1111", "typed: one digit"),
        (Field::Phone, "(85) 99999-9999", "typed: one digit"),
        (Field::Phone, "+55 11 1111-1111", "typed: one digit"),
        (Field::Phone, "+1 555 555 5555", "typed: one digit"),
        (Field::Phone, "００００００００", "Unicode: full-width forms"),
        (Field::Phone, "123456789", "typed: digits in a row"),
        (Field::Phone, "1234567890", "typed: digits in a row"),
        (Field::Phone, "987654321", "typed: digits in a row"),
        (Field::Phone, "(85) 12345-6789", "typed: digits in a row"),
        (Field::Phone, "+1 (234) 567-8900", "as above: nearly all digits of a number"),
        (Field::Phone, "+55", "forms: a country code"),
        (Field::Phone, "+351 ", "forms: a country code"),
        (Field::Identity, "00000000000", "typed: one digit"),
        (Field::Identity, "11111111111", "typed: one digit"),
        (Field::ZipCode, "00000-000", "typed: zeros"),
        (Field::Phone, "2147483647", "MySQL: the largest INT"),
        (Field::Phone, "4294967295", "MySQL: the largest INT UNSIGNED"),
        (Field::Phone, "9223372036854775807", "SQL: the largest BIGINT"),
        (Field::Identity, "2147483647", "MySQL: the largest INT"),
        (Field::Phone, "5551234567", "LLM habit: (555) 123-4567 without its marks"),
        (Field::Phone, "+15551234567", "LLM habit"),
    ] {
        assert_eq!(
            placeholders.why(field, text, "parameter"),
            Some(Why::MadeUp),
            "{field} {text} ({source})"
        );
    }
}

#[test]
fn invented_numbers_are_nobodys() {
    for (text, region, expected, source) in [
        ("555-0143", "BR", true, "NANPA: 555 line numbers"),
        ("555-1234", "US", true, "LLM habit"),
        ("(202) 555-0143", "US", true, "NANPA"),
        ("1-202-555-0143", "US", true, "NANPA"),
        ("+1 202 555 0143", "BR", true, "NANPA"),
        ("+12025550143", "BR", true, "as above: without groups"),
        ("+1 (555) 123-4567", "BR", true, "NANPA: there is no area 555"),
        ("(555) 123-4567", "BR", true, "NANPA: in Brazil it would be a landline of area 55"),
        ("555.123.4567", "US", true, "NANPA: there is no area 555"),
        ("(11) 555-1234", "BR", true, "Anatel: too short"),
        ("+55 11 555-1234", "BR", true, "Anatel: too short"),
        ("809-555-0143", "DO", true, "NANPA"),
        ("(11) 5555-1234", "BR", false, "Anatel: São Paulo"),
        ("+55 11 5555-0143", "BR", false, "Anatel: São Paulo"),
        ("(55) 5123-4567", "BR", false, "Anatel: Santa Maria"),
        ("5551234568", "BR", false, "Anatel: Santa Maria, without groups"),
        ("800-555-0143", "US", true, "NANPA: 555-0100 to 0199"),
        ("1-800-555-1234", "US", false, "NANPA: a real number that costs nothing"),
        ("(888) 555-1212", "US", false, "NANPA: a real number that costs nothing"),
        ("0800 555 1234", "BR", false, "Anatel: a free number"),
        ("300 555 1234", "CO", false, "libphonenumber: Colombia's mobiles"),
        ("0414-555-1234", "VE", false, "libphonenumber: Venezuela's mobiles"),
        ("555 123 4567", "MX", false, "libphonenumber: Mexico City"),
        ("0555 123 45 67", "TR", false, "libphonenumber: Turkey's mobiles"),
        ("85 9999-9999", "BR", true, "typed: one digit, once the ninth is there"),
        ("+5585999990001", "BR", false, "as above: a number"),
        ("call me", "BR", false, "as above: no number"),
        ("+1 (234) 567-8900", "US", true, "typed: digits in a row"),
        ("01234 567890", "GB", true, "typed: digits in a row"),
    ] {
        let phone = Phone::parse(text, Region::new(region).unwrap());
        assert_eq!(is_invented(text, phone.as_ref()), expected, "{text} {region} ({source})");
    }
}

/// Text, region, whether it is nobody's, and the source.
const OF_REGULATORS_AND_FORMS: &[(&str, &str, bool, &str)] = &[
    (
        "+44 7700 900461",
        "BR",
        false,
        "Ofcom: mobiles for drama, which people also take as examples of real ones",
    ),
    ("+44 20 7946 0958", "BR", false, "Ofcom: London, as above"),
    ("11 91234-5678", "BR", false, "Anatel: a mobile that somebody chose"),
    ("(11) 98888-8888", "BR", false, "Anatel: a mobile that somebody chose"),
    ("+5511900000000", "BR", false, "typed: the first number of a sender that counts"),
    ("(85) 2345-6789", "BR", false, "Anatel: a landline"),
    ("(11) 3333-3333", "BR", false, "Anatel: a landline"),
    ("(11) 97777-7777", "BR", false, "Anatel: a mobile that somebody chose"),
    ("(11) 98765-4321", "BR", false, "Anatel: a mobile"),
    ("+266696687", "BR", true, "Twilio: ANONYMOUS on the keys"),
    ("266696687", "BR", true, "Twilio: ANONYMOUS on the keys"),
    ("266696687", "PT", false, "libphonenumber: a landline of Évora"),
    ("266696687", "PL", false, "libphonenumber: a mobile of Poland"),
];

#[test]
fn numbers_of_regulators_and_forms_are_nobodys() {
    for (text, region, expected, source) in OF_REGULATORS_AND_FORMS {
        let phone = Phone::parse(text, Region::new(region).unwrap());
        assert_eq!(is_invented(text, phone.as_ref()), *expected, "{text} {region} ({source})");
    }
}

#[test]
fn mobile_numbers_in_sequence_are_somebodys() {
    for (text, region, expected, source) in [
        ("090-1234-5678", "JP", true, "libphonenumber: Japan's mobiles"),
        ("+81 90 1234 5678", "BR", true, "as above: abroad"),
        ("+7 912 345-67-89", "BR", true, "libphonenumber: Russia's mobiles"),
        ("8 (912) 345-67-89", "RU", true, "as above: with the prefix of Russia"),
        ("0151 23456789", "DE", true, "libphonenumber: Germany's mobiles"),
        ("9 8765 4321", "CL", true, "libphonenumber: Chile's mobiles"),
        ("0812-3456-7890", "ID", true, "libphonenumber: Indonesia's mobiles"),
        ("010-1234-5678", "KR", true, "libphonenumber: Korea's mobiles"),
        ("98765 43210", "IN", false, "typed: ten digits in a row"),
        ("123456789", "BR", false, "typed: digits in a row"),
        ("987654321", "BR", false, "typed: digits in a row"),
        ("1234567890", "BR", false, "typed: digits in a row, a landline of area 12"),
        ("(85) 12345-6789", "BR", false, "typed: digits in a row"),
        ("(234) 567-8900", "US", false, "typed: digits in a row"),
        ("4294967295", "BR", false, "MySQL: the largest INT UNSIGNED, a mobile number of area 42"),
        ("85 99999-9999", "BR", false, "typed: one digit"),
        ("090-0000-0000", "JP", false, "typed: one digit"),
    ] {
        let phone = Phone::parse(text, Region::new(region).unwrap());
        let is_real = phone.is_some_and(|phone| is_mobile_in_sequence(text, &phone));
        assert_eq!(is_real, expected, "{text} {region} ({source})");
    }
}
