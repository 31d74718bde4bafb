//! What people and models write of a value that was not given: the passive, contractions, shorthand, promises.

use super::*;

/// A tool's optional argument that a model fills instead of leaving it out.
const MODELS: &str = "LLM habit";

fn check(rows: &[(&str, &str)]) {
    for (text, source) in rows {
        for field in [Field::Name, Field::Company, Field::City, Field::Position, Field::Phone, Field::Email] {
            assert_eq!(DEFAULTS.why(field, text, "parameter"), Some(Why::Word), "{field} {text} ({source})");
        }
    }
}

#[test]
fn what_was_not_given_is_no_value() {
    check(&[
        ("não foi informado", MODELS),
        ("Não Foi Informado", "as above: capitalized"),
        ("NÃO FOI INFORMADO", "as above: in capitals"),
        ("não foi informada", MODELS),
        ("não foi fornecido", MODELS),
        ("não foi mencionado pelo cliente", MODELS),
        ("ainda não foi informado", MODELS),
        ("não foram informados", MODELS),
        ("não foi possível identificar", MODELS),
        ("no fue proporcionado", MODELS),
        ("no fue informado", MODELS),
        ("no ha sido proporcionado", MODELS),
        ("no fue posible obtener", MODELS),
        ("no lo mencionó", MODELS),
        ("no se mencionó", MODELS),
        ("não soube informar", "Portuguese"),
        ("não recordo", "Portuguese"),
        ("não autorizou", "Portuguese"),
        ("não localizado", "Portuguese"),
        ("não detectado", "Portuguese"),
        ("no posee", "Spanish"),
        ("no cuenta con correo", "Spanish"),
        ("não usa email", "Portuguese"),
        ("wird noch mitgeteilt", "German"),
        ("nessuna informazione", "Italian"),
        ("pas de réponse", "French"),
        ("unable to extract", MODELS),
        ("could not extract", MODELS),
        ("not on file", "English"),
        ("No email on file", "English"),
        ("None at this time", MODELS),
        ("not sure", "English"),
        ("Not yet", "English"),
        ("undetermined", MODELS),
        ("unconfirmed", MODELS),
        ("pending verification", MODELS),
        ("sem contato", "Portuguese"),
        ("sem whatsapp", "Portuguese"),
    ]);
}

#[test]
fn contractions_deny() {
    check(&[
        ("hasn't provided", MODELS),
        ("hasn’t provided", "as above: a typographic apostrophe"),
        ("didn't provide", MODELS),
        ("didn't say", MODELS),
        ("doesn't know", MODELS),
        ("doesn't have one", MODELS),
        ("I don't have one", "English"),
        ("wasn't mentioned", MODELS),
        ("couldn't find", MODELS),
        ("isn't available", MODELS),
        ("user didn’t provide", "as above: a typographic apostrophe"),
        ("don’t know", "as above: a typographic apostrophe"),
    ]);
}

#[test]
fn shorthand_denies() {
    check(&[
        ("ñ informado", "Portuguese: não, as in chats"),
        ("ñ tem", "Portuguese: não, as in chats"),
        ("ñ possui", "Portuguese: não, as in chats"),
        ("ñ sei", "Portuguese: não, as in chats"),
        ("n tem", "Portuguese: não, as in chats"),
        ("n/ tem", "Portuguese: não, as in chats"),
        ("não inf", "Portuguese: não informado"),
        ("n/inf", "Portuguese: não informado"),
        ("s/ informação", "Portuguese: sem"),
    ]);
    for (field, text) in
        [(Field::Email, "s/ email"), (Field::Position, "s/ cargo"), (Field::Phone, "s/ telefone")]
    {
        assert_eq!(DEFAULTS.why(field, text, "parameter"), Some(Why::Word), "{field} {text}");
    }
    for (field, text) in [(Field::Number, "s/n"), (Field::Complement, "s/n"), (Field::Name, "N. Silva")] {
        assert_eq!(DEFAULTS.why(field, text, "parameter"), None, "{field} {text}");
    }
}

#[test]
fn promises_are_no_values() {
    check(&[
        ("será informado", "Portuguese"),
        ("vai informar depois", "Portuguese"),
        ("te mando depois", "Portuguese"),
        ("depois te passo", "Portuguese"),
        ("vou passar depois", "Portuguese"),
        ("enviarei depois", "Portuguese"),
        ("em breve", "Portuguese"),
        ("pendente de envio", "Portuguese"),
        ("luego te mando", "Spanish"),
    ]);
}

