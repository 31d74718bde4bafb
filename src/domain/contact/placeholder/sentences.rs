//! Recognizes sentences that say "no value": `o cliente não informou`, `email not provided`, `wird nachgereicht`.
//! Every word must be known, so a text with a name in it stays a value.

use std::sync::LazyLock;

use strum::VariantArray as _;

use crate::domain::{
    contact::field::Field,
    value::{
        label,
        lookup::{WordMap, WordSet},
    },
};

/// In words; a longer text is more than such a sentence.
const MAX_WORDS: usize = 12;
/// In bytes.
const MAX_TEXT: usize = 160;
/// In bytes, of the word beside a denial in a field of names. `No So`, `Sem Ha` and `Non Hat` may be names.
const MIN_BESIDE_DENIAL: usize = 5;
/// In bytes, of one word of any other sentence in a field of names. `Ha Soon`, `A. Ask` and `Dare Soon` may be names.
const MIN_CERTAIN: usize = 6;

/// What the names of streets begin or end with, in lower case.
const STREET_KINDS: &str = "rua|r|avenida|av|avda|ave|travessa|tv|trav|alameda|al|praca|praça|pca|pça|rodovia|rod|estrada|estr|\
    largo|viela|beco|ladeira|via|calle|c|carrera|cra|cr|kr|calzada|camino|paseo|plaza|diagonal|transversal|street|st|\
    avenue|road|rd|lane|ln|drive|dr|boulevard|blvd|court|ct|way|straße|strasse|str|rue|place|piazza|corso";

/// What a word can say. The lists are folded and separated by spaces. In each the languages are Portuguese, Spanish, English,
/// German, French, Italian and Dutch; a word that two of them have is in the first one.
type Says = u16;

const DENIES: Says = 1;
const DENIAL: &str = "nao no sem nenhum nenhuma nunca jamais recusou recusa sin ningun ninguno ninguna rehuso rechazo \
    not never without none unable declined declines decline refused refuses refuse cannot dont didnt doesnt hasnt isnt wasnt \
    cant couldnt wont wouldnt havent hadnt arent werent nicht nichts kein keine keinen keiner keinerlei ohne non ne pas aucun \
    aucune sans nessun nessuna senza niet geen nada";

/// To give, have, know or find something, and what is given.
const GIVES: Says = 2;
const GIFT: &str = "informado informada informados informadas informou informa informar informaram informo informei fornecido \
    fornecida fornecidos fornecidas forneceu fornece fornecer disponivel disponiveis disponibilizado disponibilizada \
    disponibilizou especificado especificada especificou especifica especificar mencionado mencionada mencionou mencionar \
    citado citada citou coletado coletada coletou preenchido preenchida preencheu preencher encontrado encontrada encontrou \
    identificado identificada identificou definido definida definiu respondido respondida respondeu responder dito disse \
    dizer declarado declarada declarou passou passar falou falar compartilhado compartilhada compartilhou compartilhar \
    cadastrado cadastrada registrado registrada consta constam sei sabe sabia lembro lembra lembrou possui possuo tem tenho \
    tinha ha existe aplica aplicavel quis quer quero deseja desejou confirmado confirmada confirmou indicado indicada indicou \
    obtido obtida recebido recebida capturado capturada extraido extraida conhecido conhecida divulgado divulgada \
    determinado determinada localizado localizada localizou detectado detectada detectou enviado enviada enviou soube \
    recordo autorizou autoriza uso usa utilizo utiliza inf identificar localizar obter extrair encontrar \
    informacao informacoes info infos dados dado valor resposta registro cadastro \
    proporcionado proporcionada proporciono proporciona proporcionar brindado brindada brindo brinda brindar facilitado \
    facilitada facilito facilita facilitar suministrado suministrada suministro entregado entrego disponible disponibles \
    especifico indico indica indicar contesto contesta contestado contestar respondio respondido responde dijo decir \
    decirlo dice dio quiso quiere quiero se sabemos conoce recuerdo recuerda tiene tengo hay corresponde registra asignado \
    asignada encontro completado obtenido menciono dicho supo posee poseo cuenta cuento utilizado autorizo enviado \
    enviada envio obtener encontrar compartio compartir compartido informacion dato datos respuesta valores \
    provided provide provides given give gave informed inform specified specify mentioned mention stated said say known know \
    knows available applicable found find shared share supplied supply collected collect disclosed disclose answered answer \
    response responded respond defined assigned recorded entered detected identified captured extracted obtained received \
    determined confirmed listed present exists exist has have had want wants wanted wish wishes asked requested remember \
    remembers reveal revealed indicated sure file information data value extract find get obtain use uses own owns \
    angegeben angabe angaben bekannt verfugbar vorhanden genannt mitgeteilt zutreffend erhalten gemacht bekommen hinterlegt \
    gefunden definiert beantwortet weiss habe hat haben sagen mochte gesagt festgelegt erfasst informationen daten \
    reponse reponses renseigne renseignee communique communiquee precise precisee specifie specifiee fourni fournie mentionne \
    mentionnee indique indiquee connu connue trouve trouvee defini definie repondu donne donnee donnees sais sait ai veut souhaite dire possede \
    fornito fornita specificato specificata indicato disponibile disponibili comunicato comunicata menzionato menzionata noto \
    informazione informazioni nota trovato trovata definito definita risposto applicabile pervenuto pervenuta inserito inserita ha ho vuole voglio detto \
    dati opgegeven bekend beschikbaar ingevuld gevonden gegevens \
    deixou deixar deixado aplicable desea antwort erwahnt spezifiziert risposta presente presenti rispondere fornire repondre \
    required detail details";

