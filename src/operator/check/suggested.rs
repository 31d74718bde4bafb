//! The parameters that fill contact fields, and the values that their schemas suggest.

use serde_json::Value;

use super::{Warning, escaped};
use crate::domain::{
    contact::field::Field,
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

/// A declared parameter that fills a field.
pub(super) struct Filling<'a> {
    pub(super) field: Field,
    /// Its name.
    pub(super) parameter: &'a str,
    /// Its schema.
    pub(super) declared: &'a Value,
    /// The place of its schema in the definition, as a JSON pointer.
    pub(super) place: String,
}

/// What `warn` reports about each parameter that fills a field, in the order of places and without repetitions: one
/// parameter may fill several fields.
pub(super) fn of_each<W: IntoIterator<Item = Warning>>(
    schema: &Value,
    trigger: &Trigger,
    warn: impl Fn(Filling<'_>) -> W,
) -> Vec<Warning> {
    let mappings = trigger.actions().iter().filter_map(|action| match action {
        Action::UpsertContact(mapping) => Some(mapping),
        Action::Webhook(_) => None,
    });
    let fillings = mappings.flat_map(Mapping::iter).filter_map(|(field, parameter)| {
        let declared = schema.get("properties")?.get(parameter)?;
        let place = format!("/parameters/properties/{}", escaped(parameter));
        Some(Filling { field, parameter, declared, place })
    });
    let mut warnings: Vec<Warning> = fillings.flat_map(warn).collect();
    warnings.sort_unstable();
    warnings.dedup();
    warnings
}

impl<'a> Filling<'a> {
    /// The texts that its schema and the schema of its items suggest, each with its place in the definition.
    pub(super) fn texts(&self) -> Vec<(String, &'a str)> {
        let (place, declared) = (&self.place, self.declared);
        let mut texts = Vec::new();
        for (prefix, schema) in [("", Some(declared)), ("items/", declared.get("items"))] {
            let keyword = |name: &str| schema.and_then(|schema| schema.get(name));
            for name in SINGLE {
                let text = keyword(name).and_then(Value::as_str);
                texts.extend(text.map(|text| (format!("{place}/{prefix}{name}"), text)));
            }
            for name in LISTS {
                let values = keyword(name).and_then(Value::as_array).into_iter().flatten();
                texts.extend(values.take(MAX_VALUES).enumerate().filter_map(|(index, value)| {
                    value.as_str().map(|text| (format!("{place}/{prefix}{name}/{index}"), text))
                }));
            }
        }
        texts
    }
}

/// A text of the schema for a message.
pub(super) fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_SHOWN).collect()
}
