//! Values in what programs and people put around them. Each row names its source.

mod generated;

use super::*;

fn region() -> Region {
    Region::new("BR").unwrap()
}

/// Cleaned, unwrapped, cleaned again, as an argument of an event.
fn bare(kind: Kind, text: &str) -> Option<String> {
    match clean_key(kind, text) {
        Unwrapped::Bare(bare) => Some(bare.into_owned()),
        Unwrapped::Differs => None,
    }
}

fn check(kind: Kind, expected: &str, rows: &[(&str, &str)]) {
    for (text, source) in rows {
        assert_eq!(bare(kind, text).as_deref(), Some(expected), "{text} ({source})");
    }
}

#[test]
fn emails_are_unwrapped() {
    for (text, source) in rows::EMAILS {
        let found = bare(Kind::Email, text);
        let email = found.as_deref().and_then(Email::parse);
        assert_eq!(email.as_ref().map(Email::as_str), Some("ada@x.example"), "{text} ({source}): {found:?}");
    }
}

#[test]
fn phones_are_unwrapped() {
    for (text, source) in rows::PHONES {
        let found = bare(Kind::Phone(region()), text);
        let phone = found.as_deref().and_then(|text| Phone::parse(text, region()));
        assert_eq!(phone.as_ref().map(Phone::as_str), Some("+5585999990001"), "{text} ({source}): {found:?}");
    }
}

#[test]
fn names_are_unwrapped() {
    check(
        Kind::Text,
        "Ana Souza",
        &[
            ("\"Ana Souza\"", "CSV"),
            ("'Ana Souza'", "LLM habit"),
            ("“Ana Souza”", "word processors"),
            ("„Ana Souza“", "word processors, German"),
            ("« Ana Souza »", "word processors, French"),
            ("`Ana Souza`", "LLM habit"),
            ("**Ana Souza**", "CommonMark, 6.2"),
            ("*Ana Souza*", "WhatsApp: bold"),
            ("_Ana Souza_", "WhatsApp: italic"),
            ("~Ana Souza~", "WhatsApp: struck through"),
            ("*_Ana Souza_*", "WhatsApp: both"),
            ("=\"Ana Souza\"", "spreadsheets"),
            ("=T(\"Ana Souza\")", "spreadsheets"),
            ("'=\"Ana Souza\"", "OWASP: against formulas in CSV"),
            ("<p>Ana Souza</p>", "HTML"),
            ("Ana<br>Souza", "HTML: a line break"),
            ("<span class=\"x\">Ana <b>Souza</b></span>", "HTML"),
            ("Ana&nbsp;Souza", "HTML, 13.5"),
            ("Nome: Ana Souza", "forms"),
            ("*Nome:* Ana Souza", "WhatsApp: a bold label"),
            ("Nombre completo = Ana Souza", "forms in Spanish"),
            ("Full name: \"Ana Souza\"", "forms in English"),
            ("[Ana Souza](https://x.example/ana)", "CommonMark, 6.3"),
            ("<https://x.example/ana|Ana Souza>", "Slack's mrkdwn"),
            ("Ana Souza <ana@x.example>", "RFC 5322, 3.4"),
            ("<a href=\"/ana\">Ana Souza</a>", "HTML, 4.5.1"),
            ("[url=https://x.example]Ana Souza[/url]", "BBCode"),
            ("\\*Ana Souza\\*", "Markdown: escapes"),
            ("A\u{200b}na\u{ad} Souza\u{202c}", "web pages"),
            ("Ana\u{a0}Souza", "web pages: a space that does not break"),
            ("Ana\u{2009}Souza", "word processors: a thin space"),
            ("<!--StartFragment-->Ana Souza<!--EndFragment-->", "Windows' clipboard"),
            ("<meta charset='utf-8'>Ana Souza", "HTML: Chrome's clipboard"),
            ("<center><h5>Ana Souza</h5></center>", "HTML"),
            ("<![CDATA[Ana Souza]]>", "XML, 2.7"),
            ("<@U024BE7LH|Ana Souza>", "Slack's mrkdwn: a mention"),
            ("Ana Souza\\n", "RFC 8259, 7: a line break that was escaped twice"),
            ("(Nome: Ana Souza)", "forms: in parentheses"),
            ("[Nome: Ana Souza]", "forms: in brackets"),
            ("{\"name\":\"Ana Souza\"}", "RFC 8259, 4: an object as text"),
            ("- Ana Souza", "Markdown, emails: an item of a list"),
            ("• Ana Souza", "word processors: a bullet"),
            ("> Ana Souza", "RFC 3676, 4.5: a quoted line"),
        ],
    );
}

