//! A schema while it is being rewritten, keyword by keyword.

use serde_json::{Map, Value, json};

use super::keywords::distinct_names;
use crate::domain::trigger::parameters::references::Base;

/// Keywords beside which `nullable` cannot be said by `type`.
const APPLICATORS: [&str; 7] = ["$ref", "allOf", "anyOf", "const", "if", "not", "oneOf"];

const SEEN: [&str; 4] = ["$ref", "allOf", "properties", "required"];

/// A rewritten schema.
pub(super) struct Part {
    pub(super) value: Value,
    /// Whether it accepts more than its author wrote.
    pub(super) loose: bool,
}

/// A schema while it is being rewritten.
pub(super) struct Made<'o> {
    pub(super) object: &'o Map<String, Value>,
    pub(super) base: Base,
    /// Whether it applies to the same value as the definition that it is in.
    pub(super) in_place: bool,
    pub(super) out: Map<String, Value>,
    /// Further schemas that apply.
    pub(super) all: Vec<Value>,
    pub(super) loose: bool,
    /// Keywords to leave out, because one that they depend on is.
    pub(super) dropped: Vec<&'static str>,
}

impl<'o> Made<'o> {
    pub(super) fn new(object: &'o Map<String, Value>, base: Base, in_place: bool) -> Self {
        let (out, all, dropped) = (Map::new(), Vec::new(), Vec::new());
        Self { object, base, in_place, out, all, loose: false, dropped }
    }

    pub(super) fn add(&mut self, key: &str, value: Value) {
        self.out.insert(key.to_owned(), value);
    }

    /// Adds a schema to a keyword that holds schemas by name. Two of one name apply both: expressions can have the same
    /// translation, and `dependencies` are `dependentSchemas`.
    pub(super) fn insert(&mut self, key: &str, name: String, schema: Value) {
        let Some(members) = self.members(key) else { return };
        match members.get_mut(&name) {
            Some(other) => {
                let mut both = [other.take(), schema];
                both.iter_mut().for_each(apart);
                *other = json!({ "allOf": both });
            }
            None => drop(members.insert(name, schema)),
        }
    }

    /// Adds to the names that are required beside `name`.
    pub(super) fn require(&mut self, name: &str, names: &Value) {
        let Some(members) = self.members("dependentRequired") else { return };
        let others = members.get(name).and_then(Value::as_array);
        let all: Value = others.into_iter().chain(names.as_array()).flatten().cloned().collect();
        members.insert(name.to_owned(), distinct_names(&all));
    }

    fn members(&mut self, key: &str) -> Option<&mut Map<String, Value>> {
        self.out.entry(key).or_insert_with(|| json!({})).as_object_mut()
    }

    pub(super) fn refer(&mut self, reference: String) {
        if self.out.contains_key("$ref") {
            self.all.push(json!({ "$ref": reference }));
        } else {
            self.add("$ref", reference.into());
        }
    }

    /// The schema, and the keywords that were left out because another one was.
    pub(super) fn finish(mut self) -> (Part, Vec<&'static str>) {
        self.all.iter_mut().for_each(apart);
        if !self.all.is_empty()
            && let Some(list) = self.out.entry("allOf").or_insert_with(|| json!([])).as_array_mut()
        {
            list.append(&mut self.all);
        }
        if !self.out.contains_key("if") {
            self.dropped.push("if");
        }
        if self.dropped.contains(&"if") {
            self.dropped.extend(["then", "else"]);
        }
        if self.loose {
            // What was left out may have evaluated something.
            self.dropped.extend(["unevaluatedItems", "unevaluatedProperties"]);
        }
        let out = &mut self.out;
        self.dropped.retain(|keyword| out.shift_remove(*keyword).is_some());
        let is_nullable = self.object.get("nullable") == Some(&Value::Bool(true));
        let out = if is_nullable { nullable(self.out) } else { self.out };
        (Part { value: out.into(), loose: self.loose }, self.dropped)
    }
}

/// Whether a schema says something about members, or refers to one that may.
pub(super) fn is_seen(schema: &Value) -> bool {
    SEEN.iter().any(|keyword| schema.get(keyword).is_some())
}

/// Keeps a schema of `allOf` from being merged with the others, which takes time in the square of the names. It adds what
/// every object fulfills.
pub(super) fn apart(schema: &mut Value) {
    if is_seen(schema)
        && let Value::Object(members) = schema
    {
        members.entry("minProperties").or_insert_with(|| 0.into());
    }
}

/// The schema of `OpenAPI` 3.0 that accepts null, too.
fn nullable(mut schema: Map<String, Value>) -> Map<String, Value> {
    let has_applicator = APPLICATORS.iter().any(|keyword| schema.contains_key(*keyword));
    if has_applicator || (schema.contains_key("enum") && !schema.contains_key("type")) {
        return Map::from_iter([("anyOf".to_owned(), json!([{ "type": "null" }, schema]))]);
    }
    for (keyword, null) in [("type", json!("null")), ("enum", Value::Null)] {
        match schema.get_mut(keyword) {
            Some(Value::Array(values)) if !values.contains(&null) => values.push(null),
            Some(value @ Value::String(_)) if *value != null => *value = vec![value.take(), null].into(),
            _ => {}
        }
    }
    schema
}
