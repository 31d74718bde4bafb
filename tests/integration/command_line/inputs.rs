//! What people and programs send, through the commands that authors and operators use: `trigger check`, `trigger preview`
//! and `contact find`. The tables of all inputs are beside the code that reads them.

use std::{collections::BTreeMap, fs};

use macro_rules_attribute::apply;
use serde_json::{Map, Value, json};
use tempfile::TempDir;

use crate::support::{app::TestApp, event::Event, test};

/// Field, argument, what comes of it, the value or its lack, and the reason.
type Row = (&'static str, Value, &'static str, Value, &'static str);

fn stored(field: &'static str, given: impl Into<Value>, value: &str) -> Row {
    (field, given.into(), "stored", value.into(), "")
}

fn noted(field: &'static str, given: impl Into<Value>, value: &str, because: &'static str) -> Row {
    (field, given.into(), "stored", value.into(), because)
}

fn no_value(field: &'static str, given: impl Into<Value>, because: &'static str) -> Row {
    (field, given.into(), "noValue", Value::Null, because)
}

fn rejected(field: &'static str, given: impl Into<Value>, because: &'static str) -> Row {
    (field, given.into(), "rejected", Value::Null, because)
}

/// Cleaned from what spreadsheets, chats, documents, address books and speech put around a value.
fn around() -> Vec<Row> {
    vec![
        stored("phone", "'+5585988124471", "+5585988124471"),
        stored("phone", "=\"85988124471\"", "+5585988124471"),
        stored("phone", "Tel.: (85) 98812-4471", "+5585988124471"),
        stored("phone", "<tel:+5585988124471|85 98812-4471>", "+5585988124471"),
        stored("phone", "https://wa.me/5585988124471?text=oi", "+5585988124471"),
        stored("phone", "TEL;TYPE=CELL:+55 85 98812-4471", "+5585988124471"),
        stored("phone", "+\u{200b}55 85 98812\u{2011}4471\u{202c}", "+5585988124471"),
        stored("phone", json!(["+5585988124471", null]), "+5585988124471"),
        stored("email", "<mailto:Ana@X.example|Ana>", "ana@x.example"),
        stored("email", "[ana@x.example](mailto:ana@x.example)", "ana@x.example"),
        stored("email", "mailto:ana%2Bcrm@x.example?subject=Oi", "ana+crm@x.example"),
        stored("email", "e-mail: ana@x.example;", "ana@x.example"),
        stored("email", "ana arroba x ponto example", "ana@x.example"),
        stored("name", "*Ana Souza*", "Ana Souza"),
        stored("name", "Jose\u{301} &amp; Maria", "José & Maria"),
        stored("name", "JoÃ£o", "João"),
        stored("name", "BEGIN:VCARD\nVERSION:3.0\nFN:Ana Souza\nEND:VCARD", "Ana Souza"),
        stored("company", "Empresa: Firma Ltda ", "Firma Ltda"),
        rejected("email", "[ana@x.example](mailto:bia@x.example)", "link_differs"),
        rejected("phone", "Mãe: 85 98812-4471", "of_another_person"),
        rejected("name", json!({"first": "Ana"}), "not_text"),
    ]
}

/// In place of a value.
fn in_place() -> Vec<Row> {
    let (word, template) = ("a word for no value", "a template or expression that was never filled in");
    vec![
        no_value("phone", "{{ $json.phone }}", template),
        no_value("name", "Olá {{1.nome}}", template),
        no_value("name", "[object Object]", template),
        no_value("name", "java.lang.Object@1b6d3586", template),
        no_value("email", "${data.email}", template),
        no_value("email", "None", word),
        no_value("email", json!(false), word),
        no_value("name", "undefined undefined", word),
        no_value("city", "a confirmar", word),
        no_value("state", "-- Selecione --", word),
        no_value("city", "null", word),
        no_value("company", "#N/A", "an error of a spreadsheet"),
        no_value("email", "user@example.com", "an address from examples"),
        no_value("phone", "555-0143", "made-up digits"),
        no_value("complement", "--", "only punctuation or hidden characters"),
        no_value("name", " \u{200b}", "nothing or blank"),
        noted("name", "Null", "Null", "only while no other value is known"),
        noted("company", "Nada", "Nada", "only while no other value is known"),
        stored("name", "Ana undefined", "Ana"),
    ]
}

/// Numbers and dates.
fn numbers() -> Vec<Row> {
    vec![
        stored("phone", "(0xx85) 3344-5567", "+558533445567"),
        stored("phone", "0 15 85 98812-4471", "+5585988124471"),
        stored("phone", "+55 (0) 85 98812-4471", "+5585988124471"),
        stored("phone", "00 55 85 98812-4471", "+5585988124471"),
        stored("phone", "+55 +55 85 98812-4471", "+5585988124471"),
        stored("phone", "5,585,988,124,471", "+5585988124471"),
        stored("phone", json!(5_585_988_124_471.0), "+5585988124471"),
        noted("phone", "85 98812-4471 ou 3344-5567", "+5585988124471", "one_of_two"),
        rejected("phone", "5,58599E+12", "not_a_phone_number"),
        stored("birthday", "quinta-feira, 15 de março de 1990", "1990-03-15"),
        stored("birthday", "Thu Mar 15 1990 00:00:00 GMT-0300 (GMT-03:00)", "1990-03-15"),
        stored("birthday", "15 ene. 1990", "1990-01-15"),
        noted("birthday", "32947", "32947", "unverified"),
        noted("birthday", "2026-02-30", "2026-02-30", "unverified"),
        stored("zipCode", json!(1_310_100), "01310-100"),
        stored("identity", json!(1_234_567_890), "***-90"),
        rejected("identity", "5,29982E+10", "damaged_number"),
        rejected("identity", "529.982.247-26", "wrong_check_digits"),
        stored("number", "120.0", "120"),
    ]
}

/// A trigger whose steps fill the field of each row once, and its arguments. Each step has a good key besides.
fn trigger(rows: &[Row]) -> (Value, Value) {
    let mut actions: Vec<Map<String, Value>> = Vec::new();
    let mut arguments = json!({"goodPhone": "+5511987654321", "goodEmail": "good@firma.example"});
    let keys = ["phone", "email"];
    for (index, (field, given, ..)) in rows.iter().enumerate() {
        let parameter = format!("p{index}");
        arguments[&parameter] = given.clone();
        let is_free = |action: &&mut Map<String, Value>| {
            let has_key = keys.iter().any(|key| action.contains_key(*key));
            !action.contains_key(*field) && !(keys.contains(field) && has_key)
        };
        let free = actions.iter_mut().find(is_free);
        let member = (field.to_owned().to_owned(), parameter.into());
        match free {
            Some(action) => drop(action.insert(member.0, member.1)),
            None => actions.push(Map::from_iter([member])),
        }
    }
    for action in &mut actions {
        let other =
            if action.contains_key("phone") { ("email", "goodEmail") } else { ("phone", "goodPhone") };
        action.insert(other.0.into(), other.1.into());
        action.insert("type".into(), "CRM".into());
        action.insert("subtype".into(), "UPSERT_CONTACT".into());
    }
    let properties: Map<String, Value> =
        arguments.as_object().unwrap().keys().map(|name| (name.clone(), json!({}))).collect();
    let definitions = actions.chunks(10).map(
        |actions| json!({"name": "inputs", "parameters": {"properties": properties}, "actions": actions}),
    );
    let mut definitions: Vec<Value> = definitions.collect();
    let first = definitions.remove(0);
    let data = json!({"assistant": {"maxInteractions": 100}, "trigger": first, "next": definitions});
    (json!({ "data": data }), arguments)
}

#[apply(test)]
async fn preview_shows_what_came_of_each_input(app: &TestApp) {
    let rows = [around(), in_place(), numbers()].concat();
    let (event, arguments) = trigger(&rows);
    let folder = TempDir::new().unwrap();
    let (file, given) = (folder.path().join("event.json"), folder.path().join("arguments.json"));
    // As Windows writes them.
    fs::write(&file, format!("\u{feff}{event}\r\n")).unwrap();
    fs::write(&given, format!("\u{feff}{arguments}\r\n")).unwrap();
    let given = format!("@{}", given.display());
    let command = ["trigger", "preview", file.to_str().unwrap(), "--arguments", &given];
    let shown = app.cli(&[command.as_slice(), &["-o", "json"]].concat()).await;
    assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""), "{}", shown.stdout);
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let steps = shown["steps"].as_array().unwrap();
    let explained = steps.iter().flat_map(|step| step["arguments"].as_array().unwrap());
    let explained: BTreeMap<&str, &Value> =
        explained.map(|argument| (argument["parameter"].as_str().unwrap(), argument)).collect();
    let mut wrong = Vec::new();
    for (index, (field, given, outcome, value, because)) in rows.iter().enumerate() {
        let found = explained[format!("p{index}").as_str()];
        let reason = if because.is_empty() { Value::Null } else { (*because).into() };
        let expected = (&json!(field), &json!(outcome), value, &reason);
        if (&found["field"], &found["outcome"], &found["value"], &found["because"]) != expected {
            wrong.push(format!("{field} {given}: {found}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let table = app.cli(&command).await.stdout;
    for line in [
        "phone       +5585988124471, cleaned from '+5585988124471",
        "name        Ana Souza, cleaned from *Ana Souza*",
        "email       no value: an address from examples, given user@example.com",
        "name        Null (only while no other value is known)",
        "phone       +5585988124471 (the other number cannot be used: one_of_two), cleaned from 85 98812-4471 ou 3344-5567",
        "birthday    32947 (kept as given: unverified)",
        "email       not taken: link_differs, given [ana@x.example](mailto:bia@x.example)",
        "identity    not taken: wrong_check_digits, given ***-26",
    ] {
        assert!(table.lines().any(|shown| shown.trim_start() == line), "{line}\n{table}");
    }
}

/// A definition with a mistake of each kind, where it is, and what the author is told to write instead.
#[apply(test)]
async fn check_says_what_to_write_instead(app: &TestApp) {
    let definition = json!({
        "name": "lead", "interpretResponse": "True", "description": 5,
        "parameters": {"properties": {
            "name": {"type": "string", "default": "N/A"},
            "mail": {"type": "string", "pattern": "(?i)^[a-z]+@[a-z.]+$", "examples": ["<mailto:ada@x.example|Ada>"]},
            "phone": {"type": "number"},
            "document": {"type": "string", "examples": ["5,29982E+10"]},
            "born": {"type": "integer"},
        }},
        "actions": json!([
            {"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "mail", "phone": "phone",
                "identity": "document", "birthday": "born", "city": ""},
            {"type": "WEBHOOK", "url": "https://hooks.slack.com/workflows/T0/A0/1/x", "body": {"lead": "$name"}},
            {"type": "WEBHOOK", "url": "https://n8n.example:25/hook", "headers": {"X-Lead": "{{name}}"},
                "body": "{\"lead\": $name, \"mail\": {{ $json.mail }}, }"},
            {"type": "WEBHOOK", "url": "http://h.example/?plan=$plan", "body": {"text": "Lead ${mail}"}},
        ]).to_string(),
    });
    let text = definition.to_string();
    let checked = app.cli_with_input(&["trigger", "check", "-", "-o", "json"], text.as_bytes()).await;
    assert_eq!((checked.code, checked.stderr.as_str()), (Some(0), ""), "{}", checked.stdout);
    let findings: Vec<Value> = serde_json::from_str(&checked.stdout).unwrap();
    for (place, says) in [
        // Schemas
        ("/parameters/properties/mail/pattern", "`[Aa]` for `(?i)a`"),
        // Shapes
        ("/interpretResponse", "write true or false"),
        ("/description", "write a text"),
        ("/actions", "write the JSON itself"),
        ("/actions/0/city", "write the name of a parameter"),
        // Around a value
        ("/parameters/properties/mail/examples/0", "is stored as `ada@x.example`; write that"),
        // In place of a value
        ("/parameters/properties/name/default", "counts as no value"),
        // Numbers and dates
        ("/parameters/properties/phone/type", "write \"type\": \"string\""),
        ("/parameters/properties/document/examples/0", "`damaged_number`"),
        ("/parameters/properties/born/type", "\"format\": \"date\""),
        // Webhooks
        ("/actions/1/body", "make it a required string"),
        ("/actions/2/url", "port 25 belongs to another protocol"),
        ("/actions/2/headers", "a list of objects with key and value"),
        ("/actions/2/body", "write a JSON object or list instead"),
        ("/actions/2/body", "write $mail"),
        ("/actions/3/url", "write https"),
        ("/actions/3/url", "$plan is neither a parameter nor a built-in variable"),
        ("/actions/3/body/text", "${mail} is sent as written; write $mail"),
    ] {
        let is_it = |finding: &&Value| {
            finding["place"] == place && finding["message"].as_str().unwrap().contains(says)
        };
        assert!(findings.iter().any(|finding| is_it(&finding)), "{place}: {says}\n{}", checked.stdout);
    }
    assert!(findings.iter().all(|finding| finding["severity"] == "warning"), "{}", checked.stdout);
}

/// Schemas as tools write them, and arguments in the shapes of other languages.
#[apply(test)]
async fn preview_reads_schemas_and_arguments_of_other_tools(app: &TestApp) {
    let preview = async |parameters: Value, arguments: &str| {
        let action = json!({"type": "CRM", "subtype": "UPSERT_CONTACT", "name": "name", "email": "email"});
        let definition = json!({"name": "lead", "parameters": parameters, "action": action}).to_string();
        let bytes: Vec<u8> =
            format!("\u{feff}{definition}\r\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
        app.cli_with_input(&["trigger", "preview", "-", "--arguments", arguments, "-o", "json"], &bytes).await
    };
    let nullable = json!({"type": "object", "additionalProperties": false, "required": ["name", "email"],
        "properties": {"name": {"type": "string"}, "email": {"type": ["string", "null"]}}});
    let nested = json!({"$defs": {"Text": {"type": "string", "minLength": 1}, "Mail": {"anyOf": [{"$ref": "#/$defs/Text"}, {"type": "null"}]}},
        "properties": {"name": {"$ref": "#/$defs/Text"}, "email": {"$ref": "#/$defs/Mail", "description": "x"}}});
    let looking = json!({"properties": {"name": {}, "email": {"type": "string", "format": "email",
        "pattern": "^(?!\\.)(?!.*\\.\\.)([A-Za-z0-9_'+\\-\\.]*)[A-Za-z0-9_+-]@([A-Za-z0-9][A-Za-z0-9\\-]*\\.)+[A-Za-z]{2,}$"}}});
    for (parameters, arguments, fields) in [
        (&nullable, r#"{"name": "Ada", "email": null}"#, json!({"name": "Ada"})),
        (&nullable, r#""{\"name\": \"Ada\", \"email\": null}""#, json!({"name": "Ada"})),
        (
            &nested,
            r#"{"name": "Ada", "email": "ada@x.example"}"#,
            json!({"name": "Ada", "email": "ada@x.example"}),
        ),
        (
            &looking,
            r#"{"name": 36, "email": "ada@x.example"}"#,
            json!({"name": "36", "email": "ada@x.example"}),
        ),
    ] {
        let shown = preview(parameters.clone(), arguments).await;
        assert_eq!((shown.code, shown.stderr.as_str()), (Some(0), ""), "{arguments} {}", shown.stdout);
        let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
        assert_eq!(shown["steps"][0]["fields"], fields, "{arguments}");
    }
    for (parameters, arguments) in [
        (&nullable, r#"{"name": null, "email": "ada@x.example"}"#),
        (&nested, r#"{"name": "", "email": "ada@x.example"}"#),
        (&looking, r#"{"name": "Ada", "email": "ada..l@x.example"}"#),
    ] {
        let refused = preview(parameters.clone(), arguments).await;
        assert!(
            refused.code == Some(1) && refused.stderr.contains("arguments_invalid"),
            "{}",
            refused.stderr
        );
    }
}

#[apply(test)]
async fn find_reads_keys_as_events_are_read(app: &TestApp) {
    app.run(&[]).await;
    app.broker.publish(&Event::lead("Ana").phone("85 98812-4471").email("ana@x.example")).await;
    app.broker.hear(1).await;
    let find = async |option: &str, key: &str| {
        app.cli(&["contact", "find", "--company", "acme", option, key, "-o", "json"]).await
    };
    for (option, key) in [
        ("--phone", "Tel.: (0xx85) 98812-4471"),
        ("--phone", "5,585,988,124,471"),
        ("--phone", "+55 +55 85 8812-4471"),
        ("--email", "mailto:?to=ANA%40x.example"),
        ("--email", "ana arroba x ponto example"),
        ("--email", "Ana <ana@x.example>,"),
    ] {
        let found = find(option, key).await;
        let rows: Vec<Value> = serde_json::from_str(&found.stdout).unwrap_or_default();
        assert!(rows.len() == 1 && rows[0]["email"] == "ana@x.example", "{key}: {}", found.stderr);
    }
    for (option, key, code) in [
        ("--email", "user@example.com", 2),
        ("--email", "{{ $json.email }}", 2),
        ("--phone", "None", 2),
        ("--phone", "5,58599E+12", 2),
        ("--phone", "85 98812-4472", 1),
    ] {
        let ended = find(option, key).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{key}: {}", ended.stderr);
    }
}
