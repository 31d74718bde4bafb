//! The name of a value that people write before or after it: `Tel.: …`, `E-mail: …`, `Nome = …`, `… (WhatsApp)`.
//! A name counts only if it is known as a whole, so a value that merely looks like one stays.

use std::ops::RangeInclusive;

use super::{country, text::folded};

/// Names in Portuguese, Spanish and English, folded, without full stops and hyphens, separated by `|`.
pub(in crate::domain) const EMAIL: &str = "email|e mail|mail|emails|correio|correio eletronico|correo|correo electronico|\
    endereco de email|endereco eletronico|email address|mail address|direccion de correo|email de contato|\
    email para contato|email de contacto|contact email|contato|contacto|contact|email pessoal|email personal|\
    email corporativo|email comercial|email do cliente|email principal|work email|personal email|courriel|adresse email|\
    adresse e mail|adresse mail|adresse electronique|emailadresse|email adresse|mailadresse|posta elettronica|\
    indirizzo email|indirizzo e mail|почта|электронная почта|эл почта";
pub(in crate::domain) const PHONE: &str = "tel|tels|telef|telefone|telefones|telefono|telephone|phone|phones|fone|fones|fon|\
    ph|cel|celular|celulares|movil|mobile|cell|cellphone|cell phone|mobile phone|mob|whatsapp|whats app|whats|\
    whatsap|wpp|wsp|zap|zapzap|zap zap|wa|telegram|signal|contato|contacto|contact|numero|numero de telefone|\
    numero de telefono|numero de celular|numero do celular|numero de contato|numero de contacto|numero do whatsapp|\
    numero de whatsapp|telefone celular|telefone fixo|telefone de contato|telefone para contato|telefone comercial|\
    telefone residencial|telefono celular|telefono fijo|telefono movil|telefono de contacto|phone number|\
    contact number|mobile number|cell number|whatsapp number|work phone|home phone|fixo|fijo|comercial|residencial|\
    casa|trabalho|trabajo|pessoal|personal|home|work|tel celular|tel fixo|tel cel|tim|vivo|claro|oi|nextel|\
    fax|telefax|ddd|res|residencia|com|telefon|telefonnummer|rufnummer|mobil|mobilnummer|handy|handynummer|cellulare|portable|numero de telephone|tlf|tlfn|tfno|t|m|телефон|тел|моб|мобильный";
/// The names of documents. They say what a document is, so they are not taken off: `identity` reads them.
pub(in crate::domain) const DOCUMENTS: &str = "cpf|cnpj|rg|cnh|ssn|dni|curp|rfc|cuit|cuil|nit|rut|cedula|passaporte|\
    pasaporte|passport";
/// Not [`DOCUMENTS`].
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
/// Not `rua` or `calle`, which begin the names of streets.
pub(in crate::domain) const STREET: &str = "logradouro|endereco|street address|address|direccion|domicilio|nome da rua|\
    nombre de la calle|street name";
/// What a form asks for, and what the name of a street begins with.
pub(in crate::domain) const STREET_KINDS: &str = "rua|avenida|street|avenue|calle";
pub(in crate::domain) const COMPLEMENT: &str = "complemento|complement|compl|address line 2";

/// In bytes; a longer text before a colon is not read as a name.
const MAX_NAME: usize = 64;
/// Of a phone number that follows its name without a space; fewer may be a code of letters and digits.
const MIN_DIGITS: usize = 8;

/// What chats put before a phone number or an address. A flag is two regional indicators.
const SIGNS: [char; 17] =
    ['☎', '✆', '📞', '📱', '📲', '📧', '✉', '📩', '📨', '📬', '📫', '🟢', '💬', '➡', '👉', '•', '\u{fe0f}'];
const REGIONAL_INDICATORS: RangeInclusive<char> = '\u{1f1e6}'..='\u{1f1ff}';

/// Before an item of a list and a quoted line. A space follows: `*NSYNC` is a name.
const BULLETS: [char; 12] = ['-', '*', '•', '·', '–', '—', '>', '▪', '●', '◦', '‣', '→'];

/// The text after one of these names and a colon or equals sign.
pub(super) fn without<'a>(names: &[&str], text: &'a str) -> Option<&'a str> {
    let at = text.find([':', '=', '：']).filter(|at| *at <= MAX_NAME)?;
    let (name, rest) = text.split_at_checked(at)?;
    let marks = |c: char| matches!(c, '*' | '_' | '~' | '`');
    let opening = name.chars().next().filter(|c| marks(*c));
    let name = name.trim_start_matches(marks);
    if !is_closed(name) || !is_name(names, name) {
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
    (is_apart && is_closed(name) && is_name(names, name)).then_some(rest)
}

