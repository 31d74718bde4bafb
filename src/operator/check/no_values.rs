//! Values in a schema that the service takes for no value, so that the field is never filled with them.

use serde_json::Value;

use super::{Warning, escaped};
use crate::domain::{
    contact::{field::Field, placeholder::Placeholders},
    trigger::{
        definition::{Action, Trigger},
        mapping::Mapping,
    },
};

/// Keywords that have one value, and those that have a list of them.
const SINGLE: [&str; 2] = ["default", "const"];
const LISTS: [&str; 2] = ["enum", "examples"];
/// Values of a list that are looked at.
const MAX_VALUES: usize = 200;
/// In characters.
const MAX_SHOWN: usize = 64;

/// A warning for each placeholder in the schema of a parameter that fills a field, with its place in the definition.
pub(super) fn warnings(schema: &Value, trigger: &Trigger, placeholders: &Placeholders) -> Vec<Warning> {
    let mappings = trigger.actions().iter().filter_map(|action| match action {
        Action::UpsertContact(mapping) => Some(mapping),
        Action::Webhook(_) => None,
    });
    let mut warnings = Vec::new();
    for (field, parameter) in mappings.flat_map(Mapping::iter) {
        let Some(declared) = schema.get("properties").and_then(|properties| properties.get(parameter)) else {
            continue;
        };
        let place = format!("/parameters/properties/{}", escaped(parameter));
        for (at, text) in texts(declared) {
            let text = text.trim();
            if !text.is_empty() && placeholders.cover(field, text, parameter) {
                warnings.push((format!("{place}/{at}"), message(field, text)));
            }
        }
    }
    warnings.sort_unstable();
    warnings.dedup();
    warnings
}

/// A text of the schema for a message.
pub(super) fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect()
}

fn message(field: Field, text: &str) -> String {
    let shown = shortened(text);
    format!("`{shown}` counts as no value in `{field}`; remove it, and do not require the parameter")
}

/// The texts in a parameter's schema and in the items of a list, each with its place.
pub(super) fn texts(schema: &Value) -> Vec<(String, &str)> {
    let mut texts = Vec::new();
    for (prefix, schema) in [("", Some(schema)), ("items/", schema.get("items"))] {
        let keyword = |name: &str| schema.and_then(|schema| schema.get(name));
        for name in SINGLE {
            texts.extend(keyword(name).and_then(Value::as_str).map(|text| (format!("{prefix}{name}"), text)));
        }
        for name in LISTS {
            let values =
                keyword(name).and_then(Value::as_array).into_iter().flatten().take(MAX_VALUES).enumerate();
            texts.extend(values.filter_map(|(index, value)| {
                value.as_str().map(|text| (format!("{prefix}{name}/{index}"), text))
            }));
        }
    }
    texts
}
