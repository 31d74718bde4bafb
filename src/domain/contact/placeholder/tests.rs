//! Placeholders of the default lists, and real values that resemble them.

use proptest::prelude::*;
use strum::VariantArray as _;

use super::*;
use crate::domain::samples::placeholders;

#[test]
fn listed_words_are_placeholders() {
    let placeholders = placeholders();
    for (field, text, source) in [
        (Field::Name, "N/A", "observed"),
        (Field::Name, "n/a", "observed LLM habit"),
        (Field::Name, "N / A", "observed LLM habit"),
        (Field::Name, "n.a.", "observed LLM habit"),
        (Field::Email, "(N/A)", "observed LLM habit"),
        (Field::Name, "-", "observed in forms"),
        (Field::City, "...", "observed in forms"),
        (Field::Street, "—", "observed in forms"),
        (Field::Name, "unknown", "observed"),
        (Field::Company, "Unknown", "observed"),
        (Field::Name, "null", "JSON"),
        (Field::Name, "NULL", "SQL"),
        (Field::Email, "Null", "JSON"),
        (Field::Company, "none", "Python"),
        (Field::Phone, "None", "Python"),
        (Field::Company, "undefined", "JavaScript"),
        (Field::Company, "[object Object]", "JavaScript"),
        (Field::ZipCode, "#N/A", "spreadsheets"),
        (Field::Name, "Não informado", "observed"),
        (Field::Name, "NAO INFORMADO", "without its accent"),
        (Field::Name, "NÃO INFORMADO.", "a sentence"),
        (Field::Name, "nao_informado", "observed LLM habit"),
        (Field::Name, "na\u{303}o informado", "Unicode: decomposed"),
        (Field::Email, "sem email", "observed"),
        (Field::Email, "Sem E-mail", "Portuguese"),
        (Field::Email, "sin correo electrónico", "Spanish"),
        (Field::Phone, "sin telefono", "Spanish"),
        (Field::Phone, "not provided", "observed LLM habit"),
        (Field::Phone, "<not provided>", "observed LLM habit"),
        (Field::Phone, "Not-Provided", "observed LLM habit"),
        (Field::Phone, "na", "observed LLM habit"),
        (Field::Country, "na", "observed LLM habit"),
        (Field::Country, "no", "observed LLM habit"),
    ] {
        assert!(placeholders.cover(field, text, "parameter"), "{field} {text} ({source})");
    }
}

#[test]
fn template_residue_and_made_up_values_are_placeholders() {
    let placeholders = placeholders();
    for (field, text, source) in [
        (Field::Name, "$customerName", "the platform's variables"),
        (Field::Name, "${customer.name}", "JavaScript's template literals"),
        (Field::Name, "{{customerName}}", "Mustache"),
        (Field::Name, "{{ customer_name }}", "Mustache"),
        (Field::Name, "{name}", "Python's format"),
        (Field::Name, "{{{name}}}", "Mustache"),
        (Field::Name, "%name%", "Windows variables"),
        (Field::Name, "<name>", "manuals"),
        (Field::Name, "<your name>", "manuals"),
        (Field::Name, "[name]", "forms"),
        (Field::Name, "[Seu nome]", "forms"),
        (Field::Company, "[Insert company here]", "forms"),
        (Field::Email, "[x]", "forms"),
        (Field::Name, "parameter", "the parameter's own name"),
        (Field::Phone, "0000000000", "one digit"),
        (Field::Phone, "+11 (11) 1111-1111", "one digit"),
        (Field::Phone, "(85) 99999-9999", "one digit"),
        (Field::Phone, "+55 11 1111-1111", "one digit"),
        (Field::Phone, "+1 555 555 5555", "one digit"),
        (Field::Phone, "００００００００", "Unicode: full-width forms"),
        (Field::Phone, "123456789", "digits in a row"),
        (Field::Phone, "1234567890", "digits in a row"),
        (Field::Phone, "987654321", "digits in a row"),
        (Field::Phone, "(85) 12345-6789", "digits in a row"),
        (Field::Email, "test@example.com", "RFC 2606"),
        (Field::Email, "Test@Example.com", "RFC 2606"),
        (Field::Email, "seuemail@exemplo.com", "observed LLM habit"),
        (Field::Birthday, "0000-00-00", "MySQL's zero date"),
        (Field::Birthday, "YYYY-MM-DD", "the format for the value"),
        (Field::Birthday, "dd/mm/aaaa", "the format for the value"),
    ] {
        assert!(placeholders.cover(field, text, "parameter"), "{field} {text} ({source})");
    }
}

