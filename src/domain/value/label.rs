//! The name of a value that people write before or after it: `Tel.: …`, `E-mail: …`, `Nome = …`, `… (WhatsApp)`.
//! A name counts only if it is known as a whole, so a value that merely looks like one stays.

use super::text::folded;

/// Names in Portuguese, Spanish and English, folded, without full stops and hyphens, separated by `|`.
pub(in crate::domain) const EMAIL: &str = "email|e mail|mail|emails|correio|correio eletronico|correo|correo electronico|\
    endereco de email|endereco eletronico|email address|mail address|direccion de correo|email de contato|\
    email para contato|email de contacto|contact email|contato|contacto|contact|email pessoal|email personal|\
    email corporativo|email comercial|email do cliente|email principal|work email|personal email";
pub(in crate::domain) const PHONE: &str = "tel|tels|telef|telefone|telefones|telefono|telephone|phone|phones|fone|fones|fon|\
    ph|cel|celular|celulares|movil|mobile|cell|cellphone|cell phone|mobile phone|mob|whatsapp|whats app|whats|\
    whatsap|wpp|wsp|zap|zapzap|zap zap|wa|telegram|signal|contato|contacto|contact|numero|numero de telefone|\
    numero de telefono|numero de celular|numero do celular|numero de contato|numero de contacto|numero do whatsapp|\
    numero de whatsapp|telefone celular|telefone fixo|telefone de contato|telefone para contato|telefone comercial|\
    telefone residencial|telefono celular|telefono fijo|telefono movil|telefono de contacto|phone number|\
    contact number|mobile number|cell number|whatsapp number|work phone|home phone|fixo|fijo|comercial|residencial|\
    recado|casa|trabalho|trabajo|pessoal|personal|home|work|tel celular|tel fixo|tel cel|tim|vivo|claro|oi|nextel";
/// Not the names of documents: they say what a document is, and `identity` reads them.
pub(in crate::domain) const IDENTITY: &str = "identidade|identidad|identity|documento|documento de identidade|\
    documento de identidad|document|doc|id|numero do documento|numero de documento|document number|id number|nº|n°";
pub(in crate::domain) const ZIP_CODE: &str =
    "cep|codigo postal|cod postal|zip|zip code|zipcode|postal code|postcode|post code|cp";
pub(in crate::domain) const NUMBER: &str = "numero|num|nro|number|no|n|nº|n°";
pub(in crate::domain) const DATE: &str = "nascimento|nasc|data de nascimento|data nascimento|data de nasc|data nasc|dt nasc|\
    dt nascimento|dn|nascido em|nascida em|nasci em|aniversario|data|fecha de nacimiento|fecha nacimiento|fecha nac|\
    fec nac|f nac|nacimiento|nacido el|nacida el|cumpleanos|fecha|birthday|birth date|birthdate|date of birth|dob|\
    born|born on|date|bday";
pub(in crate::domain) const NAME: &str = "nome|nome completo|sobrenome|nome do cliente|nome do contato|nome do lead|nombre|\
    nombre completo|nombre y apellido|nombre y apellidos|nombre del cliente|name|full name|customer name|client name|\
    lead name|cliente|client|customer";
pub(in crate::domain) const COMPANY: &str = "empresa|nome da empresa|nombre de la empresa|company|company name|compania|\
    organizacao|organizacion|organization|organisation|razao social|razon social|nome fantasia|firma";
pub(in crate::domain) const POSITION: &str = "cargo|funcao|funcion|puesto|posicao|position|job title|job|role|profissao|\
    profesion|ocupacao|ocupacion";
pub(in crate::domain) const COUNTRY: &str = "pais|country";
pub(in crate::domain) const STATE: &str = "estado|uf|state|provincia|province|departamento";
pub(in crate::domain) const CITY: &str = "cidade|ciudad|city|municipio|town|localidade|localidad";
pub(in crate::domain) const DISTRICT: &str =
    "bairro|barrio|district|distrito|colonia|neighborhood|neighbourhood";
pub(in crate::domain) const STREET: &str =
    "rua|logradouro|endereco|street|street address|address|calle|direccion|domicilio";
pub(in crate::domain) const COMPLEMENT: &str = "complemento|complement|compl|address line 2";

/// In bytes; a longer text before a colon is not read as a name.
const MAX_NAME: usize = 64;

