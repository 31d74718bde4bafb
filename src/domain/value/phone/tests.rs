//! Phone numbers as people write them. Each row names its source.

use proptest::prelude::*;

use super::*;
use crate::domain::samples::matching;

fn parse(text: &str, region: &str) -> Option<Phone> {
    Phone::parse(text, Region::new(region).unwrap())
}

fn e164(text: &str, region: &str) -> Option<String> {
    parse(text, region).map(|phone| phone.as_str().to_owned())
}

#[test]
fn spellings_of_a_number_have_one_canonical_form() {
    for (text, source) in rows::SPELLINGS {
        let phone = parse(text, "BR");
        assert_eq!(phone.as_ref().map(Phone::as_str), Some("+5585999990001"), "{text} ({source})");
        assert_eq!(phone.unwrap().strength(), Strength::Strong, "{text} ({source})");
    }
}

#[test]
fn columns_of_a_number_are_one_number() {
    let region = Region::new("BR").unwrap();
    for (text, source) in rows::PARTS {
        let read = Phone::parse_one_of(text, region);
        let read = read.as_ref().map(|(phone, is_one_of_two)| (phone.as_str(), *is_one_of_two));
        assert_eq!(read, Some(("+5585999990001", false)), "{text} ({source})");
    }
}

#[test]
fn next_lines_and_extensions_make_no_number_of_another_country() {
    let region = Region::new("BR").unwrap();
    for (text, expected, source) in [
        ("(11) 3044-5566/67", Some("+551130445566"), "letterheads: together a number of West Virginia"),
        ("tel:11 3044-5566/67", Some("+551130445566"), "as above: with a scheme"),
        ("(43) 3344-5566/67", Some("+554333445566"), "as above: Austria"),
        ("(44) 3344-5566/67", Some("+554433445566"), "as above: Great Britain"),
        ("(49) 3322-1100/01", Some("+554933221100"), "as above: Germany"),
        ("(49) 3322-1100/1101", Some("+554933221100"), "as above: Germany, with four digits"),
        ("(55) 3344-5567/68", Some("+555533445567"), "as above: another area of Brazil"),
        ("(62) 3344-5566/67", Some("+556233445566"), "as above: Indonesia"),
        ("(82) 3344-5566/67", Some("+558233445566"), "as above: Korea"),
        ("(91) 3212-3456/57", Some("+559132123456"), "as above: India"),
        ("(92) 3344-5566/67", Some("+559233445566"), "as above: Pakistan"),
        ("(11) 3044-5566/12", None, "letterheads: it may be an extension"),
        ("(49) 3322-1100/2", None, "as above: of one digit, Germany"),
        ("(11) 3044-5566-67", None, "as above: after a hyphen"),
        ("(49) 3322-1100 12", None, "as above: after a space"),
    ] {
        let read = Phone::parse_one_of(text, region);
        let read = read.as_ref().map(|(phone, is_one_of_two)| (phone.as_str(), *is_one_of_two));
        assert_eq!(read, expected.map(|number| (number, true)), "{text} ({source})");
    }
    assert_eq!(e164("030/901820/12", "DE"), None, "an extension");
}

#[test]
fn a_single_digit_is_no_area() {
    let region = Region::new("BR").unwrap();
    for text in [
        "1, 98812-4471",
        "1; 98812-4471",
        "1. 98812-4471",
        "1) 98812-4471",
        "8, 98812-4471",
        "8 98812-4471",
        "(8) 988124471",
        "8 9 8812-4471",
        "+55 8 98812-4471",
        "+55, 8, 98812-4471",
    ] {
        let read = Phone::parse_one_of(text, region);
        assert_eq!(read.as_ref().map(|(phone, _)| phone.as_str()), None, "{text}");
    }
}

