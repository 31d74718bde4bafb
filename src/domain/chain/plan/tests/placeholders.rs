//! What stands in place of a value changes nothing and finds nobody.

use super::{super::contact_update::fill, *};
use crate::domain::{
    contact::{
        Contact, ContactId, Operation,
        directory::{Directory, OnConflict, Policy},
    },
    trigger::mapping::Mapping,
    value::text,
};

/// A company's contacts, with the events applied in turn.
#[derive(Default)]
struct Company {
    directory: Directory,
    events: u128,
}

impl Company {
    /// The operation and the fields that changed.
    fn fire(&mut self, minute: u32, arguments: Value) -> (Operation, Vec<Field>) {
        self.events += 1;
        let event = crm_event(arguments);
        let event = with(event, "/time", json!(format!("2026-11-22T10:{minute:02}:00Z")));
        let event = with(event, "/id", json!(format!("event-{}", self.events)));
        let plan = run(&event, &rules()).unwrap();
        let (_, update) = plan.updates().next().unwrap();
        assert!(rejected(update).is_empty());
        let policy = Policy { on_conflict: OnConflict::Merge, guards: None };
        let fresh = ContactId(uuid::Uuid::from_u128(self.events));
        let applied = self.directory.apply(&plan.event.company, update, fresh, &policy).unwrap();
        (applied.operation, applied.changed)
    }

    fn contacts(self) -> Vec<Contact> {
        self.directory.into_changes().created
    }

    /// The values of the one contact that there is.
    fn values(self) -> Vec<(&'static str, String)> {
        let mut contacts = self.contacts();
        assert_eq!(contacts.len(), 1);
        contacts.remove(0).values.into_iter().map(|(field, stamped)| (field.name(), stamped.value)).collect()
    }
}

const STORED: [(&str, &str); 6] = [
    ("name", "Wagner Teles"),
    ("phone", "+5585986407712"),
    ("email", "wagner@firma.example"),
    ("company", "Teles e Filhos"),
    ("position", "Gerente"),
    ("city", "Sobral"),
];

#[test]
fn placeholders_leave_every_stored_value() {
    for text in [
        "None",
        "Null",
        "Nada",
        "null",
        "NONE",
        "nil",
        "NaN",
        "undefined undefined",
        "null null",
        "<nil>",
        "[object Object]",
        "N/A",
        "NA",
        "TBD",
        "a confirmar",
        "Pendente",
        "unspecified",
        "{{ $json.body.name }}",
        "{{1.name}}",
        "${name}",
        "{% name %}",
        "$name",
        "%NAME%",
        "*|NAME|*",
        "#REF!",
        "=A1",
        "-",
        "undef",
        "нет",
        "KeyError: 'name'",
        "lead['name']",
    ] {
        let mut company = Company::default();
        let stored: serde_json::Map<_, _> =
            STORED.iter().map(|(field, value)| ((*field).to_owned(), json!(value))).collect();
        company.fire(0, Value::Object(stored));
        let mut arguments = json!({"phone": text, "email": "wagner@firma.example"});
        for field in ["name", "company", "position", "city"] {
            arguments[field] = json!(text);
        }
        assert_eq!(company.fire(1, arguments), (Operation::Unchanged, Vec::new()), "{text}");
        assert_eq!(company.values(), STORED.map(|(field, value)| (field, value.to_owned())), "{text}");
    }
}

#[test]
fn invented_keys_find_nobody() {
    let mut company = Company::default();
    for (minute, phone, email) in [
        (0, "+55 85 98811-2207", "user@example.com"),
        (1, "+55 11 97722-3308", "user@example.com"),
        (2, "+55 21 96633-4409", "john.doe@example.com"),
        (3, "+55 31 95544-5501", "User <john.doe@example.com>"),
        (4, "+55 (41) 94455-6602", "mailto:user@example.com"),
    ] {
        let (operation, _) = company.fire(minute, json!({"phone": phone, "email": email}));
        assert_eq!(operation, Operation::Created, "{phone} {email}");
    }
    for (minute, phone) in
        [(5, "555-0143"), (6, "(555) 123-4567"), (7, "+1 202 555 0143"), (8, "85 9999-9999")]
    {
        let (operation, _) =
            company.fire(minute, json!({"phone": phone, "email": format!("ada{minute}@x.example")}));
        assert_eq!(operation, Operation::Created, "{phone}");
    }
    let contacts = company.contacts();
    assert_eq!(contacts.len(), 9);
    assert!(contacts.iter().all(|contact| contact.keys.len() == 1), "{contacts:?}");
}

