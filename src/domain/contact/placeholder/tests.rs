//! Placeholders of the default lists and of every form, and real values that resemble them.

mod answers;
mod beside;
mod digits;
mod families;
mod forms;
mod passive;
mod sentences;

use std::sync::LazyLock;

use proptest::prelude::*;
use strum::VariantArray as _;

use super::*;
use crate::domain::samples::{matching, placeholders};

/// Read once for the thousands of generated values.
static DEFAULTS: LazyLock<Placeholders> = LazyLock::new(placeholders);

#[test]
fn hidden_address_is_no_value() {
    let why = |text| placeholders().why(Field::Email, text, "email");
    assert_eq!(why("a***@analytical.example"), Some(Why::Filler), "portals that hide the addresses of leads");
    assert_eq!(why("a*b@analytical.example"), None, "RFC 5322, 3.2.3: an asterisk is allowed");
}

#[test]
fn words_for_nothing_are_placeholders() {
    let placeholders = placeholders();
    for (field, text, source) in [
        (Field::Name, "N/A", "https://github.com/appirio-tech/connect-app/issues/3620"),
        (Field::Name, "n/a", "LLM habit"),
        (Field::Name, "N / A", "LLM habit"),
        (Field::Name, "n.a.", "LLM habit"),
        (Field::Email, "(N/A)", "LLM habit"),
        (Field::Name, "NA", "R, spreadsheets"),
        (Field::Company, "NA.", "LLM habit"),
        (Field::Name, "unknown", "https://github.com/mozilla-b2g/gaia/pull/2949"),
        (Field::Company, "Unknown", "as above: capitalized"),
        (Field::Position, "Unspecified", "LLM habit"),
        (Field::Company, "TBD", "English"),
        (Field::City, "To be confirmed", "English"),
        (Field::Company, "Pending", "English"),
        (Field::Name, "Não informado", "https://github.com/interlegis/sapl/issues/1130"),
        (Field::Name, "NAO INFORMADO", "as above: without its accent"),
        (Field::Name, "NÃO INFORMADO.", "as above: a sentence"),
        (Field::Name, "nao_informado", "LLM habit"),
        (Field::Name, "na\u{303}o informado", "Unicode: decomposed"),
        (Field::City, "A confirmar", "Portuguese"),
        (Field::Company, "a definir", "Portuguese"),
        (Field::Position, "Pendente", "Portuguese"),
        (Field::Company, "Nenhuma", "Portuguese"),
        (Field::Complement, "Nada", "Portuguese: no field of names"),
        (Field::Company, "não", "Portuguese: the answer to a question"),
        (Field::Email, "sem email", "Portuguese"),
        (Field::Email, "Sem E-mail", "Portuguese"),
        (Field::Email, "sin correo electrónico", "Spanish"),
        (Field::Phone, "sin telefono", "Spanish"),
        (Field::Company, "Sin especificar", "Spanish"),
        (Field::City, "pendiente", "Spanish"),
        (Field::Phone, "not provided", "LLM habit"),
        (Field::Phone, "<not provided>", "LLM habit"),
        (Field::Phone, "Not-Provided", "LLM habit"),
        (Field::Phone, "na", "LLM habit"),
        (Field::Country, "na", "LLM habit"),
        (Field::Country, "NA", "LLM habit: more often than Namibia"),
        (Field::Country, "no", "LLM habit"),
        (Field::Name, "[Seu nome]", "forms"),
        (Field::Name, "YOUR_NAME_HERE", "forms"),
        (Field::Company, "Not provided by the user", "LLM habit"),
        (Field::Position, "não informado na conversa.", "LLM habit"),
        (Field::Email, "não tem e-mail", "as above: the field's own name beside it"),
        (Field::City, "unbekannt", "German"),
        (Field::Birthday, "0000-00-00", "MySQL's zero date"),
        (Field::Birthday, "01/01/1900", "SQL Server's zero date"),
        (Field::Birthday, "0001-01-01T00:00:00Z", "Go's zero time"),
        (Field::Birthday, "Invalid Date", "JavaScript"),
        (Field::Birthday, "YYYY-MM-DD", "HTML: the placeholder of an input"),
        (Field::Birthday, "dd/mm/aaaa", "HTML: the placeholder of an input"),
    ] {
        assert_eq!(placeholders.why(field, text, "parameter"), Some(Why::Word), "{field} {text} ({source})");
    }
}