#[test]
fn the_next_line_of_a_company_is_left_out() {
    let region = Region::new("BR").unwrap();
    for (text, expected, source) in [
        ("(85) 3344-5567/5568", Some(("+558533445567", true)), "letterheads: consecutive lines"),
        ("(11) 3333-4444 / 4445", Some(("+551133334444", true)), "letterheads: consecutive lines"),
        ("(85) 3344-5567/68", Some(("+558533445567", true)), "letterheads: the last two digits"),
        ("11 3333-4444 a 4446", Some(("+551133334444", true)), "letterheads: from one to another"),
        ("(85) 3344-5567/12", None, "letterheads: it may be an extension"),
        ("(85) 3344-5567/4000", None, "letterheads: it may be an extension"),
    ] {
        let read = Phone::parse_one_of(text, region);
        let read = read.as_ref().map(|(phone, is_one_of_two)| (phone.as_str(), *is_one_of_two));
        assert_eq!(read, expected, "{text} ({source})");
    }
}

#[test]
fn national_and_renumbered_numbers_are_read_by_region() {
    for (text, region, expected, source) in [
        ("020 7946 0018", "GB", "+442079460018", "Ofcom's numbers for drama"),
        ("+44 (0)20 7946 0018", "BR", "+442079460018", "Ofcom's numbers for drama"),
        ("442079460018", "BR", "+442079460018", "libphonenumber: a number that lost its plus"),
        ("030/901820", "DE", "+4930901820", "DIN 5008, old writing"),
        ("040/12345-678", "DE", "+494012345678", "DIN 5008, an extension that can be dialed"),
        ("85 9 8812-4471", "BR", "+5585988124471", "Anatel: the ninth digit apart"),
        ("8 5 98812-4471", "BR", "+5585988124471", "as above: the digits of the area apart"),
        ("9 8812 4471", "CL", "+56988124471", "libphonenumber: Chile's mobiles"),
        ("1 202/555/0143", "BR", "+12025550143", "NANP: slashes"),
        ("(202) 555-0143", "US", "+12025550143", "NANP, numbers for fiction"),
        ("1-202-555-0143", "US", "+12025550143", "NANP: trunk prefix 1"),
        ("+52 1 55 1234 5678", "BR", "+525512345678", "IFT, numbering plan of 2018: 521 ended 2019"),
        ("5215512345678", "MX", "+525512345678", "WhatsApp ids of Mexico; chatwoot issue 14048"),
        ("5215512345678@c.us", "BR", "+525512345678", "WhatsApp ids of Mexico"),
        ("55 1234 5678", "MX", "+525512345678", "IFT: ten digits since 2019"),
        ("044 55 1234 5678", "MX", "+525512345678", "IFT: 044 ended 2019"),
        ("045 55 1234 5678", "MX", "+525512345678", "IFT: 045 ended 2019"),
        ("01 55 1234 5678", "MX", "+525512345678", "IFT: 01 ended 2019"),
        (
            "+52 044 55 1234 5678",
            "BR",
            "+525512345678",
            "IFT: the country code before what was dialed until 2019",
        ),
        (
            "+52 01 55 1234 5678",
            "MX",
            "+525512345678",
            "IFT: the country code before what was dialed until 2019",
        ),
        ("011 15-2345-6789", "AR", "+5491123456789", "libphonenumber metadata: 15 becomes 9"),
        ("+54 9 11 2345-6789", "AR", "+5491123456789", "libphonenumber metadata"),
        ("11 2345-6789", "AR", "+541123456789", "libphonenumber metadata: a landline"),
        ("(85) 3333-4444", "BR", "+558533334444", "Anatel: landlines begin with 2 to 5"),
        ("(11) 7890-1234", "BR", "+551178901234", "Anatel: trunking keeps eight digits beginning with 7"),
        ("(11) 6123-4567", "BR", "+5511961234567", "Anatel: mobiles began with 6, 8 or 9"),
        ("(11) 8123-4567", "BR", "+5511981234567", "Anatel: mobiles began with 6, 8 or 9"),
        ("(55) 9999-0001", "BR", "+5555999990001", "Anatel: area 55, which looks like the country"),
        ("55 99999-0001", "BR", "+5555999990001", "Anatel: area 55, which looks like the country"),
        ("+55 55 9999-0001", "US", "+5555999990001", "Anatel: area 55, which looks like the country"),
        ("015 99999-0001", "BR", "+5515999990001", "Anatel: area 15, which looks like a carrier"),
        ("0800 123 4567", "BR", "+558001234567", "Anatel: 0800 is not an area"),
        ("(0xx85) 3344-5567", "BR", "+558533445567", "letterheads: 0, any operator, area code"),
        ("+55 (0xx85) 3344-5567", "MX", "+558533445567", "letterheads: with the country code, abroad"),
        ("(0XX85) 9911-2237", "BR", "+5585999112237", "letterheads from before 2016"),
        ("0xx11 7890-1234", "BR", "+551178901234", "Anatel: trunking keeps eight digits"),
        ("442079460018.0", "BR", "+442079460018", "pandas"),
        ("2.025550143E9", "US", "+12025550143", "Java's Double.toString"),
    ] {
        let phone = parse(text, region);
        assert_eq!(phone.as_ref().map(Phone::as_str), Some(expected), "{text} {region} ({source})");
        assert_eq!(phone.unwrap().strength(), Strength::Strong, "{text} {region} ({source})");
    }
}

