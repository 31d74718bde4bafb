//! Names before and after values, and texts that only look like them.

use proptest::prelude::*;

use super::*;
use crate::domain::samples::matching;

#[test]
fn known_names_are_taken_off() {
    for (names, text, expected) in [
        (PHONE, "Tel.: 85 3333-4444", "85 3333-4444"),
        (PHONE, "Telefone/WhatsApp: 85 3333-4444", "85 3333-4444"),
        (PHONE, "TEL. (CELULAR) = 85 3333-4444", "85 3333-4444"),
        (PHONE, "Meu telefone nº: 85", "85"),
        (PHONE, "*Telefone:* 85", "85"),
        (PHONE, "**Telefone**: 85", "85"),
        (PHONE, "Teléfono：85", "85"),
        (EMAIL, "E-mail: ada@x.example", "ada@x.example"),
        (EMAIL, "e_mail=_ada@x.example", "_ada@x.example"),
        (DATE, "D.N.: 20/05/1990", "20/05/1990"),
        (ZIP_CODE, "C.P.: 06600", "06600"),
        (NAME, "Nome: Ana: Bia", "Ana: Bia"),
        (NAME, "Nome:", ""),
        (PHONE, "Telefone 1: 85 3333-4444", "85 3333-4444"),
        (PHONE, "Tel/Fax: 85 3333-4444", "85 3333-4444"),
        (PHONE, "Res: 85 3333-4444", "85 3333-4444"),
        (PHONE, "(Cel.) Tel: 85 3333-4444", "85 3333-4444"),
        (PHONE, "Телефон: 85 3333-4444", "85 3333-4444"),
        (EMAIL, "Courriel : ada@x.example", "ada@x.example"),
        (EMAIL, "E-Mail-Adresse: ada@x.example", "ada@x.example"),
        (NAME, "\"name\": Ana", "Ana"),
        (STREET, "Endereço: Rua das Flores", "Rua das Flores"),
        (NAME, "- **Nome:** Ana", "Ana"),
        (NAME, "Lead: Ana", "Ana"),
        (NAME, "Prénom : Ana", "Ana"),
        (NAME, "Nome e cognome: Ana", "Ana"),
        (COMPANY, "Unternehmen: Teles", "Teles"),
        (CITY, "Città: Roma", "Roma"),
        (DATE, "Geburtsdatum: 20.05.1990", "20.05.1990"),
        (PHONE, "Só WhatsApp: 85", "85"),
        (PHONE, "Мобильный: 85", "85"),
        (COMPLEMENT, "Address line 2: apto 12", "apto 12"),
    ] {
        assert_eq!(without(&[names], text), Some(expected), "{text}");
    }
}

#[test]
fn other_texts_stay() {
    for (names, text) in [
        (PHONE, "E-mail: ada@x.example"),
        (PHONE, "https://wa.me/5585999990001"),
        (EMAIL, "mailto:ada@x.example"),
        (EMAIL, "ada=email@x.example"),
        (NAME, "Empresa: Analytical"),
        (NAME, "Nome"),
        (NAME, "Ana (nome: Bia)"),
        (NAME, ": Ana"),
        (COMPANY, "Nossa empresa: a melhor"),
        (NAME, "(Nome: Ana)"),
        (NAME, "[Nome: Ana] Souza"),
        (NAME, "{\"name\":\"Ana\"}"),
        (NAME, "\"Nome: Ana\" Souza"),
        (NAME, "“Nome: Ana” Souza"),
        (COMPANY, "[Empresa: X] Y"),
        (STREET, "Rua: das Flores"),
        (STREET, "Calle: 12"),
    ] {
        assert_eq!(without(&[names], text), None, "{text}");
    }
}