/// That something is not there, in one word.
const LACKS: Says = 4;
const LACK: &str = "desconhecido desconhecida indisponivel ausente vazio vazia pendente pendentes aguardando indefinido \
    indefinida faltando faltante omitido omitida anonimo anonima desconocido desconocida pendiente pendientes esperando vacio \
    vacia desconoce inexistente unknown unspecified undisclosed unavailable unanswered undefined unassigned unnamed absent empty \
    pending awaiting withheld redacted skipped unidentified tbd tbc tba anonymous declined declines refused refuses recusou unbekannt unbekannter ausstehend fehlt fehlend \
    anonym anonyme inconnu inconnue manquant manquante indisponible sconosciuto sconosciuta mancante onbekend";

/// Before what remains to be done: `a confirmar`, `por definir`, `to be confirmed`, `da definire`.
const PRECEDES: Says = 8;
const BEFORE: &str = "a por para da zu noch to ainda falta precisa sera seran serao wird werden";

/// What remains to be done.
const REMAINS: Says = 16;
const TASK: &str = "confirmar confirmado confirmada definir definido informar informado informada enviado enviada \
    fornecido fornecida proporcionado proporcionada mitgeteilt nachgereicht bekanntgegeben geklart preencher preenchido \
    verificar combinar perguntar \
    coletar determinar completar enviar fornecer validar decidir checar consultar solicitar atualizar cadastrar \
    asignar convenir llenar rellenar preguntar actualizar indicar \
    confirmed determined provided advised defined announced decided assigned completed filled supplied added verified updated \
    confirm determine ask collect fill complete verify check clarified \
    bestatigen klaren erganzen erfragen nachreichen confirmer preciser renseigner completer verifier determiner remplir \
    communiquer venir confermare definire completare verificare determinare comunicare compilare precisare specificare";

/// That it follows.
const FOLLOWS: Says = 32;
const LATER: &str = "depois despues luego later soon follow follows spater folgt nachgereicht dopo";

/// What somebody promises to do later.
const PROMISES: Says = 128;
const PROMISE: &str = "mando manda mandar avisar passo passa paso enviarei mandarei passarei informarei falo digo avisarei enviare mandare \
    informare \
    pasare dare send tell";

