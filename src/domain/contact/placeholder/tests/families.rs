//! Words for nothing by family: each replaced a stored value, or was a key of many people.

use super::*;

fn check(why: Why, rows: &[(Field, &str, &str)]) {
    for (field, text, source) in rows {
        assert_eq!(DEFAULTS.why(*field, text, "parameter"), Some(why), "{field} {text} ({source})");
    }
}

#[test]
fn the_field_itself_alone_or_denied_is_no_value() {
    check(
        Why::Word,
        &[
            (Field::Name, "Nome", "forms"),
            (Field::Name, "NOME COMPLETO", "forms"),
            (Field::Position, "Cargo", "forms"),
            (Field::Identity, "CPF", "forms"),
            (Field::Identity, "RG", "forms"),
            (Field::City, "Cidade", "forms"),
            (Field::Street, "Rua", "forms"),
            (Field::Street, "Calle", "forms in Spanish"),
            (Field::Phone, "Celular", "forms"),
            (Field::Email, "E-mail", "forms"),
            (Field::Birthday, "Data de nascimento", "forms"),
            (Field::ZipCode, "CEP:", "forms"),
            (Field::Identity, "sem cpf", "Portuguese"),
            (Field::Identity, "Não tem CPF", "Portuguese"),
            (Field::ZipCode, "sem cep", "Portuguese"),
            (Field::Position, "sem cargo", "Portuguese"),
            (Field::Position, "sin cargo", "Spanish"),
            (Field::Street, "no address", "English"),
            (Field::Street, "without address", "English"),
            (Field::City, "no tiene ciudad", "Spanish"),
            (Field::City, "no city", "English"),
            (Field::City, "NO CITY", "English, in capitals"),
            (Field::Position, "Cargo não informado", "Portuguese: the name first"),
            (Field::Company, "empresa não informada", "Portuguese: the name first"),
            (Field::Position, "unknown position", "English"),
            (Field::Company, "keine firma", "German"),
        ],
    );
}

#[test]
fn phrases_without_their_spaces_are_no_values() {
    check(
        Why::Word,
        &[
            (Field::Name, "NotProvided", "LLM habit: camel case"),
            (Field::Name, "naoinformado", "Portuguese"),
            (Field::Company, "NaoInformado", "Portuguese"),
            (Field::City, "notavailable", "English"),
            (Field::Position, "semresposta", "Portuguese"),
        ],
    );
}

