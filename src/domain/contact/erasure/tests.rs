//! Texts that mention the person and texts that do not, in the forms in which messages and webhooks are
//! stored.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use proptest::prelude::*;

use super::*;
use crate::domain::{
    samples::matching,
    value::{
        phone::rows::{PARTS, SPELLINGS},
        wrapping::rows,
    },
};

fn region(code: &str) -> Region {
    Region::new(code).unwrap()
}

fn ada() -> Person {
    let phones =
        ["+5585999990001", "+442079460018"].map(|phone| Identifier::Phone(Phone::from_stored(phone)));
    let emails = ["ada@analytical.example", "o'neil@xn--bcher-kva.example"];
    let emails = emails.map(|email| Identifier::Email(Email::from_stored(email)));
    let keys = phones.into_iter().chain(emails);
    Person::new(region("BR"), keys, ["012.345.678-90", "12.ABC.345/01DE-35", "12345", "abcdefgh"])
}

fn assert_mentioned(texts: &[&str]) {
    for text in texts {
        assert!(ada().is_mentioned(text.as_bytes()), "{text}");
    }
}

#[test]
fn emails_are_found_in_every_encoding() {
    let utf16: Vec<u8> =
        r#"{"email":"ada@analytical.example"}"#.encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(ada().is_mentioned(&utf16), "UTF-16");
    let header = format!(
        r#"{{"headers": {{"x": {{"string_base64": "{}"}}}}}}"#,
        STANDARD.encode(b"\xffada@analytical.example")
    );
    assert_mentioned(&[
        r#"{"arguments": {"email": "ada@analytical.example"}}"#,
        r#"{"email": "ADA@Analytical.Example"}"#,
        r#"{"email": "ada\u0040analytical.example"}"#,
        r#"{"\u0061da@analytical.example": 1}"#,
        r#"{"text": "{\"email\": \"ada\\u0040analytical.example\"}"}"#,
        r#"{"text": "Hello,\nada@analytical.example\n"}"#,
        r#"{"email": "ada@analytical.example", "email": "bob@x.example"}"#,
        r#"{"email": "bob@x.example", "email": "ada@analytical.example"}"#,
        "Write to <mailto:ada@analytical.example?subject=x>.",
        "Her address is ada@analytical.example.",
        "to=ada@analytical.example&x=1",
        "https://h.example/?email=ada%40analytical.example",
        "https://h.example/?email%3Dada%40analytical.example",
        "ada\u{200b}@analytical.example",
        "o'neil@bücher.example",
        "'O'NEIL@XN--BCHER-KVA.EXAMPLE'",
        "ada@analytical.example,bob@x.example",
        "ada@analytical.example”",
        "ada@analytical.exampleº",
        "o'neil@xn-\u{2011}bcher-kva.example",
        header.as_str(),
    ]);
}

#[test]
fn emails_are_found_in_every_alphabet() {
    assert_mentioned(&[
        "ada＠analytical.example",
        "ada﹫analytical.example",
        "ada@analytical。example",
        r#"{"email": "ada@analytical\u3002example"}"#,
        "ａｄａ＠ａｎａｌｙｔｉｃａｌ．ｅｘａｍｐｌｅ",
        "ａｄａ@analytical｡example",
        "o'neil@bÃ¼cher.example",
        r#"{"email": "o'neil@b\u00c3\u00bccher.example"}"#,
        "JosÃ© o'neil@bÃ¼cher.example é",
        "ada=40analytical.example",
        "to: ada=40analytical=2Eexample=",
        "ada@analy=\r\ntical.example",
        "o'neil=40b=C3=BCcher.example",
        "o'neil=40b=FCcher.example",
        "o'neil%40b%FCcher.example",
    ]);
    for bytes in [&b"{\"email\": \"o'neil@b\xfccher.example\""[..], b"\xfe o'neil@b\xc3\xbccher.example"] {
        assert!(ada().is_mentioned(bytes), "{bytes:?}");
        assert!(ada().is_mentioned(STANDARD.encode(bytes).as_bytes()), "{bytes:?}");
    }
    for text in ["ada=41analytical.example", "bada＠analytical.example", "o'neil@bÃ©cher.example", "a=", "=4"]
    {
        assert!(!ada().is_mentioned(text.as_bytes()), "{text}");
    }
}