#[test]
fn what_fields_unset_give_is_no_value() {
    for (field, text, source) in [
        (Field::Company, "false", "https://www.odoo.com/documentation: an empty field"),
        (Field::Name, "false", "https://www.odoo.com/documentation: an empty field"),
        (Field::Position, "False", "Python: Odoo's exports"),
        (Field::Complement, "false", "https://www.odoo.com/documentation: an empty field"),
        (Field::Company, "FALSE", "spreadsheets: an empty check box"),
        (Field::Company, "Unknown Company", "LLM habit: in the case of titles"),
        (Field::Company, "Empresa Desconhecida", "LLM habit: in the case of titles"),
        (Field::Company, "Keine Firma", "German: nouns have capitals"),
        (Field::City, "Unknown City", "LLM habit: in the case of titles"),
        (Field::Phone, "No Caller ID", "https://support.apple.com: a hidden number"),
        (Field::Phone, "Private number", "https://support.apple.com: a hidden number"),
        (Field::Phone, "Restricted", "https://support.apple.com: a hidden number"),
        (Field::Email, "nao-tem@gmail.com", "Portuguese: has none, with a hyphen"),
        (Field::Email, "nao_tenho@hotmail.com", "Portuguese: has none, with an underscore"),
        (Field::Email, "meu.email@gmail.com", "Portuguese: my email"),
        (Field::Email, "noreply@firma.io", "https://www.rfc-editor.org/rfc/rfc3834: a sender that nobody is"),
        (Field::Email, "nao-responda@firma.io", "as above: Portuguese"),
        (Field::Email, "mailer-daemon@firma.io", "RFC 3834: a sender that nobody is"),
        (Field::Email, "test@fb.com", "https://developers.facebook.com/docs/marketing-api/guides/lead-ads"),
        (Field::Email, "cliente@cliente.com", "typed: one word twice"),
        (Field::Email, "admin@admin.com", "typed: one word twice"),
        (Field::Email, "aaaa@aaaa.com", "typed: one letter"),
        (Field::Email, "1@1.com", "typed: one digit"),
        (Field::Email, "***@gmail.com", "forms: a hidden address"),
        (Field::Email, "Ana <undefined>", "JavaScript: `${name} <${email}>`"),
        (Field::Email, "Ana <null>", "JavaScript: `${name} <${email}>`"),
        (Field::Email, "Ana <N/A>", "as above: a word"),
        (Field::Email, "Ana <>", "as above: nothing"),
        (Field::Phone, "+55 (DDD) XXXXX-XXXX", "forms: a mask"),
        (Field::Phone, "(DDD) 99999-9999", "forms: a mask"),
    ] {
        let why = DEFAULTS.why(field, text, "parameter");
        assert!(why.is_some(), "{field} {text} ({source})");
    }
    for field in [Field::Name, Field::Company, Field::City, Field::Identity, Field::ZipCode, Field::Country] {
        assert_eq!(DEFAULTS.why(field, "0", "parameter"), Some(Why::MadeUp), "{field}: Excel's empty cell");
    }
}

#[test]
fn nothing_in_other_languages_is_no_value() {
    for (text, source) in [
        ("не предоставлено", "Russian"),
        ("не заполнено", "Russian"),
        ("отсутствует", "Russian"),
        ("без имени", "Russian"),
        ("不详", "https://dict.revised.moe.edu.tw"),
        ("待定", "https://dict.revised.moe.edu.tw"),
        ("待确认", "https://dict.revised.moe.edu.tw"),
        ("不知道", "https://dict.revised.moe.edu.tw"),
        ("無し", "https://dictionary.goo.ne.jp"),
        ("未定", "https://dictionary.goo.ne.jp"),
        ("特になし", "https://dictionary.goo.ne.jp"),
        ("匿名希望", "https://dictionary.goo.ne.jp"),
        ("모름", "https://stdict.korean.go.kr"),
        ("알 수 없음", "https://stdict.korean.go.kr"),
        ("غير محدد", "https://www.almaany.com"),
        ("لا أعرف", "https://www.almaany.com"),
        ("पता नहीं", "https://www.shabdkosh.com"),
        ("अज्ञात", "https://www.shabdkosh.com"),
        ("belirtilmemiş", "https://sozluk.gov.tr"),
        ("nie dotyczy", "https://wsjp.pl"),
        ("neuvedeno", "https://prirucka.ujc.cas.cz"),
        ("nespecificat", "https://dexonline.ro"),
        ("לא ידוע", "https://hebrew-academy.org.il"),
        ("ไม่ทราบ", "https://dictionary.orst.go.th"),
        ("không rõ", "https://vi.wiktionary.org"),
        ("chưa cung cấp", "https://vi.wiktionary.org"),
        ("tidak diketahui", "https://kbbi.kemdikbud.go.id"),
        ("okänd", "https://svenska.se"),
        ("ukjent", "https://ordbokene.no"),
        ("tuntematon", "https://www.kielitoimistonsanakirja.fi"),
        ("geen", "https://www.vandale.nl"),
    ] {
        for field in [Field::Name, Field::City] {
            assert_eq!(DEFAULTS.why(field, text, "parameter"), Some(Why::Word), "{field} {text} ({source})");
        }
    }
}
