//! The name of a value that people write before or after it: `Tel.: …`, `E-mail: …`, `Nome = …`, `… (WhatsApp)`.
//! A name counts only if it is known as a whole, so a value that merely looks like one stays.

use std::{ops::RangeInclusive, sync::LazyLock};

use super::{
    country,
    lookup::{WordMap, WordSet},
    text::folded,
};

/// Names in Portuguese, Spanish, English, German, French and Italian, of phones also in some others, folded, without full stops
/// and hyphens, separated by `|`.
pub(in crate::domain) const EMAIL: &str = "email|e mail|mail|emails|correio|correio eletronico|correo|correo electronico|\
    endereco de email|endereco eletronico|email address|mail address|direccion de correo|email de contato|\
    email para contato|email de contacto|contact email|contato|contacto|contact|email pessoal|email personal|\
    email corporativo|email comercial|email do cliente|email principal|work email|personal email|courriel|adresse email|\
    adresse e mail|adresse mail|adresse electronique|emailadresse|email adresse|mailadresse|posta elettronica|\
    indirizzo email|indirizzo e mail|smtp|to|para|邮箱|电子邮箱|电子邮件|邮件|メール|이메일|почта|электронная почта|эл почта";
/// Meta writes `p:` before the phones of its leads, and `z:` before their postal codes.
pub(in crate::domain) const PHONE: &str = "p|nº|n°|whatsapp business|tel|tels|telef|telefone|telefones|telefono|telephone|phone|phones|fone|fones|fon|\
    ph|cel|celular|celulares|movil|mobile|cell|cellphone|cell phone|mobile phone|mob|whatsapp|whats app|whats|\
    whatsap|wpp|wsp|zap|zapzap|zap zap|wa|telegram|signal|contato|contacto|contact|numero|numero de telefone|\
    numero de telefono|numero de celular|numero do celular|numero de contato|numero de contacto|numero do whatsapp|\
    numero de whatsapp|telefone celular|telefone fixo|telefone de contato|telefone para contato|telefone comercial|\
    telefone residencial|telefono celular|telefono fijo|telefono movil|telefono de contacto|phone number|\
    contact number|mobile number|cell number|whatsapp number|work phone|home phone|fixo|fijo|comercial|residencial|\
    casa|trabalho|trabajo|pessoal|personal|home|work|tel celular|tel fixo|tel cel|tim|vivo|claro|oi|nextel|\
    fax|telefax|ddd|res|residencia|com|telefon|telefonnummer|rufnummer|mobil|mobilnummer|handy|handynummer|cellulare|portable|numero de telephone|tlf|tlfn|tfno|t|m|\
    telemovel|tlm|port|mobno|telno|phoneno|contactno|whatsappno|numero di telefono|numero di cellulare|gsm|\
    telefoonnummer|mobiel|телефон|тел|моб|мобильныи|\
    number|nummer|номер|номер телефона|мобильныи телефон|telefone do cliente|celular do cliente|whatsapp do cliente|\
    telefono del cliente|numer telefonu|komorka|cep telefonu|nomor telepon|τηλέφωνο|κινητό|טלפון|נייד|هاتف|الهاتف|جوال|الجوال|\
    موبايل|رقم الهاتف|رقم الجوال|电话|电话号码|联系电话|手机|手机号|手机号码|電話|電話番号|携帯|携帯電話|携帯番号|전화|전화번호|휴대폰|\
    휴대전화|핸드폰|연락처";
/// The names of documents. They say what a document is, so they are not removed: `identity` reads them.
pub(in crate::domain) const DOCUMENTS: &str = "cpf|cnpj|rg|cnh|ssn|dni|curp|rfc|cuit|cuil|nit|rut|cedula|passaporte|\
    pasaporte|passport";
/// Not [`DOCUMENTS`].
pub(in crate::domain) const IDENTITY: &str = "identidade|identidad|identity|documento|documento de identidade|\
    documento de identidad|document|doc|id|numero do documento|numero de documento|document number|id number|nº|n°";
pub(in crate::domain) const ZIP_CODE: &str = "z|cep|codigo postal|cod postal|zip|zip code|zipcode|postal code|postcode|post code|cp|plz|postleitzahl|code postal|cap|\
    codice postale";
pub(in crate::domain) const NUMBER: &str = "numero|num|nro|number|no|n|nº|n°";
pub(in crate::domain) const DATE: &str = "nascimento|nasc|data de nascimento|data nascimento|data de nasc|data nasc|dt nasc|\
    dt nascimento|dn|nascido em|nascida em|nasci em|aniversario|data|fecha de nacimiento|fecha nacimiento|fecha nac|\
    fec nac|f nac|nacimiento|nacido el|nacida el|cumpleanos|fecha|birthday|birth date|birthdate|date of birth|dob|\
    born|born on|date|bday|geburtsdatum|geburtstag|geboren am|geb|date de naissance|ne le|nee le|data di nascita|nato il|nata il|\
    geboortedatum";
