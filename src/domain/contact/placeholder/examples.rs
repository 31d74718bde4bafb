//! Recognizes example email addresses that are on no list.

/// First labels of domains that mean "somebody's domain", for which whole mailboxes are checked.
const DOMAINS: [&str; 22] = [
    "example",
    "exemplo",
    "ejemplo",
    "domain",
    "dominio",
    "company",
    "empresa",
    "yourcompany",
    "yourdomain",
    "mycompany",
    "mydomain",
    "suaempresa",
    "tuempresa",
    "beispiel",
    "musterfirma",
    "exemple",
    "esempio",
    "voorbeeld",
    "unknown",
    "tudominio",
    "seudominio",
    "suempresa",
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
/// What comes before the `@` in examples; before a dot or the like, too.
const MAILBOXES: [&str; 49] = [
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
    "john",
    "jane",
    "joao",
    "maria",
    "juan",
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
    "ihre",
    "nom",
    "prenom",
    "vorname",
    "nachname",
    "cognome",
    "lead",
    "unknown",
    "fake",
    "dummy",
    "placeholder",
];
/// People in examples, and senders that nobody is. At a provider they have namesakes.
const PEOPLE: [&str; 10] =
    ["max", "erika", "jean", "marie", "mario", "jdoe", "joaosilva", "juanperez", "maxmustermann", "noreply"];

/// Whether nobody can have an address at this domain: it is for documentation (RFC 2606, 3), or under a name that
/// is for examples, tests and one's own machine (RFC 2606, 2; RFC 6761, 6).
///
/// Names under `.example` count as people's: documents like ours use them for real ones.
pub(super) fn is_reserved(domain: &str) -> bool {
    let Some((rest, top)) = domain.rsplit_once('.') else { return false };
    match top {
        "test" | "invalid" | "localhost" => true,
        "com" | "net" | "org" => rest == "example" || rest.ends_with(".example"),
        _ => false,
    }
}

/// Whether both parts of an address are generic: `user@example.co.uk`, `info@company.com`, `john@email.com`.
pub(super) fn is_generic(mailbox: &str, domain: &str) -> bool {
    let Some((site, suffix)) = domain.split_once('.') else { return false };
    let first = mailbox.split(['.', '_', '-', '+']).next().unwrap_or_default();
    let is_mailbox = |name: &&str| MAILBOXES.contains(name) || PEOPLE.contains(name);
    DOMAINS.contains(&site) && SUFFIXES.contains(&suffix) && is_mailbox(&first)
        || PROVIDERS.contains(&domain) && MAILBOXES.contains(&mailbox)
}