/// What chats put before a phone number or an address.
const SIGNS: [char; 17] =
    ['☎', '✆', '📞', '📱', '📲', '📧', '✉', '📩', '📨', '📬', '📫', '🟢', '💬', '➡', '👉', '•', '\u{fe0f}'];

/// The text after one of these names and a colon or equals sign.
pub(super) fn without<'a>(names: &[&str], text: &'a str) -> Option<&'a str> {
    let at = text.find([':', '=', '：']).filter(|at| *at <= MAX_NAME)?;
    let (name, rest) = text.split_at_checked(at)?;
    let marks = |c: char| matches!(c, '*' | '_' | '~' | '`');
    let opening = name.chars().next().filter(|c| marks(*c));
    let name = name.trim_start_matches(marks);
    if !is_name(names, name) {
        return None;
    }
    let rest = rest.trim_start_matches([':', '=', '：', ' ', '\u{a0}']);
    // `*Nome:* Ana`: emphasis around the name ends after the colon.
    Some(opening.map_or(rest, |mark| rest.trim_start_matches([mark, ' ', ':', '='])))
}

/// The text after one of these names, from a digit, a plus sign or a parenthesis on: `Tel. (85) 3333-4444`.
pub(super) fn without_before_digits<'a>(names: &[&str], text: &'a str) -> Option<&'a str> {
    let digit = text.find(|c: char| c.is_ascii_digit()).filter(|at| *at <= MAX_NAME)?;
    let start = text.get(..digit)?.trim_end_matches(['(', '+', ' ', '\u{a0}']).len();
    let (name, rest) = text.split_at_checked(start)?;
    // `N1 9GU` is a postal code.
    let is_apart = rest.starts_with([' ', '(', '\u{a0}']) || name.ends_with(['.', 'º', '°']);
    (is_apart && is_name(names, name)).then_some(rest)
}

/// The text before one of these names at its end: `85 3333-4444 (WhatsApp)`.
pub(super) fn without_after_digits<'a>(names: &[&str], text: &'a str) -> Option<&'a str> {
    let digit = text.rfind(|c: char| c.is_ascii_digit())?;
    let (number, name) = text.split_at_checked(digit + 1)?;
    // A letter right after the digits belongs to them: `85 3333-4444x`.
    let is_apart = name.starts_with([' ', '(', '-', '[', ',', '\u{a0}']) && name.len() <= MAX_NAME;
    (is_apart && is_name(names, name)).then_some(number)
}

/// The last word of the text if only one of these names comes before it: `e-mail ada@x.example`.
pub(super) fn without_before_word<'a>(names: &[&str], text: &'a str) -> Option<&'a str> {
    let (name, word) = text.rsplit_once(' ')?;
    (name.len() <= MAX_NAME && is_name(names, name)).then_some(word)
}

/// The text after a telephone, an envelope and the like.
pub(super) fn without_sign(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| SIGNS.contains(&c) || c.is_whitespace());
    (rest.len() < text.len()).then_some(rest)
}

/// Whether the text consists of one or more of these names: `Tel./WhatsApp`, `Telefone (celular)`.
fn is_name(names: &[&str], text: &str) -> bool {
    let folded = folded(text);
    let mut parts = folded
        .split(['/', '(', ')', '[', ']', ',', '&', '|'])
        .flat_map(|part| part.split(" ou "))
        .flat_map(|part| part.split(" e "))
        .map(key)
        .filter(|key| !key.is_empty())
        .peekable();
    parts.peek().is_some()
        && parts.all(|key| {
            let key = without_words(&key);
            names.iter().any(|list| list.split('|').any(|name| name == key))
        })
}

/// Letters and digits, and one space between words.
fn key(text: &str) -> String {
    let mut key = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            _ if c.is_alphanumeric() || c == '°' => key.push(c),
            ' ' | '_' | '\u{a0}' if !key.is_empty() && !key.ends_with(' ') => key.push(' '),
            _ => {}
        }
    }
    key.truncate(key.trim_end().len());
    key
}

/// Without a possessive before the name and the sign for a number after it: `meu e-mail`, `telefone nº`.
fn without_words(key: &str) -> &str {
    let key = ["meu ", "minha ", "mi ", "my ", "seu ", "sua ", "su ", "your ", "o ", "a ", "el ", "the "]
        .iter()
        .find_map(|word| key.strip_prefix(word))
        .unwrap_or(key);
    [" nº", " n°", " n", " no", " num"].iter().find_map(|word| key.strip_suffix(word)).unwrap_or(key)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