/// Whichever comes first, and whichever is the later one.
#[test]
fn a_doubtful_name_gives_way_to_every_other() {
    let email = "null@firma.example";
    let doubtful = json!({"email": email, "name": "Null", "company": "Nada", "city": "None"});
    let mut alone = Company::default();
    alone.fire(0, doubtful.clone());
    let values = alone.values();
    for expected in [("name", "Null"), ("company", "Nada"), ("city", "None")] {
        assert!(values.contains(&(expected.0, expected.1.to_owned())), "{values:?}");
    }
    let certain = json!({"email": email, "name": "Ana", "company": "Teles", "city": "Sobral"});
    for minutes in [[0, 1], [1, 0]] {
        for doubtful_first in [true, false] {
            let mut company = Company::default();
            let mut events = [(minutes[0], &doubtful), (minutes[1], &certain)];
            if !doubtful_first {
                events.reverse();
            }
            for (minute, arguments) in events {
                company.fire(minute, arguments.clone());
            }
            let expected = [("name", "Ana"), ("email", email), ("company", "Teles"), ("city", "Sobral")];
            assert_eq!(company.values(), expected.map(|(field, value)| (field, value.to_owned())));
        }
    }
}

/// Python writes its word for nothing in every field. Nobody called None works at None.
#[test]
fn a_doubtful_word_in_two_fields_is_no_value() {
    for (arguments, expected) in [
        (json!({"name": "None", "company": "None", "city": "None"}), vec![]),
        (json!({"name": "None", "company": "None", "city": "Sobral"}), vec![("city", "Sobral")]),
        (json!({"name": "None", "company": "Nada"}), vec![("name", "None"), ("company", "Nada")]),
        (json!({"name": "None", "position": "None"}), vec![("name", "None")]),
        (json!({"name": "Sobral", "city": "Sobral"}), vec![("name", "Sobral"), ("city", "Sobral")]),
    ] {
        assert_eq!(values(&update(arguments.clone()).unwrap()), expected, "{arguments}");
    }
    let shown = explained(json!({"name": "None", "city": "None"}));
    assert!(shown.iter().all(|(_, _, outcome)| outcome.starts_with("no value, ")), "{shown:?}");
}

#[test]
fn words_for_nothing_beside_a_value_are_left_out() {
    for (field, text, expected) in [
        ("name", "Ana undefined", "Ana"),
        ("name", "\"Ana\" null", "Ana"),
        ("company", "Empresa: Teles, undefined", "Teles"),
        ("name", "[Ana](https://x.example) undefined", "Ana"),
        ("email", "ada@x.example, undefined", "ada@x.example"),
        ("email", "\"ada@x.example\" / null", "ada@x.example"),
        ("email", "E-mail: ada@x.example, não informado", "ada@x.example"),
        ("email", "<mailto:ada@x.example|Email>", "ada@x.example"),
        ("email", "ada@x.example; ADA@x.example", "ada@x.example"),
        ("phone", "85988124471 / null", "+5585988124471"),
        ("phone", "undefined, 85 98812-4471", "+5585988124471"),
        ("phone", "<tel:+5585988124471|WhatsApp>", "+5585988124471"),
        ("birthday", "20/05/1990 null", "1990-05-20"),
        ("zipCode", "60175055 undefined", "60175-055"),
        ("complement", "201.0", "201"),
        ("company", "12.0", "12.0"),
        ("country", "Namibia", "NA"),
        ("country", "🇳🇦", "NA"),
    ] {
        let update = update(json!({ field: text })).unwrap();
        assert_eq!(values(&update), [(field, expected)], "{field}: {text}");
        assert!(rejected(&update).is_empty(), "{field}: {text}");
    }
    for (field, text) in
        [("country", "-, N/A"), ("street", "Rua null"), ("name", "null, null"), ("name", "Nome: undefined")]
    {
        assert!(update(json!({ field: text })).unwrap().values.is_empty(), "{field}: {text}");
    }
}

#[test]
fn placeholders_in_a_list_are_left_out() {
    let update = update(json!({
        "name": ["Ada", "null"], "company": ["None"], "position": ["N/A", "n/a"], "email": ["undefined", "a@b.example"],
        "city": ["{{city}}", "Sobral"],
    }))
    .unwrap();
    let expected = [("name", "Ada"), ("email", "a@b.example"), ("company", "None"), ("city", "Sobral")];
    assert_eq!(values(&update), expected);
    assert!(update.rejected.is_empty());
}

fn explained(arguments: Value) -> Vec<(&'static str, String, String)> {
    let plan = run(&crm_event(arguments), &rules()).unwrap();
    let explained = plan.explain(&plan.steps[0], &rules()).into_iter().map(|one| {
        let outcome = match one.outcome {
            ArgumentResult::Stored(value, None) => format!("stored {value}"),
            ArgumentResult::Stored(value, Some(remark)) => format!("stored {value}, {remark}"),
            ArgumentResult::NoValue(why) => format!("no value, {why}"),
            ArgumentResult::Rejected(reason) => format!("rejected, {reason}"),
        };
        assert_eq!(one.parameter, one.field.name());
        (one.field.name(), one.given, outcome)
    });
    explained.collect()
}

