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
    names.filter(|name| name != "asyncapi.json").map(|name| (name.clone(), file(&name))).collect()
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
