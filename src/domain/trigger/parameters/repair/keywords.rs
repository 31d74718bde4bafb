//! The keywords that are checked, and what they must look like.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// The types of JSON Schema.
const TYPES: [&str; 7] = ["array", "boolean", "integer", "null", "number", "object", "string"];

/// Keywords that are not checked, and are never null.
const ANNOTATIONS: [&str; 8] =
    ["$anchor", "$comment", "$id", "$schema", "contentEncoding", "description", "format", "title"];

/// What a keyword holds.
pub(super) enum Kind {
    /// A schema.
    Schema,
    /// A list of schemas.
    List,
    /// Schemas by name.
    Map,
    /// Whether the value can be checked, and what it must be.
    Data(fn(&Value) -> bool, &'static str),
}

/// `None` for keywords that are not checked, such as `title` and `format`.
pub(super) fn kind(keyword: &str) -> Option<Kind> {
    Some(match keyword {
        "additionalItems"
        | "additionalProperties"
        | "contains"
        | "else"
        | "if"
        | "items"
        | "not"
        | "propertyNames"
        | "then"
        | "unevaluatedItems"
        | "unevaluatedProperties" => Kind::Schema,
        "allOf" | "anyOf" | "oneOf" | "prefixItems" => Kind::List,
        "dependentSchemas" | "patternProperties" | "properties" => Kind::Map,
        "const" => Kind::Data(|_| true, "any value"),
        "dependencies" => Kind::Data(|_| false, "an object"),
        "dependentRequired" => Kind::Data(has_only_names, "an object with lists of names"),
        "enum" => Kind::Data(is_filled_list, "a list of values"),
        "exclusiveMaximum" | "exclusiveMinimum" | "maximum" | "minimum" => {
            Kind::Data(Value::is_number, "a number")
        }
        "maxContains" | "maxItems" | "maxLength" | "maxProperties" | "minContains" | "minItems"
        | "minLength" | "minProperties" => Kind::Data(is_count, "a whole number, at least 0"),
        "multipleOf" => {
            Kind::Data(|value| value.as_f64().is_some_and(|number| number > 0.0), "a number above 0")
        }
        "pattern" | "$ref" | "$dynamicRef" | "$recursiveRef" => Kind::Data(|_| false, "a string"),
        "required" => Kind::Data(is_names, "a list of names, in the object that has the properties"),
        "type" => Kind::Data(|_| false, "a type or a list of types"),
        "uniqueItems" => Kind::Data(Value::is_boolean, "true or false"),
        _ => return None,
    })
}

/// The type that a text names. Some tools write it in upper case.
pub(super) fn known_type(name: &Value) -> Option<&'static str> {
    let name = name.as_str()?;
    TYPES.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

/// Whether `"const": null` in this schema means null. Serializers also write it for no constant at all: then other
/// keywords are null as well, or nothing would fit both it and another keyword.
pub(super) fn means_null(schema: &Map<String, Value>) -> bool {
    let is_null = |name: &Value| known_type(name).is_none_or(|name| name == "null");
    let admits = |keyword: &str, is_null: &dyn Fn(&Value) -> bool| match schema.get(keyword) {
        Some(Value::Array(values)) => values.is_empty() || values.iter().any(is_null),
        Some(value) => is_null(value),
        None => true,
    };
    let is_nullable = schema.get("nullable") == Some(&Value::Bool(true));
    let is_absent = |(key, value): (&String, &Value)| {
        value.is_null() && key != "const" && (kind(key).is_some() || ANNOTATIONS.contains(&key.as_str()))
    };
    !schema.iter().any(is_absent)
        && (is_nullable || (admits("type", &is_null) && admits("enum", &Value::is_null)))
}

fn is_filled_list(value: &Value) -> bool {
    value.as_array().is_some_and(|items| !items.is_empty())
}

fn is_names(value: &Value) -> bool {
    value.as_array().is_some_and(|items| items.iter().all(Value::is_string))
}

fn has_only_names(value: &Value) -> bool {
    value.as_object().is_some_and(|members| members.values().all(is_names))
}

/// Lists of names without repetitions, which JSON Schema forbids in them.
pub(super) fn distinct_names(value: &Value) -> Value {
    match value {
        Value::Array(names) => {
            let mut seen = HashSet::new();
            names.iter().filter(|name| seen.insert(name.as_str())).cloned().collect()
        }
        Value::Object(lists) => {
            let lists = lists.iter().map(|(name, names)| (name.clone(), distinct_names(names)));
            Value::Object(lists.collect())
        }
        value => value.clone(),
    }
}

/// 2.0 is a whole number, too (JSON Schema 2020-12, Core 4.2.3).
fn is_count(value: &Value) -> bool {
    value.is_u64() || value.as_f64().is_some_and(|number| number >= 0.0 && number.fract() == 0.0)
}