#[test]
fn other_texts_are_unwrapped() {
    for (text, expected, source) in [
        ("Jos&eacute; da Concei&ccedil;&atilde;o", "José da Conceição", "HTML, 13.5"),
        ("O\\'Neil", "O'Neil", "PHP's addslashes"),
        ("Jos\\u00e9 \\ud83d\\ude00", "José 😀", "RFC 8259, 7: JSON within a text"),
        ("O&#039;Neil", "O'Neil", "PHP's htmlspecialchars"),
        ("'O'Neil'", "O'Neil", "as above: quotes around an apostrophe"),
        ("\"Bar \"\"Zé\"\"\"", "Bar \"Zé\"", "RFC 4180, 2.7"),
        ("R&amp;D", "R&D", "HTML, 13.5"),
        ("R&amp;amp;D", "R&D", "as above: encoded twice"),
        ("\"\"", "", "as above: an empty cell"),
        ("=\"\"", "", "as above: an empty cell"),
        ("Nome:", "", "as above: a form without an answer"),
        ("<p></p>", "", "as above: an editor without text"),
        ("<mailto:ana@x.example|ana@x.example>", "ana@x.example", "Slack's mrkdwn"),
        ("<https://firma.example>", "https://firma.example", "CommonMark, 6.4"),
        ("<http://firma.example|firma.example>", "firma.example", "Slack's mrkdwn"),
        ("[Firma.example](https://www.firma.example/)", "Firma.example", "as above: host"),
        ("[Firma](https://firma.example)", "Firma", "as above: a name as label"),
    ] {
        assert_eq!(bare(Kind::Text, text).as_deref(), Some(expected), "{text} ({source})");
    }
}