#[test]
fn languages_nothing_is_a_placeholder_in_any_case() {
    let placeholders = placeholders();
    for (text, source) in [
        ("null", "JSON, Java, SQL"),
        ("NULL", "SQL, C"),
        ("nUlL", "as above: any case"),
        ("(null)", "C's printf, Objective-C"),
        ("<null>", "Objective-C: NSNull"),
        ("[null]", "as above: a list of it"),
        ("'null'", "as above: quoted"),
        ("Null.", "as above: a sentence"),
        ("null null", "as above: first and last name joined"),
        ("Null Null", "as above, capitalized by a CRM"),
        ("null, null", "as above: a list of it"),
        ("NULL;NULL", "as above: a row of CSV"),
        ("null/null", "as above: a path"),
        ("null-null", "JavaScript: joined by a hyphen"),
        ("\"null\" \"null\"", "as above: quoted"),
        ("none", "Python"),
        ("NONE", "as above: any case"),
        ("<None>", "Python: repr"),
        ("None None", "Python: f\"{first} {last}\""),
        ("None, None", "Python: a joined list"),
        ("nil", "Ruby, Go, Lua"),
        ("<nil>", "Go's fmt"),
        ("Optional(nil)", "Swift"),
        ("undefined", "JavaScript"),
        ("Undefined", "JavaScript, capitalized by a CRM"),
        ("undefined undefined", "JavaScript: `${first} ${last}`"),
        ("undefined, undefined - undefined", "JavaScript: an address"),
        ("undefinedundefined", "JavaScript: first + last"),
        ("NaN", "IEEE 754"),
        ("nan", "Python"),
        ("NaN NaN", "IEEE 754"),
        ("NaN/NaN/NaN", "JavaScript: a date"),
        ("<NA>", "pandas"),
        ("nothing", "Haskell, Visual Basic"),
        ("N/A - N/A", "as above: two of them"),
        ("não informado, não informado", "as above: two of them"),
        ("null e null", "Portuguese: and"),
        ("sem nome sem telefone", "as above: two of them"),
        ("string", "Swagger's example of a text"),
    ] {
        for field in [Field::Name, Field::Company, Field::Phone, Field::Email, Field::Position] {
            assert_eq!(
                placeholders.why(field, text, "parameter"),
                Some(Why::Word),
                "{field} {text} ({source})"
            );
        }
    }
    for (text, source) in [
        ("+55 undefined", "JavaScript: a country code and nothing"),
        ("55null", "JavaScript"),
        ("(undefined) undefined-undefined", "JavaScript: parts of a number"),
    ] {
        assert_eq!(placeholders.why(Field::Phone, text, "p"), Some(Why::Word), "{text} ({source})");
    }
}

