//! Sentences, blanks and addresses that say that there is no value, in several languages, and values that resemble them.
//! The sources are where people and programs write them.

use super::*;

/// The null flavors of HL7 (unknown, asked but unknown, not asked, other) as people say them.
const HL7: &str = "https://terminology.hl7.org/CodeSystem-v3-NullFlavor.html";
/// The words of the European Social Survey for a refusal, no answer and what does not apply.
const ESS: &str = "https://ess.sikt.no: refusal, don't know, no answer, not applicable";
/// A tool's optional argument that a model fills instead of leaving it out.
const MODELS: &str = "https://github.com/langchain-ai/langchain/pull/9883: a model guesses what is optional";
const EXCEL: &str = "https://support.microsoft.com/excel: how to correct errors";

fn check(rows: &[(Field, &str, &str)]) {
    for (field, text, source) in rows {
        let why = DEFAULTS.why(*field, text, "parameter");
        assert_eq!(why, Some(Why::Word), "{field} {text} ({source})");
    }
}

#[test]
fn sentences_in_portuguese_and_spanish_that_give_nothing_are_no_values() {
    check(&[
        (Field::Position, "não tenho", ESS),
        (Field::Company, "Não tenho empresa", ESS),
        (Field::Email, "não tenho e-mail", ESS),
        (Field::Phone, "não tenho telefone", ESS),
        (Field::Position, "não quero informar", ESS),
        (Field::Position, "prefere não informar", ESS),
        (Field::Position, "cliente preferiu não informar", ESS),
        (Field::Name, "O usuário não informou", MODELS),
        (Field::Company, "Informação não disponível", MODELS),
        (Field::Company, "dado não informado", MODELS),
        (Field::Identity, "não informou o CPF", MODELS),
        (Field::ZipCode, "não sei o CEP", HL7),
        (Field::City, "a ser confirmado", MODELS),
        (Field::Company, "A confirmar com o cliente", MODELS),
        (Field::Company, "Aguardando informação do cliente", MODELS),
        (Field::Company, "pendente de informação", MODELS),
        (Field::Position, "perguntar depois", MODELS),
        (Field::Street, "Rua Não Informada", MODELS),
        (Field::Complement, "Não há complemento", MODELS),
        (Field::Phone, "no tengo", ESS),
        (Field::Email, "no tengo correo", ESS),
        (Field::Position, "prefiero no decirlo", ESS),
        (Field::Position, "no quiso decir", ESS),
        (Field::Position, "no brindó", MODELS),
        (Field::Position, "dato no disponible", MODELS),
        (Field::Position, "por asignar", MODELS),
        (Field::Position, "sin asignar", MODELS),
        (Field::City, "sin información disponible", MODELS),
    ]);
}

#[test]
fn sentences_in_other_languages_that_give_nothing_are_no_values() {
    check(&[
        (Field::Email, "no email provided", MODELS),
        (Field::Position, "information not provided", MODELS),
        (Field::Position, "user declined to provide", MODELS),
        (Field::Position, "prefers not to share", ESS),
        (Field::Position, "I don't know", HL7),
        (Field::Name, "Name not provided", MODELS),
        (Field::Name, "Unknown Customer", MODELS),
        (Field::Position, "to be provided", MODELS),
        (Field::Position, "will provide later", MODELS),
        (Field::Position, "not mentioned in the conversation", MODELS),
        (Field::Position, "keine Angaben gemacht", ESS),
        (Field::Position, "nicht vorhanden", HL7),
        (Field::Email, "keine E-Mail", HL7),
        (Field::Position, "wird nachgereicht", MODELS),
        (Field::Position, "non renseignée", HL7),
        (Field::Email, "pas d'email", HL7),
        (Field::Position, "à préciser", HL7),
        (Field::Position, "aucune information", HL7),
        (Field::Position, "nessun dato disponibile", HL7),
        (Field::Position, "niet bekend", HL7),
        (Field::Position, "не указано", HL7),
        (Field::Position, "未提供", HL7),
        (
            Field::Email,
            "[email protected]",
            "https://developers.cloudflare.com/waf/tools/scrape-shield/email-address-obfuscation",
        ),
        (
            Field::Phone,
            "https://wa.me/undefined",
            "https://faq.whatsapp.com/5913398998672934: a link without a number",
        ),
        (
            Field::Phone,
            "https://wa.me/",
            "https://faq.whatsapp.com/5913398998672934: a link without a number",
        ),
        (Field::Phone, "undefined@c.us", "https://docs.wwebjs.dev: the id of a contact that is not there"),
        (Field::Phone, "tel:undefined", "RFC 3966, without a number"),
    ]);
}