#[test]
fn extensions_and_unknown_prefixes_are_weak() {
    for (text, region, expected, source) in [
        ("(85) 3333-4444 ramal 12", "BR", "+558533334444;ext=12", "Portuguese: an extension"),
        ("+558533334444;ext=12", "US", "+558533334444;ext=12", "RFC 3966"),
        ("tel:+55-85-3333-4444;ext=012", "US", "+558533334444;ext=012", "RFC 3966: digits, not a number"),
        ("(85) 3333-4444 ext. 12", "BR", "+558533334444;ext=12", "libphonenumber"),
        ("(85) 3333-4444 r. 12", "BR", "+558533334444;ext=12", "signatures: short for ramal"),
        ("(85) 3333-4444 (R: 12)", "BR", "+558533334444;ext=12", "signatures: short for ramal"),
        ("tel:8533334444;phone-context=+55;ext=12", "BR", "+558533334444;ext=12", "RFC 3966, 5.1.5"),
        ("85 3333 4444 x12", "BR", "+558533334444;ext=12", "libphonenumber"),
        ("85 3333-4444, Ramal: 12", "BR", "+558533334444;ext=12", "signatures"),
        ("85 3333-4444 (ramal 12)", "BR", "+558533334444;ext=12", "signatures"),
        ("85 3333-4444 #12", "BR", "+558533334444;ext=12", "libphonenumber"),
        ("85 3333-4444 extensão 12", "BR", "+558533334444;ext=12", "libphonenumber"),
        ("011 4321-1234 int. 5", "AR", "+541143211234;ext=5", "libphonenumber: Argentina"),
        ("01 2345678 anexo 5", "PE", "+5112345678;ext=5", "libphonenumber: Peru"),
        ("85 9999-0001 ramal 7", "BR", "+5585999990001;ext=7", "as above: ninth digit and extension"),
        ("+1 202 055 0143", "BR", "+12020550143", "NANP: no exchange begins with 0"),
        ("(20) 99999-0001", "BR", "+5520999990001", "Anatel: there is no area 20"),
        ("+55 23 9999-0001", "BR", "+5523999990001", "Anatel: there is no area 23"),
    ] {
        let phone = parse(text, region);
        assert_eq!(phone.as_ref().map(Phone::as_str), Some(expected), "{text} {region} ({source})");
        assert_eq!(phone.unwrap().strength(), Strength::Weak, "{text} {region} ({source})");
        assert_eq!(Phone::from_stored(expected).strength(), Strength::Weak, "{expected}");
    }
    assert_eq!(Phone::from_stored("+5585999990001").strength(), Strength::Strong);
    assert_eq!(Phone::from_stored("").strength(), Strength::Weak);
}

