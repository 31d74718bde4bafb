//! The files of `docs/contracts` agree with what the service reads and publishes. That every published event fits its
//! schema is checked wherever a test hears one (`support/broker.rs`).

use std::collections::BTreeSet;

use contact_relay::{
    amqp::Topology,
    domain::{
        contact::field::Field,
        trigger::{cache::TriggerCache, fired},
    },
};
use macro_rules_attribute::apply;
use serde_json::{Value, json};
use strum::VariantArray as _;

use crate::support::{app::TestApp, contracts, event::Event, only, test};

/// A value that is wrong for every member.
const WRONG: &[fn() -> Value] = &[|| json!(["x", 1]), || json!({"x": 1}), || json!(1.5)];

fn example(schema: &str) -> Value {
    contracts::file(&format!("{schema}.json"))["examples"][0].take()
}

/// Whether the service reads it as a `trigger.fired` event.
fn is_read(event: &Value) -> bool {
    fired::decode(event.to_string().as_bytes(), &TriggerCache::default()).is_ok()
}

/// The pointers of all members that are named in the schemas.
fn members(value: &Value, path: &str, found: &mut Vec<String>) {
    let free = ["/data/arguments", "/data/clientData", "/body"];
    if free.iter().any(|end| path.ends_with(end)) {
        return;
    }
    let nested: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, item)| (index.to_string(), item)).collect()
        }
        _ => Vec::new(),
    };
    for (name, value) in nested {
        let path = format!("{path}/{name}");
        // The fields of the actions name parameters, which a schema cannot check.
        if path == "/data/trigger/parameters" {
            continue;
        }
        found.push(path.clone());
        members(value, &path, found);
    }
}

fn without(event: &Value, pointer: &str) -> Value {
    let mut event = event.clone();
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    match event.pointer_mut(parent).unwrap() {
        Value::Object(members) => drop(members.remove(name)),
        Value::Array(items) => drop(items.remove(name.parse().unwrap())),
        other => panic!("{other} has no members"),
    }
    event
}

#[apply(test)]
async fn examples_fit_their_schemas(_app: &TestApp) {
    let mut kinds = 0;
    for (name, schema) in contracts::schemas() {
        let schema_name = name.trim_end_matches(".json");
        assert_eq!(schema["$id"], json!(name));
        for example in schema["examples"].as_array().into_iter().flatten() {
            kinds += 1;
            assert_eq!(contracts::fault(schema_name, example), None, "{name}");
        }
        assert!(schema_name == "common" || schema["examples"].is_array(), "{name} has no example");
    }
    assert_eq!(kinds, 8);
}

#[apply(test)]
async fn example_of_a_trigger_is_applied(app: &TestApp) {
    app.run(&[]).await;
    let mut event = example("trigger-fired");
    let url = json!(app.receiver.url("/ok"));
    for pointer in ["/data/trigger/actions/1/url", "/data/next/0/action/url"] {
        *event.pointer_mut(pointer).unwrap() = url.clone();
    }
    let body = event.to_string();
    app.broker.publish_bytes("trigger.fired", body.as_bytes(), Event::lead("Ada").properties()).await;
    app.wait_for_deliveries("delivered", 1).await;
    let upserted = only(app.broker.hear(1).await);
    let mut contact = upserted.at("/data/contact").clone();
    let expected = &example("contact-upserted")["data"]["contact"];
    contact["id"] = expected["id"].clone();
    assert_eq!(&contact, expected);
}

/// What the service needs, the schema requires, and what the schema requires, the service needs.
#[apply(test)]
async fn schema_and_service_require_the_same_members(_app: &TestApp) {
    let event = example("trigger-fired");
    let mut pointers = Vec::new();
    members(&event, "", &mut pointers);
    assert!(pointers.len() > 35, "{pointers:?}");
    for pointer in &pointers {
        let changed = without(&event, pointer);
        let fault = contracts::fault("trigger-fired", &changed);
        // A header without a value is skipped, as forms write it.
        assert_eq!(
            fault.is_none() || pointer.ends_with("/headers/0/value"),
            is_read(&changed),
            "without {pointer}: {fault:?}"
        );
    }
}