/// Goes with all of these.
const JOINS: Says = 64;
const JOINT: &str = "o a os as um uma de da do das dos na no nas nos em por pelo pela pelos para com e ou que me lhe isso este \
    esta esse essa ao ate ainda agora momento nesse neste mais ser sera foi foram sido seria vai vou ira te possivel fora \
    el la los las un una del al en con y lo le su aun todavia ahora hasta durante fue fueron ha han sido sera pudo posible \
    the an by in on of for to from at with his her their was were is are be been it this that yet so far any or and did does s one \
    do ca wo could would will ll s during time now moment still currently i we they he she rather prefer prefers preferred prefere \
    preferiu preferisce preferisco prefiro prefiero prefiere prefirio \
    der die das vom von des dem den im bisher noch zu wurde wird ist zur zum ich es er sie und \
    les l du d par dans n est ete encore pour il elle je on et \
    dal dalla di nel nella stato stata ancora \
    cliente clientes usuario usuaria utilizador lead contato contacto pessoa persona visitante user customer client contact \
    person caller visitor prospect kunde kunden nutzer benutzer utilisateur utente \
    valor campo campos field conversa conversacao conversacion conversation chat gesprach mensagem mensaje message formulario \
    form texto text confirmacao confirmacion confirmation input assistente atendimento ligacao llamada call verification \
    validacao validacion envio";

/// That there is nothing, or that it comes later, as the only word. In other sentences, and as a name, they are also something else:
/// Leer is a town, `Still Waiting` a band.
const ALONE: Says = 256;
const LONE: &str = "missing waiting optional depois despues luego leer offen nichts spater folgt niente nulla vuoto vuota dopo rien vide";

/// Known words that are not in the lists: the names of the fields.
static LABELS: LazyLock<WordSet<&'static str>> = LazyLock::new(|| {
    let lists = Field::VARIANTS
        .iter()
        .flat_map(|field| field.labels())
        .chain([&label::DOCUMENTS, &label::STREET_KINDS]);
    lists.flat_map(|list| list.split(['|', ' '])).collect()
});

static WORDS: LazyLock<WordMap<&'static str, Says>> = LazyLock::new(|| {
    let lists = [
        (DENIES, DENIAL),
        (GIVES, GIFT),
        (LACKS, LACK),
        (PRECEDES, BEFORE),
        (REMAINS, TASK),
        (FOLLOWS, LATER),
        (PROMISES, PROMISE),
        (JOINS, JOINT),
        (ALONE, LONE),
    ];
    let mut words = WordMap::default();
    for (says, list) in lists {
        for word in list.split_whitespace() {
            *words.entry(word).or_default() |= says;
        }
    }
    words
});

/// In bytes, of a kind of street that is not only short for one.
const MIN_KIND: usize = 3;

/// The words of [`DENIAL`] before `n't`: `didn't provide`.
const CONTRACTED: [&str; 14] = [
    "didn", "doesn", "don", "hasn", "haven", "hadn", "isn", "aren", "wasn", "weren", "couldn", "wouldn",
    "can", "won",
];

/// The words with which such a sentence can begin, besides the names of the fields.
pub(super) fn starts() -> impl Iterator<Item = &'static str> {
    let kinds = STREET_KINDS.split('|').filter(|kind| kind.len() >= MIN_KIND).chain(label::CITY.split('|'));
    WORDS.keys().copied().chain(CONTRACTED).chain(kinds)
}

/// Whether a word in lower case is in the name of a field other than the phone, whose names are also those of people: Tim.
pub(super) fn is_label(word: &str) -> bool {
    let mut others = Field::VARIANTS.iter().filter(|field| **field != Field::Phone);
    LABELS.contains(word)
        && (!is_in(&[label::PHONE], word) || others.any(|field| is_in(field.labels(), word)))
}

/// Whether the name of a street begins or ends with this word in lower case.
pub(super) fn is_street_kind(word: &str) -> bool {
    STREET_KINDS.split('|').any(|kind| kind == word)
}

/// Whether the word only says what is not known: `Rua desconhecida, 12`, `ville inconnue`.
fn is_neutral(field: Field, word: &str) -> bool {
    match field {
        Field::Street => {
            is_street_kind(word)
                || is_in(field.labels(), word)
                || word.bytes().all(|byte| byte.is_ascii_digit())
        }
        Field::City => is_in(field.labels(), word),
        _ => false,
    }
}

/// Before what a street is called by.
const OF: [&str; 12] = ["do", "da", "dos", "das", "de", "del", "la", "el", "l", "du", "des", "d"];

/// Whether the first of these words is short for a denial: Brazil's `ñ tem`, `n/ tem`, `s/ email`. `N. Ha` is a name.
fn is_short_denial(folded: &str, word: &str) -> bool {
    word == "n" && !folded.starts_with("n.") || word == "s" && folded.starts_with("s/")
}

