//! Labels which say that a phone or an address is not the person's own: `Mãe: 85 …`, `E-mail da esposa: …`,
//! `85 … (recado)`. Only words that are known count, so a name stays a name: `Irma Souza: 85 …`.

use std::sync::LazyLock;

use crate::domain::value::{lookup::WordMap, text::folded};

/// In Portuguese, Spanish, English, German, French, Italian and Russian, folded, separated by `|`. A word that is a name
/// without its accents has them. `Recado` is who takes a message.
const OTHERS: &str = "mae|pai|mamae|papai|esposa|esposo|marido|mulher|conjuge|companheira|companheiro|namorada|namorado|\
    noiva|noivo|filha|filho|irmã|irmao|tia|tio|avó|avô|cunhada|cunhado|sogra|sogro|padrasto|madrasta|sobrinha|sobrinho|\
    vizinha|vizinho|amiga|amigo|parente|recado|recados|emergencia|\
    madre|padre|mamá|papá|mujer|conyuge|pareja|novia|novio|hija|hijo|hermana|hermano|abuela|abuelo|cunada|cunado|suegra|\
    suegro|madrastra|padrastro|sobrina|sobrino|vecina|vecino|\
    mother|father|mom|mum|dad|mommy|daddy|parent|parents|wife|husband|spouse|girlfriend|boyfriend|fiance|fiancee|\
    daughter|son|brother|sister|uncle|aunt|grandmother|grandfather|grandma|grandpa|cousin|nephew|niece|neighbor|\
    neighbour|friend|relative|emergency|\
    mutter|vater|eltern|ehefrau|ehemann|tochter|sohn|bruder|schwester|oma|opa|tante|onkel|notfall|\
    mere|pere|maman|épouse|époux|femme|fille|frere|soeur|oncle|urgence|\
    mamma|papà|moglie|marito|figlia|figlio|sorella|fratello|nonna|nonno|emergenza|\
    мама|папа|мать|отец|жена|муж|дочь|сын|брат|сестра";
/// What may be beside them.
const BESIDE: &str = "a|as|o|os|e|é|ou|da|de|do|das|dos|esta|este|esse|essa|ex|meu|minha|seu|sua|dela|dele|para|com|\
    el|la|y|es|mi|mis|su|del|the|of|is|my|his|her|your|s|for|or|and|der|die|von|mein|meine|meiner|le|mon|ma|sa|du|di|della|\
    tel|telef|telefone|telefono|telephone|telefon|phone|fone|fon|cel|celular|cell|mobile|movil|mobil|handy|cellulare|\
    portable|whatsapp|whats|zap|wpp|fixo|fijo|fax|numero|number|num|nº|contato|contacto|contact|contatto|email|mail|\
    correio|correo|courriel|sms|mailto|callto|https|http|тел|телефон|\
    trabalho|servico|serviço|trabajo|work|office|escritorio|oficina|c|p|deixar|falar|chamar|ligar|dejar|hablar|avec|bei|mit|chez|\
    call|ask|leave|message|messages|so|apenas|only|solo|no|na|nos|urgente";

/// Between a relative and a name: `Mãe do João`.
const OF: [&str; 9] = ["de", "da", "do", "das", "dos", "del", "of", "di", "von"];
/// Words of that name.
const MAX_NAMES: usize = 3;

/// In bytes; a longer text has no label.
const MAX_TEXT: usize = 256;
/// Digits of the longest number (E.164, 6.1). More are two numbers, of which one may be the person's.
const MAX_DIGITS: usize = 15;

/// The words of both lists, and whether they say that it is somebody else's.
static WORDS: LazyLock<WordMap<&str, bool>> = LazyLock::new(|| {
    let others = OTHERS.split('|').map(|word| (word, true));
    BESIDE.split('|').map(|word| (word, false)).chain(others).collect()
});

/// Whether the words around one phone or address say that it is somebody else's.
pub(in crate::domain) fn is_anothers(text: &str) -> bool {
    let may_have_words = |byte: u8| byte.is_ascii_alphabetic() || !byte.is_ascii();
    if text.len() > MAX_TEXT || !text.bytes().any(may_have_words) || is_address(text) {
        return false;
    }
    let is_between = |c: char| {
        c.is_whitespace() || matches!(c, ':' | '：' | '=' | '<' | '>' | '(' | ')' | '|' | ',' | ';')
    };
    // Not the address or the link itself.
    let is_label = |piece: &&str| !piece.contains('@') && !piece.contains("//") && !piece.contains("wa.me/");
    let words =
        text.split(is_between).filter(is_label).flat_map(|piece| piece.split(|c: char| !c.is_alphabetic()));
    let has_address = text.contains('@');
    if has_address && is_shown(text) {
        return false;
    }
    let (mut is_anothers, mut names_left, mut last) = (false, 0, "");
    for word in words.filter(|word| !word.is_empty()) {
        match is_of_another(word) {
            Some(is_one) => {
                is_anothers |= is_one;
                // Before an address it is more often a firm: `Mother of Pearl <info@x.example>`.
                let is_named = !has_address && OF.contains(&word) && is_of_another(last) == Some(true);
                names_left = if is_named { MAX_NAMES } else { 0 };
            }
            None if names_left > 0 && word.starts_with(char::is_uppercase) => names_left -= 1,
            None => return false,
        }
        last = word;
    }
    is_anothers
        && (has_address || (1..=MAX_DIGITS).contains(&text.bytes().filter(u8::is_ascii_digit).count()))
}