#[test]
fn numbers_with_the_same_text_are_equal() {
    let (parsed, stored) = (parse("85999990001", "BR").unwrap(), Phone::from_stored("+5585999990001"));
    assert_eq!(parsed, stored);
    assert_eq!(parsed.cmp(&stored), Ordering::Equal);
    assert!(std::collections::HashSet::from([parsed]).contains(&stored));
}

#[test]
fn other_texts_are_rejected() {
    for (text, reason) in [
        ("", "nothing"),
        ("+", "nothing"),
        ("12", "libphonenumber: too short"),
        ("190", "Anatel: emergency, not a person's"),
        ("abc", "words"),
        ("3333-4444", "without its area code it is somebody else's in the next town"),
        ("99999-0001", "without its area code it is somebody else's in the next town"),
        (
            "+55 85 98812-447",
            "a digit was lost: as a number from before the ninth digit it is somebody else's",
        ),
        ("(85) 98812-447", "a digit was lost"),
        ("98812-4471", "a local number, not one of Iran"),
        ("4943-9645", "a local number, not one of Germany"),
        ("+999999999999", "ITU-T E.164: no such country code"),
        ("+85999990001", "a plus is never read with the region's own prefixes"),
        ("11111111111111111111", "ITU-T E.164: at most 15 digits"),
        ("1-800-FLOWERS", "letters"),
        ("my number is 85999990001", "a sentence"),
        ("85999990001 at night", "a sentence"),
        ("85999990001; 85988880001", "two numbers"),
        ("85999990001, 85988880001", "two numbers"),
        ("85999990001 / 85988880001", "two numbers"),
        ("85999990001 ou 85988880001", "two numbers"),
        ("85 3333-4444 ramal 12 ou 13", "two extensions"),
        ("85 3333-4444 ramal", "an extension of no digits"),
        ("+55 85 3333-4444 ext 1234567890", "an extension too long"),
        ("+55 85+99999-0001", "a plus within"),
        ("ada@analytical.example", "an email"),
        ("120363041234567890@g.us", "a WhatsApp group"),
        ("199999999999999@lid", "WhatsApp's hidden id: no phone number"),
        ("5585999990001@lid", "WhatsApp's hidden id: no phone number"),
        ("https://chat.whatsapp.com/ABC123", "a WhatsApp group's invitation"),
        ("https://wa.me/message/ABC123", "a WhatsApp short link"),
        ("https://example.com/5585999990001", "a link to elsewhere"),
        ("@c.us", "nothing"),
        ("²²²²²²²²²²²", "Unicode: superscripts are not decimal digits"),
        ("5,58599E+12", "a spreadsheet's scientific format: digits are lost"),
        ("5.58599E+12", "a spreadsheet's scientific format: digits are lost"),
        ("8.6E+10", "a spreadsheet's scientific format: digits are lost"),
        ("85999990001.5", "a fraction: no phone number"),
        ("5585999990001,25", "a fraction: no phone number"),
        ("sms:+5585999990001?85988880001", "no text of a message"),
        ("(0xx85)", "only the area code"),
        ("(0xx) 3344-5567", "a blank without an area code, a number that begins with 33"),
        ("0xxx85 3344-5567", "no blank for an operator"),
        ("+52 (0xx85) 3344-5567", "the prefix of another country"),
    ] {
        assert_eq!(e164(text, "BR"), None, "{text} ({reason})");
    }
    assert_eq!(e164(&"9".repeat(100_000), "BR"), None);
    assert_eq!(e164("000000000000", "AR"), None, "each reading would strip another zero");
}