#[test]
fn sentences_and_names_that_give_something_are_values() {
    for (field, text, reason) in [
        (Field::Name, "No Ha Na", "https://en.wikipedia.org/wiki/Noh_(Korean_surname)"),
        (Field::Name, "Sem Ha", "Sem is a given name in the Netherlands"),
        (Field::Name, "Don Given", "a given name"),
        (Field::Company, "Sem Parar", "https://www.semparar.com.br"),
        (Field::Company, "Sem Fronteiras", "companies of this name"),
        (Field::City, "Não-Me-Toque", "https://cidades.ibge.gov.br/brasil/rs/nao-me-toque"),
        (Field::City, "Villé", "https://fr.wikipedia.org/wiki/Villé"),
        (Field::Company, "Missing Link", "companies of this name"),
        (Field::Company, "Empty Space", "companies of this name"),
        (Field::Company, "Data Co", "companies of this name"),
        (Field::Company, "Info & Dados", "companies of this name"),
        (Field::Company, "A Definir Móveis", "more than such a sentence"),
        (Field::Position, "não trabalha", "says something"),
        (Field::Position, "gerente, não confirmado", "says something"),
        (Field::Company, "pessoa física", "says something"),
        (Field::Number, "não tem número", "an address without a number"),
        (Field::Street, "Rua sem número", "an address without a number"),
        (Field::Complement, "à tarde", "when somebody is there"),
        (Field::Name, "**Ana Souza**", "CommonMark, 6.2: bold"),
        (Field::Name, "Nome: **Ana Souza**", "CommonMark, 6.2: bold"),
        (Field::Company, "**Teles & Filhos** Ltda", "CommonMark, 6.2: bold"),
        (Field::Name, "\"**Ana Souza**\"", "CommonMark, 6.2: bold"),
        (Field::Email, "nao@firma.example", "a mailbox"),
        (Field::Email, "max@firma.example", "a mailbox"),
        (Field::Email, "mario@email.it", "a provider in Italy"),
        (Field::Company, "name.com", "https://www.name.com"),
        (Field::Company, "Booking.com", "a company"),
        (Field::Company, "Yahoo!", "a company"),
    ] {
        assert_eq!(DEFAULTS.why(field, text, "parameter"), None, "{field} {text} ({reason})");
    }
    for text in ["A*** S***", "J**n", "Ana S****", "**A*** Souza**"] {
        assert_eq!(DEFAULTS.why(Field::Name, text, "parameter"), Some(Why::Filler), "{text}: hidden");
    }
}

#[test]
fn paths_and_marks_of_more_tools_are_expressions() {
    for (text, source) in [
        ("event.body.name", "https://pipedream.com/docs/workflows/building-workflows/using-props"),
        ("lead.name", "as above: a path without its braces"),
        ("process.env.NAME", "https://nodejs.org/api/process.html#processenv"),
        ("@param.name", "as above: a path with its sign"),
        ("#[payload.name]", "https://docs.mulesoft.com/dataweave: expressions in Mule"),
        ("@name@", "https://maven.apache.org/plugins/maven-resources-plugin/examples/filter.html"),
        ("!name!", "Windows' command files: delayed expansion"),
        ("&name;", "XML, 4.1: an entity that nobody declared"),
        ("[FNAME]", "https://mailchimp.com/help/all-the-merge-tags-cheat-sheet, in brackets"),
    ] {
        let why = DEFAULTS.why(Field::Name, text, "parameter");
        assert_eq!(why, Some(Why::Expression), "{text} ({source})");
    }
    for text in [
        "#N/DISP",
        "#NV!",
        "#DESBORDAR!",
        "#TIMEOUT!",
        "Loading…",
        "Chargement...",
        "Caricamento...",
        "Lädt...",
    ] {
        let why = DEFAULTS.why(Field::Name, text, "parameter");
        assert_eq!(why, Some(Why::SpreadsheetError), "{text} ({EXCEL})");
    }
}

#[test]
fn addresses_of_examples_in_more_languages_are_placeholders() {
    const BEISPIEL: &str = "German: beispiel is an example";
    for (email, source) in [
        ("max.mustermann@beispiel.de", "https://de.wikipedia.org/wiki/Mustermann"),
        ("max.mustermann@firma.example", "https://de.wikipedia.org/wiki/Mustermann"),
        ("name@beispiel.de", BEISPIEL),
        ("ihre.email@beispiel.de", BEISPIEL),
        ("vorname.nachname@gmx.de", "German: first name, last name"),
        ("nom@exemple.fr", "https://fr.wikipedia.org/wiki/Example.com: exemple"),
        ("jean.dupont@exemple.com", "https://fr.wikipedia.org/wiki/Dupont"),
        ("prenom.nom@gmail.com", "French: first name, last name"),
        ("mario.rossi@esempio.it", "https://it.wikipedia.org/wiki/Mario_Rossi"),
        ("nome.cognome@gmail.com", "Italian: first name, last name"),
        ("test@example.de", "https://www.rfc-editor.org/rfc/rfc2606, under another top-level domain"),
        ("unknown@domain.com", MODELS),
        ("customer@unknown.com", MODELS),
        ("user@domain.tld", "https://html.spec.whatwg.org: a placeholder of an input"),
        ("null@undefined.com", "JavaScript: two parts that were not there"),
        ("nao@tem.com", "Portuguese: has none"),
        ("naotem@gmail.com", "Portuguese: has none"),
        ("asd@asd.com", "typed to get past a form"),
        ("fake@fake.com", "typed to get past a form"),
        ("you@company.com", "https://html.spec.whatwg.org: a placeholder of an input"),
        ("placeholder@gmail.com", MODELS),
    ] {
        assert_eq!(DEFAULTS.why(Field::Email, email, "parameter"), Some(Why::Example), "{email} ({source})");
    }
}