/// What the schema refuses may be read all the same, because the service is more tolerant; the reverse would mislead.
#[apply(test)]
async fn service_reads_what_the_schema_allows(_app: &TestApp) {
    let event = example("trigger-fired");
    let mut pointers = Vec::new();
    members(&event, "", &mut pointers);
    let mut refused = 0;
    for (pointer, wrong) in
        pointers.iter().flat_map(|pointer| WRONG.iter().map(move |wrong| (pointer, wrong())))
    {
        let mut changed = event.clone();
        *changed.pointer_mut(pointer).unwrap() = wrong;
        let fault = contracts::fault("trigger-fired", &changed);
        assert!(fault.is_some() || is_read(&changed), "{pointer}: {changed:#}");
        refused += usize::from(!is_read(&changed));
    }
    assert!(refused > 40, "{refused}");
    let limits = [
        ("/id", 1024),
        ("/source", 1024),
        ("/data/company/id", 255),
        ("/data/trigger/name", 255),
        ("/data/next/0/name", 255),
    ];
    for (pointer, limit) in limits {
        for (length, fits) in [(0, false), (1, true), (limit, true), (limit + 1, false)] {
            let mut changed = event.clone();
            *changed.pointer_mut(pointer).unwrap() = json!("a".repeat(length));
            let fault = contracts::fault("trigger-fired", &changed);
            assert_eq!(
                (fault.is_none(), is_read(&changed)),
                (fits, fits),
                "{pointer} of {length}: {fault:?}"
            );
        }
    }
    let lists = [("/data/next", "/data/next/0"), ("/data/trigger/actions", "/data/trigger/actions/0")];
    for ((list, item), (count, fits)) in
        lists.into_iter().flat_map(|list| [(10, true), (11, false)].map(|row| (list, row)))
    {
        let mut changed = event.clone();
        let item = changed.pointer(item).unwrap().clone();
        *changed.pointer_mut(list).unwrap() = vec![item; count].into();
        let fault = contracts::fault("trigger-fired", &changed);
        assert_eq!((fault.is_none(), is_read(&changed)), (fits, fits), "{count} in {list}: {fault:?}");
    }
}

#[apply(test)]
async fn schemas_name_the_fields_in_order(_app: &TestApp) {
    let names: Vec<&str> = Field::VARIANTS.iter().map(|field| field.name()).collect();
    let common = contracts::file("common.json");
    assert_eq!(common["$defs"]["field"]["enum"], json!(names));
    let contact: BTreeSet<&str> =
        common["$defs"]["contact"]["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert!(names.iter().all(|name| contact.contains(name)));
    assert_eq!(contact.len(), names.len() + 5);
    let crm = &contracts::file("trigger-definition.json")["$defs"]["action"]["oneOf"][0]["properties"];
    assert_eq!(crm.as_object().unwrap().len(), names.len() + 2);
    assert!(names.iter().all(|name| crm.get(name).is_some()));
}

/// The members that `docs/results.md` describes are those that the schema of a step allows.
#[apply(test)]
async fn results_are_described_in_full(_app: &TestApp) {
    let page = include_str!("../../docs/results.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once(" |"));
    let described: BTreeSet<&str> = rows
        .flat_map(|(names, _)| names.split(['`', ',', ' ']))
        .filter(|name| {
            !name.is_empty() && !name.starts_with("data.") && !["id", "subject", "time"].contains(name)
        })
        .collect();
    let schema = contracts::file("trigger-completed.json");
    let step =
        schema["properties"]["data"]["properties"]["steps"]["items"]["properties"].as_object().unwrap();
    let mut allowed: BTreeSet<&str> = step.keys().map(String::as_str).collect();
    // They explain themselves.
    for plain in ["index", "trigger", "type"] {
        assert!(allowed.remove(plain), "{plain}");
    }
    assert_eq!(described, allowed);
}

/// `AsyncAPI` 3.0: each channel has one message, whose payload is a schema of the folder, and one operation.
#[apply(test)]
async fn asyncapi_names_what_the_broker_has(_app: &TestApp) {
    let document = contracts::file("asyncapi.json");
    let topology = Topology::new("contact-relay");
    let schemas = contracts::schemas();
    let channels = document["channels"].as_object().unwrap();
    let operations = document["operations"].as_object().unwrap();
    assert_eq!(channels.len(), operations.len());
    for (name, channel) in channels {
        let kind = example(name)["type"].as_str().unwrap().to_owned();
        let address = channel["address"].as_str().unwrap();
        assert!(address == kind || address == format!("{kind}.{{operation}}"), "{address} is not of {kind}");
        let exchange = &channel["bindings"]["amqp"]["exchange"];
        assert_eq!((&exchange["name"], &exchange["type"]), (&json!(topology.events()), &json!("topic")));
        let message = &document["components"]["messages"][name];
        assert_eq!(message["name"], json!(kind));
        let schema = message["payload"]["schema"]["$ref"].as_str().unwrap();
        assert!(schema == format!("{name}.json") && schemas.contains_key(schema), "{schema}");
        let reference = json!(format!("#/channels/{name}"));
        let of_channel: Vec<&Value> =
            operations.values().filter(|operation| operation["channel"]["$ref"] == reference).collect();
        let action = if name == "trigger-fired" { "receive" } else { "send" };
        assert_eq!(only(of_channel)["action"], json!(action));
    }
    let described: BTreeSet<String> = channels.keys().map(|name| format!("{name}.json")).collect();
    let internal = ["common.json", "trigger-definition.json", "webhook-requested.json"];
    let others: BTreeSet<String> =
        schemas.into_keys().filter(|name| !internal.contains(&name.as_str())).collect();
    assert_eq!(described, others);
}