#[test]
fn documents_are_no_phones() {
    for (text, reason) in [
        ("529.982.247-25", "Receita Federal: a CPF"),
        ("529.982.247–25", "Receita Federal: a CPF"),
        ("119.876.541-02", "Receita Federal: a CPF, whose digits are a mobile number of São Paulo"),
        ("119.876.541-03", "Receita Federal: a CPF with a wrong digit"),
        ("119876541-02", "Receita Federal: a CPF"),
        ("119 876 541 02", "Receita Federal: a CPF"),
        ("11.222.333/0001-81", "Receita Federal: a CNPJ"),
    ] {
        assert_eq!(e164(text, "BR"), None, "{text} ({reason})");
    }
    assert_eq!(e164("529.982.247-25", "US"), None, "Receita Federal: a CPF");
    assert_eq!(
        e164("11987654102", "BR").as_deref(),
        Some("+5511987654102"),
        "without its marks a mobile number"
    );
}

#[test]
fn one_of_several_numbers_is_taken_if_only_one_is_usable() {
    for (text, expected, left_out, source) in [
        ("85 99999-0001 / 3333-4444", "+5585999990001", true, "signatures: one has no area code"),
        ("85 99999-0001/3333-4444", "+5585999990001", true, "as above: without spaces"),
        ("3333-4444 | 85 99999-0001", "+5585999990001", true, "as above: the first has no area code"),
        ("85999990001 ou 99999-0002", "+5585999990001", true, "as above: or, in Portuguese"),
        ("85999990001 OU 99999-0002", "+5585999990001", true, "as above: in capitals"),
        ("85 99999-0001 o 3333-4444", "+5585999990001", true, "as above: or, in Spanish"),
        ("85 99999-0001 and 3333-4444", "+5585999990001", true, "as above: and, in English"),
        ("(0xx85) 3344-5567, 99999-0002", "+558533445567", true, "as above: a comma"),
        ("85 3344-5567; 00000-0000", "+558533445567", true, "as above: a made-up number"),
        ("85 98812-4471 / 98812-4472", "+5585988124471", true, "as above: a number without its area code"),
        ("85 3344-5567 / Cel: 99999-0001", "+558533445567", true, "as above: a label before the second"),
        ("85 3344-5567 (fixo) / 99999-0001", "+558533445567", true, "as above: a label after the first"),
        ("85 99999-0001 / 85 3333-4444 ramal 12", "+5585999990001", true, "as above: an extension"),
        ("85 99999-0001 e 85 9999-0001", "+5585999990001", false, "as above: one number in two spellings"),
        ("85999990001; +5585999990001", "+5585999990001", false, "as above: one number in two spellings"),
        ("85 99999-0001 /", "+5585999990001", false, "as above: nothing after the slash"),
        ("85 99999-0001; 3333-4444;", "+5585999990001", true, "as above: the end of a list"),
        ("85 99999-0001", "+5585999990001", false, "as above: one number"),
        ("5585999990001,00 / 5585999990001,00", "+5585999990001", false, "as above: a float of Brazil twice"),
        ("5585999990001,00, 5585999990001,00", "+5585999990001", false, "as above: a list of floats"),
        ("5585999990001.0; 85 99999-0001", "+5585999990001", false, "as above: a float and its number"),
        ("5585990000000,00 / 85 99999-0001", "+5585999990001", true, "as above: the float has lost digits"),
        ("5,58599E+12 / 85 99999-0001", "+5585999990001", true, "as above: the float has lost digits"),
        ("85 3333-4444, ramal 12", "+558533334444;ext=12", false, "as above: one number with its extension"),
    ] {
        let found = Phone::parse_one_of(text, Region::new("BR").unwrap());
        let found = found.as_ref().map(|(phone, left_out)| (phone.as_str(), *left_out));
        assert_eq!(found, Some((expected, left_out)), "{text} ({source})");
    }
    for (text, reason) in [
        ("85999990001 / 85988880001", "two people, or one with two phones"),
        ("85 99999-0001 ou 11 98888-0001", "two people, or one with two phones"),
        ("Tel: 85 3344-5567 / Cel: 85 99999-0001", "two people, or one with two phones"),
        ("3333-4444 / 99999-0001", "neither has an area code"),
        ("85 99999-0001 ou fale com a Ana", "a sentence"),
        ("85 3333-4444 / 12", "perhaps an extension"),
        ("85 3333-4444, ramal 12 ou 13", "two extensions"),
        ("85 3333-4444 / 5555", "perhaps the last digits of the company's second line"),
        ("85 99999-0001, 3333-4444, 3333-5555, 3333-6666", "a list"),
        ("5,58599E+12", "digits are lost"),
        ("5585990000000,00 / 5585990000000,00", "digits are lost, twice"),
        ("5585999990001,00 / 5585999990002,00", "two people, or one with two phones"),
        ("85999990001,25", "a fraction"),
        ("", "nothing"),
    ] {
        let found = Phone::parse_one_of(text, Region::new("BR").unwrap());
        assert_eq!(found.map(|(phone, _)| phone.as_str().to_owned()), None, "{text} ({reason})");
    }
    assert!(Phone::parse_one_of(&"85999990001,".repeat(50_000), Region::new("BR").unwrap()).is_none());
}

