//! The schemas of `docs/contracts`, and what they say about events.

use std::{collections::BTreeMap, fs, path::PathBuf, sync::LazyLock};

use jsonschema::{Registry, Validator};
use serde_json::Value;

/// Where each schema's references start. Nothing is fetched from there.
const BASE: &str = "json-schema:///";

static VALIDATORS: LazyLock<BTreeMap<String, Validator>> = LazyLock::new(|| {
    let schemas = schemas();
    let mut registry = Registry::new();
    for (name, schema) in &schemas {
        registry = registry.add(format!("{BASE}{name}"), schema).expect("a schema");
    }
    let registry = registry.prepare().expect("schemas that refer to each other");
    let compiled = schemas.iter().map(|(name, schema)| {
        let options = jsonschema::options().offline().with_base_uri(format!("{BASE}{name}"));
        let validator = options.with_registry(&registry).build(schema);
        (
            name.trim_end_matches(".json").to_owned(),
            validator.unwrap_or_else(|error| panic!("{name}: {error}")),
        )
    });
    compiled.collect()
});

/// A file of `docs/contracts`.
pub(crate) fn file(name: &str) -> Value {
    let path = folder().join(name);
    let text = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every JSON Schema by the name of its file.
pub(crate) fn schemas() -> BTreeMap<String, Value> {
    let names = fs::read_dir(folder()).expect("the folder of contracts");
    let names = names.map(|entry| entry.expect("a file").file_name().into_string().expect("a plain name"));
    let others = ["asyncapi.json", "openapi.json"];
    names.filter(|name| !others.contains(&name.as_str())).map(|name| (name.clone(), file(&name))).collect()
}

/// What the schema finds wrong, or nothing.
///
/// # Panics
/// If there is no such schema.
pub(crate) fn fault(schema: &str, value: &Value) -> Option<String> {
    let validator = VALIDATORS.get(schema).unwrap_or_else(|| panic!("docs/contracts has no {schema}.json"));
    let faults: Vec<String> =
        validator.iter_errors(value).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    (!faults.is_empty()).then(|| faults.join("; "))
}

/// Panics if the service published this event, and its schema does not allow it.
pub(crate) fn check_published(event: &Value) {
    let Some(kind) = event.get("type").and_then(Value::as_str) else { return };
    if kind == "trigger.fired" {
        return;
    }
    if let Some(fault) = fault(&kind.replace('.', "-"), event) {
        panic!("{kind} does not fit its schema: {fault}\n{event:#}");
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/contracts")
}

/// The description of the API.
static OPENAPI: LazyLock<Value> = LazyLock::new(|| strict(file("openapi.json")));

/// A schema lists all members of an object: what is missing in it is found by the tests.
fn strict(mut value: Value) -> Value {
    match &mut value {
        Value::Object(members) => {
            for member in members.values_mut() {
                *member = strict(member.take());
            }
            let is_closed = members.get("type").is_some_and(|kind| *kind == "object" || kind[0] == "object")
                && members.contains_key("required");
            if is_closed && !members.contains_key("additionalProperties") {
                members.insert("additionalProperties".to_owned(), Value::Bool(false));
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = strict(item.take())),
        _ => {}
    }
    value
}

/// The path of the description that an address has, and its operation.
pub(crate) fn operation(method: &str, address: &str) -> Option<(String, &'static Value)> {
    let path = address.split('?').next().unwrap_or(address);
    let parts: Vec<&str> = path.split('/').collect();
    let fits = |template: &str| {
        let template: Vec<&str> = template.split('/').collect();
        let same = |(one, other): (&&str, &&str)| one.starts_with('{') || one == other;
        template.len() == parts.len() && template.iter().zip(&parts).all(same)
    };
    let paths = OPENAPI["paths"].as_object().expect("paths");
    let mut found: Vec<&String> = paths.keys().filter(|template| fits(template)).collect();
    // Of several, the router takes the one with fewer parameters.
    found.sort_by_key(|template| template.matches('{').count());
    let operation =
        |template: &&String| Some(((*template).clone(), paths[*template].get(method.to_lowercase())?));
    found.iter().find_map(operation)
}

/// Panics if the description does not allow this answer.
pub(crate) fn check_answer(method: &str, address: &str, status: u16, answer: &Value) {
    let schema = match operation(method, address) {
        Some((path, operation)) if status < 300 => {
            assert!(operation["responses"].get(status.to_string()).is_some(), "{method} {path}: {status}");
            let path = path.replace('~', "~0").replace('/', "~1");
            let method = method.to_lowercase();
            format!("/paths/{path}/{method}/responses/{status}/content/application~1json/schema")
        }
        Some((path, operation)) => {
            let documented = operation["responses"].get(status.to_string()).is_some();
            assert!(documented, "{method} {path} may not answer {status}: {answer}");
            "/components/schemas/Problem".to_owned()
        }
        None => "/components/schemas/Problem".to_owned(),
    };
    let registry = Registry::new().add(format!("{BASE}openapi.json"), &*OPENAPI).expect("a document");
    let registry = registry.prepare().expect("a document whose references resolve");
    let reference = serde_json::json!({ "$ref": format!("{BASE}openapi.json#{}", schema.replace('{', "%7B").replace('}', "%7D")) });
    let options = jsonschema::options().offline().with_registry(&registry).should_validate_formats(true);
    let validator = options.build(&reference).unwrap_or_else(|error| panic!("{schema}: {error}"));
    let faults: Vec<String> =
        validator.iter_errors(answer).map(|fault| format!("{}: {fault}", fault.instance_path())).collect();
    assert!(faults.is_empty(), "{method} {address}, {status}: {faults:?}\n{answer:#}");
}