#[test]
fn names_of_phones_need_no_colon() {
    for (text, expected) in [
        ("Tel. (85) 3333-4444", " (85) 3333-4444"),
        ("Cel +55 85 99999-0001", " +55 85 99999-0001"),
        ("Telefone (WhatsApp) 85 3333-4444", " 85 3333-4444"),
    ] {
        assert_eq!(without_before_digits(&[PHONE], text), Some(expected), "{text}");
    }
    for text in ["85 3333-4444", "Ana 85 3333-4444", "Tel.", "+55 85", "ligar 85 3333-4444"] {
        assert_eq!(without_before_digits(&[PHONE], text), None, "{text}");
    }
    assert_eq!(without_before_digits(&[NUMBER], "nº120"), Some("120"));
    assert_eq!(without_before_digits(&[DATE], "/Date(643161600000)/"), None, "ASP.NET");
    assert_eq!(without_before_digits(&[PHONE], "(Tel 85 3333-4444)"), None, "one text in parentheses");
    assert_eq!(without_joined(&[PHONE], "cel85999990001"), Some("85999990001"));
    for text in ["x85999990001", "cel85", "cel 85999990001", "85999990001", "cel85999990001 x"] {
        assert_eq!(without_joined(&[PHONE], text), None, "{text}");
    }
    assert_eq!(without_bullet("- Ana"), Some("Ana"));
    for text in ["*NSYNC", "- Ana -", "* Ana *", "-", "- ", "Ana - Bia", "-Ana"] {
        assert_eq!(without_bullet(text), None, "{text}");
    }
    assert_eq!(without_sign("🇧🇷 +55 85"), Some("+55 85"));
    for text in ["BR +55 85", "BRA: +55 85", "Brasil (+55 85", "México+55 85"] {
        assert_eq!(without_country(text), Some("+55 85"), "{text}");
    }
    for text in ["Ana +55 85", "BR 85", "+55 85", "x+55 85"] {
        assert_eq!(without_country(text), None, "{text}");
    }
    assert_eq!(without_before_digits(&[NUMBER], "N1 9GU"), None);
    for text in
        ["85 3333-4444 (WhatsApp)", "85 3333-4444 - zap", "85 3333-4444, celular", "85 3333-4444 [Cel.]"]
    {
        assert_eq!(without_after_digits(&[PHONE], text), Some("85 3333-4444"), "{text}");
    }
    for text in
        ["85 3333-4444", "85 3333-4444 ramal", "85 3333-4444 x", "85 3333-4444cel", "85 3333-4444 (Ana)"]
    {
        assert_eq!(without_after_digits(&[PHONE], text), None, "{text}");
    }
    assert_eq!(without_before_word(&[EMAIL], "meu e-mail ada@x.example"), Some("ada@x.example"));
    assert_eq!(without_before_word(&[EMAIL], "Ana ada@x.example"), None);
    assert_eq!(without_sign("📞 85"), Some("85"));
    assert_eq!(without_sign("☎\u{fe0f}85"), Some("85"));
    assert_eq!(without_sign("85"), None);
}

#[test]
fn only_words_that_mean_the_value_are_taken_off_before_a_colon() {
    for (names, text, expected) in [
        (EMAIL, "Meu e-mail é: ada@x.example", "ada@x.example"),
        (EMAIL, "Meu melhor e-mail é: ada@x.example", "ada@x.example"),
        (PHONE, "Telefone (com DDD): 85", "85"),
        (PHONE, "*Meu novo número:* 85", "85"),
        (PHONE, "My new number is: 85", "85"),
        (PHONE, "Número de WhatsApp para contato: 85", "85"),
        (PHONE, "电话：85", "85"),
        (PHONE, "휴대폰: 85", "85"),
        (PHONE, "Τηλέφωνο: 85", "85"),
    ] {
        assert_eq!(without_words_before(&[names], text), Some(expected), "{text}");
    }
    for text in [
        "https://x.example",
        "85: 3333-4444",
        ": 85",
        "Ada",
        "CPF: 85",
        "RG: 85",
        "CNH: 85",
        "SSN: 85",
        "CEP: 85",
        "Pedido: 85",
        "Número do pedido: 85",
        "Protocolo: 85",
        "Conta: 85",
        "Nota fiscal: 85",
        "Cartão: 85",
        "Valor: 85",
        "número errado: 85",
        "não é: 85",
        "não é meu telefone: 85",
        "não ligar: 85",
        "wrong number: 85",
        "do not call: 85",
        "old number: 85",
        "antigo: 85",
        "Ada: 85",
        "Vendedor: 85",
        "ID do cliente: 85",
        "Número do cliente: 85",
        "E-mail: 85",
        "no phone: 85",
        "sem telefone: 85",
    ] {
        assert_eq!(without_words_before(&[PHONE], text), None, "{text}");
        assert_eq!(without(&[PHONE], text), None, "{text}");
    }
}