pub(in crate::domain) const NAME: &str = "nome|nome completo|sobrenome|nome do cliente|nome do contato|nome do lead|nombre|\
    nombre completo|nombre y apellido|nombre y apellidos|nombre del cliente|name|full name|customer name|client name|\
    lead name|cliente|client|customer|lead|contato|contacto|contact|contact name|usuario|utilizador|user|visitante|visitor|\
    nome do usuario|primeiro nome|first name|last name|given name|family name|surname|nombres|apellido|apellidos|nom|prenom|\
    nom complet|nom et prenom|vorname|nachname|vor und nachname|cognome|nominativo";
pub(in crate::domain) const COMPANY: &str = "empresa|nome da empresa|nombre de la empresa|company|company name|compania|\
    organizacao|organizacion|organization|organisation|razao social|razon social|nome fantasia|firma|negocio|employer|\
    empresa onde trabalha|unternehmen|entreprise|societe|azienda|ditta";
pub(in crate::domain) const POSITION: &str = "cargo|funcao|funcion|puesto|posicao|position|job title|job|role|profissao|\
    profesion|ocupacao|ocupacion|rolle|funktion|beruf|poste|profession|ruolo";
pub(in crate::domain) const COUNTRY: &str = "pais|country|land|pays|paese";
pub(in crate::domain) const STATE: &str = "estado|uf|state|provincia|province|departamento|bundesland";
pub(in crate::domain) const CITY: &str =
    "cidade|ciudad|city|municipio|town|localidade|localidad|stadt|wohnort|ville|citta|comune";
pub(in crate::domain) const DISTRICT: &str =
    "bairro|barrio|district|distrito|colonia|neighborhood|neighbourhood";
/// Not `rua` or `calle`, which begin the names of streets.
pub(in crate::domain) const STREET: &str = "logradouro|endereco|street address|address|direccion|domicilio|nome da rua|\
    nombre de la calle|street name|anschrift|adresse|indirizzo|straße|strasse";
/// What a form asks for, and what the name of a street begins with.
pub(in crate::domain) const STREET_KINDS: &str = "rua|avenida|street|avenue|calle";
pub(in crate::domain) const COMPLEMENT: &str = "complemento|complement|compl|address line 2";

const LISTS: [&str; 16] = [
    EMAIL, PHONE, DOCUMENTS, IDENTITY, ZIP_CODE, NUMBER, DATE, NAME, COMPANY, POSITION, COUNTRY, STATE, CITY,
    DISTRICT, STREET, COMPLEMENT,
];

/// All of these names, with one bit for each of [`LISTS`] that has the name.
static NAMES: LazyLock<WordMap<Box<str>, u16>> = LazyLock::new(|| {
    let mut names = WordMap::default();
    for (index, list) in LISTS.iter().enumerate() {
        for name in list.split('|') {
            // Folding also takes the letters of Korean and Greek apart.
            *names.entry(folded(name).into()).or_default() |= 1_u16 << index;
        }
    }
    names
});

/// The first words of names, and of what may come before them, as far as they are ASCII.
static STARTS: LazyLock<WordSet<&str>> = LazyLock::new(|| {
    let all = NAMES.keys().map(|name| &**name).chain(POSSESSIVES).chain(COPULAS);
    all.filter_map(|name| name.split(' ').next()).filter(|start| start.is_ascii()).collect()
});

/// In bytes; no name begins with a longer word of ASCII.
const LONGEST_START: usize = 24;

/// In bytes; a longer text before a colon is not read as a name.
pub(super) const MAX_NAME: usize = 64;
/// Of a phone number that follows its name without a space; fewer may be a code of letters and digits.
const MIN_DIGITS: usize = 8;

/// What chats put before a phone number or an address. A flag is two regional indicators.
const SIGNS: [char; 17] =
    ['☎', '✆', '📞', '📱', '📲', '📧', '✉', '📩', '📨', '📬', '📫', '🟢', '💬', '➡', '👉', '•', '\u{fe0f}'];
const REGIONAL_INDICATORS: RangeInclusive<char> = '\u{1f1e6}'..='\u{1f1ff}';

/// Emoji and other symbols, with what joins and colors them. Quotes and dashes do not count.
const SYMBOLS: [RangeInclusive<char>; 3] =
    ['\u{2190}'..='\u{2bff}', '\u{fe0f}'..='\u{fe0f}', '\u{1f000}'..='\u{1faff}'];
