//! What people answer to a question that they do not answer, and what assistants write for it: words, sentences, and streets
//! without a name.

use super::*;

fn check(fields: &[Field], rows: &[(&str, &str)]) {
    for (text, source) in rows {
        for field in fields {
            assert_eq!(DEFAULTS.why(*field, text, "parameter"), Some(Why::Word), "{field} {text} ({source})");
        }
    }
}

const ALL: &[Field] = &[
    Field::Name,
    Field::Company,
    Field::City,
    Field::Position,
    Field::Complement,
    Field::Phone,
    Field::Email,
];

#[test]
fn a_word_alone_that_says_so_is_no_value() {
    check(
        ALL,
        &[
            ("fehlt", "German"),
            ("offen", "German"),
            ("leer", "German"),
            ("nichts", "German"),
            ("anonym", "German"),
            ("später", "German"),
            ("folgt", "German"),
            ("mancante", "Italian"),
            ("sconosciuta", "Italian"),
            ("niente", "Italian"),
            ("nulla", "Italian"),
            ("vuoto", "Italian"),
            ("manquant", "French"),
            ("manquante", "French"),
            ("rien", "French"),
            ("vide", "French"),
            ("anonyme", "French"),
            ("faltante", "Spanish"),
            ("faltando", "Portuguese"),
            ("omitido", "Portuguese"),
            ("recusou", "Portuguese"),
            ("inexistente", "Portuguese"),
            ("depois", "Portuguese"),
            ("waiting", "English"),
            ("awaiting", "English"),
            ("unanswered", "English"),
            ("unassigned", "English"),
            ("skipped", "English"),
            ("optional", "English"),
            ("unidentified", "English"),
            ("unbekannter", "German"),
        ],
    );
    // In these fields nobody has a name.
    check(
        &[Field::Position, Field::Phone],
        &[("Offen", "German"), ("Später", "German"), ("OPTIONAL", "English")],
    );
}

#[test]
fn sentences_of_more_languages_that_give_nothing_are_no_values() {
    check(
        ALL,
        &[
            ("keine Antwort", "German"),
            ("Keine Antwort", "German"),
            ("nicht erwähnt", "German"),
            ("nicht spezifiziert", "German"),
            ("noch zu klären", "German"),
            ("nessuna risposta", "Italian"),
            ("non presente", "Italian"),
            ("da specificare", "Italian"),
            ("più tardi", "Italian"),
            ("preferisco non rispondere", "Italian"),
            ("non vuole fornire", "Italian"),
            ("ne souhaite pas répondre", "French"),
            ("préfère ne pas répondre", "French"),
            ("no aplicable", "Spanish"),
            ("no desea compartir", "Spanish"),
            ("por ahora no", "Spanish"),
            ("más adelante", "Spanish"),
            ("se desconoce", "Spanish"),
            ("vou mandar depois", "Portuguese"),
            ("vai mandar depois", "Portuguese"),
            ("não deixou", "Portuguese"),
            ("nada informado", "Portuguese"),
            ("deixar em branco", "Portuguese"),
            ("left blank", "English"),
            ("not required", "English"),
            ("no details provided", "English"),
            ("I'll send later", "English"),
            ("I’ll send later", "as above: a typographic apostrophe"),
            ("Unknown Client", "LLM habit: in the case of titles"),
            ("Pending Confirmation", "LLM habit: in the case of titles"),
            ("A Ser Confirmado", "Portuguese: in the case of titles"),
            ("Será Informado", "Portuguese: in the case of titles"),
            ("Não Deixou", "Portuguese: in the case of titles"),
            ("chưa có", "https://vi.wiktionary.org"),
            ("Chưa có", "https://vi.wiktionary.org"),
        ],
    );
    check(&[Field::Email], &[("não deixou email", "Portuguese")]);
}

#[test]
fn street_that_is_not_known_is_no_value() {
    check(
        &[Field::Street],
        &[
            ("Rua desconhecida", "Portuguese"),
            ("Rua Desconhecida", "Portuguese: in the case of titles"),
            ("Rua Desconhecida, 12", "Portuguese: with the number of a house"),
            ("Rua a definir", "Portuguese"),
            ("Avenida pendente", "Portuguese"),
            ("Calle desconocida", "Spanish"),
            ("Rue inconnue", "French"),
            ("unknown street", "English"),
            ("Unknown Street", "English: in the case of titles"),
        ],
    );
    check(
        &[Field::City],
        &[("ville inconnue", "French"), ("Ville Inconnue", "French"), ("cidade pendente", "Portuguese")],
    );
}

#[test]
fn names_with_such_words_are_values() {
    for (field, text, reason) in [
        (Field::Company, "Missing Person", "a company"),
        (Field::Company, "Still Waiting", "a company"),
        (Field::Company, "Follow AI", "a company"),
        (Field::Company, "Private", "a company"),
        (Field::Company, "PRIVATE", "a company, in capitals"),
        (Field::Position, "Private", "a rank"),
        (Field::Company, "Chua Co.", "a surname in Singapore"),
        (Field::Name, "Chua Co", "a surname in Singapore"),
        (Field::Name, "CHUA CO", "a surname in Singapore"),
        (Field::Email, "khongro@analytical.example", "a mailbox"),
        (Field::Name, "Khong Ro", "a surname in Singapore"),
        (Field::Name, "Soon-ho", "a given name in Korea"),
        (Field::Name, "Ha Soon", "a name in Korea"),
        (Field::Name, "Ho Soon", "a name in Korea"),
        (Field::Name, "Soon Ai", "a name in Korea"),
        (Field::Name, "Dare Soon", "two given names"),
        (Field::Name, "De Leer", "a surname in the Netherlands"),
        (Field::Name, "A. Ask", "a surname in Norway"),
        (Field::City, "Leer", "a town in East Frisia"),
        (Field::City, "LEER", "a town in East Frisia"),
        (Field::City, "Leer, DE", "a town in East Frisia"),
        (Field::Company, "Send Later", "a company"),
        (Field::Name, "Rien", "a given name in the Netherlands"),
        (Field::Company, "Optional", "a company"),
        (Field::Street, "Empty Lane", "a street"),
        (Field::Street, "Rua 12", "a street that has a number for its name"),
    ] {
        assert_eq!(DEFAULTS.why(field, text, "parameter"), None, "{field} {text} ({reason})");
    }
}