/// Field, text, and what it is or where it comes from.
const REAL: &[(Field, &str, &str)] = &[
    (Field::Name, "Null", "a surname"),
    (Field::Name, "Nada", "a given name"),
    (Field::Name, "Nan", "a given name"),
    (Field::Name, "Nat", "a given name"),
    (Field::Company, "Nada", "observed"),
    (Field::Company, "Nothing", "a company"),
    (Field::City, "None", "a town in Piedmont"),
    (Field::Name, "Jennifer Null", "observed: a person"),
    (Field::Company, "Test Ltd", "observed"),
    (Field::Company, "Teste", "somebody's own test"),
    (Field::Company, "Null Object GmbH", "a company"),
    (Field::Company, "Unknown Worlds", "a company"),
    (Field::Company, "Sem Parar", "a company"),
    (Field::Company, "Nada Surf", "a band"),
    (Field::City, "Sin City", "a nickname"),
    (Field::Company, "Parameter", "not written as the parameter"),
    (Field::Company, "$100 Startup", "a company"),
    (Field::Company, "$5", "a number"),
    (Field::Company, "R$ 100 Store", "a company"),
    (Field::Company, "[solidcore]", "a company"),
    (Field::Company, "A {B}", "one part in braces"),
    (Field::Company, "50%", "no template"),
    (Field::Company, "100% Vegano", "no template"),
    (Field::Company, "<3", "no template"),
    (Field::Company, "E.Leclerc", "a company"),
    (Field::Name, "N. A. Silva", "a name"),
    (Field::Name, "Na", "a name"),
    (Field::Name, "No", "a name"),
    (Field::Name, "Ni", "a name"),
    (Field::Name, "N", "an initial"),
    (Field::Country, "Namibia", "its code NA is a word for nothing"),
    (Field::Country, "NAM", "ISO 3166-1: Namibia"),
    (Field::Country, "NO", "ISO 3166-1: Norway"),
    (Field::Country, "NI", "ISO 3166-1: Nicaragua"),
    (Field::State, "N.D.", "North Dakota"),
    (Field::State, "N.I.", "Northern Ireland"),
    (Field::Name, "N.I.", "initials"),
    (Field::Name, "Blank", "a surname"),
    (Field::Name, "Skip", "a given name"),
    (Field::Company, "Later", "a company"),
    (Field::Company, "False", "capitalized, and alone"),
    (Field::Name, "No Ha-na", "a name in Korea"),
    (Field::Name, "No Ha-Na", "a name in Korea"),
    (Field::Name, "N. Ha", "a name in Korea"),
    (Field::Name, "미정", "a given name in Korea"),
    (Field::State, "Sin.", "INEGI: Sinaloa"),
    (Field::Complement, "0", "an apartment"),
    (Field::Company, "Sin City", "a name with a form's word"),
    (Field::City, "Sin City", "a name with a form's word"),
    (Field::Company, "Nada Company", "a word that may be a name"),
    (Field::Email, "maria@maria.com.br", "somebody's own domain"),
    (Field::Email, "jane.miller@company.ch", "a whole name"),
    (Field::Email, "maria.lopez@empresa.es", "a whole name"),
    (Field::Email, "max@company.de", "a given name"),
    (Field::Company, "Keine", "a word that may be a name"),
    (Field::City, "Aucun", "a commune of Hautes-Pyrénées"),
    (Field::Name, "Nessuno", "a surname"),
    (Field::Name, "X", "a name"),
    (Field::Name, "Yok", "a given name in Thailand"),
    (Field::Name, "Brak", "a surname"),
    (Field::Name, "Nada E.", "a given name and an initial"),
    (Field::Name, "Nan O.", "a given name and an initial"),
    (Field::Name, "Na Y", "a given name and an initial"),
    (Field::Name, "No E", "a given name and an initial"),
    (Field::Name, "Yet", "a name"),
    (Field::City, "Ainda", "capitalized, and alone"),
    (Field::Name, "Nose", "a surname, and Spanish without its space"),
    (Field::Company, "Nada Company", "a word that may be a name, before a form's word"),
    (Field::Company, "SANS", "a company"),
    (Field::Company, "Empresa: Nada", "a form with a word that may be a name"),
    (Field::Name, "Nome: No", "a form with a word that may be a name"),
    (Field::Street, "Rua das Flores", "begins with a form's word"),
    (Field::Street, "Calle sin nombre", "a street without a name"),
    (Field::Street, "Rua sem nome", "a street without a name"),
    (Field::Number, "Sem número", "an address without a number"),
    (Field::Number, "sin número", "an address without a number"),
    (Field::District, "Colônia", "a district"),
    (Field::District, "Colonia sin nombre", "a district without a name"),
    (Field::Name, "Ana **Souza**", "CommonMark, 6.2: bold"),
    (Field::Company, "E*TRADE", "a company"),
    (Field::Phone, "**85 98812-4471**", "CommonMark, 6.2: bold"),
    (Field::Phone, "__85 98812-4471__", "CommonMark, 6.2: bold"),
    (Field::Phone, "***(85) 98812-4471***", "CommonMark, 6.2: bold and italic"),
    (Field::Phone, "**85 98812-4471** / **85 3344-5567**", "two in bold"),
    (Field::Phone, "(0xx85) 3344-5567 / (0xx85) 98812-4471", "Anatel: two with an operator's blank"),
    (Field::Phone, "(**85) 3344-5567 / (**85) 3344-5567", "Anatel: two with an operator's blank"),
    (Field::Identity, "**529.982.247-25**", "CommonMark, 6.2: bold"),
    (Field::ZipCode, "**60175-055**", "CommonMark, 6.2: bold"),
    (Field::Birthday, "**1990-05-20**", "CommonMark, 6.2: bold"),
    (Field::Street, "Na Rua", "no certain word"),
    (Field::Company, "Rua", "another field's word"),
    (Field::Name, "Maria Do Carmo Sem Terra", "a word within"),
    (Field::Name, "🙂", "a name in a chat"),
    (Field::Name, "李", "a name"),
    (Field::Number, "s/n", "without number: an address in Brazil"),
    (Field::Number, "0", "a number"),
    (Field::Number, "1111", "a number"),
    (Field::Identity, "000.000.001-91", "Receita Federal"),
    (Field::Identity, "00", "too few zeros"),
    (Field::Identity, "111.111.111-11", "a document, with wrong check digits"),
    (Field::ZipCode, "01000-000", "not zeros alone"),
    (Field::Phone, "+5585999990001", "a number"),
    (Field::Phone, "(11) 98765-4321", "somebody's number"),
    (Field::Phone, "(11) 3333-3333", "a company's number"),
    (Field::Phone, "WhatsApp： ８５９９９９９０００１", "full-width digits after a label"),
    (Field::Phone, "call me", "no number, but no placeholder"),
    (Field::Email, "reply@analytical.example", "a mailbox"),
    (Field::Email, "unknown@analytical.example", "a mailbox"),
    (Field::Email, "<ada@analytical.example>", "RFC 5322, 3.4: angle-addr"),
];

