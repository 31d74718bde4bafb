//! Recognizes example email addresses that are on no list.

/// First labels of domains that stand for somebody's own, in forms and documents. The first word of the mailbox counts.
const EXAMPLES: [&str; 18] = [
    "example",
    "exemplo",
    "ejemplo",
    "beispiel",
    "exemple",
    "esempio",
    "voorbeeld",
    "musterfirma",
    "yourcompany",
    "yourdomain",
    "mycompany",
    "mydomain",
    "suaempresa",
    "tuempresa",
    "suempresa",
    "tudominio",
    "seudominio",
    "unknown",
];
/// The same, but somebody may work there: every word of the mailbox counts.
const GENERIC: [&str; 12] = [
    "domain",
    "dominio",
    "domaine",
    "company",
    "empresa",
    "azienda",
    "bedrijf",
    "provedor",
    "proveedor",
    "servidor",
    "site",
    "entreprise",
];
/// What follows these labels in examples. `empresa.digital` and `company.acme.io` are somebody's.
const SUFFIXES: [&str; 26] = [
    "com", "net", "org", "co", "com.br", "com.mx", "com.ar", "com.co", "com.pt", "co.uk", "es", "pt", "br",
    "mx", "de", "at", "ch", "fr", "be", "it", "nl", "eu", "com.pe", "cl", "com.es", "tld",
];
/// Domains that have customers. Only a mailbox that is one of [`MAILBOXES`] as a whole counts.
const PROVIDERS: [&str; 7] = [
    "email.com",
    "email.com.br",
    "email.com.mx",
    "correo.com",
    "correo.com.mx",
    "correio.com",
    "correio.com.br",
];
/// Where so many people have addresses that these mailboxes are what hundreds of others type.
const GREAT_PROVIDERS: [&str; 16] = [
    "gmail.com",
    "googlemail.com",
    "hotmail.com",
    "hotmail.com.br",
    "hotmail.es",
    "outlook.com",
    "outlook.com.br",
    "outlook.es",
    "live.com",
    "yahoo.com",
    "yahoo.com.br",
    "yahoo.es",
    "icloud.com",
    "bol.com.br",
    "uol.com.br",
    "terra.com.br",
];
const AT_GREAT_PROVIDERS: &str = "user username usuario usuaria name nome nombre email correo cliente customer test teste prueba example exemplo \
    ejemplo sample lead unknown desconhecido desconocido anonimo anonymous pendente pendiente fake dummy admin placeholder null \
    undefined seuemail youremail";
/// Gmail gives out no name of fewer than six letters (<https://support.google.com/mail/answer/9211434>), so these are
/// nobody's there.
const AT_GMAIL: &str =
    "nada nao none na no abc abcd asd asdf xxx xxxx aaa aaaa 123 1234 12345 foo bar temp sem mail lead";
/// What comes before the `@` in examples; before a dot or the like, too.
const MAILBOXES: [&str; 60] = [
    "user",
    "username",
    "usuario",
    "utilizador",
    "name",
    "nome",
    "nombre",
    "your",
    "seu",
    "tu",
    "info",
    "contact",
    "contato",
    "contacto",
    "test",
    "teste",
    "prueba",
    "example",
    "exemplo",
    "ejemplo",
    "email",
    "mail",
    "correo",
    "cliente",
    "customer",
    "sample",
    "demo",
    "foo",
    "sem",
    "you",
    "voce",
    "usted",
    "votre",
    "ihr",
    "ihre",
    "nom",
    "naam",
    "prenom",
    "vorname",
    "nachname",
    "cognome",
    "sobrenome",
    "apellido",
    "firstname",
    "lastname",
    "first",
    "last",
    "meu",
    "minha",
    "my",
    "lead",
    "unknown",
    "fake",
    "dummy",
    "placeholder",
    "jdoe",
    "noreply",
    "joaosilva",
    "juanperez",
    "maxmustermann",
];
/// People in examples.
const PEOPLE: [&str; 5] = ["john", "jane", "joao", "maria", "juan"];
/// People in examples who have namesakes in companies.
const NAMESAKES: [&str; 5] = ["max", "erika", "jean", "marie", "mario"];
/// Their surnames. `jane.miller@company.example` may be somebody.
const SURNAMES: [&str; 13] = [
    "doe",
    "smith",
    "silva",
    "santos",
    "souza",
    "perez",
    "garcia",
    "mustermann",
    "dupont",
    "durand",
    "rossi",
    "bianchi",
    "public",
];