/// What a sentence says between a name and its value, folded: `meu e-mail é …`. Alone it replaces the name.
const COPULAS: [&str; 6] = ["e", "eh", "es", "is", "ist", "est"];

/// What may be beside a name before a colon, folded: `meu novo número é: …`. No denial, no other person, no thing that has a
/// number of its own.
const FILLERS: &str = "meu|minha|nosso|nossa|seu|sua|o|a|os|do|da|de|para|pra|por|e|eh|es|is|ist|est|mi|mis|my|our|your|the|el|la|del|\
    su|for|mein|meine|mon|ma|novo|nova|nuevo|new|principal|melhor|mejor|best|atual|actual";

/// Of the first word of a name, in letters. Fewer are in many addresses.
const MIN_SHOWN: usize = 3;
/// Between the words of a person's name.
const PARTICLES: [&str; 8] = ["de", "da", "do", "dos", "das", "del", "von", "van"];

/// What may come after a number, folded: `85 … (confirmado)`. No other person, and no other number.
const REMARKS: &str = "confirmado|confirmada|principal|so|somente|apenas|mensagem|mensagens|texto|obrigado|obrigada|obg|gracias|thanks|thank|\
    you|ok|novo|nova|atual|meu|por|favor|correto|certo|business|preferencial|de|preferencia";

/// Before an item of a list and a quoted line. A space follows: `*NSYNC` is a name.
const BULLETS: [char; 12] = ['-', '*', '•', '·', '–', '—', '>', '▪', '●', '◦', '‣', '→'];

/// The text after one of these names and a colon or equals sign.
pub(super) fn without<'a>(names: &[&str], text: &'a str) -> Option<&'a str> {
    let at = text.find([':', '=', '：']).filter(|at| *at <= MAX_NAME)?;
    let (name, rest) = text.split_at_checked(at)?;
    let marks = |c: char| matches!(c, '*' | '_' | '~' | '`');
    // `- **Nome:** Ana`
    let name = without_bullet(name).unwrap_or(name);
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

/// The text after words and a colon that say what it is, and nothing else: `Telefone (com DDD): …`. Any other word may say that
/// it is another number, or nobody's: `Pedido: …`, `wrong number: …`.
pub(super) fn without_words_before<'a>(names: &[&str], text: &'a str) -> Option<&'a str> {
    let (words, rest) = text.split_once([':', '：']).filter(|(words, _)| words.len() <= MAX_NAME)?;
    let words = folded(words);
    let mut has_name = false;
    let is_known = words.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).all(|word| {
        let is_name = is_listed(names, word);
        has_name |= is_name;
        is_name || FILLERS.split('|').any(|filler| filler == word)
    });
    (is_known && has_name).then(|| rest.trim_start_matches(['*', '_', ' ']))
}

/// The address after the name of its owner and a colon, as in a copied chat: `Ana Souza: ana@x.example`. The address has to
/// show the name, because any other word may say that it is nobody's: `errado: …`.
pub(super) fn without_owner_before(text: &str) -> Option<&str> {
    let (owner, rest) = text.split_once([':', '：']).filter(|(owner, _)| owner.len() <= MAX_NAME)?;
    let rest = rest.trim_start_matches(['*', '_', ' ']);
    is_owner(owner, rest).then_some(rest)
}

/// Whether an address shows the name of its owner.
pub(super) fn is_owner(owner: &str, address: &str) -> bool {
    let Some(mailbox) = address.split_once('@').map(|(mailbox, _)| folded(mailbox)) else { return false };
    let mut words = owner.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    let Some(first) = words.next().map(folded) else { return false };
    let is_shown = first.chars().count() >= MIN_SHOWN
        && mailbox.contains(first.as_str())
        && !NAMES.contains_key(first.as_str());
    let is_name = |word: &str| word.starts_with(char::is_uppercase) || PARTICLES.contains(&word);
    is_shown && words.all(is_name)
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
    let country = || name.trim_start().strip_prefix('(')?.strip_suffix(')');
    let is_country = || country().is_some_and(|country| country::code(country).is_some());
    (is_apart && (is_name(names, name) || is_country() || is_remark(name))).then_some(number)
}

fn is_remark(text: &str) -> bool {
    let text = folded(text);
    let mut words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).peekable();
    words.peek().is_some() && words.all(|word| REMARKS.split('|').any(|remark| remark == word))
}

/// The text after the number of an item in a list, `1. …`, `2) …`.
pub(super) fn without_numbering(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_number = (1..=2).contains(&(text.len() - rest.len()));
    rest.strip_prefix(['.', ')']).and_then(|rest| rest.strip_prefix(' ')).filter(|_| is_number)
}