/// The digits after one of these names without anything between: `cel85999990001`.
pub(super) fn without_joined<'a>(names: &[&str], text: &'a str) -> Option<&'a str> {
    let (name, number) = text.find(|c: char| c.is_ascii_digit()).and_then(|at| text.split_at_checked(at))?;
    let is_number = number.bytes().all(|byte| byte.is_ascii_digit()) && number.len() >= MIN_DIGITS;
    (is_number && name.ends_with(char::is_alphabetic) && is_name(names, name)).then_some(number)
}

/// The text after any words and a colon. Whether it is a value that no words can change is for the caller to see.
pub(super) fn without_words_before(text: &str) -> Option<&str> {
    let (words, rest) = text.split_once([':', '：']).filter(|(words, _)| words.len() <= MAX_NAME)?;
    let is_word = |c: char| c.is_alphabetic() || matches!(c, ' ' | '.' | '-' | '\'' | '’' | '*' | '_' | '/');
    let is_words = words.contains(char::is_alphabetic) && words.chars().all(is_word);
    let rest = rest.trim_start_matches(['*', '_', ' ']);
    (is_words && !rest.starts_with('/')).then_some(rest)
}

/// The text after a bullet or a quoting mark and a space.
pub(super) fn without_bullet(text: &str) -> Option<&str> {
    let mark = text.chars().next().filter(|c| BULLETS.contains(c))?;
    let rest = text.get(mark.len_utf8()..)?.strip_prefix(' ')?.trim_start();
    // `* Ana *`, `- Ana -` is a decoration.
    (!rest.is_empty() && !rest.ends_with(mark)).then_some(rest)
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

/// The text after a telephone, an envelope, a flag and the like.
pub(super) fn without_sign(text: &str) -> Option<&str> {
    let is_sign = |c: char| SIGNS.contains(&c) || REGIONAL_INDICATORS.contains(&c) || c.is_whitespace();
    let rest = text.trim_start_matches(is_sign);
    (rest.len() < text.len()).then_some(rest)
}

/// The text from the plus sign on, after the name or the code of a country: `BR +55 85 3333-4444`.
pub(super) fn without_country(text: &str) -> Option<&str> {
    let at = text.find('+').filter(|at| (2..=MAX_NAME).contains(at))?;
    let (country, number) = text.split_at_checked(at)?;
    let country = country.trim_end_matches([' ', ':', '(', '-']);
    country::code(country).map(|_code| number)
}

/// Whether the brackets and quotes before the value are closed there. `(Nome: Ana)` is one text, and so is a date that
/// .NET writes, `/Date(643161600000)/`.
fn is_closed(name: &str) -> bool {
    let count = |c: char| name.matches(c).count();
    let is_even = |(open, close): (char, char)| count(open) == count(close);
    !name.starts_with('/')
        && count('"') % 2 == 0
        && [('(', ')'), ('[', ']'), ('{', '}'), ('<', '>'), ('“', '”'), ('«', '»')].into_iter().all(is_even)
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

/// Without a possessive before the name, and the sign for a number or a digit after it: `meu e-mail`, `telefone nº`,
/// `telefone 1`.
fn without_words(key: &str) -> &str {
    let key = match key.rsplit_once(' ') {
        Some((name, digit)) if digit.len() == 1 && digit.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => key,
    };
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
            (PHONE, "Telefone 1: 85 3333-4444", "85 3333-4444"),
            (PHONE, "Tel/Fax: 85 3333-4444", "85 3333-4444"),
            (PHONE, "Res: 85 3333-4444", "85 3333-4444"),
            (PHONE, "(Cel.) Tel: 85 3333-4444", "85 3333-4444"),
            (PHONE, "Телефон: 85 3333-4444", "85 3333-4444"),
            (EMAIL, "Courriel : ada@x.example", "ada@x.example"),
            (EMAIL, "E-Mail-Adresse: ada@x.example", "ada@x.example"),
            (NAME, "\"name\": Ana", "Ana"),
            (STREET, "Endereço: Rua das Flores", "Rua das Flores"),
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
        assert_eq!(without_words_before("Meu e-mail é: ada@x.example"), Some("ada@x.example"));
        assert_eq!(without_words_before("*Ada:* ada@x.example"), Some("ada@x.example"));
        for text in ["https://x.example", "85: 3333-4444", "ada@x.example: Ada", ": 85", "Ada"] {
            assert_eq!(without_words_before(text), None, "{text}");
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
}