#[test]
fn owners_name_is_taken_off_before_a_colon_if_the_address_shows_it() {
    for (text, expected) in [
        ("*Ada:* ada@x.example", Some("ada@x.example")),
        ("Ada Lovelace: lovelace.ada@x.example", Some("lovelace.ada@x.example")),
        ("João da Silva: joao.silva@x.example", Some("joao.silva@x.example")),
        ("errado: ada@x.example", None),
        ("e-mail errado: email@x.example", None),
        ("Contato antigo: contato@x.example", None),
        ("Contato Antigo: contato@x.example", None),
        ("Ada antigo: ada@x.example", None),
        ("Bia: ada@x.example", None),
        ("Al: alan@x.example", None),
        ("ada@x.example: Ada", None),
    ] {
        assert_eq!(without_owner_before(text), expected, "{text}");
    }
}

#[test]
fn names_may_be_in_sentences_and_beside_emoji() {
    assert_eq!(without_before_word(&[EMAIL], "meu e-mail é ada@x.example"), Some("ada@x.example"));
    assert_eq!(without_before_word(&[EMAIL], "é ada@x.example"), Some("ada@x.example"));
    assert_eq!(without_after_word(&[PHONE], "ada@x.example - pessoal"), Some("ada@x.example"));
    assert_eq!(without_after_word(&[PHONE], "ada@x.example é meu"), None);
    assert_eq!(without_before_digits(&[NUMBER], "E 120"), None, "no sentence");
    assert_eq!(without_before_digits(&[PHONE], "meu zap é 85 3333-4444"), Some(" 85 3333-4444"));
    assert_eq!(without_after_digits(&[PHONE], "85 3333-4444 (BR)"), Some("85 3333-4444"));
    assert_eq!(without_sign("☎\u{fe0f}: 85"), Some("85"));
    for text in ["85 ✅", "85!", "85 👍🏽", "85;"] {
        assert_eq!(without_sign_after(text), Some("85"), "{text}");
    }
    assert_eq!(without_sign_after("85"), None);
}

#[test]
fn quick_look_at_a_name_misses_none() {
    assert!(STARTS.iter().all(|start| start.len() <= LONGEST_START));
    for list in LISTS {
        for name in list.split('|') {
            for text in
                [name.to_owned(), name.to_uppercase(), format!("(meu {name}) 1"), format!("*{name}.*/x")]
            {
                assert!(may_be_name(&text), "{text}");
            }
            // Two names have " e " between them.
            assert!(name.contains(" e ") || is_name(&[list], name), "{name}");
        }
    }
    assert!(!may_be_name("Ana Souza") && !may_be_name("") && !may_be_name("85 3333-4444"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn quick_look_at_any_text_misses_no_name(
        text in matching("[(*_\\[ ]{0,2}(meu |o |é )?(tel|e-mail|nome|CEP|Cel.|zap|número|n)[ _/&.,)]{0,2}(e|ou|nº|fixo|1)?[ -\\]]{0,3}|\\PC{0,8}")
    ) {
        for list in LISTS {
            prop_assert_eq!(is_name(&[list], &text), consists_of(&[list], &text));
        }
    }
}
