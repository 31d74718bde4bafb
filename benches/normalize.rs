//! `cargo bench --bench normalize`: the cost of normalizing an event's values, without a database or broker.
//! The target is less than 10 µs for one event; asserts nothing.

#![expect(clippy::expect_used, reason = "a benchmark fails by a panic")]

use contact_relay::{
    domain::{
        chain::{
            plan::{Plan, plan},
            rules::Rules,
        },
        contact::{field::Field, placeholder::Placeholders},
        trigger::{
            cache::TriggerCache,
            fired::{TriggerFired, decode},
        },
        value::{
            birthday, country,
            email::Email,
            identity,
            phone::{Phone, Region},
        },
    },
    settings::{self, Settings},
};
use divan::{Bencher, black_box};
use strum::VariantArray as _;
use time::macros::datetime;

fn main() {
    divan::main();
}

fn region(code: &str) -> Region {
    Region::new(code).expect("a region")
}

#[divan::bench(args = [
    ("BR", "(85) 99999-0001"), ("BR", "85 9999-0001"), ("BR", "+5585999990001"), ("BR", "5585999990001@c.us"),
    ("US", "(202) 555-0143"), ("MX", "+52 1 55 1234 5678"), ("BR", "(85) 3333-4444 ramal 12"), ("BR", "call me"),
])]
fn phone(bencher: Bencher, (code, text): (&str, &str)) {
    let region = region(code);
    bencher.bench(|| Phone::parse(black_box(text), region));
}

#[divan::bench(args = ["ada@analytical.example", " <Ada@Analytical.Example>", "ada@bücher.example", "no address"])]
fn email(text: &str) -> Option<Email> {
    Email::parse(black_box(text))
}

#[divan::bench(args = ["Ada Lovelace", "não informado", "{{name}}"])]
fn placeholder(bencher: Bencher, text: &str) {
    let placeholders = Placeholders::new(&settings().placeholders);
    bencher.bench(|| placeholders.cover(Field::Name, black_box(text), "customerName"));
}

#[divan::bench(args = ["1990-05-20", "20 de maio de 1990"])]
fn birthday(text: &str) -> Option<String> {
    birthday::parse(black_box(text), region("BR"), datetime!(2026-11-22 10:00 UTC))
}

#[divan::bench]
fn country() -> Option<&'static str> {
    country::code(black_box("Estados Unidos"))
}

#[divan::bench]
fn identity() -> bool {
    matches!(identity::recognize(black_box("529.982.247-25"), region("BR")), identity::Recognized::Cpf(_))
}

/// The reference event: name, email and company, and a webhook step.
#[divan::bench]
fn event_of_the_contract(bencher: Bencher) {
    let arguments = r#"{"name": "Ada Lovelace", "email": "ada@analytical.example", "company": "Analytical"}"#;
    planned(bencher, "name email company", arguments);
}

/// The reference event with a phone, which nearly every lead has.
#[divan::bench]
fn event_with_phone(bencher: Bencher) {
    let arguments = r#"{"name": "Ada Lovelace", "email": "ada@analytical.example", "company": "Analytical",
        "phone": "(85) 99999-0001"}"#;
    planned(bencher, "name email company phone", arguments);
}

/// All fifteen fields.
#[divan::bench]
fn event_with_every_field(bencher: Bencher) {
    let fields = Field::VARIANTS.iter().map(|field| field.name()).collect::<Vec<_>>().join(" ");
    let arguments = r#"{"name": "Ada Lovelace", "identity": "529.982.247-25", "phone": "(85) 99999-0001",
        "email": "ada@analytical.example", "company": "Analytical", "position": "Countess",
        "birthday": "20/05/1990", "zipCode": "60175055", "country": "Brasil", "state": "CE",
        "city": "Fortaleza", "district": "Meireles", "street": "Avenida Beira Mar", "number": "1578",
        "complement": "ap. 12"}"#;
    planned(bencher, &fields, arguments);
}

/// What all of these cost without a value to read.
#[divan::bench]
fn event_without_values(bencher: Bencher) {
    let fields = Field::VARIANTS.iter().map(|field| field.name()).collect::<Vec<_>>().join(" ");
    planned(bencher, &fields, "{}");
}

/// All fifteen fields in what spreadsheets, chats and documents put around them.
#[divan::bench]
fn event_with_every_field_dirty(bencher: Bencher) {
    let fields = Field::VARIANTS.iter().map(|field| field.name()).collect::<Vec<_>>().join(" ");
    let arguments = r#"{"name": "*Nome:* \u200bJose\u0301 Lovelace", "identity": "'529.982.247-25",
        "phone": "[(0xx85) 9999-0001](tel:+5585999990001)", "email": "<mailto:ada@analytical.example|Ada>",
        "company": "\"Analytical &amp; Filhos\"", "position": "<p>Countess</p>",
        "birthday": "Sun May 20 1990 00:00:00 GMT-0300 (Horário Padrão de Brasília)", "zipCode": "=\"60175055\"",
        "country": "“Brasil”", "state": "UF: CE", "city": "Fortaleza\u200b", "district": "_Meireles_",
        "street": "Avenida&nbsp;Beira Mar", "number": "1578.0", "complement": "`ap. 12`"}"#;
    planned(bencher, &fields, arguments);
}

fn settings() -> Settings {
    settings::load(None, []).expect("the defaults").settings
}

/// Measures planning: validation of the arguments and the contact update, but not the decoding of the event.
fn planned(bencher: Bencher, fields: &str, arguments: &str) {
    let rules: Rules = settings().rules();
    let each =
        |field: &str| (format!(r#""{field}": {{"type": "string"}}"#), format!(r#""{field}": "{field}""#));
    let (properties, mapping): (Vec<_>, Vec<_>) = fields.split(' ').map(each).unzip();
    let body = format!(
        r#"{{"specversion": "1.0", "id": "1", "source": "/a", "type": "trigger.fired", "time": "2026-11-22T10:00:00Z",
        "data": {{"company": {{"id": "acme"}}, "trigger": {{"name": "lead", "parameters": {{"properties": {{{}}}}},
        "actions": [{{"type": "CRM", "subtype": "UPSERT_CONTACT", {}}},
        {{"type": "WEBHOOK", "url": "https://hooks.example/sales", "method": "POST"}}]}}, "arguments": {arguments}}}}}"#,
        properties.join(", "),
        mapping.join(", ")
    );
    let triggers = TriggerCache::default();
    let mut fired = || -> TriggerFired { decode(body.as_bytes(), &triggers).expect("an event") };
    bencher
        .with_inputs(&mut fired)
        .bench_local_values(|event| -> Plan { plan(event, &rules).expect("a plan") });
}