#[test]
fn phones_and_documents_are_found_in_every_spelling() {
    assert!(ada().is_mentioned(b"\xff\xfe{\"phone\": \"85999990001\"\x80"), "not UTF-8");
    assert_mentioned(&[
        r#"{"phone": "+55 (85) 99999-0001"}"#,
        r#"{"phone": "85 99999-0001"}"#,
        r#"{"phone": "085 99999 0001"}"#,
        r#"{"phone": 85999990001}"#,
        r#"{"phone": 5585999990001.0}"#,
        r#"{"phone": 8.5999990001E10}"#,
        r#"{"phone": 5.585999990001e+12}"#,
        r#"{"phone": "\u0038\u0035999990001"}"#,
        r#"{"phone": "８５ ９９９９９ー０００１"}"#,
        r#"{"phone": "٨٥٩٩٩٩٩٠٠٠١"}"#,
        r#"{"phone": "\n85999990001"}"#,
        "5585999990001@c.us",
        "5585999990001:12@s.whatsapp.net",
        "/companies/acme/wa-5585999990001-17",
        "wamid_85999990001_7",
        "tel:+55-85-99999-0001",
        "?phone=%2B55%2085+99999-0001",
        "call 85999990001 or 85999990002",
        "85999990002, 85999990001",
        "+5511987654321 85999990001",
        "2026-01-01 85999990001",
        "+44 20 7946 0018",
        "0044 20 7946 0018",
        r#"{"identity": "012.345.678-90"}"#,
        r#"{"identity": 1234567890}"#,
        "CPF 01234567890",
        "012 345 678 90",
        "12.abc.345/01de-35",
        "CNPJ 12ABC34501DE35.",
    ]);
}

/// Finds it alone and in JSON, and as one of the candidates.
#[track_caller]
fn assert_found(key: &Identifier, text: &str, source: &str) {
    let person = Person::new(region("BR"), [key.clone()], []);
    let json = serde_json::json!({ "key": text }).to_string();
    for bytes in [text.as_bytes(), json.as_bytes()] {
        assert!(person.is_mentioned(bytes), "{text} ({source})");
        assert!(candidates::candidates(bytes, region("BR")).unwrap().contains(key), "{text} ({source})");
    }
}

#[test]
fn what_the_parsers_read_is_found() {
    let phone = Identifier::Phone(Phone::from_stored("+5585999990001"));
    let email = Identifier::Email(Email::from_stored("ada@x.example"));
    for (key, rows) in [(&phone, SPELLINGS), (&phone, PARTS), (&phone, rows::PHONES), (&email, rows::EMAILS)]
    {
        for (text, source) in rows {
            assert_found(key, text, source);
        }
    }
    for (text, address, source) in rows::ADDRESSES {
        assert_found(&Identifier::Email(Email::from_stored(*address)), text, source);
    }
    for (text, number, source) in rows::NUMBERS {
        let phone = Phone::parse(number, region("BR")).unwrap();
        assert_found(&Identifier::Phone(phone), text, source);
    }
    assert_mentioned(&[
        "_ada@analytical.example_",
        "__ADA@analytical.example__",
        "<mailto:ada@analytical.example|Ada>",
        "[ada@analytical.example](mailto:ada@analytical.example)",
        "ada&#64;analytical.example",
        "&lt;ada&commat;analytical.example&gt;",
        r#"{"email": "ada\@analytical\.example"}"#,
        "o'neil@bu\u{308}cher.example",
        "'ada@analytical.example",
        "=HYPERLINK(\"mailto:ada@analytical.example\";\"Ada\")",
        "&#43;55&nbsp;85&nbsp;99999-0001",
        "85 99999-0001 / 3333-4444",
        "3333-4444 ou 85 99999-0001",
        r#"{"identity": "01234567890.0"}"#,
        r#"{"identity": "1.234567890E+9"}"#,
        "5.5859999900010E+12",
        "CPF n&ordm; 012.345.678-90",
    ]);
}

