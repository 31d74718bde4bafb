//! Placeholders and the values that look like them, by the default lists.

use proptest::prelude::*;

use super::*;
use crate::domain::samples::placeholders;

#[test]
fn words_of_the_lists() {
    let placeholders = placeholders();
    for (field, text, source) in [
        (Field::Name, "N/A", "the issue"),
        (Field::Name, "n/a", "observed LLM habit"),
        (Field::Name, "N / A", "observed LLM habit"),
        (Field::Name, "n.a.", "observed LLM habit"),
        (Field::Email, "(N/A)", "observed LLM habit"),
        (Field::Name, "-", "observed in forms"),
        (Field::City, "...", "observed in forms"),
        (Field::Street, "—", "observed in forms"),
        (Field::Name, "unknown", "the issue"),
        (Field::Company, "Unknown", "the issue"),
        (Field::Name, "null", "JSON"),
        (Field::Name, "NULL", "SQL"),
        (Field::Email, "Null", "JSON"),
        (Field::Company, "none", "Python"),
        (Field::Phone, "None", "Python"),
        (Field::Company, "undefined", "JavaScript"),
        (Field::Company, "[object Object]", "JavaScript"),
        (Field::ZipCode, "#N/A", "spreadsheets"),
        (Field::Name, "Não informado", "the issue"),
        (Field::Name, "NAO INFORMADO", "without its accent"),
        (Field::Name, "NÃO INFORMADO.", "a sentence"),
        (Field::Name, "nao_informado", "observed LLM habit"),
        (Field::Name, "na\u{303}o informado", "Unicode: decomposed"),
        (Field::Email, "sem email", "the issue"),
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
fn residue_and_made_up_values() {
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
        (Field::Phone, "0000000000", "the issue: one digit"),
        (Field::Phone, "+11 (11) 1111-1111", "the issue: one digit"),
        (Field::Phone, "(85) 99999-9999", "the issue: one digit"),
        (Field::Phone, "+55 11 1111-1111", "the issue: one digit"),
        (Field::Phone, "+1 555 555 5555", "the issue: one digit"),
        (Field::Phone, "００００００００", "Unicode: full-width forms"),
        (Field::Phone, "123456789", "digits in a row"),
        (Field::Phone, "1234567890", "digits in a row"),
        (Field::Phone, "987654321", "digits in a row"),
        (Field::Phone, "(85) 12345-6789", "digits in a row"),
        (Field::Email, "test@example.com", "the issue; RFC 2606"),
        (Field::Email, "Test@Example.com", "the issue; RFC 2606"),
        (Field::Email, "seuemail@exemplo.com", "observed LLM habit"),
        (Field::Birthday, "0000-00-00", "MySQL's zero date"),
        (Field::Birthday, "YYYY-MM-DD", "the format for the value"),
        (Field::Birthday, "dd/mm/aaaa", "the format for the value"),
    ] {
        assert!(placeholders.cover(field, text, "parameter"), "{field} {text} ({source})");
    }
}

#[test]
fn values_that_look_alike() {
    let placeholders = placeholders();
    for (field, text, source) in [
        (Field::Name, "Null", "the issue: a surname"),
        (Field::Name, "Nada", "the issue: a given name"),
        (Field::Company, "Nada", "the issue"),
        (Field::Company, "None", "a firm"),
        (Field::Company, "Test Ltd", "the issue"),
        (Field::Company, "Teste", "somebody's own test"),
        (Field::Company, "Null Object GmbH", "a firm"),
        (Field::Company, "Unknown Worlds", "a firm"),
        (Field::Company, "Parameter", "not written as the parameter"),
        (Field::Company, "$100 Startup", "a firm"),
        (Field::Company, "$5", "a number"),
        (Field::Company, "[solidcore]", "a firm"),
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
        (Field::Phone, "(11) 3333-3333", "a firm's number"),
        (Field::Phone, "call me", "no number: to be told"),
        (Field::Email, "ada@example.com", "not in the list"),
        (Field::Email, "noreply@analytical.example", "a mailbox"),
        (Field::Email, "unknown@analytical.example", "a mailbox"),
        (Field::Email, "<ada@analytical.example>", "RFC 5322, 3.4: angle-addr"),
    ] {
        assert!(!placeholders.cover(field, text, "parameter"), "{field} {text} ({source})");
    }
}

#[test]
fn the_lists_decide() {
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
    assert!(placeholders.cover(Field::Name, "{{name}}", "p"), "templates are known by their form");
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
        for field in Field::ALL {
            let _ = placeholders.cover(field, &text, "p");
        }
    }
}