/// Whether the one word before an address in angle brackets is its mailbox, so that it is a name: `Pai <pai@x.example>`.
fn is_shown(text: &str) -> bool {
    let shown =
        text.split_once('<').and_then(|(name, address)| Some((name.trim(), address.split_once('@')?.0)));
    shown.is_some_and(|(name, mailbox)| !name.contains(' ') && folded(name) == folded(mailbox))
}

/// Whether the text is an address and nothing else.
fn is_address(text: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'@' | b'.' | b'_' | b'-' | b'+');
    text.contains('@') && text.bytes().all(is_part)
}

/// `None` for an unknown word.
fn is_of_another(word: &str) -> Option<bool> {
    if word.is_ascii() && !word.bytes().any(|byte| byte.is_ascii_uppercase()) {
        return WORDS.get(word).copied();
    }
    let known = WORDS.get(word.to_lowercase().as_str()).copied();
    if word.is_ascii() { known } else { known.or_else(|| WORDS.get(folded(word).as_str()).copied()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_relatives_are_recognized() {
        for (text, source) in [
            ("Mãe: 85 98812-4471", "Portuguese"),
            ("mae 85 98812-4471", "Portuguese, without its accent"),
            ("PAI: +55 85 98812-4471", "Portuguese"),
            ("Esposa: 85 98812-4471", "Portuguese, Spanish"),
            ("Recado: 85 98812-4471", "Portuguese: who takes a message"),
            ("Tel. recado (mãe): 85 98812-4471", "Portuguese, on forms"),
            ("85 98812-4471 (recado)", "Portuguese, after it"),
            ("85 98812-4471 - é da minha mãe", "Portuguese, a sentence"),
            ("Telefone do pai: 85 98812-4471", "Portuguese"),
            ("Pai/Mãe = 85 98812-4471", "Portuguese, on forms"),
            ("Irmã: 85 98812-4471", "Portuguese"),
            ("Contato de emergência: 85 98812-4471", "Portuguese, on forms"),
            ("Mi madre: +52 55 1234 5678", "Spanish"),
            ("Mamá: 55 1234 5678", "Spanish"),
            ("Hijo: 55 1234 5678", "Spanish"),
            ("My mother's number: 212 555 0143", "English"),
            ("Wife: 212 555 0143", "English"),
            ("Mutter: 030 123456", "German"),
            ("Tel. de ma mère : 01 23 45 67 89", "French"),
            ("Moglie: 06 1234 5678", "Italian"),
            ("мама: +7 912 345-67-89", "Russian"),
            ("Mãe do João: 85 98812-4471", "Portuguese, whose mother"),
            ("Tel. da mãe da Ana Clara: 85 98812-4471", "Portuguese, whose mother"),
            ("Madre de Juan: 55 1234 5678", "Spanish, whose mother"),
            ("Mother of Ada: 212 555 0143", "English, whose mother"),
            ("*Mãe:* 85 98812-4471", "WhatsApp's bold"),
            ("Mãe: https://wa.me/5585988124471", "WhatsApp: a link"),
            ("E-mail da esposa: ana@x.example", "Portuguese"),
            ("Mãe <ana@x.example>", "RFC 5322, 3.4: a display name"),
            ("[Mãe](mailto:ana@x.example)", "Markdown"),
            ("trabalho do marido: 85 98812-4471", "Portuguese"),
            ("Recados c/ vizinha: 85 98812-4471", "Portuguese, on forms"),
            ("85 98812-4471 p/ recado", "Portuguese, on forms"),
            ("ana@x.example (esposa)", "RFC 5322, 3.2.2: a comment"),
        ] {
            assert!(is_anothers(text), "{text} ({source})");
        }
    }

    #[test]
    fn own_numbers_and_names_are_not() {
        for (text, reason) in [
            ("85 98812-4471", "no words"),
            ("Tel.: 85 98812-4471", "a label"),
            ("Telefone da casa: 85 98812-4471", "the person's home"),
            ("https://wa.me/5585988124471", "a link"),
            ("mae@x.example", "a mailbox"),
            ("esposa.souza@x.example", "a mailbox"),
            ("mailto:mae@x.example", "RFC 6068"),
            ("Irma: 85 98812-4471", "a given name"),
            ("Irmã Dulce <dulce@x.example>", "a nun"),
            ("Padre João: 85 98812-4471", "a priest"),
            ("José Souza Filho <jose@x.example>", "a surname"),
            ("Mari: 85 98812-4471", "a given name; French for husband"),
            ("Papa: 85 98812-4471", "a given name"),
            ("Casa do Pai: 85 98812-4471", "a church"),
            ("João da Mãe: 85 98812-4471", "a nickname"),
            ("Mãe do joão do bar: 85 98812-4471", "no name that one can be sure of"),
            ("Mother of Pearl <info@x.example>", "a shop"),
            ("Mom's Kitchen <info@x.example>", "a restaurant"),
            ("Mamma Mia <info@x.example>", "a restaurant"),
            ("85 98812-4471 / mãe: 85 3344-5567", "two numbers"),
            ("Mãe", "a word, and nothing that it is about"),
            ("", "nothing"),
        ] {
            assert!(!is_anothers(text), "{text} ({reason})");
        }
        assert!(!is_anothers(&format!("mãe {}85", "de ".repeat(100))), "long");
    }
}