#[test]
fn a_plan_explains_each_argument() {
    let shown = explained(json!({
        "name": " Ada\n", "identity": "529.982.247-26", "phone": 5_585_999_990_001_u64, "email": "user@example.com",
        "company": "None", "position": "null", "birthday": "35", "zipCode": "60175055", "country": "#REF!",
        "state": "", "city": "{{city}}", "district": "-", "street": "street", "number": {"a": 1},
    }));
    let expected = [
        ("name", " Ada\n", "stored Ada"),
        ("identity", "529.982.247-26", "rejected, wrong_check_digits"),
        ("phone", "5585999990001", "stored +5585999990001"),
        ("email", "user@example.com", "no value, an address from examples"),
        ("company", "None", "stored None, only while no other value is known"),
        ("position", "null", "no value, a word for no value"),
        ("birthday", "35", "stored 35, unverified"),
        ("zipCode", "60175055", "stored 60175-055"),
        ("country", "#REF!", "no value, an error of a spreadsheet"),
        ("state", "", "no value, nothing or blank"),
        ("city", "{{city}}", "no value, a template or expression that was never filled in"),
        ("district", "-", "no value, only punctuation or hidden characters"),
        ("street", "street", "no value, the name of its own parameter"),
        ("number", r#"{"a":1}"#, "rejected, not_text"),
    ];
    assert_eq!(shown, expected.map(|(field, given, outcome)| (field, given.to_owned(), outcome.to_owned())));
}

#[test]
fn only_crm_steps_of_the_plan_are_explained() {
    let plan = run(&event(), &rules()).unwrap();
    let explained: Vec<_> = plan.steps.iter().map(|step| plan.explain(step, &rules()).len()).collect();
    assert_eq!(explained, [3, 0]);
}

/// The mapping of [`crm_event`], in which each field is filled by the parameter of its name.
fn mapping() -> (TriggerFired, Mapping) {
    let fired = decode(crm_event(json!({})).to_string().as_bytes(), &TriggerCache::default()).unwrap();
    let Action::UpsertContact(mapping) = &fired.triggers[0].actions()[0] else { panic!("a CRM step") };
    let mapping = mapping.clone();
    (fired, mapping)
}

/// Placeholders, values that resemble them, and wrappings of both.
fn texts() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "null",
        "None",
        "NONE",
        "nil",
        "NaN",
        "undefined",
        "N/A",
        "NA",
        "Na",
        "não informado",
        "sem email",
        "TBD",
        "a confirmar",
        "Pendente",
        "{{ $json.x }}",
        "{{1.name}}",
        "$name",
        "${x}",
        "{name}",
        "%NAME%",
        "<name>",
        "[nome]",
        "#REF!",
        "=A1",
        "*|FNAME|*",
        "user@example.com",
        "john.doe@x.example",
        "ada@x.test",
        "555-0143",
        "(555) 123-4567",
        "85 9999-9999",
        "00000-000",
        "Ada",
        "Souza",
        "Nada",
        "ada@x.example",
        "+5585999990001",
        "1990-05-20",
        "BR",
        "12",
        ",",
        "-",
        "e",
        "/",
        "(",
        ")",
        "'",
        "\"",
        "<",
        ">",
        "**",
        "\u{200b}",
    ]);
    let pieces = prop::collection::vec(piece, 1..5).prop_flat_map(|pieces| {
        prop::sample::select(vec![" ", "", ", "]).prop_map(move |between| pieces.join(between))
    });
    prop_oneof![3 => pieces, 1 => matching("\\PC{0,30}")]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20_000))]

    #[test]
    fn no_placeholder_is_written_or_identifies(text in texts(), field in prop::sample::select(Field::VARIANTS)) {
        thread_local! {
            static FIXED: (TriggerFired, Mapping, Rules) = {
                let (fired, mapping) = mapping();
                (fired, mapping, rules())
            };
        }
        FIXED.with(|(fired, mapping, rules)| {
            let stamp = Stamp { time: fired.time, event: fired.event.clone(), step: 1 };
            let arguments = json!({ (field.name()): text });
            let cleaned = text::clean(&text);
            let why = rules.placeholders.why(field, &cleaned, field.name());
            let is_nothing = cleaned.is_empty() || why.is_some();
            match fill(mapping, &arguments, stamp, Region::new("BR").unwrap(), rules) {
                Ok(update) => {
                    prop_assert!(!is_nothing || update.values.is_empty() && update.rejected.is_empty(), "{}", text);
                    for (field, value) in update.values.iter() {
                        prop_assert_eq!(rules.placeholders.why(field, value, field.name()), None, "{}", text);
                    }
                    for key in update.identifiers() {
                        prop_assert_eq!(rules.placeholders.why(key.field(), key.value(), ""), None, "{}", text);
                    }
                }
                Err(fault) => {
                    prop_assert_eq!(fault.reason, Reason::IdentifierInvalid);
                    prop_assert!(!is_nothing, "{}", text);
                }
            }
            Ok(())
        })?;
    }
}