#[test]
fn what_assistants_say_of_a_missing_value_is_no_value() {
    check(
        Why::Word,
        &[
            (Field::Company, "não mencionou", "Portuguese"),
            (Field::Company, "Não respondeu.", "Portuguese"),
            (Field::Name, "não disse", "Portuguese"),
            (Field::Position, "cliente não informou", "Portuguese"),
            (Field::Name, "user did not provide", "English"),
            (Field::Name, "Not supplied", "English"),
            (Field::City, "not collected", "English"),
            (Field::City, "blank", "English"),
            (Field::City, "(blank)", "spreadsheets: pivot tables"),
            (Field::Company, "T.B.D.", "English"),
            (Field::Position, "N.I.", "Portuguese: não informado"),
            (Field::Name, "n.i.", "Portuguese: não informado"),
            (Field::Name, "n.d.", "Italian, Spanish"),
            (Field::Name, "N.D", "Italian, Spanish, with one full stop"),
            (Field::State, "(N.D.)", "Italian, Spanish, in brackets"),
            (Field::Phone, "N.D.", "Italian, Spanish"),
            (Field::Position, "Blank", "English"),
            (Field::Name, "BLANK", "English"),
            (Field::Name, "s/i", "Spanish: sin información"),
            (Field::Company, "S/D", "Spanish: sin datos"),
            (Field::City, "aguardando", "Portuguese"),
            (Field::City, "a combinar", "Portuguese"),
            (Field::City, "A verificar", "Portuguese"),
            (Field::Company, "Pendente de confirmação", "Portuguese"),
            (Field::Company, "pendiente de confirmación", "Spanish"),
            (Field::Name, "NaT", "pandas: a date that is not there"),
            (Field::Birthday, "Infinity", "JavaScript"),
            (Field::Name, "void 0", "JavaScript, minified"),
            (Field::Name, "null value", "English"),
            (Field::City, "non communiqué", "French"),
            (Field::City, "aucun", "French"),
            (Field::City, "à confirmer", "French"),
            (Field::City, "keine", "German"),
            (Field::City, "ausstehend", "German"),
            (Field::City, "nessuno", "Italian"),
            (Field::City, "da definire", "Italian"),
            (Field::Name, "нет", "https://gramota.ru"),
            (Field::Name, "无", "https://dict.revised.moe.edu.tw"),
            (Field::City, "無", "https://dict.revised.moe.edu.tw"),
            (Field::Name, "yok", "https://sozluk.gov.tr"),
            (Field::Company, "brak", "https://wsjp.pl"),
            (Field::Name, "BRAK", "as above: in capitals"),
            (Field::Position, "Brak", "as above: no field of names"),
            (Field::Name, "Không có", "https://vi.wiktionary.org/wiki/không_có"),
            (Field::Phone, "tidak ada", "https://kbbi.kemdikbud.go.id"),
            (Field::Name, "np.nan", "https://numpy.org/doc/stable/reference/constants.html"),
            (Field::Name, "pd.NA", "pandas"),
            (Field::Name, "Optional.empty", "Java: Optional.toString"),
            (Field::Name, "undef", "https://perldoc.perl.org/functions/undef"),
            (Field::Phone, "+55 (85) undefined", "JavaScript: the code of a country and an area"),
            (Field::Phone, "+55 85 undefined", "JavaScript: the code of a country and an area"),
        ],
    );
}

#[test]
fn hidden_and_unfilled_digits_are_no_values() {
    check(
        Why::Filler,
        &[
            (Field::Phone, "(XX) XXXXX-XXXX", "forms: a mask"),
            (Field::Phone, "+55 (11) 9XXXX-XXXX", "forms: a mask"),
            (Field::Phone, "85 9****-**71", "https://portaldatransparencia.gov.br, for numbers"),
            (Field::Identity, "***.982.247-**", "https://portaldatransparencia.gov.br: the middle of a CPF"),
            (Field::Identity, "XXX.XXX.XXX-XX", "forms: a mask"),
            (Field::ZipCode, "XXXXX-XXX", "forms: a mask"),
            (Field::Birthday, "XX/XX/XXXX", "forms: a mask"),
        ],
    );
    for (field, text) in [
        (Field::Phone, "85 3333-4444 x1234"),
        (Field::Phone, "(0xx85) 3344-5567"),
        (Field::Phone, "0**85 3344-5567"),
        (Field::Identity, "AB123456X"),
        (Field::Company, "XXXX"),
        (Field::Company, "X-X-X-X"),
    ] {
        assert_eq!(DEFAULTS.why(field, text, "parameter"), None, "{field} {text}");
    }
}

#[test]
fn zero_dates_are_no_birthdays() {
    check(
        Why::ZeroDate,
        &[
            (Field::Birthday, "1/1/0001 12:00:00 AM", ".NET's zero"),
            (Field::Birthday, "Sat Dec 30 1899 00:00:00 GMT-0300", "Apps Script: an empty cell"),
            (Field::Birthday, "1970-01-01T00:00:00.000Z", "ECMA-262: new Date(0)"),
            (Field::Birthday, "0", "Excel: an empty cell as a number"),
        ],
    );
    check(Why::Word, &[(Field::Birthday, "1900-01-00", "Excel's zero")]);
    assert_eq!(DEFAULTS.why(Field::Name, "1/1/0001 12:00:00 AM", "parameter"), None);
    assert_eq!(DEFAULTS.why(Field::Birthday, "01/01/1970", "parameter"), None, "somebody's birthday");
}