#[test]
fn real_values_are_not_placeholders() {
    let placeholders = placeholders();
    for (field, text, source) in [
        (Field::Name, "Null", "a surname"),
        (Field::Name, "Nada", "a given name"),
        (Field::Company, "Nada", "observed"),
        (Field::Company, "None", "a company"),
        (Field::Company, "Test Ltd", "observed"),
        (Field::Company, "Teste", "somebody's own test"),
        (Field::Company, "Null Object GmbH", "a company"),
        (Field::Company, "Unknown Worlds", "a company"),
        (Field::Company, "Parameter", "not written as the parameter"),
        (Field::Company, "$100 Startup", "a company"),
        (Field::Company, "$5", "a number"),
        (Field::Company, "[solidcore]", "a company"),
        (Field::Company, "50%", "no template"),
        (Field::Company, "<3", "no template"),
        (Field::Name, "N. A. Silva", "a name"),
        (Field::Name, "Na", "a name"),
        (Field::Name, "No", "a name"),
        (Field::Country, "NA", "ISO 3166-1: Namibia"),
        (Field::Country, "NO", "ISO 3166-1: Norway"),
        (Field::Name, "X", "a name"),
        (Field::Name, "🙂", "a name in a chat"),
        (Field::Name, "李", "a name"),
        (Field::Number, "s/n", "without number: an address in Brazil"),
        (Field::Number, "0", "a number"),
        (Field::Number, "1111", "a number"),
        (Field::Identity, "000.000.001-91", "Receita Federal"),
        (Field::Phone, "+5585999990001", "a number"),
        (Field::Phone, "(11) 98765-4321", "somebody's number"),
        (Field::Phone, "(11) 3333-3333", "a company's number"),
        (Field::Phone, "call me", "no number, but no placeholder"),
        (Field::Email, "ada@example.com", "not in the list"),
        (Field::Email, "noreply@analytical.example", "a mailbox"),
        (Field::Email, "unknown@analytical.example", "a mailbox"),
        (Field::Email, "<ada@analytical.example>", "RFC 5322, 3.4: angle-addr"),
    ] {
        assert!(!placeholders.cover(field, text, "parameter"), "{field} {text} ({source})");
    }
}

#[test]
fn configured_lists_replace_the_defaults() {
    let none = || Vec::new();
    let lists = PlaceholderLists {
        anywhere: vec!["  Pas de Réponse ".into()],
        unless_a_name: none(),
        keys_only: none(),
        emails: none(),
    };
    let placeholders = Placeholders::new(&lists);
    assert!(placeholders.cover(Field::Name, "pas de reponse", "p"));
    assert!(!placeholders.cover(Field::Name, "unknown", "p"));
    assert!(!placeholders.cover(Field::Email, "test@example.com", "p"));
    assert!(placeholders.cover(Field::Name, "{{name}}", "p"), "templates are recognized by their form");
}

proptest! {
    #[test]
    fn never_panics(text in "\\PC{0,40}|[$<{%\\[]{1,2}[a-z]{0,5}[>}%\\]]{0,2}") {
        let placeholders = Placeholders::new(&PlaceholderLists {
            anywhere: vec!["n/a".into()],
            unless_a_name: vec!["nada".into()],
            keys_only: vec!["no".into()],
            emails: Vec::new(),
        });
        for field in Field::VARIANTS {
            let _ = placeholders.cover(*field, &text, "p");
        }
    }
}