/// Whether a folded text is such a sentence. `is_like_a_name` says that its words are written like those of a name, in a field of
/// names.
pub(super) fn says_nothing(field: Field, folded: &str, is_like_a_name: bool) -> bool {
    // An address or a link may consist of such words.
    if folded.len() > MAX_TEXT || folded.contains(['@', ':']) {
        return false;
    }
    let spelled_out = folded.contains('\'').then(|| folded.replace("n't", " not"));
    let folded = spelled_out.as_deref().unwrap_or(folded);
    let (mut count, mut all, mut first, mut second) = (0, 0, 0, 0);
    let (mut has_label, mut has_own_label, mut has_neutral) = (false, false, false);
    let (mut longest_gift, mut longest) = (0, 0);
    for word in folded.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()) {
        let says = WORDS.get(word).copied().unwrap_or_default();
        let is_label = LABELS.contains(word);
        if says == 0 && is_neutral(field, word) && !is_number(word) {
            has_neutral = true;
            continue;
        }
        // An address without a number says so.
        if says == 0 && !is_label || is_number(word) && is_of_an_address(field) {
            return false;
        }
        // `Rua do Ausente` is one.
        has_label |= says == 0 || has_neutral && OF.contains(&word);
        if says & GIVES != 0 || says & REMAINS != 0 && !is_like_a_name {
            longest_gift = longest_gift.max(word.len());
        }
        if says & (LACKS | GIVES | REMAINS | PROMISES) != 0 {
            longest = longest.max(word.len());
        }
        match count {
            0 if is_short_denial(folded, word) => first = says | DENIES,
            0 => first = says,
            1 => second = says,
            _ => {}
        }
        // It matters only after a denial.
        has_own_label |= first & DENIES != 0 && is_label && is_in(field.labels(), word);
        all |= says | first;
        count += 1;
    }
    let has = |says: Says| all & says != 0;
    match count {
        1 if !has_neutral => return !is_like_a_name && has(ALONE),
        1..=MAX_WORDS => {}
        _ => return false,
    }
    let may_be_name = is_like_a_name && !has_label && longest_gift < MIN_BESIDE_DENIAL;
    let is_denied = has(DENIES) && longest_gift > 0 && !may_be_name;
    let is_without = first & DENIES != 0 && has_own_label && !is_like_a_name && !is_of_an_address(field);
    let is_after = second & REMAINS != 0 || second & JOINS != 0 && has(REMAINS);
    let is_task = first & PRECEDES != 0 && is_after;
    let is_later = has(FOLLOWS) && has(GIVES | REMAINS | PRECEDES | PROMISES);
    let is_certain = !has_label && (!is_like_a_name || longest >= MIN_CERTAIN);
    is_denied || is_without || is_certain && (has(LACKS) || is_task || is_later)
}

fn is_in(lists: &[&str], word: &str) -> bool {
    lists.iter().any(|list| list.split('|').any(|known| known == word))
}

const fn is_of_an_address(field: Field) -> bool {
    matches!(field, Field::Number | Field::Street | Field::Complement)
}

fn is_number(word: &str) -> bool {
    matches!(word, "numero" | "number" | "num" | "nro" | "nº" | "n°")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says(field: Field, text: &str) -> bool {
        says_nothing(field, text, false)
    }

    #[test]
    fn lists_are_folded() {
        for list in [DENIAL, GIFT, LACK, BEFORE, TASK, LATER, PROMISE, JOINT, LONE] {
            for word in list.split_whitespace() {
                assert_eq!(crate::domain::value::text::folded(word), word);
            }
        }
    }

    #[test]
    fn every_word_must_be_known() {
        assert!(says(Field::Position, "o cliente nao informou"));
        assert!(says(Field::Position, "i don't know"));
        assert!(!says(Field::Email, "nao@tem.com"), "an address");
        assert!(!says(Field::Position, "o cliente nao informou nada a ana"));
        assert!(!says(Field::Position, "informou"));
        assert!(!says(Field::Number, "nao tem numero"), "an address without a number");
        assert!(says(Field::Phone, "nao tem numero"));
        assert!(!says_nothing(Field::Name, "no ha na", true), "a name in Korea");
        assert!(says_nothing(Field::Name, "nao informou", true));
        assert!(!says(Field::Position, &"nao informou ".repeat(7)), "long");
    }
}