#[test]
fn real_values_are_not_placeholders() {
    let placeholders = placeholders();
    for &(field, text, reason) in REAL {
        assert_eq!(placeholders.why(field, text, "parameter"), None, "{field} {text} ({reason})");
    }
}

#[test]
fn one_capitalized_word_in_a_field_of_names_is_doubtful() {
    for (field, value, expected, reason) in [
        (Field::Name, "Null", true, "a surname"),
        (Field::Company, "Nada", true, "a company"),
        (Field::City, "None", true, "a town"),
        (Field::Name, "Não", true, "with its accent"),
        (Field::Name, "Ｎｏｎｅ", true, "full-width forms"),
        (Field::State, "N.D.", true, "North Dakota"),
        (Field::State, "N.I.", true, "Northern Ireland"),
        (Field::Name, "Blank", true, "a surname"),
        (Field::Company, "Nessuna", true, "a company"),
        (Field::State, "N.Y.", false, "New York"),
        (Field::State, "n.d.", false, "never stored"),
        (Field::Position, "N.D.", false, "never stored"),
        (Field::Name, "None.", false, "never stored"),
        (Field::Country, "NA", false, "stored from Namibia"),
        (Field::Country, "NO", false, "Norway"),
        (Field::Name, "Ada", false, "a name"),
        (Field::Name, "Null Silva", false, "more than one word"),
        (Field::Name, "null", false, "never stored"),
        (Field::Position, "None", false, "never stored"),
        (Field::Complement, "Nada", false, "never stored"),
        (Field::Name, "Nulllllllllllllllllllllll", false, "long"),
    ] {
        assert_eq!(is_doubtful(field, value), expected, "{field} {value} ({reason})");
    }
}