/// The first word of the text if only one of these names comes after it: `ada@x.example - pessoal`.
pub(super) fn without_after_word<'a>(names: &[&str], text: &'a str) -> Option<&'a str> {
    let (word, name) = text.split_once(' ')?;
    (name.len() <= MAX_NAME && is_name(names, name)).then_some(word)
}

/// The last word of the text if only one of these names comes before it: `e-mail ada@x.example`.
pub(super) fn without_before_word<'a>(names: &[&str], text: &'a str) -> Option<&'a str> {
    let (name, word) = text.rsplit_once(' ')?;
    (name.len() <= MAX_NAME && is_name(names, name)).then_some(word)
}

/// The text after a telephone, an envelope, a flag and the like.
pub(super) fn without_sign(text: &str) -> Option<&str> {
    let is_before = |c: char| is_sign(c) || c.is_whitespace();
    let rest = text.trim_start_matches(is_before);
    (rest.len() < text.len()).then(|| rest.trim_start_matches([':', ' ']))
}

/// The text before emoji, exclamation marks and semicolons at its end.
pub(super) fn without_sign_after(text: &str) -> Option<&str> {
    let rest = text.trim_end_matches(|c: char| is_sign(c) || matches!(c, '!' | ';' | ' '));
    (rest.len() < text.len()).then_some(rest)
}

fn is_sign(c: char) -> bool {
    SIGNS.contains(&c)
        || REGIONAL_INDICATORS.contains(&c)
        || SYMBOLS.iter().any(|symbols| symbols.contains(&c))
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
pub(super) fn is_name(names: &[&str], text: &str) -> bool {
    may_be_name(text) && consists_of(names, text)
}

fn consists_of(names: &[&str], text: &str) -> bool {
    let folded = folded(text);
    let mut parts = folded
        .split(PARTS)
        .flat_map(|part| part.split(" ou "))
        .flat_map(|part| part.split(" e "))
        .map(key)
        .filter(|key| !key.is_empty())
        .peekable();
    parts.peek().is_some()
        && parts.all(|key| {
            // The second line of an address has its number in its name.
            let key = if is_listed(names, &key) { key.as_str() } else { without_words(&key) };
            let is_sentence = || names.iter().any(|list| [EMAIL, PHONE, DATE].contains(list));
            is_listed(names, key) || COPULAS.contains(&key) && is_sentence()
        })
}

/// Between names.
const PARTS: [char; 8] = ['/', '(', ')', '[', ']', ',', '&', '|'];

/// `false` if the text certainly begins with no name. Cheaper than folding it.
fn may_be_name(text: &str) -> bool {
    let mut start = [0; LONGEST_START];
    let mut length = 0;
    for c in text.chars() {
        if !c.is_ascii() {
            return true;
        }
        if c.is_ascii_alphanumeric() {
            let Some(place) = start.get_mut(length) else { return false };
            *place = c.to_ascii_lowercase() as u8;
            length += 1;
        } else if length > 0 && (matches!(c, ' ' | '_') || PARTS.contains(&c)) {
            break;
        }
    }
    let start = start.get(..length).and_then(|start| std::str::from_utf8(start).ok());
    start.is_some_and(|start| STARTS.contains(start))
}

fn is_listed(names: &[&str], key: &str) -> bool {
    NAMES.get(key).is_some_and(|lists| {
        let lists = LISTS.iter().enumerate().filter(|(index, _)| lists & (1 << index) != 0);
        lists.into_iter().any(|(_, list)| names.contains(list))
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

/// What comes before a name: whose it is, or that it is the only one.
const POSSESSIVES: [&str; 22] = [
    "meu ", "minha ", "mi ", "my ", "seu ", "sua ", "su ", "your ", "o ", "a ", "el ", "the ", "mon ", "ma ",
    "mein ", "meine ", "mia ", "so ", "apenas ", "somente ", "solo ", "only ",
];

/// Without a possessive before the name, and the sign for a number or a digit after it: `meu e-mail`, `telefone nº`,
/// `telefone 1`.
fn without_words(key: &str) -> &str {
    let key = match key.rsplit_once(' ') {
        Some((name, digit)) if digit.len() == 1 && digit.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => key,
    };
    let words = key.rsplit_once(' ').filter(|(_, last)| COPULAS.contains(last)).map(|(words, _)| words);
    let key = words.unwrap_or(key);
    let key = POSSESSIVES.iter().find_map(|word| key.strip_prefix(word)).unwrap_or(key);
    [" nº", " n°", " n", " no", " num"].iter().find_map(|word| key.strip_suffix(word)).unwrap_or(key)
}

#[cfg(test)]
mod tests;
