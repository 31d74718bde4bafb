//! Records of known people with the noise that chats, web pages and language models add. It must neither
//! split a person nor merge two.

use std::collections::HashMap;

use super::{super::contact_update::fill, *};
use crate::domain::contact::Identifier;

const RECORDS: usize = 10_000;

struct Person {
    /// The canonical phone.
    phone: String,
    /// Spellings of it, all read in Brazil.
    phones: Vec<String>,
    email: String,
}

/// Sixty people with similar phones and emails.
fn people() -> Vec<Person> {
    (0..60_u32)
        .map(|index| {
            let (phone, phones) = match index % 5 {
                0..=2 => brazilian_mobile(["11", "55", "85"][index as usize % 3], 99_990_000 + index),
                3 => brazilian_landline(33_334_400 + index),
                _ => mexican(55_1234_5600 + u64::from(index)),
            };
            let email = match index % 3 {
                0 => format!("ada.{index}@analytical.example"),
                1 => format!("ada{index}@analytical.example"),
                _ => format!("ada+{index}@analytical.example"),
            };
            Person { phone, phones, email }
        })
        .collect()
}

fn brazilian_mobile(area: &str, eight: u32) -> (String, Vec<String>) {
    let (one, two) = (eight / 10_000, eight % 10_000);
    let phones = vec![
        format!("+55{area}9{eight}"),
        format!("55{area}9{eight}"),
        format!("55{area}{eight}"),
        format!("+55 {area} {one:04}-{two:04}"),
        format!("({area}) 9{one:04}-{two:04}"),
        format!("{area} {one:04} {two:04}"),
        format!("0{area}9{eight}"),
        format!("0 15 {area} 9{one:04}.{two:04}"),
        format!("tel:+55-{area}-9{one:04}-{two:04}"),
        format!("https://wa.me/55{area}9{eight}?text=oi"),
        format!("https://api.whatsapp.com/send?phone=55{area}{eight}"),
        format!("55{area}{eight}@c.us"),
        format!("55{area}9{eight}:3@s.whatsapp.net"),
    ];
    (format!("+55{area}9{eight}"), phones)
}

fn brazilian_landline(eight: u32) -> (String, Vec<String>) {
    let phones = vec![
        format!("85{eight}"),
        format!("(85) {}-{:04}", eight / 10_000, eight % 10_000),
        format!("085 {eight}"),
        format!("5585{eight}"),
        format!("whatsapp:+5585{eight}"),
    ];
    (format!("+5585{eight}"), phones)
}

fn mexican(ten: u64) -> (String, Vec<String>) {
    let phones = vec![
        format!("+52{ten}"),
        format!("+52 1 {ten}"),
        format!("521{ten}"),
        format!("521{ten}@c.us"),
        format!("https://wa.me/521{ten}"),
    ];
    (format!("+52{ten}"), phones)
}

/// Random numbers, the same in every run: Knuth's 64-bit linear congruential generator.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % end
    }

    fn pick<'a>(&mut self, items: &'a [&'a str]) -> &'a str {
        items[self.below(items.len())]
    }
}

const MARKS: [&str; 10] = [
    "\u{200b}", "\u{200c}", "\u{200d}", "\u{200e}", "\u{200f}", "\u{202a}", "\u{202c}", "\u{2067}",
    "\u{2069}", "\u{feff}",
];
const SPACES: [&str; 6] = [" ", "  ", "\t", "\n", "\u{a0}", "\u{3000}"];

/// Adds mixed case, full-width forms, invisible marks around and within, and space around.
fn dirty(text: &str, dice: &mut Dice) -> String {
    let (wide, marked) = (dice.below(3) == 0, dice.below(2) == 0);
    let mut dirty = dice.pick(&["", " ", "\u{202b}", "\u{2068} "]).to_owned();
    for c in text.chars() {
        let c = if dice.below(2) == 0 { c.to_ascii_uppercase() } else { c };
        let is_wide = wide && c.is_ascii_graphic() && dice.below(2) == 0;
        dirty.push(if is_wide { char::from_u32(c as u32 + 0xfee0).unwrap() } else { c });
        if marked && dice.below(4) == 0 {
            dirty.push_str(dice.pick(&MARKS));
        }
    }
    if dice.below(2) == 0 {
        dirty.push_str(dice.pick(&SPACES));
        dirty.push_str(dice.pick(&MARKS));
    }
    dirty
}

fn written_email(email: &str, dice: &mut Dice) -> String {
    match dice.below(8) {
        0 => format!("mailto:{email}"),
        1 => format!("<{email}>"),
        2 => format!("Ada < {email} >,"),
        3 => format!("{email}."),
        4 => format!("\"{email}\""),
        5 => format!("mailto:{}?subject=oi", email.replace('@', "%40").replace('+', "%2b")),
        _ => email.to_owned(),
    }
}

#[test]
fn ten_thousand_dirty_records_neither_split_nor_join_people() {
    let (people, rules, mut dice) = (people(), rules(), Dice(3));
    let fired = decode(crm_event(json!({})).to_string().as_bytes(), &TriggerCache::default()).unwrap();
    let Action::UpsertContact(mapping) = &fired.triggers[0].actions()[0] else { panic!("a CRM step") };
    let stamp = Stamp { time: fired.time, event: fired.event.clone(), step: 1 };
    let mut owners: HashMap<Identifier, usize> = HashMap::new();
    for record in 0..RECORDS {
        let index = dice.below(people.len());
        let person = &people[index];
        let given = &person.phones[dice.below(person.phones.len())];
        let phone = dirty(given, &mut dice);
        let written = written_email(&person.email, &mut dice);
        let email = dirty(&written, &mut dice);
        let which = record % 3;
        let mut arguments =
            json!({"name": dirty("Ada Lovelace", &mut dice), "birthday": dirty("20/05/1990", &mut dice)});
        let mut expected = Vec::new();
        if which != 1 {
            arguments["phone"] = json!(phone);
            expected.push(person.phone.as_str());
        }
        if which != 0 {
            arguments["email"] = json!(email);
            expected.push(person.email.as_str());
        }
        let update = fill(mapping, &arguments, stamp.clone(), Region::new("BR").unwrap(), &rules).unwrap();
        let found: Vec<Identifier> = update.identifiers().collect();
        let keys: Vec<&str> = found.iter().map(Identifier::value).collect();
        assert_eq!(keys, expected, "{arguments}");
        assert_eq!(update.values.get(Field::Birthday).unwrap(), "1990-05-20", "{arguments}");
        for key in found {
            assert_eq!(*owners.entry(key).or_insert(index), index, "{arguments}");
        }
    }
    assert_eq!(owners.len(), 2 * people.len());
}
