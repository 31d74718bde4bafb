//! Phone numbers as people write them. Each row names its source.

use proptest::prelude::*;

use super::*;

fn parse(text: &str, region: &str) -> Option<Phone> {
    Phone::parse(text, Region::new(region).unwrap())
}

fn e164(text: &str, region: &str) -> Option<String> {
    parse(text, region).map(|phone| phone.as_str().to_owned())
}

#[test]
fn spellings_of_a_number_have_one_canonical_form() {
    for (text, source) in [
        ("+5585999990001", "ITU-T E.164"),
        ("5585999990001", "chatwoot issue 5840"),
        ("+55 85 99999-0001", "ITU-T E.123, international"),
        ("85 9999-0001", "without the ninth digit (Anatel resolution 553/2010)"),
        ("+55 (85) 99999-0001", "ITU-T E.123"),
        ("(85) 99999-0001", "ITU-T E.123, national"),
        ("085 99999 0001", "national prefix, libphonenumber metadata"),
        ("0 15 85 99999-0001", "carrier 15, libphonenumber metadata"),
        ("0 15 85 9999-0001", "carrier 15 and no ninth digit, libphonenumber metadata"),
        ("085 9999-0001", "national prefix and no ninth digit, libphonenumber metadata"),
        ("558599990001", "WhatsApp ids of numbers from before 2016; chatwoot issue 13986"),
        ("+55 85 9999-0001", "chatwoot issue 14048"),
        ("+55 (0) 85 99999-0001", "observed in signatures"),
        ("005585999990001", "ITU-T E.164: international prefix"),
        ("tel:+55-85-99999-0001", "RFC 3966"),
        ("TEL: 85 99999.0001", "RFC 3966, RFC 3986: schemes in any case"),
        ("sms:+5585999990001", "RFC 5724"),
        ("callto:+5585999990001", "observed in web pages"),
        ("whatsapp:+5585999990001", "Twilio's WhatsApp addresses"),
        ("whatsapp:tel:+5585999990001", "observed"),
        ("https://wa.me/5585999990001", "WhatsApp click to chat"),
        ("https://wa.me/5585999990001?text=oi%20tudo", "WhatsApp click to chat"),
        ("wa.me/558599990001", "WhatsApp click to chat"),
        ("https://api.whatsapp.com/send?phone=5585999990001&text=oi", "WhatsApp click to chat"),
        ("https://api.whatsapp.com/send/?text=oi&phone=%2B5585999990001", "RFC 3986: percent-encoding"),
        ("whatsapp://send?phone=5585999990001", "WhatsApp deep link"),
        ("5585999990001@c.us", "whatsapp-web.js ids"),
        ("558599990001@S.WhatsApp.net", "WhatsApp's XMPP ids"),
        ("5585999990001:12@s.whatsapp.net", "WhatsApp's XMPP ids, with a device"),
        ("5585999990001.0:12@s.whatsapp.net", "WhatsApp's XMPP ids, with agent and device"),
        ("+５５８５９９９９９０００１", "Unicode: full-width forms"),
        ("＋５５ ８５ ９９９９９ー０００１", "libphonenumber: Japanese writing"),
        ("+٥٥٨٥٩٩٩٩٩٠٠٠١", "Unicode: Arabic-Indic digits"),
        ("۸۵ ۹۹۹۹۹-۰۰۰۱", "Unicode: extended Arabic-Indic digits"),
        ("\u{202a}+55\u{a0}85\u{200b}99999\u{2011}0001\u{202c}", "copied from iOS contacts"),
        ("\u{2068}85\u{2069} 99999\u{ad}0001", "copied from web pages"),
        ("++5585999990001", "observed LLM habit"),
        ("(+55) 85 99999-0001", "observed in signatures"),
    ] {
        let phone = parse(text, "BR");
        assert_eq!(phone.as_ref().map(Phone::as_str), Some("+5585999990001"), "{text} ({source})");
        assert_eq!(phone.unwrap().strength(), Strength::Strong, "{text} ({source})");
    }
}