/// What the settings say about new values and what the code knows of stored ones must fit.
#[test]
fn the_default_list_of_names_is_what_the_code_doubts() {
    let placeholders = placeholders();
    let listed = words::DOUBTFUL.iter().filter(|word| placeholders.cover(Field::Name, word, "p"));
    assert_eq!(listed.count(), words::DOUBTFUL.len());
    let defaults = include_str!("../../../../config/default.toml");
    let list = defaults.split("\nunless_a_name = [").nth(1).unwrap().split(']').next().unwrap();
    let words = list.split(',').map(|word| word.trim().trim_matches('"')).filter(|word| !word.is_empty());
    let list: Vec<String> = words.map(folded).collect();
    assert_eq!(list, words::DOUBTFUL);
}

#[test]
fn configured_lists_replace_the_defaults() {
    let none = || Vec::new();
    let lists = PlaceholderLists {
        anywhere: vec!["  Pas de Réponse ".into()],
        unless_a_name: none(),
        keys_only: none(),
        emails: vec!["Info@*".into(), "*@Acme.example".into(), "bob@x.example".into()],
    };
    let placeholders = Placeholders::new(&lists);
    assert!(placeholders.cover(Field::Name, "pas de reponse", "p"));
    assert!(!placeholders.cover(Field::Name, "unknown", "p"));
    for (email, expected) in [
        ("info@y.example", true),
        ("ada@acme.example", true),
        ("bob@x.example", true),
        ("bob@y.example", false),
        ("ada@x.example", false),
        ("fulano@x.example", false),
        ("test@example.com", true),
    ] {
        assert_eq!(placeholders.cover(Field::Email, email, "p"), expected, "{email}");
    }
    assert!(placeholders.cover(Field::Name, "{{name}}", "p"), "templates are recognized by their form");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    /// What surrounds a placeholder cannot make a value of it.
    #[test]
    fn placeholders_stay_placeholders_in_brackets_quotes_and_repeated(
        word in prop::sample::select(vec![
            "null", "undefined", "N/A", "não informado", "NONE", "{{ name }}", "$name", "{name}", "%NAME%", "#REF!",
            "sem email", "tbd", "nAn", "[object Object]", "${x}", "<nil>",
        ]),
        around in prop::sample::select(vec![
            ("", ""), ("\"", "\""), ("'", "'"), ("(", ")"), ("[", "]"), ("<", ">"), ("“", "”"), ("**", "**"), ("", "."),
        ]),
        times in 1..4_usize,
        between in prop::sample::select(vec![" ", ", ", "; ", " - ", " / "]),
    ) {
        let placeholders = &DEFAULTS;
        let one = format!("{}{word}{}", around.0, around.1);
        let is_word = placeholders.why(Field::Name, word, "p") == Some(Why::Word);
        // Brackets around a template are another template's; only words are looked for within them.
        let text = if is_word { vec![one; times].join(between) } else { vec![word; times].join(" ") };
        for field in [Field::Name, Field::Company, Field::City, Field::Position] {
            prop_assert!(placeholders.cover(field, &text, "p"), "{} {}", field, text);
        }
    }

    #[test]
    fn no_text_panics_and_every_reason_is_repeatable(
        text in matching("\\PC{0,40}|[$<{%\\[#=@]{1,2}[a-z0-9.(! ]{0,8}[>}%\\])!?]{0,2}|[0-9 ()+5-]{0,16}|(null|na|n/a|[ ,e/]){1,9}"),
        field in prop::sample::select(Field::VARIANTS),
    ) {
        let why = DEFAULTS.why(field, &text, "p");
        prop_assert_eq!(why, DEFAULTS.why(field, &text, "p"));
        // What is stored and doubtful was accepted: the two rules cannot disagree.
        prop_assert!(why.is_none() || !is_doubtful(field, &text), "{} {}", field, text);
        let _ = is_invented(&text, None);
    }
}