#[test]
fn region_codes_are_two_letters_in_any_case() {
    assert_eq!(Region::new("br"), Region::new("BR"));
    assert_eq!(Region::new("br").unwrap().to_string(), "BR");
    for code in ["", "B", "BRA", "ZZ", "001", "76", "é"] {
        assert_eq!(Region::new(code), None, "{code}");
    }
}

/// What people, links, chats and programs write, and anything else.
const WRITTEN: &str = "\\PC{0,40}|[+0-9 ()./@:-]{0,40}|[+]?[0-9]([.,][0-9]{0,14})?[eE][+]?[0-9]{1,2}|[ (+]{0,2}5{0,2}[ (]{0,2}0?[xX*]{2}[0-9) -]{2,14}|\\+?(55|521?|54)?[0-9]{8,13}( ?(x|ramal|;ext=)[0-9]{1,4})?|(85 ?)?[0-9]{8,9}( / |/|; | ou )(85 ?)?[0-9]{4,9}";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn any_text_is_one_number_or_none(text in matching(WRITTEN)) {
        let region = Region::new("BR").unwrap();
        if let Some((phone, left_out)) = Phone::parse_one_of(&text, region) {
            prop_assert!(!left_out || phone.strength() == Strength::Strong);
        }
    }
}

proptest! {
    #[test]
    fn canonical_numbers_stay_the_same(
        text in matching(WRITTEN),
        region in matching("BR|US|MX|AR|DE|JP"),
    ) {
        if let Some(phone) = parse(&text, &region) {
            for region in ["BR", "US", "MX", "IT"] {
                let again = parse(phone.as_str(), region);
                prop_assert_eq!(again.as_ref().map(Phone::as_str), Some(phone.as_str()));
                prop_assert_eq!(again.unwrap().strength(), phone.strength());
            }
            prop_assert_eq!(Phone::from_stored(phone.as_str()).strength(), phone.strength());
        }
    }

    #[test]
    fn mobile_numbers_with_and_without_the_ninth_digit_are_equal(
        area in prop::sample::select(vec![11, 15, 21, 31, 41, 55, 61, 71, 85, 99]),
        subscriber in prop_oneof![60_000_000_u32..=69_999_999, 80_000_000_u32..=99_999_999],
    ) {
        let new = e164(&format!("+55{area}9{subscriber}"), "US");
        prop_assert_eq!(e164(&format!("+55{area}{subscriber}"), "US"), new.clone());
        prop_assert_eq!(e164(&format!("{area} {subscriber}"), "BR"), new);
    }
}