#[test]
fn national_and_renumbered_numbers_are_read_by_region() {
    for (text, region, expected, source) in [
        ("020 7946 0018", "GB", "+442079460018", "Ofcom's numbers for drama"),
        ("+44 (0)20 7946 0018", "BR", "+442079460018", "Ofcom's numbers for drama"),
        ("442079460018", "BR", "+442079460018", "an international number that lost its plus"),
        ("030/901820", "DE", "+4930901820", "DIN 5008, old writing"),
        ("(202) 555-0143", "US", "+12025550143", "NANP, numbers for fiction"),
        ("1-202-555-0143", "US", "+12025550143", "NANP: trunk prefix 1"),
        ("+52 1 55 1234 5678", "BR", "+525512345678", "IFT, numbering plan of 2018: 521 ended 2019"),
        ("5215512345678", "MX", "+525512345678", "WhatsApp ids of Mexico; chatwoot issue 14048"),
        ("5215512345678@c.us", "BR", "+525512345678", "WhatsApp ids of Mexico"),
        ("55 1234 5678", "MX", "+525512345678", "IFT: ten digits since 2019"),
        ("044 55 1234 5678", "MX", "+525512345678", "IFT: 044 ended 2019"),
        ("045 55 1234 5678", "MX", "+525512345678", "IFT: 045 ended 2019"),
        ("01 55 1234 5678", "MX", "+525512345678", "IFT: 01 ended 2019"),
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
    ] {
        let phone = parse(text, region);
        assert_eq!(phone.as_ref().map(Phone::as_str), Some(expected), "{text} {region} ({source})");
        assert_eq!(phone.unwrap().strength(), Strength::Strong, "{text} {region} ({source})");
    }
}

#[test]
fn extensions_and_unknown_prefixes_are_weak() {
    for (text, region, expected, source) in [
        ("(85) 3333-4444 ramal 12", "BR", "+558533334444;ext=12", "Brazilian for extension"),
        ("+558533334444;ext=12", "US", "+558533334444;ext=12", "RFC 3966"),
        ("tel:+55-85-3333-4444;ext=012", "US", "+558533334444;ext=012", "RFC 3966: digits, not a number"),
        ("(85) 3333-4444 ext. 12", "BR", "+558533334444;ext=12", "libphonenumber"),
        ("85 3333 4444 x12", "BR", "+558533334444;ext=12", "libphonenumber"),
        ("85 3333-4444, Ramal: 12", "BR", "+558533334444;ext=12", "observed in signatures"),
        ("85 3333-4444 (ramal 12)", "BR", "+558533334444;ext=12", "observed in signatures"),
        ("85 3333-4444 #12", "BR", "+558533334444;ext=12", "libphonenumber"),
        ("85 3333-4444 extensão 12", "BR", "+558533334444;ext=12", "libphonenumber"),
        ("011 4321-1234 int. 5", "AR", "+541143211234;ext=5", "libphonenumber: Argentina"),
        ("01 2345678 anexo 5", "PE", "+5112345678;ext=5", "libphonenumber: Peru"),
        ("85 9999-0001 ramal 7", "BR", "+5585999990001;ext=7", "ninth digit and extension"),
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
    for (text, source) in [
        ("", "nothing"),
        ("+", "nothing"),
        ("12", "libphonenumber: too short"),
        ("190", "Anatel: emergency, not a person's"),
        ("abc", "words"),
        ("3333-4444", "without its area code it is somebody else's in the next town"),
        ("99999-0001", "without its area code it is somebody else's in the next town"),
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
    ] {
        assert_eq!(e164(text, "BR"), None, "{text} ({source})");
    }
    assert_eq!(e164(&"9".repeat(100_000), "BR"), None);
    assert_eq!(e164("000000000000", "AR"), None, "each reading would strip another zero");
}

#[test]
fn region_codes_are_two_letters_in_any_case() {
    assert_eq!(Region::new("br"), Region::new("BR"));
    assert_eq!(Region::new("br").unwrap().to_string(), "BR");
    for code in ["", "B", "BRA", "ZZ", "001", "76", "é"] {
        assert_eq!(Region::new(code), None, "{code}");
    }
}

proptest! {
    #[test]
    fn canonical_numbers_stay_the_same(
        text in "\\PC{0,40}|[+0-9 ()./@:-]{0,40}|\\+?(55|521?|54)?[0-9]{8,13}( ?(x|ramal|;ext=)[0-9]{1,4})?",
        region in "BR|US|MX|AR|DE|JP",
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