/// Whether nobody can have an address at this domain: it is for documentation (RFC 2606, 3), or under a name that
/// is for examples, tests and one's own machine (RFC 2606, 2; RFC 6761, 6). Registries keep the name from people in their
/// countries, too (`example.co.jp`: JPRS).
///
/// Names under `.example` count as people's: documents like ours use them for real ones.
pub(super) fn is_reserved(domain: &str) -> bool {
    let Some((rest, top)) = domain.rsplit_once('.') else { return false };
    match top {
        "test" | "invalid" | "localhost" => true,
        "com" | "net" | "org" => rest == "example" || rest.ends_with(".example"),
        // Companies everywhere use these.
        "co" | "io" | "ai" | "me" | "tv" => false,
        _ if top.len() == 2 => rest
            .strip_prefix("example")
            .is_some_and(|second| matches!(second, "" | ".co" | ".com" | ".or" | ".ne" | ".org" | ".net")),
        _ => false,
    }
}

/// Whether both parts of an address are generic: `user@example.co.uk`, `info@company.com`, `john@email.com`.
pub(super) fn is_generic(mailbox: &str, domain: &str) -> bool {
    let Some((site, suffix)) = domain.split_once('.') else { return false };
    if PROVIDERS.contains(&domain) {
        return is_mailbox(mailbox) || PEOPLE.contains(&mailbox);
    }
    if GREAT_PROVIDERS.contains(&domain) {
        let is_gmail = matches!(domain, "gmail.com" | "googlemail.com");
        return is_in(AT_GREAT_PROVIDERS, mailbox) || is_gmail && is_in(AT_GMAIL, mailbox);
    }
    let (is_example, is_generic) = (EXAMPLES.contains(&site), GENERIC.contains(&site));
    if !(is_example || is_generic) || !SUFFIXES.contains(&suffix) {
        return false;
    }
    let mut words = mailbox.split(['.', '_', '-', '+']);
    let Some(first) = words.next() else { return false };
    let (is_first, is_namesake) = (is_mailbox(first) || PEOPLE.contains(&first), NAMESAKES.contains(&first));
    if is_example {
        return is_first || is_namesake;
    }
    let mut is_named = false;
    let are_known = words.all(|word| {
        is_named |= SURNAMES.contains(&word);
        SURNAMES.contains(&word) || is_mailbox(word)
    });
    // `max@company.de` may be somebody, `max.mustermann@company.de` is not.
    are_known && (is_first || is_namesake && is_named)
}

/// Whether this is what comes before the `@` in examples, and nobody's name.
pub(super) fn is_mailbox(word: &str) -> bool {
    MAILBOXES.contains(&word)
}

fn is_in(list: &str, word: &str) -> bool {
    list.split(' ').any(|listed| listed == word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_examples_are_nobodys() {
        for (mailbox, domain, source) in [
            ("jan.kowalski", "example.pl", "RFC 2606, under another top-level domain"),
            ("ivan", "example.ru", "as above: Russian"),
            ("test", "example.cn", "as above: Chinese"),
            ("user", "example.co.in", "as above: a second level"),
            ("taro.yamada", "example.co.jp", "https://jprs.jp: reserved names"),
            ("yamada", "example.jp", "https://jprs.jp: reserved names"),
            ("hong", "example.co.kr", "as above: Korean"),
        ] {
            assert!(is_reserved(domain), "{mailbox}@{domain} ({source})");
        }
        for (mailbox, domain, source) in [
            ("nome", "provedor.com", "forms"),
            ("email", "provedor.com", "forms"),
            ("email", "servidor.com", "forms"),
            ("nom", "domaine.fr", "forms in French"),
            ("nome", "azienda.it", "forms in Italian"),
            ("naam", "bedrijf.nl", "forms in Dutch"),
            ("your.name", "company.com", "forms"),
            ("joao.silva", "empresa.com.br", "LLM habit"),
            ("jane.doe", "company.co", "LLM habit"),
            ("email", "hotmail.com", "typed: the field's own name"),
            ("usuario", "gmail.com", "typed: a blank"),
            ("cliente", "gmail.com", "LLM habit"),
            ("nada", "gmail.com", "https://support.google.com/mail/answer/9211434: too short"),
            ("nome", "gmail.com", "https://support.google.com/mail/answer/9211434: too short"),
            ("abc", "gmail.com", "https://support.google.com/mail/answer/9211434: too short"),
            ("pendente", "gmail.com", "LLM habit"),
        ] {
            assert!(is_generic(mailbox, domain), "{mailbox}@{domain} ({source})");
        }
    }

    #[test]
    fn people_at_companies_and_providers_stay() {
        for (mailbox, domain) in [
            ("jane.miller", "company.ch"),
            ("maria.lopez", "empresa.es"),
            ("john.kim", "company.co"),
            ("max", "company.de"),
            ("marie.curie", "domaine.fr"),
            ("maria", "hotmail.com"),
            ("nada", "hotmail.com"),
            ("joao", "uol.com.br"),
            ("sem", "outlook.com"),
            ("ana", "example.digital"),
            ("info", "firma.de"),
            ("ana", "firma.example"),
        ] {
            assert!(!is_reserved(domain) && !is_generic(mailbox, domain), "{mailbox}@{domain}");
        }
    }
}
