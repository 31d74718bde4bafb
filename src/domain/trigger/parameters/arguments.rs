//! What a repaired schema says about the arguments: their names, and which of them may be null.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::budget::{Budget, amount, bytes};

/// Steps in search of what accepts null, for all arguments together. Far more than any real schema needs.
const MAX_STEPS: u64 = 20_000;
/// Bytes of a name that is looked up at the cost of a step.
const LOOKED_UP: u64 = 64;
/// Schemas within each other that are searched for what accepts null.
const MAX_DEPTH: usize = 200;

/// The names in `properties`, in their order: of the schema and of all that apply to the arguments, too.
pub(super) fn declared(schema: &Map<String, Value>) -> Vec<String> {
    let mut seen = HashSet::new();
    let schemas = applied(schema).into_iter();
    let names = schemas.filter_map(|schema| schema.get("properties")?.as_object()).flat_map(Map::keys);
    names.filter(|name| seen.insert(name.as_str())).cloned().collect()
}

/// The names that the schema itself requires.
pub(super) fn always_required(schema: &Map<String, Value>) -> Vec<Box<str>> {
    let names = schema.get("required").and_then(Value::as_array).into_iter().flatten();
    names.filter_map(Value::as_str).map(Box::from).collect()
}

/// The required arguments whose schema accepts null, also those that only other arguments require.
pub(super) fn nullable(schema: &Map<String, Value>) -> HashSet<Box<str>> {
    let required: HashSet<&str> = required(schema).chain(needed(schema)).collect();
    let nulls = Nulls { root: schema, steps: Budget::new(MAX_STEPS) };
    required.into_iter().filter(|name| nulls.in_argument(schema, name, 0)).map(Box::from).collect()
}

/// The arguments that any schema of the arguments requires.
pub(super) fn required(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let schemas = applied(schema).into_iter();
    let required = schemas.filter_map(|schema| schema.get("required")?.as_array()).flatten();
    required.filter_map(Value::as_str)
}

/// The arguments that others require. Not those that require others themselves: if null were given, it would require them.
fn needed(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let schemas = applied(schema);
    let members = |keyword: &str| -> Vec<&Map<String, Value>> {
        schemas.iter().filter_map(|schema| schema.get(keyword)?.as_object()).collect()
    };
    let (names, others) = (members("dependentRequired"), members("dependentSchemas"));
    let requiring: HashSet<&str> =
        names.iter().chain(&others).flat_map(|members| members.keys()).map(String::as_str).collect();
    let needed = names.into_iter().flat_map(Map::values).filter_map(Value::as_array).flatten();
    needed.filter_map(Value::as_str).filter(move |name| !requiring.contains(name))
}

/// The schemas that may apply to the arguments: the root, and what it includes by `$ref`, `allOf` and the like.
fn applied(root: &Map<String, Value>) -> Vec<&Map<String, Value>> {
    let mut found = vec![root];
    let mut seen = HashSet::new();
    let mut next = 0;
    while let Some(schema) = found.get(next).copied() {
        next += 1;
        for (keyword, value) in schema {
            match (keyword.as_str(), value) {
                ("$ref", Value::String(reference)) if seen.insert(reference) => {
                    found.extend(definition(root, value).and_then(Value::as_object));
                }
                ("allOf" | "anyOf" | "oneOf", Value::Array(schemas)) => {
                    found.extend(schemas.iter().filter_map(Value::as_object));
                }
                ("then" | "else", Value::Object(schema)) => found.push(schema),
                ("dependentSchemas", Value::Object(schemas)) => {
                    found.extend(schemas.values().filter_map(Value::as_object));
                }
                _ => {}
            }
        }
    }
    found
}

fn definition<'s>(root: &'s Map<String, Value>, reference: &Value) -> Option<&'s Value> {
    root.get("$defs")?.get(reference.as_str()?.strip_prefix("#/$defs/")?)
}

/// Finds schemas that accept null. Only a few keywords matter: the others are about values of other types.
struct Nulls<'s> {
    root: &'s Map<String, Value>,
    /// Without any left, null is accepted, and the validator decides.
    steps: Budget,
}

impl Nulls<'_> {
    /// Whether a schema of the arguments accepts that the argument is null.
    fn in_argument(&self, schema: &Map<String, Value>, name: &str, depth: usize) -> bool {
        if self.is_over(depth, bytes(name) / LOOKED_UP) {
            return true;
        }
        let declared = schema.get("properties").and_then(|properties| properties.get(name));
        let others = schema.get("additionalProperties").filter(|_| !schema.contains_key("patternProperties"));
        let root = self.root;
        let within = |schema: &Value| match schema {
            Value::Object(schema) => self.in_argument(schema, name, depth + 1),
            schema => *schema != Value::Bool(false),
        };
        let included = schema.iter().all(|(keyword, value)| match (keyword.as_str(), value) {
            ("$ref", _) => definition(root, value).is_none_or(within),
            ("allOf", Value::Array(schemas)) => schemas.iter().all(within),
            ("anyOf" | "oneOf", Value::Array(schemas)) => schemas.iter().any(within),
            _ => true,
        });
        included && declared.or(others).is_none_or(|schema| self.in_value(schema, depth + 1))
    }

    /// Whether a schema accepts null.
    fn in_value(&self, schema: &Value, depth: usize) -> bool {
        let Value::Object(schema) = schema else { return *schema != Value::Bool(false) };
        let values = schema.get("enum").and_then(Value::as_array).map_or(0, Vec::len);
        if self.is_over(depth, amount(values)) {
            return true;
        }
        let root = self.root;
        let within = |schema: &Value| self.in_value(schema, depth + 1);
        schema.iter().all(|(keyword, value)| match (keyword.as_str(), value) {
            ("type", Value::Array(names)) => names.iter().any(|name| name == "null"),
            ("type", name) => name == "null",
            ("enum", Value::Array(values)) => values.contains(&Value::Null),
            ("const", value) => value.is_null(),
            ("$ref", reference) => definition(root, reference).is_none_or(within),
            ("allOf", Value::Array(schemas)) => schemas.iter().all(within),
            ("anyOf", Value::Array(schemas)) => schemas.iter().any(within),
            ("oneOf", Value::Array(schemas)) => schemas.iter().filter(|schema| within(schema)).count() == 1,
            ("not", unwanted) => !within(unwanted),
            ("if", condition) => {
                let branch = if within(condition) { "then" } else { "else" };
                schema.get(branch).is_none_or(within)
            }
            _ => true,
        })
    }

    /// Takes a step, and more for what it looks up.
    fn is_over(&self, depth: usize, more: u64) -> bool {
        self.steps.take(1 + more).is_none() || depth > MAX_DEPTH
    }
}