#[test]
fn a_blank_for_an_operator_is_no_part_of_a_number() {
    let abroad = Person::new(region("MX"), [Identifier::Phone(Phone::from_stored("+558533445567"))], []);
    for text in ["+55 (0xx85) 3344-5567", "+55 0 XX 85 3344-5567", "+55 (0**85) 3344-5567"] {
        assert!(abroad.is_mentioned(text.as_bytes()), "{text}");
    }
}

#[test]
fn similar_emails_and_numbers_are_not_found() {
    for text in [
        "",
        "{}",
        "Ada Lovelace, Analytical",
        "bada@analytical.example",
        "x.ada@analytical.example",
        "ada+x@analytical.example",
        "x+ada@analytical.example",
        "ada@analytical.example.com",
        "ada@analytical.examples",
        "ada@other.example",
        "_ada@analytical.example",
        "x_ada@analytical.example_",
        "ada @ analytical",
        "@analytical.example",
        "o'neil@bucher.example",
        // Longer and shorter numbers, and those of another country.
        "859999900012",
        "1859999900010",
        "285999990001",
        "99990001",
        "5999990001",
        "+1 85 99999 0001",
        "+185999990001",
        "+85999990001",
        "85999990002",
        "5, 99999-0001",
        "85, 99999, 0001",
        "85, 99999-00012",
        r#"{"a": "85", "b": "99999-0001"}"#,
        r#"{"ddd": "86", "numero": "99999-0001"}"#,
        r#"{"ddd": "85", "id": "99999-0001"}"#,
        "[85, 99999, 0001]",
        "020 7946 0018",
        "1.5999990001E10",
        // Documents.
        "0123456789",
        "10123456789012",
        "112345678901",
        "12ABC34501DE36",
        "X12ABC34501DE35",
        "12ABC34501DE355",
        "12, ABC, 345, 01DE, 35",
        // Too short, or no digit in it, to be a document.
        "12345",
        "abcdefgh",
    ] {
        assert!(!ada().is_mentioned(text.as_bytes()), "{text}");
    }
}

#[test]
fn national_numbers_are_read_in_the_region() {
    let keys = || [Identifier::Phone(Phone::from_stored("+442079460018"))];
    assert!(Person::new(region("GB"), keys(), []).is_mentioned(b"020 7946 0018"));
    assert!(!Person::new(region("BR"), keys(), []).is_mentioned(b"020 7946 0018"));
}

#[test]
fn invalid_numbers_are_found_as_written() {
    let keys = [Identifier::Phone(Phone::from_stored("+55000123456"))];
    let person = Person::new(region("BR"), keys, []);
    assert!(person.is_mentioned(b"+55 000 12-3456") && !person.is_mentioned(b"+55 000 12-34567"));
}

#[test]
fn a_person_without_keys_is_never_found() {
    let nobody = Person::new(region("BR"), [], ["", "0", "-"]);
    assert!(!nobody.is_mentioned(b"0 - ada@analytical.example 85999990001"));
    assert_eq!(format!("{:?}", ada()), "Person(redacted)");
}

/// Searching takes time in proportion to the size.
#[test]
fn large_and_odd_bodies_are_searched() {
    for unit in ["1 ", "1.", "@", "%41", "\\u0041", "\\", "a.", "QUJD", "+1 ", "85999990001x"] {
        let text = unit.repeat(64 * 1024 / unit.len());
        assert_eq!(ada().is_mentioned(text.as_bytes()), unit.starts_with("8599"), "{unit}");
    }
}

proptest! {
    #[test]
    fn never_panics(bytes: Vec<u8>, text in matching("\\PC{0,60}|[0-9a-f+@.%\\\\u ()-]{0,60}")) {
        let _ = ada().is_mentioned(&bytes);
        let _ = ada().is_mentioned(text.as_bytes());
    }

    #[test]
    fn keys_are_found_within_any_text(before in matching("\\PC{0,20}"), after in matching("\\PC{0,20}")) {
        for key in ["ada@analytical.example", "+5585999990001", "01234567890"] {
            let text = format!("{before}\n\"{key}\"\n{after}");
            prop_assert!(ada().is_mentioned(text.as_bytes()), "{}", text);
            let json = serde_json::json!({"a": [before, key, after]}).to_string();
            prop_assert!(ada().is_mentioned(json.as_bytes()), "{}", json);
        }
    }
}