#[test]
fn digits_and_dates_are_unwrapped() {
    check(
        Kind::Digits,
        "60175-055",
        &[
            ("=\"60175-055\"", "spreadsheets"),
            ("'60175-055", "spreadsheets"),
            ("\"60175-055\"", "CSV"),
            ("[60175-055]", "LLM habit: brackets"),
            ("CEP: 60175-055", "forms"),
            ("CEP 60175-055", "letterheads"),
            ("Código postal: 60175-055", "forms in Spanish"),
            ("ZIP code: 60175-055", "forms in English"),
            ("*60175-055*", "WhatsApp: bold"),
            ("<b>60175-055</b>", "HTML"),
            ("[60175-055](https://maps.example/?q=60175-055)", "CommonMark, 6.3"),
        ],
    );
    check(
        Kind::Digits,
        "529.982.247-25",
        &[
            (
                "<a href=\"tel:52998224725\">529.982.247-25</a>",
                "RFC 3966: a browser took a document for a phone number",
            ),
            ("[529.982.247-25](tel:+5552998224725)", "as above, with a country code"),
            ("'529.982.247-25", "spreadsheets"),
            ("Documento: 529.982.247-25", "forms"),
            ("\u{200e}529.982.247-25\u{200e}", "web pages"),
        ],
    );
    check(
        Kind::Date,
        "20/05/1990",
        &[
            ("=\"20/05/1990\"", "spreadsheets"),
            ("'20/05/1990", "spreadsheets"),
            ("\"20/05/1990\"", "CSV"),
            ("Nasc.: 20/05/1990", "forms"),
            ("Data de nascimento: 20/05/1990", "forms"),
            ("Nascido em 20/05/1990", "Portuguese: a sentence"),
            ("Fecha de nacimiento: 20/05/1990", "forms in Spanish"),
            ("DOB: 20/05/1990", "forms in English"),
            ("(20/05/1990)", "Portuguese: a sentence"),
            ("**20/05/1990**", "CommonMark, 6.2"),
            ("<a href=\"x-apple-data-detectors://1\">20/05/1990</a>", "as above: Apple Mail"),
        ],
    );
    for (text, expected) in
        [("nº 120", "120"), ("Número: 120-A", "120-A"), ("CPF 529.982.247-25", "CPF 529.982.247-25")]
    {
        assert_eq!(bare(Kind::Digits, text).as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn labels_and_targets_that_disagree_are_not_chosen_between() {
    for (kind, text) in [
        (Kind::Email, "[ada@x.example](mailto:bob@x.example)"),
        (Kind::Email, "<mailto:bob@x.example|ada@x.example>"),
        (Kind::Email, "<a href=\"mailto:bob@x.example\">ada@x.example</a>"),
        (Kind::Email, "ada@x.example<mailto:bob@x.example>"),
        (Kind::Email, "ada@x.example <bob@x.example>"),
        (Kind::Email, "=HYPERLINK(\"mailto:bob@x.example\";\"ada@x.example\")"),
        (Kind::Email, "[escreva para ada@x.example](mailto:bob@x.example)"),
        (Kind::Email, "Email: [ada@x.example](mailto:bob@x.example)"),
        (Kind::Phone(region()), "[85 99999-0001](tel:+5585999990002)"),
        (Kind::Phone(region()), "[ligue 85 99999-0001](tel:+5585999990002)"),
        (Kind::Phone(region()), "<tel:+5585999990002|85 99999-0001>"),
        (Kind::Phone(region()), "[85 99999-0001](https://wa.me/5585999990002)"),
        (Kind::Digits, "<a href=\"tel:52998224726\">529.982.247-25</a>"),
        (Kind::Text, "[ada@x.example](mailto:bob@x.example)"),
        (Kind::Text, "[firma.example](https://other.example)"),
        (Kind::Text, "<https://other.example|www.firma.example>"),
    ] {
        assert_eq!(bare(kind, text), None, "{text}");
    }
    // Only the target is two people; the parser refuses the label, too.
    let list = "[Equipe](mailto:ada@x.example,bob@x.example)";
    assert_eq!(bare(Kind::Email, list).as_deref(), Some("Equipe"));
}

/// Names with the characters of markup.
const NAMES: [&str; 41] = [
    "[solidcore]",
    "R&D",
    "AT&T",
    "O'Neil",
    "O’Neil",
    "'t Hooft",
    "'Abd al-Rahman",
    "50% off*",
    "Yahoo!",
    "E*TRADE",
    "*NSYNC",
    "_underscore",
    "~tilde",
    "C&A; Filhos",
    "Johnson & Johnson",
    "\"Teles\" e \"Filhos\"",
    "Zé \"Bar\" Souza",
    "A<B",
    "<3",
    "Studio <x>",
    "Bar: Zé",
    "Projeto: Ana",
    "Nossa empresa: a melhor",
    "a=b",
    "=x",
    "Ana (Bia)",
    "(Ana)",
    "[Ana] [Bia]",
    "{Ana}",
    "'47 Brand",
    "Rock 'n' Roll",
    "Dolce&Gabbana",
    "AC\\DC",
    "Ana (tel: 3333-4444)",
    "[Empresa: X] Y",
    "Rua: das Flores",
    "Calle: 12",
    "- 10",
    "> 10",
    "-Ana",
    "C:\\new",
];

#[test]
fn names_with_the_characters_of_markup_stay() {
    for name in NAMES {
        assert_eq!(unwrap(Kind::Text, name), Unwrapped::Bare(Cow::Borrowed(name)), "{name}");
    }
    for (kind, text) in [
        (Kind::Email, "o'neil_{x}@a.b-c.example"),
        (Kind::Email, "*x*@a.example"),
        (Kind::Email, "a=email@x.example"),
        (Kind::Phone(region()), "(85) 3333-4444 (ramal 12)"),
        (Kind::Phone(region()), "5585999990001:12@s.whatsapp.net"),
        (Kind::Phone(region()), "https://wa.me/5585999990001?text=oi%20tudo"),
        (Kind::Digits, "N1 9GU"),
        (Kind::Digits, "C1425CLA"),
        (Kind::Digits, "AB123456"),
    ] {
        assert_eq!(unwrap(kind, text), Unwrapped::Bare(Cow::Borrowed(text)), "{text}");
    }
}

#[test]
fn deep_and_long_texts_stay() {
    let nested = |layers: usize| format!("{}x{}", "“".repeat(layers), "”".repeat(layers));
    assert_eq!(bare(Kind::Text, &nested(8)).as_deref(), Some("x"));
    assert_eq!(bare(Kind::Text, &nested(9)), Some(nested(9)));
    let long = format!("\"{}\"", "x".repeat(MAX_TEXT - 1));
    assert_eq!(bare(Kind::Text, &long), Some(long.clone()));
}
